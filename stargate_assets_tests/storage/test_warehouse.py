"""Real DuckDB files."""

import multiprocessing
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from pathlib import Path

import duckdb
import polars as pl
import pytest

from stargate_assets.storage import duckdb_file as module
from stargate_assets.storage.bookkeeping import Calls
from stargate_assets.storage.completions import FailureRow, UsageRow
from stargate_assets.storage.duckdb_file import Patience
from stargate_assets.storage.warehouse import MissingSliceError, Warehouse, WarehouseError

TEST, TRAIN = {"split": "test"}, {"split": "train_a"}


def tasks(split: str, *texts: str) -> pl.DataFrame:
    rows = [{"split": split, "task_id": str(i), "text": text} for i, text in enumerate(texts)]
    return pl.DataFrame(rows).with_columns(
        domain=None, kind=pl.lit("specific"), origin=None, options=None
    )


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "stargate.duckdb")


def test_a_slice_is_replaced_and_others_stay(warehouse: Warehouse) -> None:
    warehouse.write("data", "tasks", TEST, tasks("test", "one", "two"), "v1")
    warehouse.write("data", "tasks", TRAIN, tasks("train_a", "three"), "v1")
    warehouse.write("data", "tasks", TEST, tasks("test", "four"), "v2")
    assert warehouse.read("data", "tasks", [TEST])["text"].to_list() == ["four"]
    assert warehouse.read("data", "tasks", [TEST, TRAIN]).height == 2
    there = warehouse.materializations("data")
    assert [(k, m.version, m.rows) for k, m in sorted(there.items())] == [
        (("tasks", "test"), "v2", 1),
        (("tasks", "train_a"), "v1", 1),
    ]


def test_columns_are_matched_by_name_and_new_ones_added(warehouse: Warehouse) -> None:
    warehouse.write("data", "tasks", TEST, tasks("test", "one"), "v1")
    with warehouse.connect(read_only=False) as connection:
        connection.execute('ALTER TABLE "data".tasks DROP COLUMN "text"')
    swapped = tasks("train_a", "two")
    swapped = swapped.select(reversed(swapped.columns))
    warehouse.write("data", "tasks", TRAIN, swapped, "v1")
    both = warehouse.read("data", "tasks", [TEST, TRAIN]).sort("split")
    assert both.select("split", "text").rows() == [("test", None), ("train_a", "two")]


@pytest.mark.parametrize(
    ("table", "frame"),
    [
        ("tasks", tasks("test", " ")),
        ("tasks", pl.concat([tasks("test", "one"), tasks("test", "one")])),
        ("personas", tasks("test", "one")),
    ],
)
def test_an_invalid_frame_leaves_everything_as_it_was(
    warehouse: Warehouse, table: str, frame: pl.DataFrame
) -> None:
    warehouse.write("data", "tasks", TEST, tasks("test", "kept"), "v1")
    with pytest.raises(WarehouseError, match="is not valid"):
        warehouse.write("data", table, TEST, frame, "v2")
    assert warehouse.read("data", "tasks", [TEST])["text"].to_list() == ["kept"]
    assert set(warehouse.materializations("data")) == {("tasks", "test")}


def test_rows_and_what_they_cost_are_written_together_or_not_at_all(warehouse: Warehouse) -> None:
    row = UsageRow("data", "test", "oracle", "m", "chat", 2, 30, 4, 0.5, None)
    failed = FailureRow("k", "data", "test", "oracle", "m", "too_long", "4097 tokens", 1)
    warehouse.write(
        "data", "tasks", TEST, tasks("test", "kept"), "v1", lambda: Calls([row], [failed])
    )
    assert warehouse.query("FROM warehouse.usage").rows() == [astuple(row)]
    with pytest.raises(duckdb.ConversionException):
        bad = replace(row, kind="score", calls="many")  # pyright: ignore[reportArgumentType]
        warehouse.write("data", "tasks", TEST, tasks("test", "lost"), "v2", lambda: Calls([bad]))
    assert warehouse.read("data", "tasks", [TEST])["text"].to_list() == ["kept"]
    assert warehouse.query("FROM warehouse.usage").rows() == [astuple(row)]
    assert warehouse.query("FROM warehouse.failures").rows() == [astuple(failed)]
    warehouse.write_calls(lambda: Calls([row]))
    assert warehouse.query("FROM warehouse.failures").is_empty()


@pytest.mark.parametrize("log_prob", [float("nan"), float("-inf"), 0.5])
def test_a_log_probability_that_is_none_is_refused(warehouse: Warehouse, log_prob: float) -> None:
    row = {
        "iteration": 0,
        "split": "test",
        "task_id": "t",
        "persona_id": "p",
        "condition": "experimental",
        "sample": 0,
        "heard_persona_id": "p",
        "log_prob": log_prob,
        "tokens": 3,
    }
    with pytest.raises(WarehouseError, match="log_prob"):
        warehouse.write(
            "e", "gold_log_probs", {"iteration": 0, "split": "test"}, pl.DataFrame([row]), "v"
        )


def test_a_missing_slice_is_named(warehouse: Warehouse) -> None:
    warehouse.write("data", "tasks", TEST, tasks("test", "one"), "v1")
    with pytest.raises(MissingSliceError, match=r"data\.tasks train_a .* materialise data/tasks"):
        warehouse.read("data", "tasks", [TEST, TRAIN])


def test_what_is_there_is_read_again_only_after_a_write(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second object stands for a second process: both see what the other has written."""
    other = Warehouse(warehouse.path)
    opened: list[bool] = []
    connect = Warehouse.connect

    def counted(self: Warehouse, *, read_only: bool):
        opened.append(read_only)
        return connect(self, read_only=read_only)

    monkeypatch.setattr(Warehouse, "connect", counted)
    for number in range(3):
        warehouse.write("mini", "tasks", TEST, tasks("test", "one"), f"v{number}")
        opened.clear()
        for one in (other, warehouse, other):
            assert one.materializations("mini")["tasks", "test"].version == f"v{number}"
        assert opened == [True]


def test_two_warehouses_of_the_same_relative_path_are_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Warehouse(Path("stargate.duckdb"))
    versions: list[str] = []
    for project in ("one", "other"):
        (tmp_path / project).mkdir()
        monkeypatch.chdir(tmp_path / project)
        here.write("mini", "tasks", TEST, tasks("test", "one"), project)
        versions.append(here.materializations("mini")["tasks", "test"].version)
    assert versions == ["one", "other"]


def test_values_are_parameters_and_identifiers_are_quoted(warehouse: Warehouse) -> None:
    odd = {"split": "test'; DROP SCHEMA data CASCADE; --"}
    warehouse.write('da"ta', "tasks", odd, tasks(odd["split"], "one"), "v")
    assert warehouse.read('da"ta', "tasks", [odd]).height == 1


def test_queries_cannot_write(warehouse: Warehouse) -> None:
    warehouse.write("data", "tasks", TEST, tasks("test", "one"), "v1")
    with pytest.raises(duckdb.Error, match="read-only"):
        warehouse.query('DELETE FROM "data".tasks')


def newer(content: bytes) -> bytes:
    """The same file, as a version of DuckDB would write it that is not there yet."""
    header = content[:12] + (99_999).to_bytes(8, "little") + content[20:]
    return with_checksum(header)


def with_checksum(content: bytes) -> bytes:
    """The file whose first header has the checksum that DuckDB says it must have."""
    with tempfile.NamedTemporaryFile(suffix=".duckdb") as file:
        Path(file.name).write_bytes(content)
        with pytest.raises(duckdb.Error, match="computed checksum") as raised:
            duckdb.connect(file.name)
    (checksum,) = re.findall(r"computed checksum (\d+)", str(raised.value))
    return int(checksum).to_bytes(8, "little") + content[8:]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (newer, r"another version of DuckDB than the \d.*install that one"),
        (lambda content: content[:6000], "cannot be read .*bring it back from a copy"),
        (lambda content: b"no database" * 999, "cannot be read .*bring it back from a copy"),
        (lambda content: content[:16] + b"x" + content[17:], "cannot be read .*Corrupt"),
    ],
    ids=["newer", "half", "another", "changed"],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    warehouse: Warehouse, damage: Callable[[bytes], bytes], sentence: str
) -> None:
    warehouse.write("data", "tasks", TEST, tasks("test", "one"), "v1")
    warehouse.path.write_bytes(damage(warehouse.path.read_bytes()))
    for act in (
        lambda: warehouse.read("data", "tasks", [TEST]),
        lambda: warehouse.write("data", "tasks", TRAIN, tasks("train_a", "two"), "v1"),
    ):
        with pytest.raises(WarehouseError, match=sentence) as raised:
            act()
        assert "\n" not in str(raised.value)


def _hold(
    path: str,
    reads: bool,
    held: "multiprocessing.synchronize.Event",
    enough: "multiprocessing.synchronize.Event",
) -> None:
    with duckdb.connect(path, read_only=reads):
        held.set()
        enough.wait(60)


@pytest.mark.parametrize("reads", [False, True], ids=["writer", "reader"])
def test_a_locked_file_is_waited_for_and_its_holder_named(
    warehouse: Warehouse, reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run waits, and is heard by who has the file open; somebody who only asks is refused."""
    warehouse.write("data", "tasks", TEST, tasks("test", "one"), "v1")
    spawn = multiprocessing.get_context("spawn")
    held, enough = spawn.Event(), spawn.Event()
    holder = spawn.Process(target=_hold, args=(str(warehouse.path), reads, held, enough))
    holder.start()
    assert held.wait(60)
    hasty = replace(warehouse, patience=Patience(0.1))
    with pytest.raises(WarehouseError, match=rf"PID {holder.pid}\) for 0 s; close that program"):
        hasty.write("data", "tasks", TEST, tasks("test", "lost"), "v2")
    if reads:
        assert hasty.read("data", "tasks", [TEST])["text"].to_list() == ["one"]

    said: list[str] = []

    def hear(sentence: str) -> None:
        said.append(sentence)
        enough.set()

    monkeypatch.setattr(module, "TELLING_SECONDS", 0.1)
    warehouse.of_a_run(hear).write("data", "tasks", TEST, tasks("test", "two"), "v2")
    assert warehouse.read("data", "tasks", [TEST])["text"].to_list() == ["two"]
    assert f"(PID {holder.pid}) for 0 s; close that program" in said[0]
    assert "this run waits for it, 60 minutes at most." in said[0]
    holder.join()


def test_the_counts_that_stay_are_those_that_were_made_last(warehouse: Warehouse) -> None:
    """Calls of others, made while a writer waits for the file, are not lost."""
    calls = [1]

    def count() -> Calls:
        return Calls([UsageRow("data", "test", "oracle", "m", "chat", calls[-1], 3, 4, 0.5, 0.0)])

    with ThreadPoolExecutor(1) as pool, warehouse.connect(read_only=False):
        rows = tasks("test", "one")
        written = pool.submit(warehouse.write, "data", "tasks", TEST, rows, "v1", count)
        calls.append(2)
    assert written.exception() is None
    assert warehouse.query("FROM warehouse.usage")["calls"].to_list() == [2]


def test_threads_of_one_process_read_and_write_at_once(warehouse: Warehouse) -> None:
    def write(number: int) -> int:
        where = {"split": f"{number}"}
        warehouse.write("data", "tasks", where, tasks(f"{number}", "one"), "v1")
        return warehouse.read("data", "tasks", [where]).height

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, range(12))) == [1] * 12
    assert len(warehouse.materializations("data")) == 12


def test_what_is_not_committed_is_as_if_it_had_not_been(warehouse: Warehouse) -> None:
    warehouse.write("data", "tasks", TEST, tasks("test", "one"), "v1")

    with warehouse.connect(read_only=False) as connection:
        connection.execute("BEGIN; DELETE FROM data.tasks")
    assert warehouse.read("data", "tasks", [TEST]).height == 1

    with pytest.raises(duckdb.Error), warehouse.connect(read_only=True) as connection:
        connection.execute("DELETE FROM data.tasks")
    assert warehouse.read("data", "tasks", [TEST]).height == 1
