"""Comments in DuckDB on tables, views and their columns: the descriptions that their schemas state.

Whoever opens the file with another program reads there what a column means.
"""

from collections.abc import Mapping
from functools import cache

import dataframely as dy
import duckdb

from stargate_assets.storage.schemas import (
    BOOKKEEPING,
    SCHEMAS,
    table_columns,
    table_description,
)
from stargate_assets.storage.views import ALL_EXPERIMENTS, VIEWS, quote_name, quote_text

_COMMENTS = """
SELECT 'COLUMN', schema_name, table_name, column_name, comment FROM duckdb_columns()
WHERE schema_name IN (SELECT unnest($schemas)) AND NOT internal
UNION ALL
SELECT 'TABLE', schema_name, table_name, NULL, comment FROM duckdb_tables()
WHERE schema_name IN (SELECT unnest($schemas))
UNION ALL
SELECT 'VIEW', schema_name, view_name, NULL, comment FROM duckdb_views()
WHERE schema_name IN (SELECT unnest($schemas))
"""
Descriptions = Mapping[str | None, str]
"""Of a table or view and, by name, of its columns; None stands for the table itself."""


def update_comments(connection: duckdb.DuckDBPyConnection, *schemas: str) -> None:
    """Comment what has no comment yet, or another than its description. Tables that are not ours
    are left alone.
    """
    rows = connection.execute(_COMMENTS, {"schemas": list(schemas)}).fetchall()
    statements: list[str] = []
    for kind, schema, table, column, comment in rows:
        description = descriptions(schema, table).get(column)
        if description is not None and description != comment:
            name = ".".join(
                quote_name(part) for part in (schema, table, column) if part is not None
            )
            statements.append(f"COMMENT ON {kind} {name} IS {quote_text(description)}")
    if statements:
        connection.execute("; ".join(statements))


@cache
def descriptions(schema: str, table: str) -> Descriptions:
    """What a table or view of a DuckDB schema and its columns are; empty if it is not ours."""
    if schema == "warehouse":
        return _table_descriptions(BOOKKEEPING, table)
    if schema == ALL_EXPERIMENTS:
        columns = _table_descriptions(SCHEMAS, table)
        return {"experiment": "Name of the experiment", **columns} if columns else {}
    if table not in VIEWS:
        return _table_descriptions(SCHEMAS, table)
    view = VIEWS[table]
    described: dict[str | None, str] = {}
    for source in reversed(view.sources):
        described |= _table_descriptions(SCHEMAS, source)
    return {**described, **view.columns, None: view.description}


def _table_descriptions(schemas: Mapping[str, type[dy.Schema]], table: str) -> Descriptions:
    if table not in schemas:
        return {}
    columns = {column.name: column.description for column in table_columns(schemas[table])}
    return {None: table_description(schemas[table]), **columns}
