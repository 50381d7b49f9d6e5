"""The code locations of workspace.yaml: what each holds, and how one reads what the other makes."""

import importlib
from collections.abc import Callable
from dataclasses import replace

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.sensor_definition import SensorExecutionData

from stargate_assets.cli.driver import open_instance
from stargate_assets.definitions.project import Project, load_project, project_definitions
from stargate_assets.pipeline.declarations import ABLATIONS, MAIN
from stargate_assets.storage.io_manager import slice_of
from stargate_assets_tests.conftest import ROOT

Repository = dg.RepositoryDefinition


@pytest.fixture(scope="module")
def repositories() -> dict[str, Repository]:
    """Those that workspace.yaml names, by location."""
    found: dict[str, Repository] = {}
    for entry in yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]:
        module = importlib.import_module(entry["python_module"]["module_name"])
        location = entry["python_module"]["location_name"]
        found[location] = module.defs().get_repository_def()
    return found


def made_in(repository: Repository) -> set[str]:
    """The prefixes of the assets that a location makes."""
    return {key.path[0] for key in repository.asset_graph.materializable_asset_keys}


def test_each_experiment_and_data_set_is_made_in_one_location(
    repositories: dict[str, Repository],
) -> None:
    own, ablations = (made_in(repositories[name]) for name in (MAIN, ABLATIONS))
    project = load_project()
    assert set(repositories) == {MAIN, ABLATIONS}
    assert own & ablations == set()
    assert own | ablations == {*project.data_sets, *project.experiments}
    assert {"embedded", "star_gate", "everyday_mini", "everyday_gpt4"} <= own
    assert {"embedded_gain", "star_gate_llama3", "everyday_mini_half"} <= ablations
    assert not any(name.startswith("embedded_") for name in own)


def test_an_ablation_sees_the_tables_of_the_other_location_with_their_partitions(
    repositories: dict[str, Repository],
) -> None:
    graph = repositories[ABLATIONS].asset_graph
    external = graph.external_asset_keys
    assert {key.path[0] for key in external if key.path[-1] != "policy"} == {
        "everyday_mini",
        "everyday_gpt4",
        "everyday_llama3",
    }
    own = repositories[MAIN].asset_graph
    for table in ("tasks", "personas", "gold_responses"):
        key = dg.AssetKey(["everyday_mini", table])
        assert graph.get(key).partitions_def == own.get(key).partitions_def
        assert key in own.materializable_asset_keys


def test_jobs_and_sensors_are_in_the_location_of_what_they_make(
    repositories: dict[str, Repository],
) -> None:
    own, ablations = repositories[MAIN], repositories[ABLATIONS]
    assert {"everyday_mini_data", "embedded_evaluate"} <= set(own.job_names)
    assert {"everyday_mini_half_data", "embedded_gain_evaluate"} <= set(ablations.job_names)
    assert "everyday_mini_data" not in ablations.job_names
    for repository, sensor in ((own, "embedded_walk"), (ablations, "embedded_gain_walk")):
        assert repository.has_sensor_def(sensor)
    assert own.has_sensor_def("dead_runs") and not ablations.has_sensor_def("dead_runs")


@pytest.fixture
def ablation(scripted_project: Callable[..., Project]) -> Project:
    """The scripted loop as an ablation on a data set of the other location."""
    return replace(scripted_project(iterations=1), locations={"loop": ABLATIONS})


@pytest.mark.slow
def test_a_cell_is_made_in_one_location_from_what_the_other_has_made(ablation: Project) -> None:
    main = project_definitions(ablation, MAIN).get_repository_def()
    other = project_definitions(ablation, ABLATIONS).get_repository_def()

    def tick(instance: dg.DagsterInstance) -> SensorExecutionData:
        context = dg.build_sensor_context(
            instance=instance, repository_def=other, resources={"warehouse": ablation.warehouse}
        )
        return other.get_sensor_def("loop_walk").evaluate_tick(context)

    with open_instance() as instance:
        assert tick(instance).skip_message == (
            "The data set mini lacks test, train_a; run the job mini_data of the code location "
            "stargate_assets for each of these partitions."
        )
        for split in ("test", "train_a"):
            main.get_job("mini_data").execute_in_process(instance=instance, partition_key=split)
        requests = tick(instance).run_requests or []
        assert [(r.job_name, r.partition_key) for r in requests] == [
            ("loop_evaluate", "0|test"),
            ("loop_train_iteration", "0|train_a"),
        ]
        result = other.get_job("loop_evaluate").execute_in_process(
            instance=instance, partition_key="0|test"
        )
    assert result.success
    assert ablation.warehouse.read("loop", "responses", [slice_of("0|test")]).height > 0
