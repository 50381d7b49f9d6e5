"""Answers of endpoints that come a piece at a time (server-sent events), put together as the server
would have sent them whole.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from stargate_assets.engines.connections import LostAnswerError
from stargate_assets.engines.engine import OnText
from stargate_assets.method.thoughts import read_completion

STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
"""What a request says that wants pieces, and the tokens at their end."""
_DATA, _END = "data:", "[DONE]"


@dataclass(slots=True)
class _Pieces:
    """`texts` are the fields of the message, such as content and reasoning, as far as they came."""

    texts: dict[str, str] = field(default_factory=dict[str, str])
    finish_reason: str | None = None
    usage: JsonValue = None

    def add(self, event: dict[str, Any]) -> None:
        self.usage = event.get("usage") or self.usage
        choice = next(iter(event.get("choices") or []), {})
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        for name, text in (choice.get("delta") or {}).items():
            if name != "role" and isinstance(text, str):
                self.texts[name] = self.texts.get(name, "") + text

    @property
    def whole(self) -> dict[str, Any]:
        choice = {"message": self.texts, "finish_reason": self.finish_reason}
        return {"choices": [choice], "usage": self.usage}


async def read_pieces(lines: AsyncIterator[str], on_text: OnText) -> bytes:
    """The whole answer, of which `on_text` is told as it grows; what is no piece, such as an error,
    stands for the answer. Raises LostAnswerError where it breaks off.
    """
    pieces, ended = _Pieces(), False
    async for line in lines:
        if not line.startswith(_DATA):
            continue
        said = line.removeprefix(_DATA).strip()
        if said == _END:
            ended = True
            break
        try:
            event = json.loads(said)
        except ValueError:
            return said.encode()
        if not isinstance(event, dict) or event.get("error"):
            return said.encode()
        pieces.add(event)
        on_text(read_completion(pieces.texts.get("content", ""), "length", 0, 0).text)
    if not ended and pieces.finish_reason is None:
        raise LostAnswerError("it broke off in the middle of an answer")
    return json.dumps(pieces.whole).encode()
