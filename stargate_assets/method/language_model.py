"""What the method sees of a model, whatever runs behind it: it completes a chat, and scores a
continuation.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from stargate_assets.method.errors import StargateError

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "refused"]
"""`refused`: a content filter let nothing through, or a server failed at this request alone; the
text is empty, and is nobody's answer.
"""
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

    @property
    def completion_tokens(self) -> int:
        """Those that were scored."""
        return len(self.log_probs)

    @property
    def total(self) -> float:
        return sum(self.log_probs)

    @property
    def mean(self) -> float:
        return self.total / len(self.log_probs)


Result = TypeVar("Result")
Results = Generator[tuple[int, Result], None, None]
"""Results with the index of their request, in any order. Closing it stops what is under way."""


class LanguageModel(Protocol):
    """What the method sees: batched calls whose results stand in the order of the requests."""

    def chat(self, requests: Sequence[ChatRequest], doing: str) -> list[Completion]: ...

    def score(self, requests: Sequence[ScoreRequest], doing: str) -> list[Score]: ...


class EngineError(StargateError):
    """An engine cannot do what was asked. The message is one sentence that says what to do."""
