"""A model behind the completion store: only what is not on disk yet reaches an engine, and only
what the run may spend.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeVar

from stargate_assets.config.machine import FREE, Price
from stargate_assets.engines.engine import Engine
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    OnProgress,
    Results,
    Score,
    ScoreRequest,
)
from stargate_assets.storage.completions import CompletionStore, Use, request_key

Request = TypeVar("Request", ChatRequest, ScoreRequest)
Result = TypeVar("Result", Completion, Score)
_TOKENS_OF_A_MESSAGE = 16
"""More than any chat template adds to one."""


class SpendingError(EngineError):
    """The next call could cost more than the run may spend, or nobody knows what it costs."""


@dataclass(slots=True)
class Usage:
    """Calls that a run made, calls that the store answered, seconds in engines and training, and
    what providers were paid.
    """

    made: int = 0
    stored: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    dollars: float = 0.0


@dataclass(frozen=True, slots=True)
class StoredModel:
    """`identity` is everything about the model that a result depends on, `name` what people call
    it; `engine` opens it when it is needed.
    """

    identity: str
    store: CompletionStore
    engine: Callable[[], Engine]
    on_progress: OnProgress
    use: Use
    name: str = ""
    price: Price | None = FREE
    max_dollars: float | None = None
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
        results: dict[str, Completion | Score] = {}
        started = time.monotonic()
        there = total - len(missing)
        self.on_progress(doing, there, total)
        try:
            engine = self.engine()
            with self.store.writer(self.identity, self.use, self.name) as store:
                for keys in self._affordable(missing):
                    last = time.monotonic()
                    with closing(call(engine, [missing[key] for key in keys])) as answers:
                        for index, result in answers:
                            seconds, last = time.monotonic() - last, time.monotonic()
                            store.write(keys[index], result, seconds, self._pay(result))
                            results[keys[index]] = result
                            self.on_progress(doing, there + len(results), total)
        finally:
            self.usage.made += len(results)
            self.usage.seconds += time.monotonic() - started
        return results

    def _affordable(self, missing: Mapping[str, Request]) -> Iterator[list[str]]:
        """The requests in batches that the run can pay whatever they turn out to cost. Raises
        SpendingError before the first one that it might not be able to.
        """
        waiting = list(missing)
        if self.max_dollars is None or self.price == FREE:
            yield waiting
            return
        if self.price is None:
            raise SpendingError(
                f"Nobody has stated what {self.name} costs, so a limit of {self.max_dollars:.2f} "
                "dollars cannot be kept; add its price to machine.yaml, or run without max_dollars."
            )
        while waiting:
            most = [self.price.dollars(*most_tokens(missing[key])) for key in waiting]
            left = self.max_dollars - self.usage.dollars
            count = sum(total <= left for total in accumulate(most))
            if not count:
                raise SpendingError(
                    f"The next call of {self.name} could cost {most[0]:.4f} dollars, and "
                    f"{self.usage.dollars:.4f} of the {self.max_dollars:.2f} that this run may "
                    "spend are spent; allow more (--max-dollars, or max_dollars in machine.yaml) "
                    "and run again: what is paid is kept."
                )
            yield waiting[:count]
            waiting = waiting[count:]

    def _pay(self, result: Completion | Score) -> float | None:
        if self.price is None:
            return None
        tokens = result.prompt_tokens, result.completion_tokens
        if isinstance(result, Score):
            dollars = self.price.dollars_of_scores(*tokens)
        else:
            dollars = self.price.dollars(*tokens)
        self.usage.dollars += dollars
        return dollars


def most_tokens(request: ChatRequest | ScoreRequest) -> tuple[int, int]:
    """No more prompt and completion tokens than these can be asked for: no tokenizer makes more
    tokens than there are bytes.
    """
    prompt = sum(len(m.content.encode()) + _TOKENS_OF_A_MESSAGE for m in request.messages)
    if isinstance(request, ScoreRequest):
        return prompt + len(request.continuation.encode()) + _TOKENS_OF_A_MESSAGE, 1
    return prompt + len((request.structure or "").encode()), request.sampling.max_tokens
