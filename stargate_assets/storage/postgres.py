"""The completion store's database for several machines: PostgreSQL, by psycopg (extra `postgres`).

The URL may have a password in it. It comes from the environment and goes nowhere but to the
server: what an error says is the address without it.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stargate_assets.storage.completions_sql import NEWEST_TABLE
from stargate_assets.storage.database import CompletionStoreError, Rows

if TYPE_CHECKING:
    import psycopg

COMPLETIONS_URL = "STARGATE_COMPLETIONS"
"""The environment variable that has the URL."""
_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_SHOWN = 300
"""Characters of a server's message that an error quotes."""
_DEFAULTS = {"connect_timeout": 10, "keepalives_idle": 60}
_SERVER_KEEPALIVES = (
    "SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
)
"""So that what a machine without power holds is free after a minute and a half, not after hours."""
_LOCKS = 0x57A26A7E
"""Of advisory locks: with 0 the making of tables, with a session's process id its reservations."""
_TYPES = {"WITHOUT ROWID": "", "INTEGER": "BIGINT", "REAL": "DOUBLE PRECISION"}


@dataclass(frozen=True, slots=True)
class Postgres:
    """The database at `url`, in its first schema."""

    url: str = field(repr=False)

    @classmethod
    def stated_in(cls, environment: Mapping[str, str]) -> "Postgres | None":
        """The one that the environment states; None if it states none."""
        url = environment.get(COMPLETIONS_URL, "").strip()
        return cls(url) if url else None

    @contextmanager
    def connect(self) -> Iterator["PostgresSession"]:
        """A session whose errors are one sentence each."""
        psycopg = _import_psycopg()
        address = _read_url(self.url)
        try:
            connection = psycopg.connect(**address, autocommit=True)
        except psycopg.Error as error:
            raise CompletionStoreError(
                f"The completion store in PostgreSQL cannot be opened ({_quote(error)}); see that "
                f"the server runs and that {COMPLETIONS_URL} has the right host, database, user "
                "and password."
            ) from None
        try:
            with closing(connection):
                connection.execute(_SERVER_KEEPALIVES)
                yield PostgresSession(connection)
        except psycopg.Error as error:
            raise CompletionStoreError(
                f"The completion store in PostgreSQL failed ({_quote(error)}); see to that at the "
                "server and run again: what was answered before is kept."
            ) from error

    def prepare(self, schema: str) -> None:
        if self._has(NEWEST_TABLE):  # also where this user may not make tables
            return
        for ours, theirs in _TYPES.items():
            schema = schema.replace(ours, theirs)
        with self.connect() as session, session.transaction():
            session.execute("SELECT pg_advisory_xact_lock(?, 0)", [_LOCKS])
            for statement in schema.split(";"):
                if statement.strip():
                    session.execute(statement)

    def is_there(self) -> bool:
        return self._has("completions")

    def _has(self, table: str) -> bool:
        with self.connect() as session:
            (found,) = session.execute("SELECT to_regclass(?)", [table]).fetchone()
        return found is not None

    def describe_damage(self, error: Exception) -> str:
        return (
            f"A row of the completion store in PostgreSQL cannot be read ({error}); delete it from "
            "the table completions, and run again: it is asked again."
        )


@dataclass(frozen=True, slots=True)
class PostgresSession:
    connection: "psycopg.Connection[Any]"

    def execute(self, query: str, values: Sequence[Any] = ()) -> Rows:
        return self.connection.execute(_placeholders(query), values or None)

    def execute_each(self, query: str, rows: Sequence[Sequence[Any]]) -> int:
        cursor = self.connection.cursor()
        with self.transaction():
            cursor.executemany(_placeholders(query), rows)
        return cursor.rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Statements whose rows nobody waits for go to the server together, in one round trip."""
        with self.connection.pipeline(), self.connection.transaction():
            yield

    @property
    def is_connected(self) -> bool:
        return not self.connection.closed

    def holder(self) -> str:
        """The session's process on the server, which holds a lock of that number while it lives."""
        pid = self.connection.info.backend_pid
        self.execute("SELECT pg_advisory_lock(?, ?)", [_LOCKS, pid])
        return str(pid)

    def living(self, holders: Collection[str]) -> set[str]:
        rows = self.execute(
            "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = ? "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [_LOCKS],
        )
        return {str(pid) for (pid,) in rows.fetchall()} & set(holders)


def _placeholders(query: str) -> Any:
    return query.replace("?", "%s")


def _import_psycopg() -> Any:
    try:
        import psycopg
    except ImportError:
        raise CompletionStoreError(
            f"{COMPLETIONS_URL} asks for PostgreSQL, and psycopg is not installed; say pip install "
            "'stargate-assets[postgres]'."
        ) from None
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of what is an error of ours too
    return psycopg


def _read_url(url: str) -> Mapping[str, Any]:
    """What psycopg is told. Raises CompletionStoreError where the URL is none, without quoting it:
    what libpq takes for a host may be the rest of a password.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    address: dict[str, Any] = {}
    if url.startswith(("postgresql://", "postgres://")):
        with suppress(ProgrammingError):
            address = conninfo_to_dict(url)
    host, port, database = (str(address.get(name, "")) for name in ("host", "port", "dbname"))
    is_port = all(number.isdigit() for number in port.split(",") if number)
    if not address or not is_port or "@" in host + database:
        raise CompletionStoreError(
            f"{COMPLETIONS_URL} is no address of a database; set it to {_FORM}, with %40 for @ and "
            "%2F for / in the password."
        )
    return _DEFAULTS | address


def _quote(error: Exception) -> str:
    said = " ".join(str(error).split()).rstrip(".")
    return said[:_SHOWN]
