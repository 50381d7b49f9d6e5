"""The completion store's database in one file: SQLite in WAL mode, so that several processes of one
machine may read while one writes.
"""

import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from stargate_assets.storage.database import CompletionStoreError, Rows
from stargate_assets.storage.disk import writing

_ADD_COLUMN = "ALTER TABLE usage ADD COLUMN estimated_calls INTEGER NOT NULL DEFAULT 0"
"""For stores that are older than it."""


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """The file `path`, which is made if it does not exist."""

    path: Path

    @contextmanager
    def connect(self) -> Iterator["SqliteSession"]:
        """A session whose errors are one sentence each."""
        try:
            with writing(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
                with closing(connection):
                    # FULL waits for the disk each time.
                    connection.execute("PRAGMA synchronous = NORMAL")
                    yield SqliteSession(connection)
        except sqlite3.Error as error:
            raise CompletionStoreError(self._describe(error)) from error

    def prepare(self, schema: str) -> None:
        with self.connect() as session:
            session.connection.execute("PRAGMA journal_mode = WAL")
            session.connection.executescript(schema)
            if not _has_new_column(session.connection):
                with session.transaction():  # another process may be adding it
                    if not _has_new_column(session.connection):
                        session.execute(_ADD_COLUMN)

    def is_there(self) -> bool:
        return self.path.exists()

    def describe_damage(self, error: Exception) -> str:
        return (
            f"The completion store {self.path} is damaged ({error}); move it away, or have "
            f"`sqlite3 {self.path} '.recover'` write what can be read of it into another file. "
            "What is not there is asked again."
        )

    def _describe(self, error: sqlite3.Error) -> str:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return (
                f"The completion store {self.path} has been locked by another program for a "
                "minute; close that program and run again."
            )
        return self.describe_damage(error)


@dataclass(frozen=True, slots=True)
class SqliteSession:
    connection: sqlite3.Connection

    def execute(self, query: str, values: Sequence[Any] = ()) -> Rows:
        return self.connection.execute(query, values)

    def execute_each(self, query: str, rows: Sequence[Sequence[Any]]) -> int:
        with self.transaction():
            return self.connection.executemany(query, rows).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self.connection.in_transaction:  # SQLite may have ended it, where the disk is full
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    @property
    def is_connected(self) -> bool:
        return True

    def holder(self) -> str:
        pid = os.getpid()
        return f"{pid} {psutil.Process(pid).create_time()} {uuid4().hex}"

    def living(self, holders: Collection[str]) -> set[str]:
        return {holder for holder in holders if _is_alive(*holder.split()[:2])}


def _is_alive(pid: str, create_time: str) -> bool:
    try:
        process = psutil.Process(int(pid))
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
        # Counted from the machine's start, which moves by a second when the clock is set.
        return not is_zombie and abs(process.create_time() - float(create_time)) < 2
    except psutil.NoSuchProcess:
        return False


def _has_new_column(connection: sqlite3.Connection) -> bool:
    columns = connection.execute("PRAGMA table_info(usage)")
    return "estimated_calls" in [row[1] for row in columns]
