"""A model's chat template and tokens where only a vLLM server has them: what `chat_tokenizer` finds
in a tokenizer is asked of the server, by POST /tokenize.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from pydantic import BaseModel

from stargate_assets.engines.endpoint_errors import NotTakenError
from stargate_assets.engines.endpoints import Servers
from stargate_assets.engines.turns import (
    ANSWERED,
    ASKED,
    SPACED,
    TurnForm,
    read_turn_form,
    split_turn,
    turns,
)
from stargate_assets.method.language_model import EngineError, Message

_SYSTEM, _OTHER_ANSWER = Message("system", "zxqsys"), Message("assistant", "zxqb")
_AS_WRITTEN = {"▁": " ", "Ġ": " ", "Ċ": "\n", "<0x0A>": "\n"}
"""Spaces and line ends as tokenizers write them, and what they are."""


class _Tokens(BaseModel):
    tokens: list[int]
    token_strs: list[str] | None = None


@dataclass(frozen=True, slots=True)
class ServedTurns:
    """How a server's chat template writes an answer, how many tokens of a prompt are dropped then,
    and the tokens of the anchor, without and with what stands before a message.
    """

    form: TurnForm
    dropped: int = 0
    anchor: tuple[int, ...] = ()
    before: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ServedTokenizer:
    """`missing` is what to do about an endpoint that has no /tokenize. `stated` is what the chat
    template is told besides the messages. Raises EngineError.
    """

    servers: Servers
    model: str
    missing: str
    stated: Mapping[str, Any]

    async def has_system_role(self) -> bool:
        """False where the template refuses a system message or drops it without a word. An endpoint
        that tokenises nothing is a hosted one, and those have the role.
        """
        try:
            plain = await self.prompt_ids([ASKED], has_system_role=True)
        except EngineError:
            return True
        try:
            return await self.prompt_ids([_SYSTEM, ASKED], has_system_role=True) != plain
        except NotTakenError:
            return False

    async def prompt_ids(self, messages: Sequence[Message], has_system_role: bool) -> list[int]:
        """The context of an assistant turn, up to and including the words that open it."""
        body = {"messages": turns(messages, has_system_role), "add_generation_prompt": True}
        return (await self._ask(body)).tokens

    async def text_ids(self, text: str) -> list[int]:
        return (await self._ask({"prompt": text})).tokens

    async def turns(self) -> ServedTurns:
        """How the template writes an answer; asked once for many messages."""
        opened = await self._render([ASKED], generation=True)
        kept, spaced = [
            await self._render([ASKED, answer], generation=False) for answer in (ANSWERED, SPACED)
        ]
        prompt, *closed = ["".join(text for _, text in ids) for ids in (opened, kept, spaced)]
        form, dropped = read_turn_form(prompt, *closed), 0
        while len("".join(text for _, text in opened[len(opened) - dropped :])) < len(form.dropped):
            dropped += 1
        anchor = await self.text_ids(form.anchor)
        before = await self.text_ids(form.anchor + form.before)
        return ServedTurns(form, dropped, tuple(anchor), tuple(before))

    async def scored(
        self, messages: Sequence[Message], said: str, has_system_role: bool, known: ServedTurns
    ) -> tuple[list[int], list[int]]:
        """The context of a message that is said, and its tokens."""
        prompt, form = await self.prompt_ids(messages, has_system_role), known.form
        said = form.strip(said)
        context = prompt[: len(prompt) - known.dropped]
        whole = await self.text_ids(form.anchor + form.before + said)
        if turn := split_turn(known.anchor, known.before, whole):
            return [*context, *turn[0]], list(turn[1])
        before = await self.text_ids(form.before) if form.before else []
        return [*context, *before], await self.text_ids(said)

    async def end_of_turn_ids(self) -> list[int]:
        """What the template writes after an assistant's message, whatever that is, up to the first
        token that is not white space.
        """
        one, other = [
            await self._render([ASKED, answer], generation=False)
            for answer in (ANSWERED, _OTHER_ANSWER)
        ]
        alike = takewhile(
            lambda pair: pair[0] == pair[1], zip(one[::-1], other[::-1], strict=False)
        )
        tail = [found for found, _ in alike][::-1]
        for position, (_, text) in enumerate(tail):
            if text.strip():
                return [token for token, _ in tail[: position + 1]]
        raise EngineError(
            f"The chat template of {self.model!r} does not show which token ends a turn; use "
            "engine: transformers for this role."
        )

    async def _render(
        self, messages: Sequence[Message], *, generation: bool
    ) -> list[tuple[int, str]]:
        """The tokens of a dialogue, and what they stand for."""
        dialogue = turns(messages, has_system_role=True)
        said = {"add_generation_prompt": generation, "return_token_strs": True}
        found = await self._ask({"messages": dialogue, **said})
        texts = [_text(written) for written in found.token_strs or []]
        return list(zip(found.tokens, texts, strict=False))

    async def _ask(self, body: dict[str, Any]) -> _Tokens:
        whole = {"model": self.model, "add_special_tokens": False, **body}
        if "messages" in body and self.stated:
            whole["chat_template_kwargs"] = self.stated
        return await self.servers.ask("../tokenize", whole, _Tokens, self.missing)


def _text(written: str) -> str:
    if re.fullmatch(r"<.+>", written) and written not in _AS_WRITTEN:  # a control token
        return written
    for sign, meant in _AS_WRITTEN.items():
        written = written.replace(sign, meant)
    return written
