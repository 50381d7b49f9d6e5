import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    Failure,
    FailureReason,
    Message,
    Sampling,
    Score,
    ScoreRequest,
)
from stargate_assets.storage.completions import (
    RUNS,
    CompletionStore,
    request_key,
)
from stargate_assets.storage.database import CompletionStoreError
from stargate_assets.storage.sqlite import SqliteFile
from stargate_assets_tests.conftest import USE

CHAT = ChatRequest((Message("user", "Hé ✓"),), Sampling(5, 0.7), seed=1)
SCORE = ScoreRequest((Message("user", "Hé ✓"),), "yes")


def stored(store: CompletionStore, results: Mapping[str, Completion | Score]) -> None:
    with store.writer("model", USE, "the model") as writer:
        for key, result in results.items():
            writer.write(key, result, 0.5, 0.25)


def test_results_come_back_as_they_were(store: CompletionStore) -> None:
    results = {
        "a": Completion("naïve ☃", "length", 3, 4),
        "thought": Completion("Who?", "stop", 3, 4, thought="Hm."),
        "b": Score((-0.1, -1e-17, -12.345678901234567), 7),
    }
    stored(store, results)
    assert CompletionStore(store.database).read(["a", "thought", "b", "c"]) == results


@pytest.mark.parametrize(
    ("text", "reason", "completion"),
    [
        ("Who?", "stop", Completion("Who?", "stop", 3, 4)),
        ("<think>\nHm.\n</think>\n\nWho?", "stop", Completion("Who?", "stop", 3, 4, "Hm.")),
        ("<think>\nHm.", "stop", Completion("", "length", 3, 4, "Hm.")),
    ],
)
def test_a_store_from_before_thoughts_were_told_apart_is_read(
    store: CompletionStore, text: str, reason: str, completion: Completion
) -> None:
    row = {"text": text, "finish_reason": reason, "prompt_tokens": 3, "completion_tokens": 4}
    with store.database.connect() as old:
        old.execute("INSERT INTO completions VALUES ('a', 'model', ?, 'then')", [json.dumps(row)])
    assert store.read(["a"]) == {"a": completion}


def test_the_first_result_stays(store: CompletionStore) -> None:
    stored(store, {"a": Score((-1.0,), 1)})
    stored(store, {"a": Score((-2.0,), 1)})
    assert store.read(["a"]) == {"a": Score((-1.0,), 1)}
    assert store.count() == 1


def test_of_two_runs_that_ask_the_same_the_first_answer_is_both_s(store: CompletionStore) -> None:
    first, second = Completion("Who?", "stop", 3, 4), Completion("Why?", "stop", 3, 4)
    refused = Completion("", "refused", 3, 0)
    failure = Failure(FailureReason.CONTENT_FILTER, "unfit\0")
    with (
        store.writer("model", USE, "the model") as one,
        store.writer("model", replace(USE, slice="other"), "the model") as other,
    ):
        assert one.write("a", first, 0.5, 0.25) == first
        assert other.write("a", second, 0.5, 0.25) == first
        assert other.write("a", refused, 0.5, 0.25, failure) == first
        assert other.write("b", refused, 0.5, 0.25, failure) == refused
    assert store.read(["a"]) == {"a": first}
    assert [(row.key, row.said) for row in store.failures()] == [("b", "unfit\ufffd")]
    assert sorted((row.slice, row.calls) for row in store.usage()) == [(USE.slice, 1), ("other", 3)]


def test_more_keys_than_a_query_takes(store: CompletionStore) -> None:
    results = {str(i): Score((-float(i),), i) for i in range(1201)}
    stored(store, results)
    assert store.read(list(results)) == results


def test_everything_that_a_result_depends_on_is_in_its_key() -> None:
    others = [
        request_key("other model", CHAT),
        *(
            request_key("model", other)
            for other in (
                CHAT,
                replace(CHAT, seed=2),
                replace(CHAT, structure='{"type": "object"}'),
                replace(CHAT, sampling=Sampling(5, 0.8)),
                replace(CHAT, sampling=Sampling(6, 0.7)),
                replace(CHAT, sampling=Sampling(5, 0.7, 0.9)),
                replace(CHAT, messages=(Message("system", "Hé ✓"),)),
                replace(CHAT, messages=(Message("user", "Hé ✓"), Message("assistant", ""))),
                SCORE,
                replace(SCORE, continuation="no"),
                replace(SCORE, end_of_turn=True),
            )
        ),
    ]
    assert len(set(others)) == len(others)
    assert request_key("model", CHAT) == request_key("model", replace(CHAT))


def test_a_key_is_for_ever() -> None:
    """Another key, and every store that is out there would be asked for nothing."""
    key = "239bc6ffe1371e4a286583dc93879e218b72fc45ee1fe9d9d9cb1d3b27034309"
    assert request_key("model", CHAT) == key


def test_a_failure_is_given_up_after_some_runs_and_forgotten_on_demand_or_when_answered(
    store: CompletionStore,
) -> None:
    failure = Failure(FailureReason.TOO_LONG, "12 tokens at most")
    refused = Completion("", "refused", 3, 4, estimated=True)
    with store.writer("model", USE, "the model") as writer:
        for run in range(RUNS):
            assert store.given_up(["a", "b"]) == {}
            writer.write("a", refused, 0.5, 0.25, failure)
            writer.write("a", refused, 0.5, 0.25)  # a try that is not the run's last
            assert [row.runs for row in store.failures()] == [run + 1]
        writer.write("b", refused, 0.5, 0.25, failure)
        assert store.given_up(["a", "b"]) == {"a": failure}
        writer.write("b", Completion("yes", "stop", 1, 1), 0.5, 0.25)
    assert [row.key for row in store.failures()] == ["a"]
    assert store.read(["a"]) == {}
    (row,) = store.usage()
    assert (row.calls, row.estimated_calls) == (2 * RUNS + 2, 2 * RUNS + 1)
    store.forget_failures(USE.schema, [USE.slice])
    assert (store.failures(), store.given_up(["a"])) == ([], {})


def test_a_store_from_before_estimates_is_read(tmp_path: Path) -> None:
    path = tmp_path / "completions.sqlite"
    stored(CompletionStore(SqliteFile(path)), {"a": Completion("naïve", "stop", 3, 4)})
    with closing(sqlite3.connect(path)) as old:
        old.executescript("ALTER TABLE usage DROP COLUMN estimated_calls; DROP TABLE failures")
    again = CompletionStore(SqliteFile(path))
    stored(again, {"b": Completion("naïve", "stop", 3, 4, estimated=True)})
    assert [(row.calls, row.estimated_calls) for row in again.usage()] == [(2, 1)]


def test_a_damaged_store_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "completions.sqlite"
    stored(CompletionStore(SqliteFile(path)), {str(i): Score((-float(i),), i) for i in range(500)})
    whole = path.read_bytes()
    for damaged in (b"no database" * 999, whole[:4096] + b"\xff" * (len(whole) - 4096)):
        path.write_bytes(damaged)
        with pytest.raises(CompletionStoreError, match=r"is damaged .*\.recover") as raised:
            CompletionStore(SqliteFile(path)).read([str(i) for i in range(500)])
        assert "\n" not in str(raised.value)


def test_a_damaged_row_is_one_sentence(store: CompletionStore) -> None:
    with store.database.connect() as other:
        other.execute("INSERT INTO completions VALUES ('a', 'model', '{\"te', 'then')")
    with pytest.raises(CompletionStoreError, match=r"is damaged|cannot be read"):
        store.read(["a"])
