"""What an endpoint's errors mean: whether one request is wrong, or the endpoint is.

What is wrong with one request is a `RequestError`; every other EngineError is the endpoint's, and
stops a run at once. Each carries what the server said, without the key.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from stargate_assets.method.language_model import EngineError, Failure, FailureReason

SHOWN = 300
"""Characters of a server's message that an error quotes."""
KEPT = "what was answered is kept"
NO_KEY = "none"
"""What a server on loopback is sent where no key is set: the SDK wants one."""
CHARACTERS_OF_A_SECRET = 12
"""A key of so many stands for nothing else; a shorter one may be a part of any word."""

_FILTER = re.compile(
    r"(?i)content.?(?:filter|policy|management|moderation)|inspection|invalid_prompt|moderation"
    r"|safety|flagged|inappropriate|sensitive|responsible.?ai|harmful|unsafe|usage polic"
)
_TOO_LONG = re.compile(
    r"(?i)context.?(?:length|window|size)|string_above_max_length|too many (?:input )?tokens"
    r"|(?:prompt|input|request|messages?|context) (?:is |are )?too (?:long|large)"
    r"|maximum (?:input|prompt|model|sequence) length|max_model_len|max_seq_len"
)
_NO_CREDIT = re.compile(
    r"(?i)insufficient.?(?:quota|balance|credit|funds)|billing|credit balance|out of credits?"
)
_ECHOES = ("input", "ctx", "url")
"""Where pydantic's errors repeat the request."""


class RequestError(EngineError):
    """One request has no answer, which says nothing of the next one. `usage` is what the server
    says that it cost; without, `paid` is whether it may have cost something.
    """

    def __init__(
        self, message: str, failure: Failure, *, paid: bool = False, usage: JsonValue = None
    ):
        super().__init__(message)
        self.failure, self.paid, self.usage = failure, paid, usage


class NotTakenError(RequestError):
    """A server does not take a request as it is. `named` are the words that it uses, among them
    perhaps the field to blame.
    """

    def __init__(self, message: str, failure: Failure, named: Collection[str]):
        super().__init__(message, failure)
        self.named = frozenset(named)


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error as a server words it; `said` is what of it is shown. `missing` says what to do where
    there is no such model or path.
    """

    status: int
    body: JsonValue
    said: str
    label: str
    model: str
    missing: str

    @property
    def request_error(self) -> RequestError | None:
        """What is wrong with this request alone, if that is what the server says."""
        if self.status not in (400, 403, 413, 422, 451):
            return None
        at = f"the endpoint {self.label}"
        if self.status == 413 or (self.status != 403 and _TOO_LONG.search(self._everything)):
            return RequestError(
                f"A prompt is too long for {self.model!r} at {at} ({self.said}); shorten it, or "
                "lower the token limits.",
                Failure(FailureReason.TOO_LONG, self.said),
            )
        if self.status == 451 or _FILTER.search(self._everything):
            return RequestError(
                f"The content filter of {at} refuses what {self.model!r} is asked ({self.said}); "
                "ask another model.",
                Failure(FailureReason.CONTENT_FILTER, self.said),
            )
        if self.status == 403:
            return None
        return NotTakenError(
            f"{at.capitalize()} does not take a request to {self.model!r} ({self.said}); correct "
            "what the experiment says of this model.",
            Failure(FailureReason.REJECTED, self.said),
            set(_named_params(self.body)) or set(re.findall(r"\w+", self._everything)),
        )

    @property
    def endpoint_error(self) -> EngineError:
        """What is wrong with the endpoint, and what to do."""
        label, said, model = self.label, self.said, self.model
        at = f"The endpoint {label}"
        if self.has_no_credit:
            return EngineError(
                f"The account of {label}_API_KEY has no credit left ({said}); add some and run "
                f"again: {KEPT}."
            )
        if self.status == 401:
            return EngineError(
                f"{at} refuses the key ({said}); set {label}_API_KEY to one that is valid."
            )
        if self.status == 403:
            return EngineError(
                f"{at} does not allow this key to use {model!r} ({said}); use another key or model."
            )
        if self.status in (404, 405, 501):
            return EngineError(f"{self.missing} ({said}).")
        if self.status == 429:
            return EngineError(
                f"{at} still limits the rate after all retries ({said}); lower requests_at_once, "
                f"or run again later: {KEPT}."
            )
        if self.status >= 500:
            return EngineError(
                f"{at} still fails after all retries ({said}); run again when it works: {KEPT}."
            )
        return EngineError(
            f"{at} answers with status {self.status} ({said}); correct what the experiment says "
            f"of {model!r}, and run again: {KEPT}."
        )

    @property
    def has_no_credit(self) -> bool:
        """Whether waiting does not help, but money does."""
        return self.status == 402 or (self.status == 429 and says_no_credit(self.body))

    @property
    def _everything(self) -> str:
        return " ".join(_words(self.body))


def read_json(said: bytes) -> JsonValue:
    """What is no JSON is a text."""
    try:
        return json.loads(said)
    except ValueError:
        return said.decode(errors="replace")


def status_in(fields: Mapping[str, JsonValue]) -> int:
    """The status that an error states which came with status 200; 200 where it states none."""
    error = fields.get("error")
    for part in (error, fields):
        if isinstance(part, dict):
            for name in ("code", "status"):
                stated = str(part.get(name))
                if stated.isdecimal() and 400 <= int(stated) < 600:
                    return int(stated)
    return 200


def says_no_credit(body: JsonValue) -> bool:
    """Whether an error says that the account is empty."""
    return bool(_NO_CREDIT.search(" ".join(_words(body))))


def mask(said: str, key: str) -> str:
    """What a server says on one line, without the key, which it may quote."""
    if key != NO_KEY:
        written = {key, json.dumps(key)[1:-1]}
        secret = f"(?:{'|'.join(map(re.escape, sorted(written)))})"
        if len(key) < CHARACTERS_OF_A_SECRET:
            secret = rf"(?<!\w){secret}(?!\w)"
        said = re.sub(secret, "***", said)
    return " ".join(said.split())


def quote(body: JsonValue, key: str) -> str:
    """What is shown of a server's error: its message and code, or all of it where it has none."""
    found = body.get("error", body) if isinstance(body, dict) else body
    message = found.get("message") if isinstance(found, dict) else found
    if not isinstance(message, str) or not message.strip():
        return mask(" ".join(_words(body)), key)[:SHOWN] or "nothing that could be read"
    code = found.get("code") if isinstance(found, dict) else None
    shown = mask(message, key)[:SHOWN]
    return f"{shown} [{mask(str(code), key)[:SHOWN]}]" if code else shown


def _named_params(body: JsonValue) -> Iterator[str]:
    """The fields that an error names where that is done: OpenAI's `param`, pydantic's `loc`."""
    if isinstance(body, list):
        for part in body:
            yield from _named_params(part)
    elif isinstance(body, dict):
        where = body.get("loc")
        for name in (body.get("param"), *(where if isinstance(where, list) else [])):
            if isinstance(name, str) and name != "body":
                yield name
        for name, part in body.items():
            if name not in _ECHOES:
                yield from _named_params(part)


def _words(body: JsonValue) -> Iterator[str]:
    """All texts of an error, but for what it repeats of the request."""
    if isinstance(body, list):
        for part in body:
            yield from _words(part)
    elif isinstance(body, dict):
        for name, part in body.items():
            if name not in _ECHOES:
                yield from _words(part)
    elif body is not None and not isinstance(body, bool):
        yield str(body)
