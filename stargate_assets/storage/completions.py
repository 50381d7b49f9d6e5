"""The completion store: the results of model calls on disk, so that no call is made twice.

It is SQLite in WAL mode, so that several processes may read while one writes. Only results are
stored, never refusals or errors. Every call is counted, a refused one too, in the transaction that
stores its result.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stargate_assets.method.language_model import ChatRequest, Completion, Score, ScoreRequest
from stargate_assets.method.thoughts import read_completion

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
    PRIMARY KEY (schema_name, slice, role, model, kind)
) WITHOUT ROWID;
"""
_COUNT_CALL = """
INSERT INTO usage VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET calls = calls + 1,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    seconds = seconds + excluded.seconds,
    dollars = dollars + excluded.dollars
"""


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


def request_key(model: str, request: ChatRequest | ScoreRequest) -> str:
    """SHA-256 of everything that a result depends on: the model's identity and the whole
    request.
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
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=60, isolation_level=None)

    def read(self, keys: Sequence[str]) -> dict[str, Completion | Score]:
        """The stored results, by key; a key without a result is left out."""
        found: dict[str, Completion | Score] = {}
        with closing(self._connect()) as connection:
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                batch = keys[start : start + _KEYS_PER_QUERY]
                marks = ", ".join("?" * len(batch))
                query = f"SELECT key, result FROM completions WHERE key IN ({marks})"
                for key, result in connection.execute(query, batch):
                    found[key] = _decode(json.loads(result))
        return found

    @contextmanager
    def writer(self, identity: str, use: Use, model: str) -> Iterator["Writer"]:
        """Open a writer that stores and counts results one at a time. `identity` is everything that
        tells the model from others, and `model` its name in the counts.
        """
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA synchronous = NORMAL")  # FULL waits for the disk each time
            yield Writer(connection, identity, (use.schema, use.slice, use.role, model))

    def usage(self) -> list[UsageRow]:
        """The counts of all calls, by use, model and kind."""
        with closing(self._connect()) as connection:
            return [UsageRow(*row) for row in connection.execute("SELECT * FROM usage")]

    def count(self) -> int:
        """The number of stored results."""
        with closing(self._connect()) as connection:
            return connection.execute("SELECT count(*) FROM completions").fetchone()[0]


@dataclass(frozen=True, slots=True)
class Writer:
    """Stores the results of one model for one use; see `CompletionStore.writer`."""

    connection: sqlite3.Connection
    identity: str
    usage_key: tuple[str, str, str, str]

    def write(
        self, key: str, result: Completion | Score, seconds: float, dollars: float | None
    ) -> None:
        """Store a result under its key, unless it is a refusal, and count it. When this returns,
        both survive the death of this process; only a machine that loses power may lose the last
        ones.
        """
        kind = "score" if isinstance(result, Score) else "chat"
        tokens = result.prompt_tokens, result.completion_tokens
        self.connection.execute("BEGIN")
        if not is_refusal(result):
            self.connection.execute(
                "INSERT OR IGNORE INTO completions (key, model, result) VALUES (?, ?, ?)",
                (key, self.identity, json.dumps(asdict(result))),
            )
        self.connection.execute(_COUNT_CALL, (*self.usage_key, kind, *tokens, seconds, dollars))
        self.connection.execute("COMMIT")


def is_refusal(result: Completion | Score) -> bool:
    """Whether a content filter stopped the call."""
    return isinstance(result, Completion) and result.finish_reason == "refused"


def _decode(fields: dict[str, Any]) -> Completion | Score:
    if "log_probs" in fields:
        return Score(**{**fields, "log_probs": tuple(fields["log_probs"])})
    if "thought" not in fields:  # stores are older than this field: their texts may hold thoughts
        return read_completion(fields.pop("text"), **fields)
    return Completion(**fields)
