"""The completion store: what a model has answered once is on disk and is never asked again.

SQLite in WAL mode, so that several processes may read while one writes. Only results are stored,
never refusals or errors.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stargate_assets.language_model import ChatRequest, Completion, Score, ScoreRequest

_KEYS_A_QUERY = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS completions (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    result TEXT NOT NULL,
    made_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID
"""


def request_key(model: str, request: ChatRequest | ScoreRequest) -> str:
    """SHA-256 of everything that a result depends on: the model's identity and the whole
    request.
    """
    content = [model, type(request).__name__, asdict(request)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class CompletionStore:
    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(_SCHEMA)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=60, isolation_level=None)

    def read(self, keys: Sequence[str]) -> dict[str, Completion | Score]:
        """The results that are there."""
        found: dict[str, Completion | Score] = {}
        with closing(self._connect()) as connection:
            for start in range(0, len(keys), _KEYS_A_QUERY):
                batch = keys[start : start + _KEYS_A_QUERY]
                marks = ", ".join("?" * len(batch))
                query = f"SELECT key, result FROM completions WHERE key IN ({marks})"
                for key, result in connection.execute(query, batch):
                    found[key] = _decode(json.loads(result))
        return found

    @contextmanager
    def writer(self, model: str) -> Iterator[Callable[[str, Completion | Score], None]]:
        """A function that stores one result under its key, at once: when it returns, the result
        survives the death of this process. Only a machine that loses power may lose the last ones.
        """
        insert = "INSERT OR IGNORE INTO completions (key, model, result) VALUES (?, ?, ?)"
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA synchronous = NORMAL")  # FULL waits for the disk each time

            def write(key: str, result: Completion | Score) -> None:
                connection.execute(insert, (key, model, json.dumps(asdict(result))))

            yield write

    def write(self, model: str, results: Mapping[str, Completion | Score]) -> None:
        """Store results that are all there."""
        with self.writer(model) as write:
            for key, result in results.items():
                write(key, result)

    def count(self) -> int:
        with closing(self._connect()) as connection:
            return connection.execute("SELECT count(*) FROM completions").fetchone()[0]


def _decode(fields: dict[str, Any]) -> Completion | Score:
    if "log_probs" in fields:
        return Score(**{**fields, "log_probs": tuple(fields["log_probs"])})
    return Completion(**fields)
