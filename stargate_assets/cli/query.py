"""`stargate sql`: a query as people type it, and its result for a terminal, a pipe or a file."""

import re
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import click

from stargate_assets.cli.declare import path_option
from stargate_assets.cli.terminal import print_table, visible
from stargate_assets.method.errors import StargateError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

QueryFormat = Literal["csv", "json", "parquet"]
T = TypeVar("T")
FORMATS: tuple[QueryFormat, ...] = get_args(QueryFormat)
OPTIONS: dict[QueryFormat, str] = {
    "csv": "HEADER",
    "json": "ARRAY true",
    "parquet": "COMPRESSION zstd",
}
FLOATS = ("FLOAT", "DOUBLE")
TEXTS = ("VARCHAR", "BLOB", "ENUM", "JSON", "UNION", "VARIANT")
"""How the types begin whose values are texts in CSV."""
IN_PARQUET = {
    "HUGEINT": "DECIMAL(38, 0)",
    "UHUGEINT": "VARCHAR",
    "TIME WITH TIME ZONE": "VARCHAR",
    "INTERVAL": "VARCHAR",
    "STRUCT": "VARCHAR",  # without fields
}
"""What a column becomes for whose type Parquet has none, or one that is less exact."""
_FORMULA = r"'^[=+\-@\t\r＝＋－＠]'"
"""How a text begins that a spreadsheet may run."""
_JSON_PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)')


class QueryError(StargateError):
    """A query has no result. The message says why, in DuckDB's words where they are its own."""


class InterruptedQuery(click.ClickException):
    """Ctrl-C, of which a shell expects to be told by the exit code."""

    exit_code = 130


@click.command(context_settings={"ignore_unknown_options": True})  # as -- a comment
@click.argument("query")
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), help="Instead of a table; of one result."
)
@click.option("--to", metavar="FILE", **path_option("Write it there, in the format of its name."))
def sql(query: str, kind: QueryFormat | None, to: Path | None) -> None:
    """Run a read-only QUERY on the warehouse, e.g. "from embedded.conversations limit 3"."""
    from stargate_assets.definitions.project import WAREHOUSE
    from stargate_assets.storage.warehouse import Warehouse

    if to is not None and kind is None:
        kind = next((kind for kind in FORMATS if to.suffix.casefold() == f".{kind}"), None)
        if kind is None:
            raise click.UsageError(f"{to} ends with none of {', '.join(FORMATS)}; state --format.")
    if kind == "parquet" and to is None:
        raise click.UsageError("Parquet is no text; state a file with --to.")
    try:
        with Warehouse(WAREHOUSE / "stargate.duckdb").connect(read_only=True) as connection:
            if kind is None:
                for result in _run(connection, lambda: _results(connection, query)):
                    print_table(result.columns, _run(connection, lambda r=result: _cells(r)))
            else:
                _write_result(connection, query, kind, to)
    except KeyboardInterrupt:
        raise InterruptedQuery("Interrupted: the query was stopped.") from None


def _run(connection: "DuckDBPyConnection", work: Callable[[], T]) -> T:
    """What `work` returns, in a thread: DuckDB looks for no signal while it works. Raises
    QueryError.
    """
    import duckdb

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        try:
            return running.result()
        except KeyboardInterrupt:
            connection.interrupt()
            raise
        except duckdb.Error as error:
            raise QueryError(str(error)) from error


def _results(connection: "DuckDBPyConnection", query: str) -> "list[DuckDBPyRelation]":
    """The result of each statement that has one, its columns under names of their own."""
    import duckdb

    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise QueryError("The query is not UTF-8; write it in UTF-8.") from error
    statements = connection.extract_statements(query)
    if not statements:
        raise QueryError("The query is empty; state one, such as: from warehouse.materializations.")
    results: list[DuckDBPyRelation] = []
    for statement in statements:
        result = connection.sql(statement)
        has_rows = duckdb.ExpectedResultType.QUERY_RESULT in statement.expected_result_type
        if result is not None and has_rows:
            results.append(connection.sql("FROM result"))  # which numbers names that stand twice
    return results


def _columns(result: "DuckDBPyRelation") -> list[tuple[str, str]]:
    """The quoted name and the type of each column."""
    from stargate_assets.storage.views import quote_name

    return list(zip(map(quote_name, result.columns), map(str, result.types), strict=True))


def _cells(result: "DuckDBPyRelation") -> list[tuple[object, ...]]:
    """The rows: numbers with a fraction as they are, and all else as DuckDB writes it."""
    cells = [name if kind in FLOATS else f"{name}::VARCHAR" for name, kind in _columns(result)]
    return result.project(", ".join(cells)).fetchall()


def _write_result(
    connection: "DuckDBPyConnection", query: str, kind: QueryFormat, to: Path | None
) -> None:
    """Write the only result of a query aside, and then to its file or to standard output."""
    directory = None if to is None else to.absolute().parent
    if directory is not None and not directory.is_dir():
        raise QueryError(f"{directory} is no directory; make it, or write to another.")
    results = _run(connection, lambda: _results(connection, query))
    if len(results) != 1:
        raise QueryError(
            f"--format and --to are for a query with one result, and this has {len(results)}; "
            "write one at a time."
        )
    with TemporaryDirectory(dir=directory, prefix=".stargate-sql-") as temporary:
        written = Path(temporary) / f"result.{kind}"
        _run(connection, lambda: _copy_result(results[0], kind, written))
        if kind == "json":
            written = _valid_json(written)
        if to is not None:
            written.replace(to)
            return
        with written.open("rb") as file:
            if not sys.stdout.isatty():
                shutil.copyfileobj(file, sys.stdout.buffer)
                return
            for line in file:
                click.echo(visible(line.decode()), nl=False)


def _copy_result(result: "DuckDBPyRelation", kind: QueryFormat, path: Path) -> None:
    from stargate_assets.storage.views import quote_text

    columns, options = _columns(result), f"FORMAT {kind}, {OPTIONS[kind]}"
    texts = [name for name, of_type in columns if of_type.startswith(TEXTS)]
    if kind == "csv" and texts:  # quoted, so that null, which is not, is no empty text
        options += f", FORCE_QUOTE ({', '.join(texts)})"
    values = (f"{_as_written(name, of_type, kind)} AS {name}" for name, of_type in columns)
    selected = f"SELECT {', '.join(values)} FROM result"
    result.query("result", f"COPY ({selected}) TO {quote_text(str(path))} ({options})")


def _as_written(name: str, of_type: str, kind: QueryFormat) -> str:
    """SQL for a column's values as a format takes them."""
    if kind == "parquet" and of_type in IN_PARQUET:
        return f"{name}::{IN_PARQUET[of_type]}"
    if kind == "csv" and of_type.startswith(TEXTS):
        text = f"{name}::VARCHAR"
        return f"CASE WHEN regexp_matches({text}, {_FORMULA}) THEN '''' || {text} ELSE {text} END"
    return name


def _valid_json(path: Path) -> Path:
    """The same with null where DuckDB writes numbers that JSON does not have."""
    valid = path.with_name("valid.json")
    with path.open(encoding="utf-8") as lines, valid.open("w", encoding="utf-8") as out:
        for line in lines:
            out.write(_JSON_PARTS.sub(lambda part: part[0] if part[0][0] == '"' else "null", line))
    return valid
