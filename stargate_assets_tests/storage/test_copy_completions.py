"""What one completion store has, added to another."""

from dataclasses import replace
from pathlib import Path

from stargate_assets.method.language_model import Completion, Failure, FailureReason, Score
from stargate_assets.storage.completions import CompletionStore, UsageRow
from stargate_assets.storage.copy_completions import Copied, copy_completions
from stargate_assets.storage.sqlite import SqliteFile
from stargate_assets_tests.conftest import USE

ANSWER = Completion("naïve ☃", "stop", 3, 4)
FAILURE = Failure(FailureReason.TOO_LONG, "12 tokens at most")


def ask(store: CompletionStore, *keys: str, fails: str = "", dollars: float | None = 0.25) -> None:
    with store.writer("model", USE, "the model") as writer:
        for key in keys:
            writer.write(key, ANSWER, 0.5, dollars)
        if fails:
            writer.write(fails, Completion("", "refused", 3, 4), 0.5, dollars, FAILURE)


def copied(source: CompletionStore, target: CompletionStore) -> Copied:
    return copy_completions(source, target, lambda *_: None)


def used(store: CompletionStore) -> UsageRow:
    (row,) = store.usage()
    return row


def test_a_copy_has_everything_and_adds_nothing_twice(
    store: CompletionStore, tmp_path: Path
) -> None:
    file = CompletionStore(SqliteFile(tmp_path / "other.sqlite"))
    ask(store, *map(str, range(1201)), fails="x")
    ask(file, "1200", "1201", fails="y")
    assert copied(store, file) == Copied(1201, 1200)
    assert file.read(["7", "1201"]) == {"7": ANSWER, "1201": ANSWER}
    assert sorted(row.key for row in file.failures()) == ["x", "y"]
    assert (used(store).calls, used(file).calls) == (1202, 1205)
    assert copied(file, store) == Copied(1202, 1)
    for _ in range(2):
        copied(store, file)
        copied(file, store)
        assert used(store) == used(file) == replace(used(file), calls=1205, dollars=1205 / 4)
        assert store.count() == file.count() == 1202
    ask(store, "later")
    assert copied(store, file) == Copied(1203, 1)
    assert used(store) == used(file)
    assert used(file).calls == 1206


def test_a_third_store_counts_each_call_once_whichever_way_it_came(
    store: CompletionStore, tmp_path: Path
) -> None:
    one, other = (CompletionStore(SqliteFile(tmp_path / f"{name}.sqlite")) for name in "ab")
    ask(one, "a")
    ask(other, "b", dollars=None)
    for source, target in ((one, other), (one, store), (other, store), (store, one)):
        copied(source, target)
    assert used(store) == used(one) == used(other)
    assert (used(store).calls, used(store).dollars) == (2, None)


def test_what_has_an_answer_now_is_no_failure_and_what_is_there_stays(
    store: CompletionStore, tmp_path: Path
) -> None:
    file = CompletionStore(SqliteFile(tmp_path / "other.sqlite"))
    with file.writer("model", USE, "the model") as writer:
        writer.write("a", Score((-1.0,), 3), 0.5, None)
    ask(store, "a", fails="b")
    ask(file, "b")
    copied(store, file)
    assert file.read(["a", "b"]) == {"a": Score((-1.0,), 3), "b": ANSWER}
    assert file.failures() == []
