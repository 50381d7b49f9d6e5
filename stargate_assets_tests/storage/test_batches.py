"""What the store keeps of batches, in each of its databases."""

import pytest

from stargate_assets.method.language_model import Completion
from stargate_assets.storage.budget import Budget
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.database import Database
from stargate_assets_tests.conftest import USE

ANSWER = Completion("Who?", "stop", 3, 4)


def test_what_was_reserved_is_the_batch_s_until_it_is_answered(store: CompletionStore) -> None:
    store.set_budget(10)
    with store.writer("model", USE, "m") as one:
        assert one.reserve({"a": 4.0, "b": 3.0, "c": 1.0}) == (3, Budget(10, 0, 0))
        one.begin_batch("file", {"a": 4.0, "b": 3.0})
        assert store.budget() == Budget(10, 0, 8)
    assert store.budget() == Budget(10, 0, 7)  # c was given back when the session ended

    with store.writer("model", USE, "m") as other:
        (found,) = other.batches_of(["a", "b", "c"])
        assert (found.file, found.id, sorted(found.keys)) == ("file", None, ["a", "b"])
        assert other.note_batch(found, "id").id == "id"
        other.write("a", ANSWER, 0.5, 1.5)
        assert store.budget() == Budget(10, 1.5, 3)
        other.drop_from_batch(["b"])
        assert store.budget() == Budget(10, 1.5, 0)
        assert other.batches_of(["a", "b", "c"]) == []


def test_what_is_sent_again_is_in_one_batch(store: CompletionStore) -> None:
    with store.writer("model", USE, "m") as writer:
        writer.begin_batch("first", {"a": 1.0, "b": 1.0})
        writer.begin_batch("second", {"b": 1.0})
        found = {batch.file: batch.keys for batch in writer.batches_of(["a", "b"])}
    assert found == {"first": ("a",), "second": ("b",)}


def test_an_answer_that_two_runs_read_is_counted_once(store: CompletionStore) -> None:
    with store.writer("model", USE, "m") as one, store.writer("model", USE, "m") as other:
        one.begin_batch("file", {"a": 1.0})
        other.batches_of(["a"])
        assert other.write("a", ANSWER, 0.5, 0.25) == one.write("a", ANSWER, 0.5, 0.25) == ANSWER
    (row,) = store.usage()
    assert (row.calls, row.dollars) == (1, pytest.approx(0.25))


def test_a_store_that_is_older_than_batches_can_have_them(database: Database) -> None:
    CompletionStore(database)
    with database.connect() as session:
        session.execute("DROP TABLE batches")
        session.execute("DROP TABLE batch_requests")
    with CompletionStore(database).writer("model", USE, "m") as writer:
        assert writer.begin_batch("file", {"a": 1.0}).keys == ("a",)
