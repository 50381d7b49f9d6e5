"""From one completion store into another: a file that a database takes over, or the way back."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from stargate_assets.method.language_model import OnProgress
from stargate_assets.storage.completions import USAGE, CompletionStore
from stargate_assets.storage.completions_sql import COPY_FAILURE, COPY_RESULT, COPY_USAGE
from stargate_assets.storage.database import Session

_RESULTS_AFTER = """
SELECT key, model, result, made_at FROM completions WHERE key > ? ORDER BY key LIMIT 1000
"""


@dataclass(frozen=True, slots=True)
class Copied:
    """How many results the source has, and how many of them were new to the target."""

    results: int
    new: int


def copy_completions(
    source: CompletionStore, target: CompletionStore, on_progress: OnProgress
) -> Copied:
    """Add to the target what it does not have: results, failures, and the counts of calls. What is
    there stays, so it makes no difference how often this is done, or in which directions.

    Counts stay apart by the store that counted them, and only grow: of two counts of one store, the
    larger is the newer. The budget is the target's own.
    """
    with source.database.connect() as there, target.database.connect() as here:
        total, done, new, last = source.count(), 0, 0, ""
        on_progress("copying completions", done, total)
        while rows := there.execute(_RESULTS_AFTER, [last]).fetchall():
            new += here.execute_each(COPY_RESULT, rows)
            done, last = done + len(rows), rows[-1][0]
            on_progress("copying completions", done, total)
        here.execute_each(COPY_FAILURE, there.execute("SELECT * FROM failures").fetchall())
        here.execute_each(COPY_USAGE, _usage_by_store(there, but=_store_id(here)))
    return Copied(done, new)


def _usage_by_store(session: Session, but: str) -> list[Any]:
    """The counts of calls, each after the id of the store that counted them, `but` for one's."""
    own = session.execute(f"SELECT {USAGE} FROM usage").fetchall()
    copied = session.execute(f"SELECT store, {USAGE} FROM copied_usage WHERE store <> ?", [but])
    return [(_store_id(session), *row) for row in own] + copied.fetchall()


def _store_id(session: Session) -> str:
    session.execute("INSERT INTO store VALUES (1, ?) ON CONFLICT (one) DO NOTHING", [uuid4().hex])
    return session.execute("SELECT id FROM store").fetchone()[0]
