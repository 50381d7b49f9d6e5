"""The completion store: the results of model calls on disk, so that no call is made twice.

It is SQLite in WAL mode, so that several processes may read while one writes. Results are stored
for ever; a request that had no answer is stored as a failure, to be asked again by the next run,
and is given up when `RUNS` of them had none. Every call is counted, one without an answer too, in
the transaction that stores what came of it.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stargate_assets.method.errors import StargateError
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    Failure,
    FailureReason,
    Score,
    ScoreRequest,
)
from stargate_assets.method.thoughts import read_completion
from stargate_assets.storage.disk import writing

RUNS = 3
"""Runs that ask a request which has no answer; later ones take that for what it is."""
_KEYS_PER_QUERY = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS completions (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    result TEXT NOT NULL,
    made_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage (
    schema_name TEXT NOT NULL,
    slice TEXT NOT NULL,
    role TEXT NOT NULL,
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    calls INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL,
    dollars REAL,
    estimated_calls INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (schema_name, slice, role, model, kind)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failures (
    key TEXT NOT NULL,
    schema_name TEXT NOT NULL,
    slice TEXT NOT NULL,
    role TEXT NOT NULL,
    model TEXT NOT NULL,
    reason TEXT NOT NULL,
    said TEXT NOT NULL,
    runs INTEGER NOT NULL,
    PRIMARY KEY (key, schema_name, slice, role)
) WITHOUT ROWID;
"""
_ADD_COLUMN = "ALTER TABLE usage ADD COLUMN estimated_calls INTEGER NOT NULL DEFAULT 0"
"""For stores that are older than it."""
_COUNT_CALL = """
INSERT INTO usage VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET calls = calls + 1,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    seconds = seconds + excluded.seconds,
    dollars = dollars + excluded.dollars,
    estimated_calls = estimated_calls + excluded.estimated_calls
"""
_COUNT_FAILURE = """
INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, 1)
ON CONFLICT DO UPDATE SET runs = runs + 1, reason = excluded.reason, said = excluded.said
"""


class CompletionStoreError(StargateError):
    """The completion store cannot be read or written. The message says what to do."""


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


def request_key(model: str, request: ChatRequest | ScoreRequest) -> str:
    """SHA-256 of everything that a result depends on: the model's identity and the whole request,
    as the method asks it. What an endpoint is sent may be less (a server that takes no seed); the
    key is the same, so that an answer is found again whichever fields the server takes by then.
    """
    fields = asdict(request)
    if (
        fields.get("structure") is None
    ):  # stores are older than this field: their keys are without it
        fields.pop("structure", None)
    content = [model, type(request).__name__, fields]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class CompletionStore:
    """The completion store in the SQLite file `path`, which is made if it does not exist."""

    def __init__(self, path: Path):
        self.path = path
        with self._connect() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
            if not _has_new_column(connection):
                connection.execute("BEGIN IMMEDIATE")  # another process may be adding it
                if not _has_new_column(connection):
                    connection.execute(_ADD_COLUMN)
                connection.execute("COMMIT")

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """A connection whose errors are one sentence each."""
        try:
            with writing(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
                with closing(connection):
                    yield connection
        except sqlite3.Error as error:
            raise CompletionStoreError(_describe(self.path, error)) from error

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
        with self._connect() as connection:
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                batch = keys[start : start + _KEYS_PER_QUERY]
                found += connection.execute(f"{query} ({', '.join('?' * len(batch))})", batch)
        return found

    def _decode(self, result: str) -> Completion | Score:
        try:
            return _decode(json.loads(result))
        except (ValueError, TypeError, KeyError) as error:
            raise CompletionStoreError(_describe(self.path, error)) from error

    @contextmanager
    def writer(self, identity: str, use: Use, model: str) -> Iterator["Writer"]:
        """Open a writer that stores and counts results one at a time. `identity` is everything that
        tells the model from others, and `model` its name in the counts.
        """
        with self._connect() as connection:
            connection.execute("PRAGMA synchronous = NORMAL")  # FULL waits for the disk each time
            yield Writer(connection, identity, (use.schema, use.slice, use.role, model))

    def usage(self) -> list[UsageRow]:
        """The counts of all calls, by use, model and kind."""
        with self._connect() as connection:
            return [UsageRow(*row) for row in connection.execute("SELECT * FROM usage")]

    def failures(self, schemas: Sequence[str]) -> list[FailureRow]:
        """The requests of these experiments and data sets that have no answer."""
        with self._connect() as connection:
            rows = connection.execute("SELECT * FROM failures ORDER BY schema_name, slice, role")
            return [row for row in (FailureRow(*row) for row in rows) if row.schema_name in schemas]

    def forget_failures(self, schema: str, slices: Sequence[str]) -> None:
        """Let what has no answer in these slices be asked as if for the first time."""
        with self._connect() as connection:
            connection.executemany(
                "DELETE FROM failures WHERE schema_name = ? AND slice = ?",
                [(schema, where) for where in slices],
            )

    def count(self) -> int:
        """The number of stored results."""
        with self._connect() as connection:
            return connection.execute("SELECT count(*) FROM completions").fetchone()[0]


@dataclass(frozen=True, slots=True)
class Writer:
    """Stores the results of one model for one use; see `CompletionStore.writer`."""

    connection: sqlite3.Connection
    identity: str
    usage_key: tuple[str, str, str, str]

    def write(
        self,
        key: str,
        result: Completion | Score,
        seconds: float,
        dollars: float | None,
        failure: Failure | None = None,
    ) -> None:
        """Count a call, and store its result under its key; if there is none, `failure` instead, if
        the run asks for it no more. When this returns, both survive the death of this process; only
        a machine that loses power may lose the last ones.
        """
        kind = "score" if isinstance(result, Score) else "chat"
        tokens = result.prompt_tokens, result.completion_tokens
        estimated = isinstance(result, Completion) and result.estimated
        self.connection.execute("BEGIN")
        if failure is not None:
            values = (key, *self.usage_key, failure.reason, failure.said)
            self.connection.execute(_COUNT_FAILURE, values)
        elif not is_refusal(result):
            fields = asdict(result)
            fields.pop("failure", None)  # it has none
            self.connection.execute(
                "INSERT OR IGNORE INTO completions (key, model, result) VALUES (?, ?, ?)",
                (key, self.identity, json.dumps(fields)),
            )
            self.connection.execute("DELETE FROM failures WHERE key = ?", (key,))
        self.connection.execute(
            _COUNT_CALL, (*self.usage_key, kind, *tokens, seconds, dollars, estimated)
        )
        self.connection.execute("COMMIT")


def _has_new_column(connection: sqlite3.Connection) -> bool:
    columns = connection.execute("PRAGMA table_info(usage)")
    return "estimated_calls" in [row[1] for row in columns]


def is_refusal(result: Completion | Score) -> bool:
    """Whether the request has no answer, because of a content filter or for another reason."""
    is_refused = isinstance(result, Completion) and result.finish_reason == "refused"
    return is_refused or result.failure is not None


def _decode(fields: dict[str, Any]) -> Completion | Score:
    if "log_probs" in fields:
        return Score(**{**fields, "log_probs": tuple(fields["log_probs"])})
    if "thought" not in fields:  # stores are older than this field: their texts may hold thoughts
        return read_completion(fields.pop("text"), **fields)
    return Completion(**fields)


def _describe(path: Path, error: Exception) -> str:
    if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return (
            f"The completion store {path} has been locked by another program for a minute; close "
            "that program and run again."
        )
    return (
        f"The completion store {path} is damaged ({error}); move it away, or have `sqlite3 {path} "
        "'.recover'` write what can be read of it into another file. What is not there is asked "
        "again."
    )
