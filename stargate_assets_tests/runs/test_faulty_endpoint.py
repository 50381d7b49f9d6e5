"""A whole cell on an endpoint that fails in every known way, and is killed in the middle."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pytest_httpserver import HTTPServer

from stargate_assets.method.language_model import EngineError
from stargate_assets_tests.conftest import ROOT, write_data_set
from stargate_assets_tests.runs.cells import materialize, tables
from stargate_assets_tests.servers.faulty_chat_endpoint import KEY, failing
from stargate_assets_tests.servers.faulty_vllm_server import (
    FaultyVllm,
    project,
    served_faulty_vllm,
    stored,
)

ANSWERS_BETWEEN = 60
PAIRS, SAMPLES = 12, 4


@pytest.fixture
def server(http: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyVllm]:
    http.clear()
    monkeypatch.setenv("FAULTY_BASE_URL", http.url_for("/v1"))
    monkeypatch.setenv("FAULTY_API_KEY", KEY)
    faulty = served_faulty_vllm(http)
    yield faulty
    faulty.over.set()
    http.check()


@pytest.fixture
def enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a project's directory the current one."""

    def enter(name: str) -> None:
        directory = tmp_path / name
        write_data_set(directory / "mini", tasks=4, personas=3)
        shutil.copy(ROOT / "dagster.yaml", directory)
        monkeypatch.chdir(directory)

    return enter


@pytest.mark.slow
def test_a_cell_survives_every_fault_and_a_kill_and_pays_no_answer_twice(
    server: FaultyVllm, enter: Callable[[str], None]
) -> None:
    enter("faulty")
    with pytest.raises(EngineError, match="has no model 'nobody'; correct its name"):
        materialize(project("nobody"), "loop")
    assert not server.answered

    server.answers_left, server.after_the_last = ANSWERS_BETWEEN, failing(401, "invalid_api_key")
    with pytest.raises(EngineError, match="set FAULTY_API_KEY to one that is valid"):
        materialize(project(), "loop")
    assert stored() == ANSWERS_BETWEEN

    server.answers_left, server.after_the_last = ANSWERS_BETWEEN, None
    program = "stargate_assets_tests.servers.faulty_vllm_server"
    command = [sys.executable, "-m", program, str(2 * ANSWERS_BETWEEN)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run(command, env=environment, check=False, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    assert stored() == 2 * ANSWERS_BETWEEN

    server.answers_left = float("inf")
    finished = project()
    made = materialize(finished, "loop")
    assert min(server.met[fault] for fault in server.faults) > 1
    assert set(server.answered.values()) == {1}
    assert stored() == len(server.answered) > 2 * ANSWERS_BETWEEN

    found = tables(finished, "loop")
    conversations = found["conversations"]
    assert conversations.height == PAIRS * SAMPLES
    refused = conversations.filter(pl.col("ineligibility") == "refused").height
    counted = {
        key: value.value
        for event in made.get_asset_materialization_events()
        for key, value in event.materialization.metadata.items()
    }
    assert counted["ineligible: refused"] == refused > 0

    server.faulty = False
    enter("calm")
    calm = project()
    materialize(calm, "loop")
    for table, frame in tables(calm, "loop").items():
        assert_frame_equal(found[table], frame)
