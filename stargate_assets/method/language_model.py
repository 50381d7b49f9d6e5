"""What the method sees of a model, whatever runs behind it: it completes a chat, and scores a
continuation.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol, TypeVar

from stargate_assets.method.errors import StargateError

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "refused"]
"""`refused`: this request alone has no answer, because a content filter let nothing through or for
another `FailureReason`; the text is empty, and is nobody's answer.
"""
_TOKENS_OF_A_MESSAGE = 16
"""More than any chat template adds to one."""
TOGETHER = 50_000
"""Most requests of one call where a cell has very many: engines gain nothing from more, and all
requests and results of a call are in memory at once.
"""
Item = TypeVar("Item")
OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how many of it are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """`temperature` 0 is greedy decoding; `max_tokens` counts the completion alone."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One completion. Ten samples of a prompt are ten requests with ten seeds: sharing the prompt's
    work among them is the engine's business, and a sample never depends on how many there are.
    """

    messages: tuple[Message, ...]
    sampling: Sampling
    seed: int = 0
    structure: str | None = None
    """A JSON schema that the text is asked to follow. Engines and servers that cannot hold a model
    to it leave it out, so who asks says it in words too, and reads what comes.
    """


class FailureReason(StrEnum):
    """Why one request has no answer, while others may have."""

    CONTENT_FILTER = "content_filter"
    TOO_LONG = "too_long"
    REJECTED = "rejected"
    """The server does not take the request, for a reason that is none of the others."""
    SERVER_ERROR = "server_error"
    NO_ANSWER = "no_answer"
    """What came is nothing that an answer looks like."""
    LOST = "lost"
    """The request was sent, and no answer came, or not all of it."""
    EXPIRED = "expired"
    """The provider had no time for it within the window of its batch."""
    CANCELLED = "cancelled"
    """Somebody cancelled its batch first."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one request has no answer; `said` is what the server said, without keys. `is_settled`: it
    was sent again already, as often as makes sense.
    """

    reason: FailureReason
    said: str
    is_settled: bool = False

    @property
    def may_pass(self) -> bool:
        """Whether the same request may have an answer if it is sent again."""
        lasting = (FailureReason.CONTENT_FILTER, FailureReason.TOO_LONG, FailureReason.REJECTED)
        return self.reason not in lasting and not self.is_settled


@dataclass(frozen=True, slots=True)
class Completion:
    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    """Those of a thought included."""
    thought: str | None = None
    """What a reasoning model thought before it said `text`. It is kept with the completion, and
    goes nowhere else.
    """
    estimated: bool = False
    """Whether the server did not report all tokens: those that it left out are our own count, which
    is no less than they can have been.
    """
    failure: Failure | None = None
    """Why it is `refused`, where that is known."""

    @classmethod
    def failed(cls, failure: Failure) -> "Completion":
        """No answer, and no call was made for it."""
        return cls("", "refused", 0, 0, failure=failure)


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """How probable is `continuation` as the assistant's next message?"""

    messages: tuple[Message, ...]
    continuation: str
    end_of_turn: bool = False
    """Whether the token that ends the turn is scored too."""


@dataclass(frozen=True, slots=True)
class Score:
    log_probs: tuple[float, ...]
    """One natural logarithm (nats) for each token of the continuation, none for the context."""
    prompt_tokens: int
    failure: Failure | None = None
    """Why there are no log-probabilities, if there are none."""

    @classmethod
    def failed(cls, failure: Failure) -> "Score":
        """No score, and no call was made for it."""
        return cls((), 0, failure)

    @property
    def completion_tokens(self) -> int:
        """Those that were scored."""
        return len(self.log_probs)

    @property
    def total(self) -> float:
        assert self.failure is None, "a failed score has no value"
        return sum(self.log_probs)

    @property
    def mean(self) -> float:
        return self.total / len(self.log_probs)


def ignore_progress(doing: str, done: int, total: int) -> None:
    """For who is told of progress and shows none."""
    del doing, done, total


def in_parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Items in parts of at most `size` (one at least), so that what is asked for a part and what
    comes of it can go before the next one is asked.
    """
    for start in range(0, len(items), max(1, size)):
        yield items[start : start + max(1, size)]


def most_tokens(request: ChatRequest | ScoreRequest) -> tuple[int, int]:
    """No more prompt and completion tokens than these can be asked for: no tokenizer makes more
    tokens than there are bytes.
    """
    prompt = sum(len(m.content.encode()) + _TOKENS_OF_A_MESSAGE for m in request.messages)
    if isinstance(request, ScoreRequest):
        return prompt + len(request.continuation.encode()) + _TOKENS_OF_A_MESSAGE, 1
    return prompt + len((request.structure or "").encode()), request.sampling.max_tokens


def find_too_long(
    lengths: Sequence[int], limit: int | None, name: str
) -> tuple[list[int], dict[int, Failure]]:
    """The requests that fit into a context of `limit` tokens, and why each of the others has no
    answer, by index. `lengths` are in tokens, the completion included; no `limit`: all fit.
    """
    too_long = {
        index: Failure(
            FailureReason.TOO_LONG,
            f"it needs {length} tokens and {name} has room for {limit}; shorten the persona or the "
            "task, lower the token limits, or take a model with a longer context",
        )
        for index, length in enumerate(lengths)
        if limit is not None and length > limit
    }
    return [index for index in range(len(lengths)) if index not in too_long], too_long


Result = TypeVar("Result")
Results = Generator[tuple[int, Result], None, None]
"""Results with the index of their request, in any order. Closing it stops what is under way."""


class LanguageModel(Protocol):
    """What the method sees: batched calls whose results stand in the order of the requests."""

    def chat(self, requests: Sequence[ChatRequest], doing: str) -> list[Completion]: ...

    def score(self, requests: Sequence[ScoreRequest], doing: str) -> list[Score]: ...


class EngineError(StargateError):
    """An engine cannot do what was asked. The message is one sentence that says what to do."""
