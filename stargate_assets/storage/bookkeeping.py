"""The tables of the DuckDB schema `warehouse`: which slices are there, what models were asked, and
which requests have no answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields

import duckdb
import polars as pl

from stargate_assets.storage.completions import CompletionStore, FailureRow, UsageRow

CREATE_BOOKKEEPING = """
CREATE SCHEMA IF NOT EXISTS warehouse;
CREATE TABLE IF NOT EXISTS warehouse.materializations (
    schema_name VARCHAR, table_name VARCHAR, slice VARCHAR, version VARCHAR, rows BIGINT,
    written_at TIMESTAMP DEFAULT current_timestamp,
    PRIMARY KEY (schema_name, table_name, slice)
);
CREATE TABLE IF NOT EXISTS warehouse.usage (
    schema_name VARCHAR, slice VARCHAR, role VARCHAR, model VARCHAR, kind VARCHAR, calls BIGINT,
    prompt_tokens BIGINT, completion_tokens BIGINT, seconds DOUBLE, dollars DOUBLE,
    estimated_calls BIGINT
);
ALTER TABLE warehouse.usage ADD COLUMN IF NOT EXISTS estimated_calls BIGINT;
CREATE TABLE IF NOT EXISTS warehouse.failures (
    key VARCHAR, schema_name VARCHAR, slice VARCHAR, role VARCHAR, model VARCHAR, reason VARCHAR,
    said VARCHAR, runs BIGINT
);
"""


@dataclass(frozen=True, slots=True)
class Calls:
    """What the completion store has counted of all runs."""

    usage: Sequence[UsageRow] = ()
    failures: Sequence[FailureRow] = ()


Count = Callable[[], Calls]
"""Counts the calls of all runs. It is called while nobody else can write, so the counts that were
made last are those that stay; where there are none, what was written before stays.
"""


def count_calls(store: CompletionStore) -> Calls:
    return Calls(store.usage(), store.failures())


def replace_calls(connection: duckdb.DuckDBPyConnection, calls: Calls) -> None:
    """Replace `warehouse.usage` and `warehouse.failures`."""
    if not calls.usage:
        return
    for table, row_type, rows in (
        ("usage", UsageRow, calls.usage),
        ("failures", FailureRow, calls.failures),
    ):
        columns = [field.name for field in fields(row_type)]
        counted = pl.DataFrame([asdict(row) for row in rows], columns, infer_schema_length=None)
        connection.execute(f"DELETE FROM warehouse.{table}")
        if rows:
            connection.register("counted", counted.to_arrow())
            connection.execute(f"INSERT INTO warehouse.{table} BY NAME FROM counted")
