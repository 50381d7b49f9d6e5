"""The completion store between the method and an engine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.config.machine import Price
from stargate_assets.engines.scripted import ScriptedEngine
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    Message,
    Sampling,
    Score,
    ScoreRequest,
    most_tokens,
)
from stargate_assets.models.stored import SpendingError, StoredModel
from stargate_assets.storage.completions import CompletionStore, Use
from stargate_assets.storage.sqlite import SqliteFile
from stargate_assets_tests.conftest import USE


class Stopping(ScriptedEngine):
    """Fails after some completions, as an endpoint may."""

    def __init__(self, after: int):
        self.after = after

    def chat(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion]]:
        for number, result in enumerate(super().chat(requests)):
            if number == self.after:
                raise EngineError("The endpoint is gone; start it again.")
            yield result


class Refusing(ScriptedEngine):
    """Behind a content filter that lets every other request through."""

    def chat(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion]]:
        for number, completion in super().chat(requests):
            yield number, Completion("", "refused", 0, 0) if number % 2 else completion


class Broken(ScriptedEngine):
    """Weights that are no numbers."""

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[tuple[int, Score]]:
        for number, score in super().score(requests):
            yield number, Score((float("nan"), *score.log_probs[1:]), score.prompt_tokens)


def requests(count: int) -> list[ChatRequest]:
    return [ChatRequest((Message("user", f"{i}"),), Sampling(5, 1.0), i) for i in range(count)]


def model(path: Path, engine: ScriptedEngine | None = None) -> StoredModel:
    store = CompletionStore(SqliteFile(path / "completions.sqlite"))
    return StoredModel("scripted", store, lambda: engine or ScriptedEngine(), lambda *_: None, USE)


def test_results_stand_in_the_order_of_the_requests(tmp_path: Path) -> None:
    asked = requests(20)
    expected = [completion for _, completion in ScriptedEngine().chat(asked)]
    model(tmp_path).chat(asked[5:9], "asking")
    assert model(tmp_path).chat(asked, "asking") == expected


def test_identical_requests_are_one_call(tmp_path: Path) -> None:
    one = model(tmp_path)
    score = ScoreRequest((Message("user", "a"),), "b c")
    assert len(set(one.score([score] * 3, "scoring"))) == 1
    assert (one.usage.made, one.usage.stored) == (1, 2)


def test_a_score_that_is_no_number_is_not_kept(tmp_path: Path) -> None:
    asked = [ScoreRequest((Message("user", "a"),), "b c")]
    broken = model(tmp_path, Broken())
    with pytest.raises(EngineError, match="no finite number; state dtype: float32"):
        broken.score(asked, "scoring")
    assert broken.store.count() == 0
    ((_, expected),) = ScriptedEngine().score(asked)
    assert model(tmp_path).score(asked, "scoring") == [expected]


def test_what_was_done_before_a_failure_is_kept_and_the_failure_is_not(tmp_path: Path) -> None:
    asked = requests(40)
    with pytest.raises(EngineError, match="start it again"):
        model(tmp_path, Stopping(after=33)).chat(asked, "asking")
    again = model(tmp_path)
    again.chat(asked, "asking")
    assert again.usage.made == 40 - 33


def test_a_result_is_stored_before_the_next_one_is_waited_for(tmp_path: Path) -> None:
    stored: list[int] = []
    one = model(tmp_path)

    def on_progress(doing: str, done: int, total: int) -> None:
        assert (doing, total) == ("asking", 5)
        stored.append(one.store.count())
        assert done == stored[-1]

    replace(one, on_progress=on_progress).chat(requests(5), "asking")
    assert stored == [0, 1, 2, 3, 4, 5]


def test_a_refusal_is_returned_and_asked_for_again_in_the_next_run(tmp_path: Path) -> None:
    asked = requests(6)
    first = model(tmp_path, Refusing())
    reasons = [completion.finish_reason for completion in first.chat(asked, "asking")]
    assert reasons == ["stop", "refused"] * 3
    assert (first.usage.made, first.store.count()) == (6, 3)
    again = model(tmp_path)
    assert {completion.finish_reason for completion in again.chat(asked, "asking")} == {"stop"}
    assert (again.usage.made, again.usage.stored) == (3, 3)


def test_an_engine_is_not_opened_for_what_is_on_disk(tmp_path: Path) -> None:
    asked = requests(3)
    expected = model(tmp_path).chat(asked, "asking")

    def refuse() -> ScriptedEngine:
        raise AssertionError

    store = CompletionStore(SqliteFile(tmp_path / "completions.sqlite"))
    closed = StoredModel("scripted", store, refuse, lambda *_: None, USE)
    assert closed.chat(asked, "asking") == expected


PAID = Price(model="judge", prompt=1000, completion=1e6, as_of=date(2024, 1, 1))


def paid(path: Path, max_dollars: float | None, price: Price | None = PAID) -> StoredModel:
    return replace(model(path), name="judge at FARM", price=price, max_dollars=max_dollars)


def test_a_run_stops_before_the_call_that_could_cost_too_much_and_keeps_what_it_paid(
    tmp_path: Path,
) -> None:
    asked = [replace(request, sampling=Sampling(30, 1.0)) for request in requests(20)]
    limited = paid(tmp_path, 100.0)
    with pytest.raises(SpendingError, match=r"next call of judge at FARM could cost 30\.\d+ doll"):
        limited.chat(asked, "asking")
    assert 100 - PAID.dollars(100, 30) < limited.usage.dollars <= 100
    assert limited.usage.made == limited.store.count() < 20
    unlimited = paid(tmp_path, None)
    unlimited.chat(asked, "asking")
    assert unlimited.usage.made == 20 - limited.usage.made
    (row,) = unlimited.store.usage()
    assert row.dollars == pytest.approx(limited.usage.dollars + unlimited.usage.dollars)


def test_a_limit_cannot_be_kept_where_nobody_knows_the_price(tmp_path: Path) -> None:
    with pytest.raises(SpendingError, match=r"what judge at FARM costs.*machine\.yaml"):
        paid(tmp_path, 1.0, None).chat(requests(1), "asking")
    unknown = paid(tmp_path, None, None)
    unknown.chat(requests(1), "asking")
    (row,) = unknown.store.usage()
    assert (row.calls, row.dollars) == (1, None)


def test_what_costs_nothing_has_no_limit(tmp_path: Path) -> None:
    free = replace(model(tmp_path), max_dollars=1e-9)
    free.chat(requests(3), "asking")
    assert free.usage.dollars == 0


def test_calls_are_counted_by_use_whatever_came_of_them(tmp_path: Path) -> None:
    refusing = replace(model(tmp_path, Refusing()), name="scripted")
    refusing.chat(requests(4), "asking")
    refusing.chat(requests(4), "asking")  # two stored, two asked again, one of them refused again
    score = ScoreRequest((Message("user", "a"),), "b c")
    other = replace(refusing, use=Use("any", "1|test", "scorer"))
    (scored,) = other.score([score], "scoring")
    counted = {(row.slice, row.role, row.kind): row for row in other.store.usage()}
    assert counted[USE.slice, USE.role, "chat"].calls == 6
    row = counted["1|test", "scorer", "score"]
    assert (row.calls, row.prompt_tokens) == (1, scored.prompt_tokens)
    assert row.completion_tokens == len(scored.log_probs) == 2


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5), st.integers(1, 900))
def test_nothing_costs_more_than_was_expected(texts: list[tuple[str, str]], limit: int) -> None:
    """A token is a byte at least, in whatever tokenizer."""
    messages = tuple(Message("user", text) for text, _ in texts)
    schema = '{"type": "object"}'
    prompt, completion = most_tokens(ChatRequest(messages, Sampling(limit), structure=schema))
    assert prompt >= sum(len(text.encode()) for text, _ in texts) + len(schema)
    assert completion == limit


class Streaming(ScriptedEngine):
    """Says what a completion is in two parts."""

    def stream(
        self, request: ChatRequest, on_text: Callable[[str], None]
    ) -> Iterator[tuple[int, Completion]]:
        for index, completion in self.chat([request]):
            on_text(completion.text[:4])
            on_text(completion.text)
            yield index, completion


def test_a_streamed_completion_is_stored_as_any_other(store: CompletionStore) -> None:
    """Of several at once, and of what is stored, nothing is streamed."""
    grown = list[str]()
    plain = StoredModel("scripted", store, Streaming, lambda *_: None, USE)
    streaming = replace(plain, on_text=grown.append)
    (said,) = streaming.chat(requests(1), "asking")
    assert grown == [said.text[:4], said.text]
    assert plain.chat(requests(1), "asking") == streaming.chat(requests(1), "asking") == [said]
    streaming.chat(requests(4), "asking")
    assert (len(grown), plain.usage.made) == (2, 4)
    unable = replace(streaming, identity="other", engine=ScriptedEngine)
    assert unable.chat(requests(1), "asking") == [said]
    assert len(grown) == 2
