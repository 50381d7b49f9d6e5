"""Views over the tables, made again whenever a table is written: what people query most, and each
table of all experiments together.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import duckdb

from stargate_assets.storage.schemas import SCHEMAS

ALL_EXPERIMENTS = "all_experiments"
"""The schema of views over every experiment that has a table, with a column `experiment`."""
EXPERIMENT_TABLES = frozenset(
    table for table, schema in SCHEMAS.items() if "iteration" in schema.columns()
)
"""The tables of experiments; those of data sets have no column `iteration`."""


@dataclass(frozen=True, slots=True)
class View:
    """A view of an experiment. `query` reads the tables `sources` of the schema `{schema}`; columns
    mean what they mean there, except those that `columns` describes.
    """

    description: str
    sources: tuple[str, ...]
    query: str
    columns: Mapping[str, str] = field(default_factory=dict[str, str])


VIEWS = {
    "win_rate_by_iteration": View(
        "How often the headline Judge prefers each arm's response on the test split to the base "
        "model's",
        ("win_rates",),
        """
        SELECT iteration, arm, win_rate, low, high, pairs, wins, losses, ties, unscored,
            judge, gold_audit, own_text_audit
        FROM {schema}.win_rates
        WHERE split = 'test' AND dimension = 'all' AND headline AND reference = 'base'
        ORDER BY ALL
        """,
    ),
    "policy_examples": View(
        "The conversations and answers that each policy was trained on",
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
        {
            "iteration": "Number of the policy that was trained on the example",
            "trained_in_iteration": "Number of the policy that asked in the example",
            "response": "The answer that is learnt after the conversation, null if none is",
            "response_truncated": "Whether the response was cut off at the token limit, null if "
            "there is none",
        },
    ),
}
"""The views of each experiment, by name."""


def refresh_views(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> None:
    """Make the views that read `schema.table` again, inside the transaction that writes it, so that
    they have its present columns.
    """
    for statement in _view_statements(_written_tables(connection), schema, table):
        connection.execute(statement)


def _view_statements(tables: dict[str, set[str]], schema: str, table: str) -> Iterator[str]:
    if schema not in tables.get(table, ()):
        return
    for name, view in VIEWS.items():
        if table in view.sources and all(schema in tables.get(s, ()) for s in view.sources):
            query = view.query.format(schema=quote_name(schema))
            yield f"CREATE OR REPLACE VIEW {quote_name(schema)}.{name} AS {query}"
    parts = " UNION ALL BY NAME ".join(
        f"SELECT {quote_text(name)} AS experiment, * FROM {quote_name(name)}.{quote_name(table)}"
        for name in sorted(tables[table])
    )
    yield f"CREATE SCHEMA IF NOT EXISTS {ALL_EXPERIMENTS}"
    yield f"CREATE OR REPLACE VIEW {ALL_EXPERIMENTS}.{quote_name(table)} AS {parts}"


def _written_tables(connection: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
    """The tables of experiments that were written and still exist, each with its DuckDB schemas."""
    found: dict[str, set[str]] = {}
    for schema, table in connection.execute(
        "SELECT DISTINCT schema_name, table_name FROM warehouse.materializations "
        "SEMI JOIN duckdb_tables() USING (schema_name, table_name)"
    ).fetchall():
        if table in EXPERIMENT_TABLES:
            found.setdefault(table, set()).add(schema)
    return found


def quote_name(name: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """Quote a string for SQL, in statements that take no parameters."""
    return "'" + text.replace("'", "''") + "'"
