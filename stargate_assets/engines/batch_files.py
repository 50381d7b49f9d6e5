"""The files of OpenAI's batch interface: a request a line, and later an answer a line, in any
order.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError

MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
"""What OpenAI takes in one file; nobody is known to take less."""
PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class BatchFile:
    """Requests that go out together: their keys, and what is uploaded."""

    keys: tuple[str, ...]
    content: bytes


class Response(BaseModel):
    """What the model's endpoint answered to one request."""

    status_code: int
    body: JsonValue = None


class Line(BaseModel):
    """What came of one request; no `response`: it was never tried, and `error` says why."""

    custom_id: str
    response: Response | None = None
    error: JsonValue = None


def write_files(
    bodies: Iterable[tuple[str, Mapping[str, Any]]],
    most_requests: int = MOST_REQUESTS,
    most_bytes: int = MOST_BYTES,
) -> Iterator[BatchFile]:
    """Write requests, by key, into as few files as they fit into in this order."""
    keys, lines, size = list[str](), list[bytes](), 0
    for key, body in bodies:
        stated = {"custom_id": key, "method": "POST", "url": PATH, "body": body}
        line = json.dumps(stated).encode() + b"\n"
        if keys and (len(keys) == most_requests or size + len(line) > most_bytes):
            yield BatchFile(tuple(keys), b"".join(lines))
            keys, lines, size = [], [], 0
        keys.append(key)
        lines.append(line)
        size += len(line)
    if keys:
        yield BatchFile(tuple(keys), b"".join(lines))


def read_lines(content: bytes) -> Iterator[Line]:
    """Read what came of a file's requests. What is no such line is left out, so that its request
    counts as one without an answer.
    """
    for line in content.split(b"\n"):
        try:
            yield Line.model_validate_json(line)
        except ValidationError:
            continue
