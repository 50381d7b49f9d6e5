"""The shipped experiment that goes from written personas to a checkpoint, with the real model."""

import shutil
from pathlib import Path

import pytest

from stargate_assets.cli.driver import load, run_experiment
from stargate_assets.storage.checkpoints import verify
from stargate_assets_tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_slice_of_everyday_becomes_a_policy(
    smollm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    shutil.copytree(smollm, tmp_path / "warehouse" / "models" / smollm.name)
    project = load("everyday_smoke")
    run_experiment(project, "everyday_smoke", None, print)
    personas = project.warehouse.query("SELECT * FROM everyday_slice.personas")
    assert set(personas["source"]) == {"generated"}
    assert personas["name"].n_unique() == personas.height
    gold = project.warehouse.query("SELECT * FROM everyday_slice.gold_responses")
    assert gold.height == 2 * personas.height
    assert gold["exclusion"].null_count() > 0
    verify(Path("warehouse") / "checkpoints" / "everyday_smoke" / "0-train_a")
