"""OpenAI-compatible endpoints: where they are, how they are asked, and what their failures mean.

Keys and addresses come from the environment and go nowhere but into requests: not into errors, not
into the identity of a model.
"""

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
import openai
from pydantic import BaseModel, JsonValue, ValidationError

from stargate_assets.engines.connections import LostAnswerError, connect, not_reached
from stargate_assets.engines.endpoint_errors import (
    KEPT,
    NO_KEY,
    SHOWN,
    RequestError,
    ServerError,
    mask,
    quote,
    read_json,
    status_in,
)
from stargate_assets.engines.engine import ANSWERS, OnText
from stargate_assets.engines.streamed_answers import STREAMED, read_pieces
from stargate_assets.method.language_model import EngineError, Failure, FailureReason

OPENAI = "OPENAI"

Shape = TypeVar("Shape", bound=BaseModel)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`label` is what experiments call it and what its two environment variables begin with."""

    label: str
    base_urls: tuple[str | None, ...] = field(repr=False)
    """One for each server; None is the SDK's default."""
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """`retries` are the SDK's, of one call: with backoff they take about 40 seconds."""

    at_once: int = 64
    connect_seconds: float = 10.0
    read_seconds: float = 300.0
    retries: int = 8


def endpoint(label: str, environment: Mapping[str, str]) -> Endpoint:
    """What LABEL_BASE_URL (several servers: separated by commas) and LABEL_API_KEY say. Raises
    EngineError, which names the variable to set and never its value.
    """
    stated = [url.strip() for url in environment.get(f"{label}_BASE_URL", "").split(",")]
    urls = tuple(url for url in stated if url)
    if not all(map(_is_address, urls)):
        raise EngineError(
            f"{label}_BASE_URL is not an address and nothing but an address; write "
            f"http://HOST:PORT/v1, several separated by commas, and a key in {label}_API_KEY."
        )
    if not urls and label != OPENAI:
        raise EngineError(
            f"The endpoint {label} has no address; set {label}_BASE_URL, such as "
            "http://localhost:8000/v1."
        )
    key = environment.get(f"{label}_API_KEY", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise EngineError(
            f"{label}_API_KEY has a character that no key can have, such as an accent or a "
            "typographic quotation mark; copy the key again."
        )
    if not key and not (urls and all(map(_is_loopback, urls))):
        raise EngineError(f"The endpoint {label} needs a key; set {label}_API_KEY.")
    return Endpoint(label, urls or (None,), key or NO_KEY)


async def ask_again(call: Callable[[], Awaitable[Result]]) -> Result:
    """What comes of a call that costs nothing; where its answer is lost or makes no sense, it is
    made again, `ANSWERS` times in all. Raises what the last one raises.
    """
    for attempt in range(1, ANSWERS):
        try:
            return await call()
        except RequestError as error:
            if not error.failure.may_pass:
                raise
        await asyncio.sleep(0.1 * attempt)
    return await call()


class Servers:
    """An endpoint's servers while an event loop runs. A request goes to the one that has the fewest
    under way, so that a slow one gets less.
    """

    def __init__(self, at: Endpoint, model: str, limits: RequestLimits):
        self.at, self.model = at, model
        timeout = openai.Timeout(
            connect=limits.connect_seconds,
            read=limits.read_seconds,
            write=limits.read_seconds,
            pool=None,
        )
        self.clients = [
            openai.AsyncOpenAI(
                api_key=at.api_key,
                base_url=url,
                timeout=timeout,
                max_retries=limits.retries,
                http_client=connect(at.label, timeout),
            )
            for url in at.base_urls
        ]
        self.in_flight = [0] * len(self.clients)
        self.answered = 0
        """Requests that had an answer, which shows that the endpoint works."""

    async def __aenter__(self) -> "Servers":
        return self

    async def __aexit__(self, *error: object) -> None:
        for client in self.clients:
            await client.close()

    async def ask(
        self, path: str, body: Mapping[str, Any], shape: type[Shape], missing: str
    ) -> Shape:
        """What a server answers to `body`, asked as `ask_again` says. Raises as `ask_once`."""
        return await ask_again(lambda: self.ask_once(path, body, shape, missing))

    async def ask_once(
        self,
        path: str,
        body: Mapping[str, Any],
        shape: type[Shape],
        missing: str,
        on_text: OnText | None = None,
    ) -> Shape:
        """What a server answers to `body` at `path`, which is relative to the base URL; `on_text`
        is told of it as it grows. `missing` says what to do where there is no such model or path.
        Raises RequestError for what is wrong with this request alone, and EngineError for what is
        wrong with the endpoint.
        """
        number = min(range(len(self.clients)), key=self.in_flight.__getitem__)
        self.in_flight[number] += 1
        try:
            if on_text is None:
                said = await self.post(path, body, missing, number)
            else:
                call = self._read_stream(path, {**body, **STREAMED}, number, on_text)
                said = await self.translate_errors(call, missing)
        finally:
            self.in_flight[number] -= 1
        found = self.read(said, shape, missing)
        self.answered += 1
        return found

    def read(self, said: bytes, shape: type[Shape], missing: str) -> Shape:
        """What a server says with status 200. Raises as `ask_once`."""
        try:
            return shape.model_validate_json(said)
        except ValidationError:
            raise self._no_answer(said, missing) from None  # what it holds may quote the key

    def read_answer(self, status: int, body: JsonValue, shape: type[Shape], missing: str) -> Shape:
        """One of many answers that came together, each with a status of its own; an error costs
        nothing. Raises as `ask_once`.
        """
        if status < 400:
            return self.read(json.dumps(body).encode(), shape, missing)
        error = self._read_error(status, body, missing, None)
        if isinstance(error, RequestError):
            error.paid = False
        raise error

    async def post(
        self, path: str, body: Mapping[str, Any], missing: str, number: int = 0
    ) -> bytes:
        """The raw answer of one server; what may pass and costs nothing is retried by the SDK.
        Raises as `ask_once`.
        """
        client = self.clients[number]
        if path.startswith("../"):  # the SDK does not lead out of the base URL
            path = str(client.base_url.join(path))
        call = client.post(path, cast_to=httpx2.Response, body=body)
        return (await self.translate_errors(call, missing)).content

    async def _read_stream(
        self, path: str, body: Mapping[str, Any], number: int, on_text: OnText
    ) -> bytes:
        """The whole answer of a server that was asked for pieces, and may not send them."""
        kind = openai.AsyncStream[object]
        client = self.clients[number]
        opened = await client.post(path, cast_to=object, body=body, stream=True, stream_cls=kind)
        response = opened.response
        try:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                return await response.aread()
            return await read_pieces(response.aiter_lines(), on_text)
        except httpx2.TransportError:
            lost = LostAnswerError("it dropped the connection in the middle of an answer")
        finally:
            await response.aclose()
        raise lost  # outside, so that it has no context: that one may quote the key

    async def models(self, missing: str, number: int = 0) -> set[str]:
        """What one server serves. Raises as `ask_once`."""
        page = await self.translate_errors(self.clients[number].models.list(), missing)
        return {model.id for model in page.data}

    def mask(self, said: str) -> str:
        """What a server says on one line, without the key."""
        return mask(said, self.at.api_key)

    async def translate_errors(self, call: Awaitable[Result], missing: str) -> Result:
        answered, label = self.answered, self.at.label
        try:
            return await call
        except LostAnswerError as error:
            failure = RequestError(
                f"The endpoint {label} gives no answer: {error}; see that it runs where "
                f"{label}_BASE_URL says, and run again: {KEPT}.",
                Failure(FailureReason.LOST, str(error)),
                paid=True,
            )
        except openai.APIStatusError as error:
            said = read_json(error.response.content)
            failure = self._read_error(error.status_code, said, missing, answered)
        except openai.APIError as error:
            failure = not_reached(label, error)
        raise failure  # outside, so that it has no context: that one may quote the key

    def _read_error(
        self, status: int, body: JsonValue, missing: str, answered: int | None
    ) -> EngineError:
        """`answered` is how many requests had an answer when this one was sent: where others had
        one since, the endpoint works. None stands for an error in an answer with status 200.
        """
        shown = quote(body, self.at.api_key)
        error = ServerError(status, body, shown, self.at.label, self.model, missing)
        if found := error.request_error:
            return found
        one_of_many = answered is None or self.answered > answered
        fails_here = status == 200 or (status >= 500 and status != 501)
        limits_here = status == 429 and answered is None and not error.has_no_credit
        if one_of_many and (fails_here or limits_here):
            return RequestError(
                f"The endpoint {self.at.label} fails at a request to {self.model!r} ({shown}); "
                f"look at its log, and run again: {KEPT}.",
                Failure(FailureReason.SERVER_ERROR, shown, is_settled=answered is not None),
                paid=answered is None,
            )
        return error.endpoint_error

    def _no_answer(self, said: bytes, missing: str) -> EngineError:
        """What an answer means that has not the shape of one: an error, or nonsense."""
        body = read_json(said)
        fields = body if isinstance(body, dict) else {}
        if not fields.get("choices") and (fields.get("error") or fields.get("object") == "error"):
            return self._read_error(status_in(fields), body, missing, None)
        shown = self.mask(said.decode(errors="replace"))[:SHOWN] or "nothing that could be read"
        return RequestError(
            f"The endpoint {self.at.label} says what is no answer ({shown}); look at its log, and "
            f"run again: {KEPT}.",
            Failure(FailureReason.NO_ANSWER, shown),
            paid=True,
            usage=fields.get("usage"),
        )


def _is_address(url: str) -> bool:
    """Of HTTP, without user name, password or query: a key in an address would be seen."""
    try:
        parts = urlsplit(url)
        whole = parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        return False
    return bool(parts.scheme in ("http", "https") and whole) and not ("@" in url or "?" in url)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
