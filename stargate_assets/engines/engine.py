"""What every engine implements, and what it is opened with. `config/engines.py` says how to add
one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, runtime_checkable

from stargate_assets.config.machine import Machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.engines.batch_files import BatchFile
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    OnProgress,
    Results,
    Score,
    ScoreRequest,
)

OnText = Callable[[str], None]
"""Called with all that a completion says so far."""
ANSWERS = 3
"""How often an answer is asked for that makes no sense or does not come."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained policy: its directory, and the hash that its manifest seals."""

    path: Path
    sha256: str

    @property
    def is_adapter(self) -> bool:
        """Whether it is a LoRA adapter, and not a whole model."""
        return (self.path / "adapter_config.json").exists()


@dataclass(frozen=True, slots=True)
class Opening:
    """What an engine is opened with. `path` is a directory or a hub's id, `dtype` and `device` are
    resolved; `logs` is a directory for what a server prints.
    """

    spec: ModelSpec
    path: str
    revision: str | None
    dtype: str
    device: str
    machine: Machine
    logs: Path
    on_progress: OnProgress


class Engine(Protocol):
    """Asks one base model, or that model with an adapter. Each result comes as soon as it is done,
    so that a finished call is on disk before the next one ends. Every method raises EngineError.
    """

    def chat(self, requests: Sequence[ChatRequest]) -> Results[Completion]:
        """Complete chats. A request's result depends on its own seed and on no other request."""
        ...

    def score(self, requests: Sequence[ScoreRequest]) -> Results[Score]:
        """Give the log-probability of each token of the continuations, in nats."""
        ...

    def use(self, checkpoint: Checkpoint | None) -> None:
        """Ask the base model (None), or the model with this LoRA adapter, from now on."""
        ...

    def close(self) -> None:
        """Free the memory, and end the processes, that the engine holds."""
        ...


@runtime_checkable
class StreamingEngine(Protocol):
    """What an engine may do besides: say what a completion is while it grows."""

    def stream(self, request: ChatRequest, on_text: OnText) -> Results[Completion]:
        """Complete one chat, exactly as `chat` does."""
        ...


BatchResult = Completion | EngineError | None
"""What comes of a request in a batch: an answer, or why it has none; what is wrong with the
endpoint; or nothing, because the request must be written otherwise and sent again.
"""


@dataclass(frozen=True, slots=True)
class BatchState:
    """A batch as its endpoint describes it: how many requests are `done`, the `files` that have
    their answers, what it says is wrong, and when to look again, if it states that.
    """

    id: str
    status: str
    has_ended: bool
    done: int = 0
    files: tuple[str, ...] = ()
    said: str = ""
    seconds: float | None = None


@runtime_checkable
class BatchEngine(Protocol):
    """An engine whose chats go out in batches, which outlive the process that creates them: whoever
    calls keeps an account of them. Only `create` costs money. Every method raises EngineError.
    """

    def files(self, requests: Mapping[str, ChatRequest]) -> Iterator[BatchFile]:
        """Write requests, by key, into files as large as the provider takes."""
        ...

    def upload(self, file: BatchFile) -> str:
        """Upload a file; returns its id."""
        ...

    def create(self, file_id: str) -> str:
        """Have the requests of a file answered, once; returns the batch's id."""
        ...

    def find(self, file_id: str) -> str | None:
        """The id of a file's batch, if there is one."""
        ...

    def look(self, ids: Sequence[str]) -> list[BatchState]:
        """How batches are, in the order of their ids."""
        ...

    def results(
        self, state: BatchState, requests: Mapping[str, ChatRequest]
    ) -> Iterator[tuple[str, BatchResult]]:
        """What came of each of these requests in a batch that has ended, by key."""
        ...


def open_engine(module: str, opening: Opening) -> Engine:
    """Open the engine of a module that is entered in `config/engines.py`."""
    return import_module(module).open_engine(opening)
