"""Every column says what it is, in the schemas, in DuckDB and in Dagster."""

from pathlib import Path

import dataframely as dy
import pytest

from stargate_assets.pipeline.assets.outputs import column_schema
from stargate_assets.storage.schemas import SCHEMAS, describe_columns, describe_table
from stargate_assets.storage.warehouse import MATERIALIZATIONS, USAGE, Warehouse
from stargate_assets_tests.reporting import frames

UNITS = ("nats", "share", "tokens", "seconds", "dollars")


@pytest.mark.parametrize("table", SCHEMAS)
def test_every_column_has_one_line_with_its_unit(table: str) -> None:
    assert describe_table(table)
    for name, column in SCHEMAS[table].columns().items():
        text = describe_columns(table)[name]
        assert text != "None", f"{table}.{name} has no description"
        assert "\n" not in text and not text.endswith(".")
        inner = column.inner if isinstance(column, dy.List) else column
        if isinstance(inner, dy.Float64):
            assert any(unit in text.casefold() for unit in UNITS), f"{table}.{name}: which unit?"


def test_duckdb_has_them_as_comments(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "stargate.duckdb")
    tables = frames.tables(tasks=2, people=2)
    frames.store(tables, warehouse)
    warehouse.write_usage(frames.usage_rows("embedded"))
    rows = warehouse.query(
        "SELECT schema_name, table_name, column_name, comment FROM duckdb_columns() "
        "SEMI JOIN duckdb_tables() USING (schema_name, table_name)"
    )
    found = {(table, column): comment for _, table, column, comment in rows.iter_rows()}
    own = {"materializations": MATERIALIZATIONS, "usage": USAGE}
    expected = {table: describe_columns(table) for table in SCHEMAS} | own
    assert found == {(t, c): text for t, said in expected.items() for c, text in said.items()}
    of_tables = warehouse.query("SELECT table_name, comment FROM duckdb_tables()")
    said = dict(of_tables.iter_rows())
    assert {table: said[table] for table in SCHEMAS} == {t: describe_table(t) for t in SCHEMAS}


def test_dagster_shows_them() -> None:
    columns = {column.name: column.description for column in column_schema("report").columns}
    assert columns == describe_columns("report")
