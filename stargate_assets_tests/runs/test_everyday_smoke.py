"""The shipped experiment that goes from written personas to a checkpoint, with the real model."""

import shutil
from pathlib import Path

import pytest

from stargate_assets.cli.driver import load, run_experiment
from stargate_assets.config.data_set import Sizes
from stargate_assets.definitions.project import assemble
from stargate_assets.storage.checkpoints import verify
from stargate_assets_tests.conftest import ROOT

PARTS = ("tasks", "persona_writer")
FEW = Sizes(train_a=2, train_b=1, test=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_slice_of_everyday_becomes_a_policy(
    smollm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    shutil.copytree(smollm, tmp_path / "warehouse" / "models" / smollm.name)
    shipped = load("everyday_smoke")
    data_set = shipped.data_sets["everyday_slice"]
    few = {part: getattr(data_set, part).model_copy(update={"sizes": FEW}) for part in PARTS}
    data_sets = {"everyday_slice": data_set.model_copy(update=few)}
    experiment = shipped.experiments["everyday_smoke"]
    project = assemble(data_sets, {"everyday_smoke": experiment}, Path("warehouse"))
    run_experiment(project, "everyday_smoke", None, print)
    personas = project.warehouse.query("SELECT * FROM everyday_slice.personas")
    assert set(personas["source"]) == {"generated"}
    assert personas["name"].n_unique() == personas.height
    gold = project.warehouse.query("SELECT * FROM everyday_slice.gold_responses")
    assert gold.height == 2 * 2 + 1 + 1
    assert gold["exclusion"].null_count() > 0
    verify(Path("warehouse") / "checkpoints" / "everyday_smoke" / "0-train_a")
