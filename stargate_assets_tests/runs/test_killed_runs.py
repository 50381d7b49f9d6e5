"""Fault 10: a completed model call is never paid twice, and a killed run ends as if it had not been
killed.
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
from stargate_assets_tests.conftest import (
    ENVIRONMENT,
    ROOT,
    WITHOUT_AMX,
    scripted_experiment,
    write_data_set,
)
from stargate_assets_tests.runs.kill_harness import EXPERIMENT_FILE

STAGES = ("asking", "scoring gold responses", "training")


def run(directory: Path, stage: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "stargate_assets_tests.runs.kill_harness", stage, "out.json"]
    environment = {**ENVIRONMENT, **WITHOUT_AMX}
    return subprocess.run(
        command, cwd=directory, env=environment, check=False, capture_output=True, timeout=1200
    )


def result(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "out.json").read_text())


def stored(directory: Path) -> int:
    return CompletionStore(directory / "warehouse" / "completions.sqlite").count()


def killed_at_every_stage_ends_as_if_it_had_not_been(whole: Path, killed: Path) -> None:
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


def scripted_directory(path: Path, model: Path) -> Path:
    write_data_set(path / "mini", tasks=4, personas=3)
    shutil.copy(ROOT / "dagster.yaml", path)
    experiment = scripted_experiment(model, iterations=1)
    (path / EXPERIMENT_FILE).write_text(experiment.model_dump_json())
    return path


@pytest.mark.slow
def test_fault_10_scripted_engine(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole, killed = (
        scripted_directory(tmp_path_factory.mktemp(name), tiny_model)
        for name in ("whole", "killed")
    )
    killed_at_every_stage_ends_as_if_it_had_not_been(whole, killed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fault_10_real_model(smollm: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    directories = [tmp_path_factory.mktemp(name) for name in ("whole", "killed")]
    for directory in directories:
        shutil.copy(ROOT / "dagster.yaml", directory)
        shutil.copytree(smollm, directory / "warehouse" / "models" / smollm.name)
    killed_at_every_stage_ends_as_if_it_had_not_been(*directories)
