"""Two runs of different experiments at once: one warehouse, one PostgreSQL, one budget."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pytest_httpserver import HTTPServer

from stargate_assets.definitions.project import Project
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.postgres import COMPLETIONS_URL, Postgres
from stargate_assets_tests.chat_templates import chat_tokenizer
from stargate_assets_tests.conftest import ENVIRONMENT, project_files
from stargate_assets_tests.runs import priced_experiments
from stargate_assets_tests.runs.priced_experiments import (
    NAMES,
    OUT_OF_MONEY,
    TOKENS,
    endpoint,
    make,
)
from stargate_assets_tests.servers.faulty_chat_endpoint import KEY
from stargate_assets_tests.servers.faulty_vllm_server import FaultyVllm
from stargate_assets_tests.servers.vllm_protocol import register

TABLES = ("conversations", "gold_log_probs", "responses", "report")
ENOUGH = 12
"""Answers after which a run is killed."""


def enter(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir()
    monkeypatch.chdir(directory)
    project_files(directory)


def serve(http: HTTPServer, root: str, name: str, monkeypatch: pytest.MonkeyPatch) -> FaultyVllm:
    server = FaultyVllm(chat_tokenizer("chatml").tokenizer, faulty=False)
    register(http, server, f"/{root}/{name}")
    monkeypatch.setenv(f"{endpoint(name)}_BASE_URL", http.url_for(f"/{root}/{name}/v1"))
    monkeypatch.setenv(f"{endpoint(name)}_API_KEY", KEY)
    return server


def rows(project: Project, name: str) -> dict[str, pl.DataFrame]:
    return {t: project.warehouse.query(f'from "{name}".{t} order by all') for t in TABLES}


def cents(store: CompletionStore) -> Counter[str]:
    """What was paid, by experiment."""
    paid = Counter[str]()
    for row in store.usage():
        assert row.dollars is not None
        paid[row.schema_name] += round(100 * row.dollars)
    return paid


def start(name: str, enough: int, url: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "ignore", "-m", priced_experiments.__name__]
    return subprocess.Popen(
        [*command, name, str(enough), url],
        env=ENVIRONMENT | os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(run: "subprocess.Popen[str]") -> int:
    said, _ = run.communicate(timeout=120)
    assert run.returncode in (0, -signal.SIGKILL, OUT_OF_MONEY), said
    if run.returncode == OUT_OF_MONEY:
        assert "that all runs may spend together are spent; allow more" in said
    return run.returncode


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_runs_of_which_one_is_killed_make_what_each_alone_makes_on_one_budget(
    tmp_path: Path, postgres_url: str, http: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget is less than they need, so that both come to its end; then there is none."""
    http.clear()
    enter(tmp_path / "alone", monkeypatch)
    for name in NAMES:
        serve(http, "alone", name, monkeypatch)
    alone = priced_experiments.project()
    for name in NAMES:
        make(alone, name)
    expected, cost = {n: rows(alone, n) for n in NAMES}, cents(alone.models.store())

    enter(tmp_path / "together", monkeypatch)
    servers = {name: serve(http, "together", name, monkeypatch) for name in NAMES}
    store = CompletionStore(Postgres(postgres_url))
    budget = cost.total() * 2 // 3
    store.set_budget(budget / 100)
    servers["one"].answers_left = ENOUGH
    killed, other = start("one", ENOUGH, postgres_url), start("two", 0, postgres_url)
    assert ended(killed) == -signal.SIGKILL
    assert servers["one"].answered.total() == ENOUGH
    servers["one"].answers_left = float("inf")
    again = start("one", 0, postgres_url)
    assert OUT_OF_MONEY in (ended(again), ended(other))
    assert budget - TOKENS < cents(store).total() <= budget

    store.set_budget(None)
    monkeypatch.setenv(COMPLETIONS_URL, postgres_url)
    together = priced_experiments.project()
    for name in NAMES:
        make(together, name)
    for name in NAMES:
        for table, frame in rows(together, name).items():
            assert_frame_equal(frame, expected[name][table])
        assert set(servers[name].answered.values()) == {1}
    assert cents(store) == cost
    counted = together.warehouse.query("FROM warehouse.usage")
    assert counted["calls"].sum() == sum(row.calls for row in store.usage())
