"""Fault 10 with the bundled model: a completed model call is never paid twice, and a killed run
ends as if it had not been killed.
"""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.models.bundled import BUNDLED
from stargate_assets.models.pool import ModelPool
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.sqlite import SqliteFile
from stargate_assets_tests.conftest import ENVIRONMENT, ROOT, WITHOUT_AMX

STAGES = ("asking", "scoring gold responses", "training")


def run(directory: Path, stage: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "stargate_assets_tests.faults.bundled_run", stage, "out.json"]
    environment = {**ENVIRONMENT, **WITHOUT_AMX}
    return subprocess.run(
        command, cwd=directory, env=environment, check=False, capture_output=True, timeout=2400
    )


def result(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "out.json").read_text())


def stored(directory: Path) -> int:
    return CompletionStore(SqliteFile(directory / "warehouse" / "completions.sqlite")).count()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fault_10_killed_at_every_stage_a_run_ends_as_if_it_had_not_been(
    smollm: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole, killed = (tmp_path_factory.mktemp(name) for name in ("whole", "killed"))
    for directory in (whole, killed):
        shutil.copy(ROOT / "dagster.yaml", directory)
        shutil.copytree(smollm, directory / "warehouse" / "models" / smollm.name)
    finished = run(whole, "never")
    assert finished.returncode == 0, finished.stderr.decode()
    before = 0
    for stage in STAGES:
        assert run(killed, stage).returncode == -signal.SIGKILL, stage
        assert stored(killed) >= before
        before = stored(killed)
    assert before < stored(whole)
    assert run(killed, "never").returncode == 0
    # A resumed batch may round differently in fp32 and with AMX, not in bf16 without.
    exact = ModelPool(whole / "warehouse").dtype(ModelSpec(model=BUNDLED)) == "bfloat16"
    reports = [pl.DataFrame(result(directory)["report"]) for directory in (killed, whole)]
    assert_frame_equal(*reports, check_exact=exact, abs_tol=1e-3)
    assert before + result(killed)["made"] == stored(killed) == stored(whole)
