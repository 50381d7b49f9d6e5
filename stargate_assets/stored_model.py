"""A model behind the completion store: only what is not on disk yet reaches an engine."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from stargate_assets.language_model import (
    ChatRequest,
    Completion,
    Engine,
    OnProgress,
    Score,
    ScoreRequest,
)
from stargate_assets.storage.completions import CompletionStore, request_key

RESULTS_A_COMMIT = 16
SECONDS_A_COMMIT = 2.0

Request = TypeVar("Request", ChatRequest, ScoreRequest)
Result = TypeVar("Result", Completion, Score)


@dataclass(slots=True)
class Usage:
    """Calls that a run made, calls that the store answered, and seconds in engines and training."""

    made: int = 0
    stored: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StoredModel:
    """`identity` is everything about the model that a result depends on; `engine` opens it when it
    is needed.
    """

    identity: str
    store: CompletionStore
    engine: Callable[[], Engine]
    on_progress: OnProgress
    usage: Usage = field(default_factory=Usage)

    def chat(self, requests: Sequence[ChatRequest], doing: str) -> list[Completion]:
        return self._complete(requests, lambda engine, missing: engine.chat(missing), doing)

    def score(self, requests: Sequence[ScoreRequest], doing: str) -> list[Score]:
        return self._complete(requests, lambda engine, missing: engine.score(missing), doing)

    def _complete(
        self,
        requests: Sequence[Request],
        call: Callable[[Engine, Sequence[Request]], Iterator[tuple[int, Result]]],
        doing: str,
    ) -> list[Result]:
        keys = [request_key(self.identity, request) for request in requests]
        distinct = dict(zip(keys, requests, strict=True))
        results: dict[str, Completion | Score] = self.store.read(list(distinct))
        missing = [key for key in distinct if key not in results]
        self.usage.stored += len(requests) - len(missing)
        if missing:
            results |= self._call(
                call, {key: distinct[key] for key in missing}, len(distinct), doing
            )
        return [results[key] for key in keys]  # pyright: ignore[reportReturnType]

    def _call(
        self,
        call: Callable[[Engine, Sequence[Request]], Iterator[tuple[int, Result]]],
        missing: Mapping[str, Request],
        total: int,
        doing: str,
    ) -> dict[str, Completion | Score]:
        """Ask the engine, and commit as results come; what came before a failure is committed
        too.
        """
        keys = list(missing)
        results: dict[str, Completion | Score] = {}
        pending: dict[str, Completion | Score] = {}
        started = committed = time.monotonic()

        def commit() -> None:
            self.store.write(self.identity, pending)
            results.update(pending)
            pending.clear()
            self.on_progress(doing, total - len(keys) + len(results), total)

        self.on_progress(doing, total - len(keys), total)
        try:
            for index, result in call(self.engine(), list(missing.values())):
                pending[keys[index]] = result
                due = time.monotonic() - committed > SECONDS_A_COMMIT
                if due or len(pending) >= RESULTS_A_COMMIT:
                    commit()
                    committed = time.monotonic()
        finally:
            if pending:
                commit()
            self.usage.made += len(results)
            self.usage.seconds += time.monotonic() - started
        return results
