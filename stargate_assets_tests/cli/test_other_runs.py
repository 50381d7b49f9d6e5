"""What runs of one project do at the same time, and what they do not."""

import multiprocessing
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stargate_assets.cli.driver import open_instance, run_experiment
from stargate_assets.cli.other_runs import OtherRunError, computes_here, room_for_models, turn_at
from stargate_assets.config.machine import Cluster, Machine
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.assets.grid import GPU_POOL
from stargate_assets.storage.claims import claim
from stargate_assets_tests.conftest import SCRIPTED, mini_data_set, scripted_experiment

ENDPOINT = {"engine": "openai", "model": "m"}
REMOTE = {"questioner": ENDPOINT, "roleplayers": [{"model": ENDPOINT}]}
ROOM_FOR_TWO = Cluster(address="auto", training_workers=1, runs_at_once=2)
WAREHOUSE = Path("warehouse")


def project(files: Path, **changes: object) -> Project:
    """One with a scripted experiment, `loop`."""
    stated = {"questioner": SCRIPTED, "roleplayers": [{"model": SCRIPTED}]} | changes
    experiment = scripted_experiment(Path("any"), **stated)
    return assemble({"mini": mini_data_set(files)}, {"loop": experiment}, WAREHOUSE)


def start_first(directory: Path, together: Any) -> None:
    os.chdir(directory)
    together.wait()
    with open_instance() as instance:
        assert not instance.get_runs()


@pytest.mark.slow
def test_runs_that_start_together_in_a_new_project_make_one_instance(mini: Path) -> None:
    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload(["stargate_assets_tests.faults.preloaded"])
    together = fork.Barrier(3)
    runs = [fork.Process(target=start_first, args=(mini.parent, together)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0, 0]


def test_an_experiment_is_made_by_one_run(mini: Path) -> None:
    refused = rf"The process {os.getpid()} is making loop; wait for it to end, or end it\."
    with claim(WAREHOUSE, "loop"), pytest.raises(OtherRunError, match=refused):
        run_experiment(project(mini, **REMOTE), "loop", None, print)
    assert not WAREHOUSE.joinpath("completions.sqlite").exists()


def test_a_data_set_that_another_run_makes_is_waited_for(mini: Path) -> None:
    announced: list[str] = []
    with ExitStack() as other:
        other.enter_context(claim(WAREHOUSE, "mini"))

        def announce(sentence: str) -> None:
            announced.append(sentence)
            other.close()

        with turn_at(project(mini), "mini", announce):
            assert announced == [f"mini: waiting for the process {os.getpid()}, which is making it"]


def test_as_many_runs_have_models_as_the_machine_has_room_for(mini: Path) -> None:
    one = project(mini)
    two = replace(one, models=ModelPool(WAREHOUSE, Machine(cluster=ROOM_FOR_TWO)))
    refused = rf"The process {os.getpid()} is using the models"
    with open_instance() as instance:
        for built, room in ((two, 2), (one, 1)):
            with ExitStack() as stack:
                for _ in range(room):
                    stack.enter_context(room_for_models(built, instance))
                with pytest.raises(OtherRunError, match=refused):
                    stack.enter_context(room_for_models(built, instance))
            limits = {p.name: p.limit for p in instance.event_log_storage.get_pool_limits()}
            assert limits.get(GPU_POOL, 1) == room


def test_only_what_computes_here_takes_room(mini: Path) -> None:
    remote = project(mini, **REMOTE)
    assert not computes_here(remote, "loop")
    assert computes_here(project(mini), "loop")
    judged = project(mini, **REMOTE, judge={"model": SCRIPTED, "method": "fit"})
    assert computes_here(judged, "loop")
    oracle = mini_data_set(mini, gold_responses=None, oracle={"model": SCRIPTED})
    written = assemble({"mini": oracle}, remote.experiments, WAREHOUSE)
    assert computes_here(written, "mini")
    assert computes_here(written, "loop")
    repository = remote.definitions.get_repository_def()
    made = [asset for asset in repository.assets_defs_by_key.values() if asset.is_materializable]
    assert {asset.key.path[-1] for asset in made if asset.op.pool} == {"checkpoints"}
