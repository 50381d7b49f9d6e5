"""A model's chat template and tokens where only a vLLM server has them: what `chat_tokenizer` finds
in a tokenizer is asked of the server, by POST /tokenize.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from pydantic import BaseModel

from stargate_assets.engines.chat_tokenizer import turns
from stargate_assets.engines.endpoints import NotTakenError, Servers
from stargate_assets.method.language_model import EngineError, Message

_SYSTEM, _USER = Message("system", "zxqsys"), Message("user", "zxqusr")
_ANSWERS = "zxqa", "zxqb"
_WHITE = " \n▁ĠĊ"
"""Spaces and line ends, also as tokenizers write them."""


class _Tokens(BaseModel):
    tokens: list[int]
    token_strs: list[str] | None = None


@dataclass(frozen=True, slots=True)
class ServedTokenizer:
    """`missing` is what to do about an endpoint that has no /tokenize. Raises EngineError."""

    servers: Servers
    model: str
    missing: str

    async def has_system_role(self) -> bool:
        """False where the template refuses a system message or drops it without a word. An endpoint
        that tokenises nothing is a hosted one, and those have the role.
        """
        try:
            plain = await self.prompt_ids([_USER], has_system_role=True)
        except EngineError:
            return True
        try:
            return await self.prompt_ids([_SYSTEM, _USER], has_system_role=True) != plain
        except NotTakenError:
            return False

    async def prompt_ids(self, messages: Sequence[Message], has_system_role: bool) -> list[int]:
        """The context of an assistant turn, up to and including the words that open it."""
        body = {"messages": turns(messages, has_system_role), "add_generation_prompt": True}
        return (await self._ask(body)).tokens

    async def text_ids(self, text: str) -> list[int]:
        return (await self._ask({"prompt": text})).tokens

    async def end_of_turn_ids(self) -> list[int]:
        """What the template writes after an assistant's message, whatever that is, up to the first
        token that is not white space.
        """
        one, other = [await self._render_closed(answer) for answer in _ANSWERS]
        alike = takewhile(
            lambda pair: pair[0] == pair[1], zip(one[::-1], other[::-1], strict=False)
        )
        tail = [found for found, _ in alike][::-1]
        for position, (_, text) in enumerate(tail):
            if text.strip(_WHITE):
                return [token for token, _ in tail[: position + 1]]
        raise EngineError(
            f"The chat template of {self.model!r} does not show which token ends a turn; use "
            "engine: transformers for this role."
        )

    async def _render_closed(self, answer: str) -> list[tuple[int, str]]:
        """The tokens of a dialogue that ends with an answer, and how they are written."""
        dialogue = turns([_USER, Message("assistant", answer)], has_system_role=True)
        body = {"messages": dialogue, "add_generation_prompt": False, "return_token_strs": True}
        closed = await self._ask(body)
        return list(zip(closed.tokens, closed.token_strs or [], strict=False))

    async def _ask(self, body: dict[str, Any]) -> _Tokens:
        whole = {"model": self.model, "add_special_tokens": False, **body}
        return await self.servers.ask("../tokenize", whole, _Tokens, self.missing)
