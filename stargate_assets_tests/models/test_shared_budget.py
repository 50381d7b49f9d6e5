"""Runs in processes of their own that share a completion store and its budget."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from stargate_assets.models.pool import COMPLETIONS
from stargate_assets.storage.budget import Budget
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.database import Database
from stargate_assets.storage.postgres import COMPLETIONS_URL, Postgres
from stargate_assets.storage.sqlite import SqliteFile
from stargate_assets_tests.conftest import ENVIRONMENT
from stargate_assets_tests.models.paying_run import PRICE, TOKENS, requests

MOST = PRICE.dollars(0, TOKENS)
NEVER = -1


class Run:
    """A process of `paying_run`, ready to ask."""

    def __init__(self, process: "subprocess.Popen[str]"):
        self.process = process
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def start(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> Any:
        """What it says at its end."""
        while (line := self.line()) == "waiting":
            pass
        return json.loads(line)


@contextmanager
def run(directory: Path, database: Database, first: int, last: int, pause: int) -> Iterator[Run]:
    url = {COMPLETIONS_URL: database.url} if isinstance(database, Postgres) else {}
    process = subprocess.Popen(
        [sys.executable, "-m", Run.__module__.replace("test_shared_budget", "paying_run")]
        + [str(number) for number in (first, last, pause)],
        cwd=directory,
        env=ENVIRONMENT | url,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Run(process)
        finally:
            process.kill()


def test_two_runs_of_which_one_is_killed_keep_to_one_budget(
    database: Database, tmp_path: Path
) -> None:
    """The first has reserved most dollars when it is killed: the second spends what the first did
    not need of its calls so far, waits, and then has the rest.
    """
    if isinstance(database, SqliteFile):
        database = SqliteFile(tmp_path / "warehouse" / COMPLETIONS)
    store = CompletionStore(database)
    store.set_budget(4.0)

    with (
        run(tmp_path, database, 0, 100, pause=7) as first,
        run(tmp_path, database, 100, 200, NEVER) as second,
    ):
        first.start()
        assert first.line() == "paused"
        second.start()
        assert second.line() == "waiting"
        waited = store.count()
        first.process.send_signal(signal.SIGKILL)
        ended = second.end()
    assert "4.00 that all runs may spend together are spent; allow more" in ended["said"]
    assert waited < store.count() == 7 + len(ended["asked"])
    paid = dollars(store)
    assert 4.0 - MOST < paid <= 4.0
    assert store.budget() == Budget(4.0, pytest.approx(paid), 0)

    store.set_budget(100.0)
    with ExitStack() as stack:
        ranges = ((0, 100), (100, 200))
        both = [stack.enter_context(run(tmp_path, database, *r, NEVER)) for r in ranges]
        for one in both:
            one.start()
        ends = [one.end() for one in both]
    assert [end["said"] for end in ends] == ["", ""]
    asked = [*range(7), *ended["asked"], *ends[0]["asked"], *ends[1]["asked"]]
    assert sorted(asked) == list(range(200))  # each of them once
    assert store.count() == 200
    assert sum(end["dollars"] for end in ends) == pytest.approx(dollars(store) - paid)


def dollars(store: CompletionStore) -> float:
    """What all runs were counted to have paid."""
    return sum(row.dollars or 0.0 for row in store.usage())


def test_two_runs_at_once_spend_a_budget_and_no_more(database: Database, tmp_path: Path) -> None:
    if isinstance(database, SqliteFile):
        database = SqliteFile(tmp_path / "warehouse" / COMPLETIONS)
    store = CompletionStore(database)
    store.set_budget(3.0)
    with (
        run(tmp_path, database, 0, 100, NEVER) as first,
        run(tmp_path, database, 100, 200, NEVER) as second,
    ):
        first.start()
        second.start()
        ends = [first.end(), second.end()]
    assert all("may spend together are spent" in end["said"] for end in ends)
    assert 3.0 - MOST < dollars(store) <= 3.0
    assert dollars(store) == pytest.approx(sum(end["dollars"] for end in ends))
    assert store.count() == sum(len(end["asked"]) for end in ends)


def test_the_requests_are_distinct() -> None:
    assert len(set(requests(0, 200))) == 200
