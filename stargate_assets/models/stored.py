"""A model behind the completion store: only what is not on disk yet reaches an engine, and only
what the run may spend.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import accumulate, islice
from math import isfinite
from typing import TypeVar

from stargate_assets.config.machine import FREE, Price
from stargate_assets.engines.engine import ANSWERS, BatchEngine, Engine, OnText, StreamingEngine
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    Failure,
    FailureReason,
    OnProgress,
    Results,
    Score,
    ScoreRequest,
    most_tokens,
)
from stargate_assets.models.batches import SENDINGS, Batches
from stargate_assets.models.failures import FailureCount
from stargate_assets.models.traces import OnCall, ignore_call
from stargate_assets.models.usage import Usage
from stargate_assets.storage.budget import Budget
from stargate_assets.storage.completions import CompletionStore, Use, request_key
from stargate_assets.storage.writer import Writer, is_refusal

Request = TypeVar("Request", ChatRequest, ScoreRequest)
Result = TypeVar("Result", Completion, Score)
Call = Callable[[Engine, Mapping[str, Request], Batches | None], Generator[tuple[str, Result]]]
"""Asks an engine requests by key; who closes it stops what is under way."""
_WAITING = "waiting for dollars that another run has reserved"
_SECONDS_OF_A_WAIT = 0.5


class SpendingError(EngineError):
    """The next call could cost more than the run may spend, or nobody knows what it costs."""


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
    max_failure_share: float = 1.0
    has_limit: bool = True
    """Whether requests say how long a completion may be."""
    usage: Usage = field(default_factory=Usage)
    on_text: OnText | None = None
    """Told of a completion that is asked for alone as it grows, where the engine can."""
    on_call: OnCall = ignore_call

    def chat(self, requests: Sequence[ChatRequest], doing: str) -> list[Completion]:
        return self._complete(requests, self._chat, doing)

    def _chat(
        self, engine: Engine, missing: Mapping[str, ChatRequest], batches: Batches | None
    ) -> Generator[tuple[str, Completion]]:
        requests = list(missing.values())
        if self.on_text and len(missing) == 1 and isinstance(engine, StreamingEngine):
            yield from _by_key(missing, engine.stream(requests[0], self.on_text))
        elif batches is not None:
            yield from batches.chat(missing)
        else:
            yield from _by_key(missing, engine.chat(requests))

    def score(self, requests: Sequence[ScoreRequest], doing: str) -> list[Score]:
        return self._complete(requests, self._score, doing)

    def _score(
        self, engine: Engine, missing: Mapping[str, ScoreRequest], batches: Batches | None
    ) -> Generator[tuple[str, Score]]:
        del batches
        yield from _by_key(missing, engine.score(list(missing.values())))

    def _complete(
        self,
        requests: Sequence[Request],
        call: Call[Request, Result],
        doing: str,
    ) -> list[Result]:
        keys = [request_key(self.identity, request) for request in requests]
        distinct = dict(zip(keys, requests, strict=True))
        results: dict[str, Completion | Score] = self.store.read(list(distinct))
        failures = FailureCount(self.name, doing, len(distinct), self.max_failure_share)
        for key, failure in self.store.given_up([k for k in distinct if k not in results]).items():
            is_chat = isinstance(distinct[key], ChatRequest)
            results[key] = (Completion if is_chat else Score).failed(failure)
            self._fail(key, failure, failures, len(results))
        missing = {key: distinct[key] for key in distinct if key not in results}
        self.usage.stored += len(requests) - len(missing)
        if missing:
            results |= self._call(call, missing, failures, doing)
        return [results[key] for key in keys]  # pyright: ignore[reportReturnType]

    def _call(
        self,
        call: Call[Request, Result],
        missing: Mapping[str, Request],
        failures: FailureCount,
        doing: str,
    ) -> dict[str, Completion | Score]:
        """Ask the engine, and store each result when it comes: a call that was answered is never
        made again, whatever happens to the next one. A request whose answer is lost or makes no
        sense is asked again, `ANSWERS` times in all, in batches `SENDINGS` times; each time is a
        call that is counted and paid.
        """
        results: dict[str, Completion | Score] = {}
        started = time.monotonic()
        there = failures.total - len(missing)
        self.on_progress(doing, there, failures.total)
        try:
            with (
                self.store.writer(self.identity, self.use, self.name) as store,
                closing(self._ask(call, missing, failures, store)) as answers,
            ):
                for key, result in answers:
                    results[key] = result
                    if failure := _failure(result):
                        self._fail(key, failure, failures, there + len(results))
                    self.on_progress(doing, there + len(results), failures.total)
        finally:
            self.usage.made += len(results)
            self.usage.seconds += time.monotonic() - started
        failures.check_reached()
        return results

    def _ask(
        self,
        call: Call[Request, Result],
        missing: Mapping[str, Request],
        failures: FailureCount,
        store: Writer,
    ) -> Generator[tuple[str, Completion | Score]]:
        """What comes of each request in the end, with its key: what another run has stored before,
        if one has.
        """
        engine, waiting = self.engine(), missing
        batches = None
        if isinstance(engine, BatchEngine):
            batches = Batches(engine, store, self.name, self.price, self.on_progress)
        for tries_left in reversed(range(ANSWERS if batches is None else SENDINGS)):
            again: dict[str, Request] = {}
            for keys in self._sendable(waiting, store, batches):
                last = time.monotonic()
                asked = {key: waiting[key] for key in keys}
                with closing(call(engine, asked, batches)) as answers:
                    for key, result in answers:
                        self._check(result)
                        failure = _failure(result)
                        seconds, last = time.monotonic() - last, time.monotonic()
                        self.on_call(waiting[key], result, seconds)
                        is_final = not (tries_left and failure and failure.may_pass)
                        kept = failure if is_final else None
                        stored = store.write(key, result, seconds, self._pay(result), kept)
                        failures.count_try(failure)
                        if is_final or not _failure(stored):
                            yield key, stored
                        else:
                            again[key] = waiting[key]
            waiting = again

    def _fail(self, key: str, failure: Failure, failures: FailureCount, done: int) -> None:
        """Note that a request has no answer. Raises EngineError if there are too many."""
        self.usage.failures[key, self.use] = self.name, failure
        failures.count_failure(failure, done)

    def _check(self, result: Completion | Score) -> None:
        """Raises EngineError for a score that is none, which must not be kept."""
        if isinstance(result, Score) and not all(map(isfinite, result.log_probs)):
            raise EngineError(
                f"{self.name} gave a log-probability that is no finite number; state dtype: "
                "float32 where the experiment names this model, or take another engine. Nothing "
                "was stored of it."
            )

    def _sendable(
        self, missing: Mapping[str, Request], store: Writer, batches: Batches | None
    ) -> Iterator[list[str]]:
        """First what is under way already, and must be paid in any case, then what is affordable
        besides.
        """
        there = dict.fromkeys(batches.take_over(list(missing)) if batches else ())
        if there:
            yield list(there)
        rest = {key: request for key, request in missing.items() if key not in there}
        yield from self._affordable(rest, store)

    def _affordable(self, missing: Mapping[str, Request], store: Writer) -> Iterator[list[str]]:
        """The requests in batches that the run, and the budget of the store, can pay whatever they
        turn out to cost. Raises SpendingError before the first one that they might not be able to.
        """
        waiting = list(missing)
        if not waiting:
            return
        budget = None if self.price == FREE else store.budget()
        if self.price == FREE or (self.max_dollars is None and budget is None):
            yield waiting
            return
        price = self._price_with_limit(budget)
        while waiting:
            most = {key: price.dollars(*most_tokens(missing[key])) for key in waiting}
            count = self._reserve(dict(islice(most.items(), self._within_run(most))), store)
            yield waiting[:count]
            waiting = waiting[count:]

    def _price_with_limit(self, budget: Budget | None) -> Price:
        """The price, where it and the length of a completion are known. Raises SpendingError."""
        limit, without = self.max_dollars, "max_dollars"
        if budget is not None:
            limit, without = budget.dollars, "a budget (stargate completions budget --remove)"
        if self.price is None:
            raise SpendingError(
                f"Nobody has stated what {self.name} costs, so a limit of {limit:.2f} dollars "
                f"cannot be kept; add its price to machine.yaml, or run without {without}."
            )
        if not self.has_limit:
            raise SpendingError(
                f"Nothing limits what {self.name} writes, so a limit of {limit:.2f} dollars cannot "
                f"be kept; state its limit_field, or run without {without}."
            )
        return self.price

    def _within_run(self, most: Mapping[str, float]) -> int:
        """How many of these calls, from the first, this run may make. Raises SpendingError."""
        if self.max_dollars is None:
            return len(most)
        left = self.max_dollars - self.usage.dollars
        count = sum(total <= left for total in accumulate(most.values()))
        if not count:
            raise SpendingError(
                f"The next call of {self.name} could cost {next(iter(most.values())):.4f} dollars, "
                f"and {self.usage.dollars:.4f} of the {self.max_dollars:.2f} that this run may "
                "spend are spent; allow more (--max-dollars, or max_dollars in machine.yaml) "
                "and run again: what is paid is kept."
            )
        return count

    def _reserve(self, most: Mapping[str, float], store: Writer) -> int:
        """Reserve what these calls can cost at most, for as many of them as the budget can pay now;
        returns how many. Waits while other runs have reserved what is left of it. Raises
        SpendingError where nothing that they give back could be enough.
        """
        first, waits = next(iter(most.values())), False
        while (found := store.reserve(most)) is not None and not found[0]:
            budget = found[1]
            if first > budget.dollars - budget.paid:
                raise SpendingError(
                    f"The next call of {self.name} could cost {first:.4f} dollars, and "
                    f"{budget.paid:.4f} of the {budget.dollars:.2f} that all runs may spend "
                    "together are spent; allow more (stargate completions budget) and run again: "
                    "what is paid is kept."
                )
            self.on_progress(_WAITING, 0, 1)
            waits = True
            time.sleep(_SECONDS_OF_A_WAIT)
        if waits:
            self.on_progress(_WAITING, 1, 1)
        return len(most) if found is None else found[0]

    def _pay(self, result: Completion | Score) -> float | None:
        self.usage.estimated += isinstance(result, Completion) and result.estimated
        if self.price is None:
            return None
        tokens = result.prompt_tokens, result.completion_tokens
        if isinstance(result, Score):
            dollars = self.price.dollars_of_scores(*tokens)
        else:
            dollars = self.price.dollars(*tokens)
        self.usage.dollars += dollars
        return dollars


def _by_key(
    requests: Mapping[str, ChatRequest] | Mapping[str, ScoreRequest], results: Results[Result]
) -> Generator[tuple[str, Result]]:
    """Results with the keys of their requests."""
    keys = list(requests)
    with closing(results) as answers:
        for index, result in answers:
            yield keys[index], result


def _failure(result: Completion | Score) -> Failure | None:
    """Why there is no answer, if there is none; engines that do not say mean a content filter."""
    if not is_refusal(result):
        return None
    return result.failure or Failure(FailureReason.CONTENT_FILTER, "")
