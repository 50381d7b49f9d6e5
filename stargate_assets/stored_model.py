"""A model behind the completion store: only what is not on disk yet reaches an engine."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

from stargate_assets.language_model import (
    ChatRequest,
    Completion,
    Engine,
    OnProgress,
    Results,
    Score,
    ScoreRequest,
)
from stargate_assets.storage.completions import CompletionStore, request_key

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
        call: Callable[[Engine, Sequence[Request]], Results[Result]],
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
        call: Callable[[Engine, Sequence[Request]], Results[Result]],
        missing: Mapping[str, Request],
        total: int,
        doing: str,
    ) -> dict[str, Completion | Score]:
        """Ask the engine, and store each result when it comes: a call that was answered is never
        made again, whatever happens to the next one. Refusals are answers of this run alone.
        """
        keys = list(missing)
        results: dict[str, Completion | Score] = {}
        started = time.monotonic()
        self.on_progress(doing, total - len(keys), total)
        try:
            engine = self.engine()
            with (
                self.store.writer(self.identity) as store,
                closing(call(engine, list(missing.values()))) as answers,
            ):
                for index, result in answers:
                    if not _is_refusal(result):
                        store(keys[index], result)
                    results[keys[index]] = result
                    self.on_progress(doing, total - len(keys) + len(results), total)
        finally:
            self.usage.made += len(results)
            self.usage.seconds += time.monotonic() - started
        return results


def _is_refusal(result: Completion | Score) -> bool:
    return isinstance(result, Completion) and result.finish_reason == "refused"
