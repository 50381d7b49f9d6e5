"""What the completion store needs of a database. Its rules are written once, in SQL that SQLite and
PostgreSQL both understand, with `?` for values.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from stargate_assets.method.errors import StargateError


class CompletionStoreError(StargateError):
    """The completion store cannot be read or written. The message says what to do."""


class Rows(Protocol):
    """What a statement returned."""

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Session(Protocol):
    """An open connection. Outside a transaction, each statement is one of its own."""

    def execute(self, query: str, values: Sequence[Any] = ()) -> Rows: ...

    def execute_each(self, query: str, rows: Sequence[Sequence[Any]]) -> int:
        """Execute a statement for each row of values; returns how many rows of tables changed."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """All statements inside are done, or none. Others that write what it has written wait."""
        ...

    @property
    def is_connected(self) -> bool: ...

    def holder(self) -> str:
        """The name under which this session holds reservations, new for each session. When the
        session ends, by kill -9 too, it is the name of nobody that lives.
        """
        ...

    def living(self, holders: Collection[str]) -> set[str]:
        """Those of the holders whose sessions have not ended."""
        ...


class Database(Protocol):
    """Where a completion store is. Every method raises CompletionStoreError or DiskError."""

    def connect(self) -> AbstractContextManager[Session]: ...

    def prepare(self, schema: str) -> None:
        """Make the tables that are missing. `schema` is SQLite's, a statement after each `;`."""
        ...

    def is_there(self) -> bool:
        """Whether the tables were ever made. Makes nothing."""
        ...

    def describe_damage(self, error: Exception) -> str:
        """One sentence about a row that cannot be read."""
        ...
