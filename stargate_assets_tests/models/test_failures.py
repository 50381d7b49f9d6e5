"""Requests without an answer behind the completion store: asked again, paid for, and counted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from stargate_assets.config.machine import Price
from stargate_assets.engines.scripted import ScriptedEngine
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    Failure,
    FailureReason,
    Message,
    Sampling,
    Score,
    ScoreRequest,
)
from stargate_assets.models.failures import FEWEST, SILENCE, TooManyFailuresError
from stargate_assets.models.stored import SpendingError, StoredModel
from stargate_assets.storage.completions import RUNS, CompletionStore
from stargate_assets.storage.sqlite import SqliteFile
from stargate_assets_tests.conftest import USE

NONSENSE = Failure(FailureReason.NO_ANSWER, "<html>")
TOO_LONG = Failure(FailureReason.TOO_LONG, "it needs 60 tokens")
UNFIT = Failure(FailureReason.CONTENT_FILTER, "unfit")
LOST = Failure(FailureReason.LOST, "silent")
PRICE = Price(model="m", prompt=0, completion=1e6, as_of=date(2024, 1, 1))
"""A dollar for each token that is written."""


class Failing(ScriptedEngine):
    """Counts how often it is asked; `failure` says what comes of a request, by its number."""

    def __init__(self, failure: Callable[[int], Failure | None]):
        self.failure, self.asked = failure, 0

    def chat(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion]]:
        for index, request in enumerate(requests):
            self.asked += 1
            failure = self.failure(request.seed)
            if failure is None:
                yield index, Completion("Who?", "stop", 1, 5)
            else:
                yield index, Completion("", "refused", 1, 5, estimated=True, failure=failure)


def requests(count: int) -> list[ChatRequest]:
    return [ChatRequest((Message("user", f"{i}"),), Sampling(5), i) for i in range(count)]


def model(path: Path, engine: ScriptedEngine) -> StoredModel:
    store = CompletionStore(SqliteFile(path / "completions.sqlite"))
    named = StoredModel("m", store, lambda: engine, lambda *_: None, USE, name="m at FARM")
    return replace(named, max_failure_share=0.25)


def test_what_may_pass_is_asked_three_times_and_every_call_is_counted(tmp_path: Path) -> None:
    engine = Failing(lambda seed: NONSENSE if seed == 1 else UNFIT if seed == 2 else None)
    one = replace(model(tmp_path, engine), price=PRICE)
    found = one.chat(requests(4), "asking")
    assert [c.failure for c in found] == [None, NONSENSE, UNFIT, None]
    (row,) = one.store.usage()
    assert (row.calls, row.estimated_calls, row.dollars) == (6, 4, 30.0)
    assert (one.usage.estimated, one.usage.dollars) == (4, 30.0)
    assert [failure for _, failure in one.usage.failures.values()] == [UNFIT, NONSENSE]


@pytest.mark.parametrize("limit", [5, 14, 15, 16, 23])
def test_a_limit_holds_whatever_has_to_be_asked_again(tmp_path: Path, limit: float) -> None:
    engine = Failing(lambda seed: NONSENSE)
    one = replace(model(tmp_path, engine), price=PRICE, max_dollars=limit)
    with pytest.raises(SpendingError, match="more"):
        one.chat(requests(2), "asking")
    assert engine.asked == limit // 5
    assert one.usage.dollars <= limit


class Cramped(ScriptedEngine):
    """Has no room for what is long."""

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[tuple[int, Score]]:
        for index, score in super().score(requests):
            is_long = len(requests[index].continuation) > 20
            yield index, Score.failed(TOO_LONG) if is_long else score


def test_a_score_that_cannot_be_given_is_counted_and_given_up_in_the_end(tmp_path: Path) -> None:
    one = model(tmp_path, Cramped())
    asked = [ScoreRequest((Message("user", "Who?"),), said) for said in ("It is me.", "me " * 20)]
    for run in range(1, RUNS + 2):
        answered, failed = one.score(asked, "scoring")
        assert answered.total == -9.0
        assert failed == Score.failed(TOO_LONG)
        (row,) = one.store.failures()
        assert (row.reason, row.runs) == ("too_long", min(run, RUNS))
    assert one.usage.made == RUNS + 1


def test_without_a_limit_of_tokens_no_limit_of_dollars_can_be_kept(tmp_path: Path) -> None:
    one = model(tmp_path, Failing(lambda seed: None))
    unlimited = replace(one, price=PRICE, max_dollars=9.0, has_limit=False)
    with pytest.raises(SpendingError, match="state its limit_field"):
        unlimited.chat(requests(1), "asking")


def test_a_request_that_fails_is_asked_by_some_runs_and_then_given_up(tmp_path: Path) -> None:
    engine = Failing(lambda seed: UNFIT if seed == 1 else None)
    for run in range(RUNS + 2):
        _, failed = model(tmp_path, engine).chat(requests(2), "asking")
        assert failed.failure == UNFIT
        assert engine.asked == 1 + min(run + 1, RUNS)


@pytest.mark.parametrize(
    ("failing", "asked", "stops"),
    [(FEWEST - 1, FEWEST - 1, False), (FEWEST, FEWEST, True), (25, 100, False), (26, 100, True)],
)
def test_too_many_failures_stop_the_run(
    tmp_path: Path, failing: int, asked: int, stops: bool
) -> None:
    engine = Failing(lambda seed: UNFIT if seed < failing else None)
    one = model(tmp_path, engine)
    if not stops:
        found = one.chat(requests(asked), "asking")
        assert sum(c.failure == UNFIT for c in found) == failing
        return
    with pytest.raises(TooManyFailuresError, match=r"to m at FARM \(asking\).*filter \(unfit\)"):
        one.chat(requests(asked), "asking")
    assert len(one.store.failures()) == failing


def test_an_endpoint_that_answers_nothing_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="gives no answer"):
        model(tmp_path, Failing(lambda seed: LOST)).chat(requests(2), "asking")
    silent = Failing(lambda seed: NONSENSE if seed else None)
    with pytest.raises(EngineError, match="gives no answer"):
        model(tmp_path, silent).chat(requests(1000), "asking")
    assert silent.asked == 1 + SILENCE
