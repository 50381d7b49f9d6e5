"""What endpoints answer to a chat: where the text is, where the thought, and why it ended."""

from collections.abc import Iterable
from dataclasses import replace

from pydantic import BaseModel, Field, JsonValue, model_validator

from stargate_assets.method.language_model import Completion, Failure, FailureReason
from stargate_assets.method.thoughts import read_completion

_THOUGHT_PARTS = ("thinking", "reasoning", "reasoning_text", "summary_text")
_WORDS_IN = ("text", "thinking", "reasoning", "content", "summary")
"""The fields of a part that have its words."""
_STOPPED = ("stop", "eos", "eos_token", "end_turn", "stop_sequence")
"""Finish reasons in lower case, as providers name them; none is `stop`. These are an end."""
_CUT = ("length", "max_tokens", "model_length", "max_output_tokens")
_FILTERED = (
    *("content_filter", "safety", "sensitive", "refusal", "recitation", "blocklist"),
    *("prohibited_content", "spii", "guardrail_intervened"),
)
_FAILED = ("error", "abort", "insufficient_system_resource")
"""The server failed while it answered."""


class _Message(BaseModel):
    """`content` may be parts, some of them thoughts. Servers that know a model's way to think keep
    it apart: as `reasoning` (vLLM) or `reasoning_content` (DeepSeek, SGLang).
    """

    content: str | list[JsonValue] | None = None
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
    finish_reason: str | None = None

    @model_validator(mode="after")
    def _has_content(self) -> "_Choice":
        # A model that thinks may end, or meet its limit, before it says anything.
        said = self.message.content not in (None, []) or self.message.thought
        if (self.finish_reason or "stop").lower() in _STOPPED and not (
            said or self.message.refusal
        ):
            raise ValueError("no content")
        return self


class ChatAnswer(BaseModel):
    """A chat completion, as OpenAI's protocol has it and as servers deviate from it."""

    choices: list[_Choice] = Field(min_length=1)
    usage: JsonValue = None

    @property
    def failure(self) -> Failure | None:
        """Why it is no answer to the request, if it is none."""
        choice = self.choices[0]
        ended = (choice.finish_reason or "stop").lower()
        if choice.message.refusal:
            return Failure(FailureReason.CONTENT_FILTER, choice.message.refusal)
        if ended in _STOPPED or ended in _CUT:
            return None
        said = f"finish_reason {choice.finish_reason!r}"
        if ended in _FILTERED:
            return Failure(FailureReason.CONTENT_FILTER, said)
        broken = ended in _FAILED
        return Failure(FailureReason.SERVER_ERROR if broken else FailureReason.NO_ANSWER, said)

    def completion(self, most: tuple[int, int]) -> Completion:
        """The completion, its thought apart; what is no answer has no text. `most` are the prompt
        and completion tokens that are counted where the server does not report them.
        """
        prompt, completion, estimated = read_usage(self.usage, most)
        failure, choice = self.failure, self.choices[0]
        message = choice.message
        if failure is not None:
            return Completion(
                "", "refused", prompt, completion, estimated=estimated, failure=failure
            )
        if completion == 0 and (message.text or message.thought):  # nothing is written for nothing
            completion, estimated = most[1], True
        cut = (choice.finish_reason or "").lower() in _CUT
        found = read_completion(
            message.text,
            "length" if cut else "stop",
            prompt,
            completion,
            thought=message.thought,
        )
        return replace(found, estimated=estimated)


def read_usage(said: JsonValue, most: tuple[int, int]) -> tuple[int, int, bool]:
    """Prompt and completion tokens as a server reports them, or for one that it leaves out, what
    `most` says; and whether it leaves one out.
    """
    usage = said if isinstance(said, dict) else {}
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(prompt, int) or prompt < 1:  # no prompt is empty
        prompt = None
    if not isinstance(completion, int) or completion < 0:
        completion = None
    return (
        most[0] if prompt is None else prompt,
        most[1] if completion is None else completion,
        prompt is None or completion is None,
    )


def _is_thought(part: JsonValue) -> bool:
    return isinstance(part, dict) and part.get("type") in _THOUGHT_PARTS


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
