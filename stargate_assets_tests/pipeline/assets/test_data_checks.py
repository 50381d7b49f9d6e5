"""What a check of a data set's tables says, on a real warehouse."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from stargate_assets.config.data_set import DATA_TABLES
from stargate_assets.pipeline.assets.data_checks import (
    DataSlices,
    find_changed,
    find_invalid,
    find_names_in_tasks,
    find_near_duplicates,
    find_pairs_without_row,
    find_repeats,
    make_result,
)
from stargate_assets.pipeline.sources.tables import read_tables
from stargate_assets.storage.warehouse import Warehouse
from stargate_assets_tests.conftest import mini_data_set, write_data_set

KEY = dg.AssetKey(["mini", "tasks"])
Edit = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture
def slices(tmp_path: Path) -> DataSlices:
    """The test split of a clean data set, all of which is in the warehouse."""
    warehouse = Warehouse(tmp_path / "stargate.duckdb")
    read = read_tables(mini_data_set(write_data_set(tmp_path / "mini")))
    for table in DATA_TABLES:
        for split in ("train_a", "train_b", "test"):
            rows = getattr(read, table).of(split)
            warehouse.write("mini", table, {"split": split}, rows, "v")
    return DataSlices(warehouse, "mini", "test")


def edit(slices: DataSlices, table: str, split: str, change: Edit) -> None:
    where = {"split": split}
    rows = slices.warehouse.read("mini", table, [where])
    slices.warehouse.write("mini", table, where, change(rows), "v")


def put(column: str, value: str) -> Edit:
    """Another value in the first row."""
    return lambda rows: rows.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(value)).otherwise(column).alias(column)
    )


def test_a_clean_data_set_has_no_findings(slices: DataSlices, tmp_path: Path) -> None:
    read = read_tables(mini_data_set(tmp_path / "mini"))
    for table in ("tasks", "personas"):
        assert find_repeats(slices, table) == []
        assert find_changed(slices, table, lambda: read) == []
    for table in DATA_TABLES:
        assert find_invalid(slices, table) == []
    assert find_names_in_tasks(slices) == find_pairs_without_row(slices) == []


def test_a_task_of_another_split_is_found_in_any_dress(slices: DataSlices) -> None:
    edit(slices, "tasks", "test", put("text", "what SHOULD I do about matter 0, of train_a"))
    (finding,) = find_repeats(slices, "tasks")
    assert "is in train_a and test" in finding or "is in test and train_a" in finding


def test_two_personas_of_one_name_are_found(slices: DataSlices) -> None:
    edit(slices, "personas", "train_b", put("name", "test0"))
    assert any(
        "'test0'" in finding or "'Test0'" in finding for finding in find_repeats(slices, "personas")
    )


def test_text_that_cannot_be_used_is_found(slices: DataSlices) -> None:
    edit(slices, "tasks", "test", put("text", "a\x07b"))
    assert "U+0007" in find_invalid(slices, "tasks")[0]


def test_an_excluded_gold_response_may_be_anything(slices: DataSlices) -> None:
    edit(slices, "gold_responses", "test", lambda rows: rows.with_columns(text=pl.lit("")))
    assert len(find_invalid(slices, "gold_responses")) == 4
    exclude: Edit = lambda rows: rows.with_columns(exclusion=pl.lit("empty"))  # noqa: E731
    edit(slices, "gold_responses", "test", exclude)
    assert find_invalid(slices, "gold_responses") == []


def test_a_letter_that_was_lost_on_the_way_is_found(slices: DataSlices, tmp_path: Path) -> None:
    read = read_tables(mini_data_set(tmp_path / "mini"))
    edit(slices, "personas", "test", put("text", "I have forgotten it."))
    assert len(find_changed(slices, "personas", lambda: read)) == 2


def test_a_name_in_a_task_is_found(slices: DataSlices) -> None:
    edit(slices, "tasks", "train_a", put("text", "What does Test1 want?"))
    assert find_names_in_tasks(slices) == ["'Test1' is in 'What does Test1 want?'"]


def test_a_pair_without_a_row_is_found(slices: DataSlices) -> None:
    edit(slices, "gold_responses", "test", lambda rows: rows.head(3))
    assert len(find_pairs_without_row(slices)) == 1


def test_near_duplicates_are_a_warning(slices: DataSlices) -> None:
    found = find_near_duplicates(slices, "tasks")
    assert found  # "matter 0" and "matter 1"
    warned = make_result(found, "any", KEY, blocking=False)
    assert not warned.passed
    assert warned.severity.value == "WARN"
    assert warned.metadata["findings"].value == len(found)


def test_only_the_first_findings_are_quoted() -> None:
    assert (
        make_result([str(number) for number in range(9)], "any", KEY).description == "0\n1\n2\n3\n4"
    )
