"""Views over the tables, kept right by whoever writes a table: what people ask for most, and each
table of all experiments together.
"""

from collections.abc import Iterator

import duckdb

from stargate_assets.storage.schemas import SCHEMAS

ALL_EXPERIMENTS = "all_experiments"
"""The schema of views over every experiment that has a table, with a column `experiment`."""
OF_EXPERIMENTS = frozenset(
    table for table, columns in SCHEMAS.items() if "iteration" in columns.columns()
)
"""The tables that an experiment has; those of data sets know no iteration."""

VIEWS: dict[str, tuple[tuple[str, ...], str]] = {
    "win_rate_by_iteration": (
        ("win_rates",),
        """
        SELECT iteration, arm, win_rate, low, high, pairs, wins, losses, ties, unscored,
            judge, audit_accuracy
        FROM {schema}.win_rates
        WHERE split = 'test' AND dimension = 'all'
        ORDER BY ALL
        """,
    ),
    "policy_examples": (
        ("conversations", "checkpoints", "best_conversations", "regularization_responses"),
        """
        WITH policies AS (
            SELECT DISTINCT iteration AS policy_iteration, policy AS sha256
            FROM {schema}.conversations
        ), trained AS (
            SELECT policy_iteration, sha256, iteration, split
            FROM policies JOIN {schema}.checkpoints USING (sha256)
        )
        SELECT policy_iteration AS iteration, sha256, iteration AS trained_in_iteration, split,
            task_id, persona_id, sample, rank, log_prob, questions, answers, text AS response,
            answered.truncated AS response_truncated
        FROM trained
        JOIN {schema}.best_conversations USING (iteration, split)
        JOIN {schema}.conversations USING (iteration, split, task_id, persona_id, sample)
        LEFT JOIN {schema}.regularization_responses AS answered
            USING (iteration, split, task_id, persona_id, sample)
        """,
    ),
}
"""Of each experiment: the tables that a view reads, and its query. `policy_examples` leads from a
policy, by its checkpoint's hash, to the conversations and answers that it was trained on.
"""


def refresh_views(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> None:
    """Make the views that read `schema.table` again, inside the transaction that writes it: they
    then fit its columns.
    """
    for statement in _statements(_tables(connection), schema, table):
        connection.execute(statement)


def _statements(tables: dict[str, set[str]], schema: str, table: str) -> Iterator[str]:
    if schema not in tables.get(table, ()):
        return
    for view, (sources, query) in VIEWS.items():
        if table in sources and all(schema in tables.get(source, ()) for source in sources):
            name = quoted(schema)
            yield f"CREATE OR REPLACE VIEW {name}.{view} AS {query.format(schema=name)}"
    parts = " UNION ALL BY NAME ".join(
        f"SELECT {literal(name)} AS experiment, * FROM {quoted(name)}.{quoted(table)}"
        for name in sorted(tables[table])
    )
    yield f"CREATE SCHEMA IF NOT EXISTS {ALL_EXPERIMENTS}"
    yield f"CREATE OR REPLACE VIEW {ALL_EXPERIMENTS}.{quoted(table)} AS {parts}"


def _tables(connection: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
    """The tables of experiments that were written and are still there, each with its schemas."""
    found: dict[str, set[str]] = {}
    for schema, table in connection.execute(
        "SELECT DISTINCT schema_name, table_name FROM warehouse.materializations "
        "SEMI JOIN duckdb_tables() USING (schema_name, table_name)"
    ).fetchall():
        if table in OF_EXPERIMENTS:
            found.setdefault(table, set()).add(schema)
    return found


def quoted(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string in SQL, where no parameter can stand."""
    return "'" + text.replace("'", "''") + "'"
