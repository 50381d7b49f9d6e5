"""The completion store between the method and an engine."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from stargate_assets.engines.scripted import ScriptedEngine
from stargate_assets.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    Message,
    Sampling,
    ScoreRequest,
)
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.stored_model import StoredModel


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


def requests(count: int) -> list[ChatRequest]:
    return [ChatRequest((Message("user", f"{i}"),), Sampling(5, 1.0), i) for i in range(count)]


def model(path: Path, engine: ScriptedEngine | None = None) -> StoredModel:
    store = CompletionStore(path / "completions.sqlite")
    return StoredModel("scripted", store, lambda: engine or ScriptedEngine(), lambda *_: None)


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

    store = CompletionStore(tmp_path / "completions.sqlite")
    closed = StoredModel("scripted", store, refuse, lambda *_: None)
    assert closed.chat(asked, "asking") == expected
