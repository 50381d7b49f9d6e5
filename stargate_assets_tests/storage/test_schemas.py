"""What schemas say of tables and columns, and that DuckDB files say the same."""

import re
from pathlib import Path

import dataframely as dy
import pytest

from stargate_assets.pipeline.assets.outputs import column_schema
from stargate_assets.storage.bookkeeping import Calls
from stargate_assets.storage.schemas import (
    BOOKKEEPING,
    SCHEMAS,
    table_columns,
    table_description,
)
from stargate_assets.storage.views import VIEWS
from stargate_assets.storage.warehouse import Warehouse
from stargate_assets_tests.reporting import frames
from stargate_assets_tests.reporting.outcomes import store_outcomes

TABLES = SCHEMAS | BOOKKEEPING
UNIT = re.compile(r"\b(nats|seconds|dollars|share)\b")


def assert_is_one_line(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z]\S*( \S+)+", text), text
    assert not text.endswith("."), text


@pytest.mark.parametrize("schema", TABLES.values(), ids=TABLES)
def test_tables_and_columns_are_described_in_one_line(schema: type[dy.Schema]) -> None:
    assert "__doc__" in vars(schema)
    assert_is_one_line(table_description(schema))
    for column in table_columns(schema):
        assert_is_one_line(column.description)
        if "Float" in column.type:
            assert UNIT.search(column.description), column


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    warehouse = Warehouse(tmp_path_factory.mktemp("schemas") / "stargate.duckdb")
    frames.store(frames.tables("o'brien"), warehouse)
    frames.store_chat(warehouse, "o'brien")
    frames.store_ratings(warehouse, frames.tables("o'brien"))
    store_outcomes(warehouse, "o'brien")
    warehouse.write_calls(lambda: Calls(frames.usage_rows("o'brien")))
    return warehouse


def comments(warehouse: Warehouse, schema: str, table: str) -> dict[str, str | None]:
    """The comments of a table's columns, as DuckDB has them."""
    found = warehouse.query(
        "SELECT column_name, comment FROM duckdb_columns() "
        "WHERE schema_name = ? AND table_name = ? ORDER BY column_index",
        [schema, table],
    )
    return dict(found.iter_rows())


def described(schema: type[dy.Schema]) -> dict[str, str]:
    return {column.name: column.description for column in table_columns(schema)}


@pytest.mark.parametrize("table", TABLES)
def test_descriptions_are_comments_in_the_file(warehouse: Warehouse, table: str) -> None:
    data = ("tasks", "personas", "gold_responses")
    where = "everyday_mini" if table in data else "o'brien" if table in SCHEMAS else "warehouse"
    assert comments(warehouse, where, table) == described(TABLES[table])
    found = warehouse.query(
        "SELECT comment FROM duckdb_tables() WHERE schema_name = ? AND table_name = ?",
        [where, table],
    )
    assert found["comment"].to_list() == [table_description(TABLES[table])]


@pytest.mark.parametrize("table", SCHEMAS)
def test_descriptions_are_in_dagsters_column_table(table: str) -> None:
    shown = column_schema(table).columns
    assert {column.name: column.description for column in shown} == described(SCHEMAS[table])
    nullable = [column.name for column in shown if column.constraints.nullable]
    assert nullable == [column.name for column in table_columns(SCHEMAS[table]) if column.nullable]


def test_views_and_their_columns_have_comments(warehouse: Warehouse) -> None:
    shown = warehouse.query("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal")
    assert {name for name, _ in shown.iter_rows()} >= {*VIEWS, "win_rates"}
    assert shown["comment"].null_count() == 0
    for view in VIEWS:
        assert None not in comments(warehouse, "o'brien", view).values()
    of_all = comments(warehouse, "all_experiments", "win_rates")
    assert of_all == {"experiment": "Name of the experiment"} | described(SCHEMAS["win_rates"])
    examples = comments(warehouse, "o'brien", "policy_examples")
    assert examples["iteration"] == "Number of the policy that was trained on the example"
    assert examples["rank"] == described(SCHEMAS["best_conversations"])["rank"]


def test_a_table_of_an_older_warehouse_is_commented_when_it_is_written(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "stargate.duckdb")
    tasks = frames.tables().frame("tasks").filter(split="test")
    warehouse.write("data", "tasks", {"split": "test"}, tasks, "v1")
    with warehouse.connect(read_only=False) as connection:
        connection.execute("COMMENT ON TABLE data.tasks IS NULL")
        connection.execute("COMMENT ON COLUMN data.tasks.text IS 'what it once meant'")
        connection.execute("ALTER TABLE data.tasks DROP COLUMN kind")
        connection.execute("CREATE TABLE data.own (text VARCHAR)")
    warehouse.write("data", "tasks", {"split": "test"}, tasks, "v2")
    assert comments(warehouse, "data", "tasks") == described(SCHEMAS["tasks"])
    assert comments(warehouse, "data", "own") == {"text": None}
