"""What endpoints answer to a chat: where the text is, where the thought, and why it ended."""

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, Field, JsonValue, model_validator

from stargate_assets.method.language_model import Completion, FinishReason
from stargate_assets.method.thoughts import read_completion

_THOUGHT_PARTS = ("thinking", "reasoning", "reasoning_text", "summary_text")
_WORDS_IN = ("text", "thinking", "reasoning", "content", "summary")
"""The fields of a part that have its words."""


class _Message(BaseModel):
    """`content` may be parts, some of them thoughts. Servers that know a model's way to think keep
    it apart: as `reasoning` (vLLM) or `reasoning_content` (DeepSeek, SGLang).
    """

    content: str | list[dict[str, JsonValue]] | None = None
    refusal: str | None = None
    reasoning: JsonValue = None
    reasoning_content: JsonValue = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return _words(part for part in self.content or [] if not _is_thought(part))

    @property
    def thought(self) -> str:
        parts = self.content if isinstance(self.content, list) else []
        return _words(filter(_is_thought, parts)) or (
            _words([self.reasoning_content]) or _words([self.reasoning])
        )


class _Choice(BaseModel):
    message: _Message
    finish_reason: Literal["stop", "length", "content_filter", "error"] | None = None
    """`error` if the server failed while it answered; some leave it out of what is complete."""

    @property
    def reason(self) -> FinishReason:
        if self.finish_reason in ("content_filter", "error") or self.message.refusal:
            return "refused"
        return self.finish_reason or "stop"

    @model_validator(mode="after")
    def _has_content(self) -> "_Choice":
        # A model that thinks may end, or meet its limit, before it says anything.
        said = self.message.content not in (None, []) or self.message.thought
        if self.reason == "stop" and not said:
            raise ValueError("no content")
        return self


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChatAnswer(BaseModel):
    """A chat completion, as OpenAI's protocol has it and as servers deviate from it."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None

    @property
    def failed(self) -> bool:
        """Whether the server says so itself: what it has answered is not whole."""
        return self.choices[0].finish_reason == "error"

    def completion(self) -> Completion:
        """The completion, its thought apart; what was refused has no text."""
        choice, usage = self.choices[0], self.usage or _Usage()
        tokens = usage.prompt_tokens, usage.completion_tokens
        if choice.reason == "refused":
            return Completion("", "refused", *tokens)
        message = choice.message
        return read_completion(message.text, choice.reason, *tokens, thought=message.thought)


def _is_thought(part: Mapping[str, JsonValue]) -> bool:
    return part.get("type") in _THOUGHT_PARTS


def _words(parts: Iterable[JsonValue]) -> str:
    """All words of a message's parts, however they are nested."""
    found: list[str] = []
    for part in parts:
        if isinstance(part, str):
            found.append(part)
        elif isinstance(part, list):
            found.append(_words(part))
        elif isinstance(part, dict):
            found.append(_words(part[name] for name in _WORDS_IN if name in part))
    return "".join(found)
