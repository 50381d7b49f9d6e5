"""The completion store: the results of model calls on disk, so that no call is made twice.

It is a file of SQLite (`sqlite.py`), or a database that machines share (`postgres.py`). Results are
stored for ever, and the first one of a request is everybody's; a request that had no answer is
stored as a failure, to be asked again by the next run, and is given up when `RUNS` of them had
none. Every call is counted, one without an answer too, in the transaction that stores what came of
it, and paid from the budget that runs share, if there is one (`budget.py`).
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    Failure,
    FailureReason,
    Score,
    ScoreRequest,
)
from stargate_assets.method.thoughts import read_completion
from stargate_assets.storage import budget
from stargate_assets.storage.budget import Budget
from stargate_assets.storage.completions_sql import SCHEMA
from stargate_assets.storage.database import CompletionStoreError, Database
from stargate_assets.storage.writer import Writer, stated_fields

RUNS = 3
"""Runs that ask a request which has no answer; later ones take that for what it is."""
_KEYS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class Use:
    """What a model call is made for: a role (judge, ...) in a slice of an experiment or data set.

    `schema` is the DuckDB schema, which has the name of the experiment or data set.
    """

    schema: str
    slice: str
    role: str


@dataclass(frozen=True, slots=True)
class UsageRow:
    """All calls that one model ever had for one use. The columns of `warehouse.usage` are the same,
    and described in its schema.
    """

    schema_name: str
    slice: str
    role: str
    model: str
    kind: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    dollars: float | None
    estimated_calls: int = 0

    def __add__(self, other: "UsageRow") -> "UsageRow":
        """The calls of both, which are of one use, model and kind; an unknown price stays so."""
        dollars = (self.dollars, other.dollars)
        return replace(
            self,
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            seconds=self.seconds + other.seconds,
            dollars=None if None in dollars else sum(d or 0.0 for d in dollars),
            estimated_calls=self.estimated_calls + other.estimated_calls,
        )


@dataclass(frozen=True, slots=True)
class FailureRow:
    """A request that had no answer when it was last asked for one use. `runs` have asked it."""

    key: str
    schema_name: str
    slice: str
    role: str
    model: str
    reason: str
    said: str
    runs: int


_WRITE_KEY = json.JSONEncoder(sort_keys=True, default=stated_fields).encode


def request_key(model: str, request: ChatRequest | ScoreRequest) -> str:
    """SHA-256 of everything that a result depends on: the model's identity and the whole request,
    as the method asks it. What an endpoint is sent may be less (a server that takes no seed); the
    key is the same, so that an answer is found again whichever fields the server takes by then.
    """
    return hashlib.sha256(_WRITE_KEY([model, type(request).__name__, request]).encode()).hexdigest()


USAGE = ", ".join(field.name for field in fields(UsageRow))
"""The columns of a UsageRow."""


class CompletionStore:
    """The completion store in a database, where it is made if it does not exist."""

    def __init__(self, database: Database):
        self.database = database
        database.prepare(SCHEMA)

    def read(self, keys: Sequence[str]) -> dict[str, Completion | Score]:
        """The stored results, by key; a key without a result is left out."""
        query = "SELECT key, result FROM completions WHERE key IN"
        return {key: self._decode(result) for key, result in self._find(query, keys)}

    def given_up(self, keys: Sequence[str]) -> dict[str, Failure]:
        """The failures, by key, of requests that had no answer in `RUNS` runs."""
        query = f"SELECT key, reason, said FROM failures WHERE runs >= {RUNS} AND key IN"
        return {key: Failure(FailureReason(r), said) for key, r, said in self._find(query, keys)}

    def _find(self, query: str, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        with self.database.connect() as session:
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                batch = keys[start : start + _KEYS_PER_QUERY]
                places = ", ".join("?" * len(batch))
                found += session.execute(f"{query} ({places})", batch).fetchall()
        return found

    def _decode(self, result: str) -> Completion | Score:
        try:
            return _decode(json.loads(result))
        except (ValueError, TypeError, KeyError) as error:
            raise CompletionStoreError(self.database.describe_damage(error)) from error

    @contextmanager
    def writer(self, identity: str, use: Use, model: str) -> Iterator["Writer"]:
        """Open a writer that stores and counts results one at a time. `identity` is everything that
        tells the model from others, and `model` its name in the counts.
        """
        with self.database.connect() as session:
            key = (use.schema, use.slice, use.role, model)
            writer = Writer(session, self._decode, identity, key)
            try:
                yield writer
            finally:
                writer.release()

    def usage(self) -> list[UsageRow]:
        """The counts of all calls, by use, model and kind; those of copied stores included."""
        with self.database.connect() as session:
            rows = session.execute(f"SELECT {USAGE} FROM usage").fetchall()
            rows += session.execute(f"SELECT {USAGE} FROM copied_usage").fetchall()
        found: dict[tuple[str, ...], UsageRow] = {}
        for row in (UsageRow(*row) for row in rows):
            key = (row.schema_name, row.slice, row.role, row.model, row.kind)
            found[key] = row + found[key] if key in found else row
        return list(found.values())

    def failures(self) -> list[FailureRow]:
        """The requests that have no answer."""
        query = (
            "SELECT * FROM failures WHERE NOT EXISTS "
            "(SELECT 1 FROM completions WHERE completions.key = failures.key) "
            "ORDER BY schema_name, slice, role"
        )
        with self.database.connect() as session:
            return [FailureRow(*row) for row in session.execute(query).fetchall()]

    def forget_failures(self, schema: str, slices: Sequence[str]) -> None:
        """Let what has no answer in these slices be asked as if for the first time."""
        query = "DELETE FROM failures WHERE schema_name = ? AND slice = ?"
        with self.database.connect() as session:
            session.execute_each(query, [(schema, where) for where in slices])

    def count(self) -> int:
        """The number of stored results."""
        with self.database.connect() as session:
            return session.execute("SELECT count(*) FROM completions").fetchone()[0]

    def budget(self) -> Budget | None:
        """What all runs that share the store may pay, if that is limited."""
        with self.database.connect() as session:
            return budget.read_budget(session)

    def set_budget(self, dollars: float | None) -> None:
        """Let all runs together pay so many dollars from now on; None is without a limit."""
        with self.database.connect() as session:
            budget.set_budget(session, dollars)


def _decode(fields: dict[str, Any]) -> Completion | Score:
    if "log_probs" in fields:
        return Score(**{**fields, "log_probs": tuple(fields["log_probs"])})
    if "thought" not in fields:  # stores are older than this field: their texts may hold thoughts
        return read_completion(fields.pop("text"), **fields)
    return Completion(**fields)
