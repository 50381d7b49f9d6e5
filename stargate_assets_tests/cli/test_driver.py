"""The whole loop with the scripted engine: real Dagster, real DuckDB, real training of a tiny
model.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from stargate_assets.cli.cells import list_cell_states
from stargate_assets.cli.driver import (
    DriverError,
    launcher,
    list_family,
    open_instance,
    run_experiment,
    run_experiments,
)
from stargate_assets.cli.pages import find_report_page
from stargate_assets.config.machine import Cluster, Machine
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.pipeline.assets.versions import MissingPolicyError
from stargate_assets.pipeline.jobs import job_name
from stargate_assets.storage.checkpoints import verify
from stargate_assets.training.spec import TrainingError
from stargate_assets_tests.conftest import Finished, made_cells

Build = Callable[..., Project]


def walk(project: Project, force: str | None = None) -> list[str]:
    """Run and return the cells that were materialised, in order."""
    announced: list[str] = []
    run_experiment(project, "loop", force, announced.append)
    return made_cells(announced)


def checkpoint_hashes(project: Project, name: str = "loop") -> list[str]:
    frame = project.warehouse.query(f'SELECT sha256 FROM "{name}".checkpoints ORDER BY iteration')
    return frame["sha256"].to_list()


def trained_metadata(project: Project, name: str) -> Mapping[str, dg.MetadataValue[Any]]:
    """Of the first checkpoint of an experiment that states what `loop` does."""
    twin = assemble(project.data_sets, {name: project.experiments["loop"]}, Path("warehouse"))
    twin.models.usage = project.models.usage
    job = twin.definitions.get_repository_def().get_job(job_name(name, "train"))
    with open_instance() as instance:
        made = job.execute_in_process(instance=instance, partition_key="0|train_a")
    trained, _ = made.asset_materializations_for_node(f"{name}__checkpoints")  # and the policy
    return trained.metadata


def test_the_loop_runs_and_resumes_and_sees_what_changed(
    finished: Finished, finished_project: Build
) -> None:
    assert finished.cells == ["0|test", "0|train_a", "1|test", "1|train_b", "2|test"]
    assert finished.made > 0
    project = finished_project()
    assert {state.state for state in list_cell_states(project, "loop")} == {"done"}
    report = project.warehouse.read("loop", "report", [{}])
    assert report["iteration"].unique().sort().to_list() == [0, 1, 2]
    assert report.filter(metric="question_rate", iteration=0)["gain"].to_list() == [None]
    verify(project.warehouse.path.parent / "checkpoints" / "loop" / "0-train_a")
    page = find_report_page(project, "loop")
    assert page == project.warehouse.path.parent / "reports" / "loop.html"
    written = page.stat().st_mtime_ns
    examples = project.warehouse.query("FROM loop.policy_examples")
    assert examples["iteration"].unique().sort().to_list() == [1, 2]

    again = finished_project()
    assert walk(again) == []
    assert again.models.usage.made == 0
    assert again.warehouse.read("loop", "report", [{}]).equals(report)
    assert find_report_page(again, "loop").stat().st_mtime_ns == written

    # What was trained from the same is not trained again, so nothing after the forced cell is out
    # of date; another experiment takes it over.
    hashes = checkpoint_hashes(again)
    assert walk(again, force="0|train_a") == ["0|train_a"]
    assert checkpoint_hashes(again) == hashes
    assert again.models.usage.made == 0
    assert again.models.usage.training_seconds == 0
    metadata = trained_metadata(again, "twin")
    assert metadata["taken over from"].value == "checkpoints/loop/0-train_a"
    assert checkpoint_hashes(again, "twin") == hashes[:1]
    assert again.models.usage.training_seconds == 0
    verify(again.warehouse.path.parent / "checkpoints" / "twin" / "0-train_a")

    # Another learning rate: everything is due again.
    changed = finished_project(training={"method": "lora", "learning_rate": 5e-2, "batch_size": 2})
    assert [s.state for s in list_cell_states(changed, "loop")] == [
        "next",
        "next",
        *["waiting"] * 3,
    ]


def test_a_cell_without_its_policy_fails_before_a_model_is_opened(scripted_project: Build) -> None:
    project = scripted_project()
    repository = project.definitions.get_repository_def()
    with open_instance() as instance:
        repository.get_job("mini_data").execute_in_process(
            instance=instance, partition_key="train_b"
        )
        with pytest.raises(MissingPolicyError, match=r"Policy 1 of loop .* cell 0\|train_a"):
            repository.get_job("loop_train_iteration").execute_in_process(
                instance=instance, partition_key="1|train_b"
            )
    assert project.models.usage.made == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (Machine(training_processes=9), "^training_processes is 9, and"),
        (
            Machine(cluster=Cluster(address="auto", training_workers=9)),
            r"^cluster\.training_workers is 9, and training\.batch_size is 2",
        ),
    ],
)
def test_the_machine_says_over_how_many_devices_training_spreads(
    finished_project: Build, machine: Machine, said: str
) -> None:
    project = finished_project(training={"method": "lora", "batch_size": 2})
    project.models.machine = machine
    with pytest.raises(TrainingError, match=said):
        walk(project, force="0|train_a")


def test_the_held_out_split_is_never_trained_on(finished_project: Build) -> None:
    project = finished_project()
    repository = project.definitions.get_repository_def()
    with open_instance() as instance:
        result = repository.get_job("loop_train_iteration").execute_in_process(
            instance=instance, partition_key="0|test"
        )
    assert result.success
    made = {
        (e.asset_key.path[-1], e.partition)
        for e in result.get_asset_materialization_events()
        if e.asset_key
    }
    assert ("regularization_responses", "0|test") in made
    assert "checkpoints" not in {table for table, _ in made}
    assert {policy for table, policy in made if table == "policy"} == {"0"}


@pytest.mark.slow
def test_the_sensor_walks_the_plan_unattended(scripted_project: Build) -> None:
    training = {"method": "lora", "batch_size": 2, "loss": "sft_then_dpo"}
    project = scripted_project(iterations=1, training=training)
    repository = project.definitions.get_repository_def()
    sensor = repository.get_sensor_def("loop_walk")
    launched: list[str] = []
    with open_instance() as instance:
        while True:
            context = dg.build_sensor_context(
                instance=instance,
                repository_def=repository,
                resources={"warehouse": project.warehouse},
            )
            requests = sensor.evaluate_tick(context).run_requests or []
            fresh = [r for r in requests if r.run_key not in launched]
            if not fresh:
                break
            for request in fresh:
                launched.append(str(request.run_key))
                job = repository.get_job(str(request.job_name))
                assert job.execute_in_process(
                    instance=instance, partition_key=request.partition_key
                ).success
        policies = instance.get_materialized_partitions(dg.AssetKey(["loop", "policy"]))
    assert {state.state for state in list_cell_states(project, "loop")} == {"done"}
    assert policies == {"0", "1"}
    assert launched[-1].startswith("loop report")
    (trained,) = project.warehouse.query('FROM "loop".checkpoints').iter_rows(named=True)
    assert trained["preference_pairs"] > 0
    assert trained["preference_losses"][0] == pytest.approx(math.log(2), abs=1e-3)


@pytest.mark.slow
def test_excluded_gold_responses_are_in_no_comparison(finished_project: Build) -> None:
    """And the Judge is not shown them as another's."""
    project, where = finished_project(), {"split": "test"}
    gold = project.warehouse.read("mini", "gold_responses", [where])
    version = project.warehouse.materializations("mini")["gold_responses", "test"].version
    first = pl.when(pl.int_range(pl.len()) == 0)
    excluded = gold.with_columns(exclusion=first.then(pl.lit("refused")))
    project.warehouse.write("mini", "gold_responses", where, excluded, version)

    with launcher(project, models=True) as launch:
        launch("loop_evaluate", "0|test")
    cell = {"iteration": 0} | where
    for table, pairs in (("conversations", 4), ("gold_log_probs", 3), ("judge_audit", 2)):
        frame = project.warehouse.read("loop", table, [cell])
        assert frame.select("task_id", "persona_id").n_unique() == pairs


@pytest.mark.slow
def test_a_family_is_walked_by_one_launcher_and_shares_what_is_alike(
    finished_project: Build,
) -> None:
    project = finished_project()
    loop = project.experiments["loop"]
    again = loop.model_copy(update={"iterations": 1})
    named = {"loop_again": again, "loop": loop, "loopy": loop, "other": loop}
    project = assemble(project.data_sets, named, Path("warehouse"))
    names = list_family(project, "loop")
    assert names == ["loop", "loop_again"]
    announced: list[str] = []
    reports = dict(run_experiments(project, names, announced.append))
    assert announced == [
        "loop_again: cell 0|test (evaluate)",
        "loop_again: cell 0|train_a (train)",
        "loop_again: cell 1|test (evaluate)",
    ]
    assert {name: report["iteration"].max() for name, report in reports.items()} == {
        "loop": 2,
        "loop_again": 1,
    }
    assert (project.models.usage.made, project.models.usage.training_seconds) == (0, 0)
    with pytest.raises(
        DriverError, match=r"No experiment is called 'lo' or lo_\.\.\.; there are: loop, "
    ):
        list_family(project, "lo")


def test_what_is_not_there_is_named(scripted_project: Build) -> None:
    project = scripted_project()
    with pytest.raises(DriverError, match=r"not a planned cell; there are: 0\|test"):
        run_experiment(project, "loop", "9|train_a", print)
    with pytest.raises(DriverError, match="no experiment 'nothing'; there are: loop"):
        run_experiment(project, "nothing", None, print)
