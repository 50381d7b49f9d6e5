"""Runs in processes of their own that are killed while their requests are in batches."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.sqlite import SqliteFile
from stargate_assets_tests.conftest import ENVIRONMENT
from stargate_assets_tests.models import batch_run
from stargate_assets_tests.models.batch_run import PROMPTS
from stargate_assets_tests.servers.batch_endpoint import PRICE, TOKENS, serve_batches
from stargate_assets_tests.servers.faulty_chat_endpoint import requests, right

NEVER = 0
KILLS = [
    (step, moment)
    for step in ("upload", "create", "look", "content")
    for moment in ("before", "after")
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "moment", "answers"),
    [*((*kill, NEVER) for kill in KILLS), ("none", "at all", 1), ("none", "at all", 7)],
)
def test_a_killed_run_pays_nothing_twice(
    http: HTTPServer, tmp_path: Path, step: str, moment: str, answers: int
) -> None:
    """The server kills the run before or after it takes a step, or the run itself does between two
    answers that it stores. The next run has the answers, and the bill is that of an undisturbed
    one, to the cent.
    """
    http.clear()
    server, file = serve_batches(http), SqliteFile(tmp_path / "completions.sqlite")
    process = subprocess.Popen(
        [sys.executable, "-m", batch_run.__name__, server.url, str(file.path), str(answers)],
        env=ENVIRONMENT,
    )

    def kill(taken: str, when: str) -> None:
        if (taken, when) == (step, moment):
            process.kill()
            process.wait()

    server.on_step = kill
    assert process.wait(timeout=120) == -signal.SIGKILL
    server.on_step = lambda *_: None

    store = CompletionStore(file)
    assert store.count() == answers
    assert server.model(file).chat(requests(*PROMPTS), "asking") == right(*PROMPTS)
    assert server.billed == server.sent == dict.fromkeys(PROMPTS, 1)
    assert len(server.batches) == 1
    (row,) = store.usage()
    assert row.calls == len(PROMPTS)
    assert row.dollars == pytest.approx(len(PROMPTS) * TOKENS * PRICE.completion / 2 / 1e6)
