"""Tables in DuckDB: one transaction a slice, connections that live for milliseconds.

DuckDB has one writer process or many readers, so nobody holds a connection while a model works. A
slice that is written is noted in `warehouse.materializations` in the same transaction: a slice is
complete and valid, or it is absent.
"""

import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from dataframely.exc import SchemaError, ValidationError

from stargate_assets.method.errors import StargateError
from stargate_assets.storage.comments import update_comments
from stargate_assets.storage.completions import UsageRow
from stargate_assets.storage.schemas import SCHEMAS
from stargate_assets.storage.views import ALL_EXPERIMENTS, quoted, refresh_views

LOCK_PATIENCE_SECONDS = 30.0
Slice = Mapping[str, str | int]
"""Which rows of a table: column -> value; empty for a table that is not partitioned."""

RESERVED_SCHEMAS = (
    "warehouse",
    ALL_EXPERIMENTS,
    "main",
    "temp",
    "system",
    "information_schema",
    "pg_catalog",
)
"""Ours, of what was written and of views, and DuckDB's: no data set or experiment is called
like them.
"""
_REGISTRY = """
CREATE SCHEMA IF NOT EXISTS warehouse;
CREATE TABLE IF NOT EXISTS warehouse.materializations (
    schema_name VARCHAR, table_name VARCHAR, slice VARCHAR, version VARCHAR, rows BIGINT,
    written_at TIMESTAMP DEFAULT current_timestamp,
    PRIMARY KEY (schema_name, table_name, slice)
);
CREATE TABLE IF NOT EXISTS warehouse.usage (
    schema_name VARCHAR, slice VARCHAR, role VARCHAR, model VARCHAR, kind VARCHAR, calls BIGINT,
    prompt_tokens BIGINT, completion_tokens BIGINT, seconds DOUBLE, dollars DOUBLE
);
"""


class WarehouseError(StargateError):
    """A table cannot be read or written. The message says why and what to do."""


class MissingSliceError(WarehouseError):
    """A slice was asked for that nobody has materialised."""


@dataclass(frozen=True, slots=True)
class Materialization:
    """`version` is what the slice was made from: code, configuration and policy."""

    table: str
    slice: str
    version: str
    rows: int


@dataclass(frozen=True, slots=True)
class Warehouse:
    """The DuckDB file of a project; every method opens it, works for milliseconds and closes it."""

    path: Path

    @contextmanager
    def connect(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for one short piece of work; waits for other processes' locks, within
        bounds.
        """
        deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                connection = duckdb.connect(str(self.path), read_only=read_only)
                break
            except duckdb.IOException as error:
                if "lock" not in str(error).lower():
                    raise WarehouseError(f"{self.path} cannot be opened: {error}") from error
                if time.monotonic() > deadline:
                    raise WarehouseError(_lock_message(self.path, str(error))) from error
                time.sleep(random.uniform(0.02, 0.2))
        try:
            yield connection
        finally:
            connection.close()

    def write(
        self,
        schema: str,
        table: str,
        where: Slice,
        frame: pl.DataFrame,
        version: str,
        usage: Sequence[UsageRow] = (),
    ) -> None:
        """Replace one slice of `schema.table` by `frame`, checked against the table's dataframely
        schema, and with it `warehouse.usage` if model calls were counted.
        """
        try:
            checked = SCHEMAS[table].validate(frame, cast=True)
        except (SchemaError, ValidationError) as error:
            raise WarehouseError(
                f"{schema}.{table} {slice_name(where)} is not valid: {error}"
            ) from error
        name = f"{quoted(schema)}.{quoted(table)}"
        with self.connect(read_only=False) as connection:
            connection.execute("BEGIN")
            connection.execute(_REGISTRY)
            connection.register("incoming", checked.to_arrow())
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
            connection.execute(f"CREATE TABLE IF NOT EXISTS {name} AS FROM incoming LIMIT 0")
            there = {row[0] for row in connection.execute(f"DESCRIBE {name}").fetchall()}
            for column, kind, *_ in connection.execute("DESCRIBE incoming").fetchall():
                if column not in there:
                    connection.execute(f"ALTER TABLE {name} ADD COLUMN {quoted(column)} {kind}")
            condition, values = _condition(where)
            connection.execute(f"DELETE FROM {name} WHERE {condition}", values)
            connection.execute(f"INSERT INTO {name} BY NAME FROM incoming")
            connection.execute(
                "INSERT OR REPLACE INTO warehouse.materializations "
                "(schema_name, table_name, slice, version, rows, written_at) "
                "VALUES (?, ?, ?, ?, ?, current_timestamp)",
                [schema, table, slice_name(where), version, checked.height],
            )
            _replace_usage(connection, usage)
            refresh_views(connection, schema, table)
            update_comments(connection, schema, "warehouse", ALL_EXPERIMENTS)
            connection.execute("COMMIT")

    def read(self, schema: str, table: str, slices: Sequence[Slice]) -> pl.DataFrame:
        """The rows of these slices; a slice that was never written is an error, an empty one is
        not.
        """
        self._check_it_exists()
        with self.connect(read_only=True) as connection:
            there = _materializations(connection, schema)
            for where in slices:
                if (table, slice_name(where)) not in there:
                    raise MissingSliceError(
                        f"{schema}.{table} {slice_name(where)} is not there; materialise "
                        f"{schema}/{table} for it first."
                    )
            conditions, values = zip(*map(_condition, slices), strict=True)
            name = f"{quoted(schema)}.{quoted(table)}"
            return _frame(
                connection,
                f"SELECT * FROM {name} WHERE {' OR '.join(conditions)}",
                [value for part in values for value in part],
            )

    def write_usage(self, rows: Sequence[UsageRow]) -> None:
        """Replace `warehouse.usage`, the model calls that were counted."""
        if not rows:
            return
        with self.connect(read_only=False) as connection:
            connection.execute("BEGIN")
            connection.execute(_REGISTRY)
            _replace_usage(connection, rows)
            update_comments(connection, "warehouse")
            connection.execute("COMMIT")

    def query(self, sql: str, values: Sequence[Any] = ()) -> pl.DataFrame:
        """The result of a read-only query."""
        self._check_it_exists()
        with self.connect(read_only=True) as connection:
            return _frame(connection, sql, values)

    def materializations(self, schema: str) -> dict[tuple[str, str], Materialization]:
        """What is there of a schema, by (table, slice)."""
        if not self.path.exists():
            return {}
        with self.connect(read_only=True) as connection:
            return _materializations(connection, schema)

    def _check_it_exists(self) -> None:
        if not self.path.exists():
            raise MissingSliceError(f"{self.path} is not there yet; run an experiment first.")


def _replace_usage(connection: duckdb.DuckDBPyConnection, rows: Sequence[UsageRow]) -> None:
    if not rows:
        return
    counted = pl.DataFrame([asdict(row) for row in rows], infer_schema_length=None)
    connection.register("counted", counted.to_arrow())
    connection.execute("DELETE FROM warehouse.usage")
    connection.execute("INSERT INTO warehouse.usage BY NAME FROM counted")


def _frame(
    connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[Any] = ()
) -> pl.DataFrame:
    relation = connection.sql(sql, params=list(values))
    return pl.DataFrame(pl.from_arrow(relation.to_arrow_table()))


def _materializations(
    connection: duckdb.DuckDBPyConnection, schema: str
) -> dict[tuple[str, str], Materialization]:
    try:
        rows = connection.execute(
            "SELECT table_name, slice, version, rows FROM warehouse.materializations "
            "WHERE schema_name = ?",
            [schema],
        ).fetchall()
    except duckdb.CatalogException:  # nothing was ever written
        return {}
    return {(row[0], row[1]): Materialization(*row) for row in rows}


def slice_name(where: Slice) -> str:
    """How a slice is written in messages and in the registry, as in Dagster: `1|train_b`."""
    return "|".join(str(value) for value in where.values()) or "all"


def _condition(where: Slice) -> tuple[str, list[str | int]]:
    if not where:
        return "true", []
    return (
        "(" + " AND ".join(f"{quoted(column)} = ?" for column in where) + ")",
        list(where.values()),
    )


def _lock_message(path: Path, error: str) -> str:
    holder = re.search(r"(\S+ \(PID \d+\)|PID \d+)", error)
    by = f" by {holder.group(1)}" if holder else ""
    return (
        f"{path} has been locked{by} for {LOCK_PATIENCE_SECONDS:.0f} s; close that program and "
        "try again."
    )
