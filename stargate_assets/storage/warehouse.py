"""Tables in DuckDB: one transaction for each slice.

`warehouse.materializations` gets a row for a slice in the transaction that writes it: a slice is
complete and valid, or it is absent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from dataframely.exc import SchemaError, ValidationError

from stargate_assets.storage.bookkeeping import CREATE_BOOKKEEPING, Calls, Count, replace_calls
from stargate_assets.storage.comments import update_comments
from stargate_assets.storage.duckdb_file import Patience, WarehouseError, open_duckdb
from stargate_assets.storage.schemas import SCHEMAS
from stargate_assets.storage.views import ALL_EXPERIMENTS, quote_name, refresh_views

_HEADERS = 3 * 4096
"""Bytes at the start of a DuckDB file: one header, and two that take turns at each checkpoint."""
Slice = Mapping[str, str | int]
"""The rows of a table that have these values, by column; empty stands for the whole table, which is
then not partitioned.
"""

PATIENCE = Patience(30.0)
"""Of a command that somebody watches."""
PATIENCE_OF_A_RUN = 3600.0
"""In seconds: what a cell has cost is worth more than a wait for whoever reads in a notebook."""
RESERVED_SCHEMAS = (
    "warehouse",
    ALL_EXPERIMENTS,
    "main",
    "temp",
    "system",
    "information_schema",
    "pg_catalog",
)
"""Names that no data set or experiment may have: our own schemas and those of DuckDB."""


class MissingSliceError(WarehouseError):
    """A slice that was asked for has not been materialised. The message says which."""


@dataclass(frozen=True, slots=True)
class Materialization:
    """A slice that was written. `version` is a hash of what it was made from: code, configuration,
    policy and data.
    """

    table: str
    slice: str
    version: str
    rows: int


@dataclass(frozen=True, slots=True)
class Warehouse:
    """The DuckDB file of a project; every method opens it, works for milliseconds and closes it."""

    path: Path
    patience: Patience = field(default=PATIENCE, compare=False)

    def of_a_run(self, say: Callable[[str], None]) -> "Warehouse":
        """The same for a run, which waits longer and says so, here and where it said so before."""

        def say_it(sentence: str) -> None:
            self.patience.say(sentence)
            say(sentence)

        return replace(self, patience=Patience(PATIENCE_OF_A_RUN, say_it))

    @property
    def place(self) -> str:
        """Where it is looked for, and whether it is there: for people who are elsewhere."""
        return f"{self.path.absolute()}{'' if self.path.exists() else ', which is not there yet'}"

    @contextmanager
    def connect(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """What `open_duckdb` opens. To read makes no file: one that is not there raises
        MissingSliceError.
        """
        if read_only:
            self._require_file()
        with open_duckdb(self.path, self.patience, read_only=read_only) as connection:
            yield connection

    def write(
        self,
        schema: str,
        table: str,
        where: Slice,
        frame: pl.DataFrame,
        version: str,
        calls: Count = Calls,
        *,
        by_key: bool = False,
    ) -> None:
        """Replace one slice of `schema.table` by `frame`, or with `by_key` what of the slice has
        the primary keys of its rows; and the counts of model calls by what `calls` returns. A frame
        that its schema does not allow raises WarehouseError.
        """
        try:
            checked = SCHEMAS[table].validate(frame, cast=True)
        except (SchemaError, ValidationError) as error:
            raise WarehouseError(
                f"{schema}.{table} {slice_name(where)} is not valid: {error}"
            ) from error
        name = f"{quote_name(schema)}.{quote_name(table)}"
        with self.connect(read_only=False) as connection:
            connection.execute("BEGIN")
            connection.execute(CREATE_BOOKKEEPING)
            connection.register("incoming", checked.to_arrow())
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_name(schema)}")
            connection.execute(f"CREATE TABLE IF NOT EXISTS {name} AS FROM incoming LIMIT 0")
            there = {row[0] for row in connection.execute(f"DESCRIBE {name}").fetchall()}
            for column, kind, *_ in connection.execute("DESCRIBE incoming").fetchall():
                if column not in there:
                    connection.execute(f"ALTER TABLE {name} ADD COLUMN {quote_name(column)} {kind}")
            condition, values = _where_clause(where)
            replaced = condition
            if by_key:
                keys = ", ".join(map(quote_name, SCHEMAS[table].primary_key()))
                replaced += f" AND ({keys}) IN (SELECT ({keys}) FROM incoming)"
            connection.execute(f"DELETE FROM {name} WHERE {replaced}", values)
            connection.execute(f"INSERT INTO {name} BY NAME FROM incoming")
            connection.execute(
                "INSERT OR REPLACE INTO warehouse.materializations "
                "(schema_name, table_name, slice, version, rows, written_at) "
                f"SELECT ?, ?, ?, ?, count(*), current_timestamp FROM {name} WHERE {condition}",
                [schema, table, slice_name(where), version, *values],
            )
            replace_calls(connection, calls())
            refresh_views(connection, schema, table)
            update_comments(connection, schema, "warehouse", ALL_EXPERIMENTS)
            connection.execute("COMMIT")

    def forget(self, schema: str, slices: Sequence[str]) -> None:
        """Take the slices of these names for not written, so that they are due."""
        if not self.path.exists():
            return
        with self.connect(read_only=False) as connection:
            connection.execute(CREATE_BOOKKEEPING)
            connection.execute(
                "DELETE FROM warehouse.materializations "
                "WHERE schema_name = ? AND list_contains(?, slice)",
                [schema, list(slices)],
            )

    def read(self, schema: str, table: str, slices: Sequence[Slice]) -> pl.DataFrame:
        """The rows of these slices; a column that came after they were written is null. A slice
        that was never written raises MissingSliceError; one that was written without rows has none.
        """
        with self.connect(read_only=True) as connection:
            there = _read_materializations(connection, schema)
            for where in slices:
                if (table, slice_name(where)) not in there:
                    raise MissingSliceError(
                        f"{schema}.{table} {slice_name(where)} has not been written; materialise "
                        f"{schema}/{table} for it first."
                    )
            conditions, values = zip(*map(_where_clause, slices), strict=True)
            name = f"{quote_name(schema)}.{quote_name(table)}"
            found = _query_frame(
                connection,
                f"SELECT * FROM {name} WHERE {' OR '.join(conditions)}",
                [value for part in values for value in part],
            )
        columns = SCHEMAS[table].columns().items()
        later = {n: pl.lit(None, c.dtype) for n, c in columns if n not in found.columns}
        return found.with_columns(**later)

    def write_calls(self, calls: Count) -> None:
        """Replace `warehouse.usage` and `warehouse.failures` by what `calls` returns."""
        if not calls().usage:
            return
        with self.connect(read_only=False) as connection:
            connection.execute("BEGIN")
            connection.execute(CREATE_BOOKKEEPING)
            replace_calls(connection, calls())
            update_comments(connection, "warehouse")
            connection.execute("COMMIT")

    def query(self, sql: str, values: Sequence[Any] = ()) -> pl.DataFrame:
        """The result of a read-only query."""
        with self.connect(read_only=True) as connection:
            return _query_frame(connection, sql, values)

    def materializations(self, schema: str) -> dict[tuple[str, str], Materialization]:
        """The slices of a schema that were written, by (table, slice)."""
        if not self.path.exists():
            return {}
        return dict(_known_materializations(self, schema, _file_state(self.path)))

    def _require_file(self) -> None:
        if not self.path.exists():
            raise MissingSliceError(
                f"{self.path.absolute()} is not there yet; run an experiment first, or call this "
                "from the project's directory."
            )


@lru_cache(maxsize=64)
def _known_materializations(
    warehouse: Warehouse, schema: str, state: tuple[object, ...]
) -> dict[tuple[str, str], Materialization]:
    """The slices of a schema in a file of this state. A run asks for them far more often than it
    writes, and to open the file is most of what that takes.
    """
    del state
    with warehouse.connect(read_only=True) as connection:
        return _read_materializations(connection, schema)


def _file_state(path: Path) -> tuple[object, ...]:
    """Which DuckDB file this is, and what changes when it does: its headers, which count
    checkpoints, its time, and the length of the log of what is not in it yet.
    """
    log, stat = path.with_name(f"{path.name}.wal"), path.stat()
    with path.open("rb") as file:
        headers = file.read(_HEADERS)
    logged = log.stat().st_size if log.exists() else 0
    return path.resolve(), stat.st_ino, stat.st_mtime_ns, headers, logged


def _query_frame(
    connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[Any] = ()
) -> pl.DataFrame:
    relation = connection.sql(sql, params=list(values))
    return pl.DataFrame(pl.from_arrow(relation.to_arrow_table()))


def _read_materializations(
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
    """A slice in words, like Dagster's partition key: `1|train_b`, or `all` for a whole table."""
    return "|".join(str(value) for value in where.values()) or "all"


def _where_clause(where: Slice) -> tuple[str, list[str | int]]:
    """SQL that the rows of a slice satisfy, and the values of its parameters."""
    if not where:
        return "true", []
    return (
        "(" + " AND ".join(f"{quote_name(column)} = ?" for column in where) + ")",
        list(where.values()),
    )
