"""OpenAI-compatible endpoints: where they are, how they are asked, and what their failures mean.

Keys and addresses come from the environment and go nowhere but into requests: not into errors, not
into the identity of a model.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai
from pydantic import BaseModel, ValidationError

from stargate_assets.method.language_model import EngineError

OPENAI = "OPENAI"
NO_KEY = "none"
"""What a server on loopback is sent where no key is set: the SDK wants one."""
ANSWERS = 3
"""How often an answer that makes no sense is asked for."""
SHOWN = 300
"""Characters of a server's message that an error quotes."""
KEPT = "what was answered is kept"

Answer = TypeVar("Answer", bound=BaseModel)
Result = TypeVar("Result")


class RefusedError(EngineError):
    """A content filter does not take the request. For a chat that is an answer of its kind."""


class NotTakenError(EngineError):
    """A server does not take a request as it is."""


class NonsenseError(EngineError):
    """A server says what is no answer, or not even HTTP."""


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
    if not key and not (urls and all(map(_is_loopback, urls))):
        raise EngineError(f"The endpoint {label} needs a key; set {label}_API_KEY.")
    return Endpoint(label, urls or (None,), key or NO_KEY)


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
                # Half of the processor's time of the default one.
                http_client=openai.DefaultAioHttpClient(
                    timeout=timeout,
                    limits=httpx2.Limits(max_connections=None),
                    event_hooks={"response": [_give_up_without_credit]},
                ),
            )
            for url in at.base_urls
        ]
        self.in_flight = [0] * len(self.clients)

    async def __aenter__(self) -> "Servers":
        return self

    async def __aexit__(self, *error: object) -> None:
        for client in self.clients:
            await client.close()

    async def ask(
        self, path: str, body: Mapping[str, Any], shape: type[Answer], missing: str
    ) -> Answer:
        """What a server answers to `body` at `path`, which is relative to the base URL.

        An answer that has not the shape is a fault of the server: it is asked for again, `ANSWERS`
        times in all. `missing` says what to do where there is no such model or path. Raises
        EngineError, and RefusedError where a content filter refuses the request.
        """
        number = min(range(len(self.clients)), key=self.in_flight.__getitem__)
        self.in_flight[number] += 1
        try:
            said = b""
            for attempt in range(ANSWERS):
                await asyncio.sleep(0.1 * attempt)
                with suppress(ValidationError, NonsenseError):
                    said = await self.post(path, body, missing, number)
                    return shape.model_validate_json(said)
        finally:
            self.in_flight[number] -= 1
        raise NonsenseError(self._nonsense(said))

    async def post(
        self, path: str, body: Mapping[str, Any], missing: str, number: int = 0
    ) -> bytes:
        """The raw answer of one server; what may pass is retried by the SDK. Raises as `ask`."""
        client = self.clients[number]
        if path.startswith("../"):  # the SDK does not lead out of the base URL
            path = str(client.base_url.join(path))
        call = client.post(path, cast_to=httpx2.Response, body=body)
        return (await self._translate_errors(call, missing)).content

    async def models(self, missing: str, number: int = 0) -> set[str]:
        """What one server serves. Raises as `ask`."""
        page = await self._translate_errors(self.clients[number].models.list(), missing)
        return {model.id for model in page.data}

    async def _translate_errors(self, call: Awaitable[Result], missing: str) -> Result:
        try:
            return await call
        except openai.APIError as error:
            failure = self._failure(error, missing)
        except aiohttp.ClientError:  # what the SDK's transport does not translate: no HTTP
            failure = NonsenseError(self._nonsense())
        raise failure  # outside, so that it has no context: that one may quote the key

    def _failure(self, error: openai.APIError, missing: str) -> EngineError:
        label, model = self.at.label, self.model
        if not isinstance(error, openai.APIStatusError):
            return EngineError(
                f"The endpoint {label} gives no answer, or drops the connection, after all "
                f"retries; see that it runs where {label}_BASE_URL says, and run again: {KEPT}."
            )
        code, status = {error.code, error.type}, error.status_code
        said = self._mask(error.message).splitlines()[0][:SHOWN]
        if status == 400 and "content_filter" in code:
            return RefusedError(
                f"The content filter of the endpoint {label} refuses what {model!r} is asked; ask "
                "another model."
            )
        if status == 401:
            return EngineError(
                f"The endpoint {label} refuses the key; set {label}_API_KEY to one that is valid."
            )
        if status == 403:
            return EngineError(
                f"The endpoint {label} does not allow this key to use {model!r} ({said}); use "
                "another key or model."
            )
        if status in (404, 405, 501):
            return EngineError(f"{missing} ({said}).")
        if status == 429 and "insufficient_quota" in code:
            return EngineError(
                f"The account of {label}_API_KEY has no credit left; add some and run again: "
                f"{KEPT}."
            )
        if status == 429:
            return EngineError(
                f"The endpoint {label} still limits the rate after all retries; lower "
                f"requests_at_once, or run again later: {KEPT}."
            )
        if status >= 500:
            return EngineError(
                f"The endpoint {label} still fails after all retries ({said}); run again when it "
                f"works: {KEPT}."
            )
        if "unsupported_parameter" in code and error.param == "max_tokens":
            return EngineError(
                f"The model {model!r} does not take max_tokens; set limit_field: "
                "max_completion_tokens where the experiment names it."
            )
        return NotTakenError(
            f"The endpoint {label} does not take a request to {model!r} ({said}); correct what "
            "the experiment says of this model."
        )

    def _nonsense(self, said: bytes = b"") -> str:
        shown = " ".join(self._mask(said.decode(errors="replace")).split())[:SHOWN]
        return (
            f"The endpoint {self.at.label} says what is no answer "
            f"({shown or 'nothing that could be read'}); look at its log, and run again: {KEPT}."
        )

    def _mask(self, said: str) -> str:
        """What a server says, without the key, which it may quote."""
        return said.replace(self.at.api_key, "***")


async def _give_up_without_credit(response: httpx2.Response) -> None:
    """Waiting brings no credit: the SDK obeys this header."""
    if response.status_code == 429 and b'"insufficient_quota"' in await response.aread():
        response.headers["x-should-retry"] = "false"


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
