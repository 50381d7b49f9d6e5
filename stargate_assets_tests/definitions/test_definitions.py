"""What the project declares."""

import subprocess
import sys

import dagster as dg
import pytest

from stargate_assets.definitions.project import load_project
from stargate_assets.pipeline.assets.lineage import JUDGED
from stargate_assets.pipeline.declarations import ProjectError, check_names
from stargate_assets.pipeline.jobs import experiment_jobs

GRID = (
    "conversations",
    "gold_log_probs",
    "best_conversations",
    "regularization_responses",
    "checkpoints",
    "responses",
    "heard_statements",
    "roleplayer_audit",
)


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    return load_project().definitions.get_repository_def()


def upstream(repository: dg.RepositoryDefinition, key: str) -> set[str]:
    node = repository.asset_graph.get(dg.AssetKey(key.split("/")))
    return {parent.to_user_string() for parent in node.parent_keys}


def test_the_embedded_experiment_has_the_grid_and_its_edges(
    repository: dg.RepositoryDefinition,
) -> None:
    people = {"everyday_mini/tasks", "everyday_mini/personas"}
    gold = "everyday_mini/gold_responses"
    own = {name: f"embedded/{name}" for name in (*GRID, *JUDGED)}
    edges = {
        "conversations": people | {"embedded/policy"},
        "gold_log_probs": {gold, own["conversations"]},
        "best_conversations": {own["gold_log_probs"]},
        "regularization_responses": {own["best_conversations"]},
        "checkpoints": {own["regularization_responses"]},
        "responses": {own["conversations"]},
        "judge_audit": {gold, own["responses"]},
        "judgements": {own["responses"]},
        "win_rates": {own["judgements"], own["judge_audit"]},
        "roleplayer_audit": {own["conversations"]},
        "heard_statements": {own["responses"]},
        "report": {
            own["gold_log_probs"],
            own["heard_statements"],
            own["win_rates"],
            own["roleplayer_audit"],
        },
    }
    assert {table: upstream(repository, f"embedded/{table}") for table in edges} == edges


def test_a_group_holds_an_experiment_with_its_policy_and_report(
    repository: dg.RepositoryDefinition,
) -> None:
    groups: dict[str, set[str]] = {}
    for key in repository.asset_graph.get_all_asset_keys():
        node = repository.asset_graph.get(key)
        groups.setdefault(str(node.group_name), set()).add(key.path[-1])
    project = load_project()
    expected = {name: set(data_set.tables) for name, data_set in project.data_sets.items()}
    for name, experiment in project.experiments.items():
        judged = JUDGED if experiment.judges else ()
        expected[name] = {"policy", *GRID, *judged, "report"}
    assert groups == expected


def test_every_asset_is_described(repository: dg.RepositoryDefinition) -> None:
    for key in repository.asset_graph.get_all_asset_keys():
        node = repository.asset_graph.get(key)
        assert node.description and node.kinds, key
        assert node.code_version or key.path[-1] == "policy"


def test_partition_keys_are_iteration_then_split(repository: dg.RepositoryDefinition) -> None:
    node = repository.asset_graph.get(dg.AssetKey(["embedded", "conversations"]))
    assert node.partitions_def is not None
    assert "1|train_b" in node.partitions_def.get_partition_keys()


def test_jobs_and_sensors_are_declared(repository: dg.RepositoryDefinition) -> None:
    jobs = {
        job.name for job in experiment_jobs("embedded", load_project().experiments["embedded"])
    } | {"everyday_mini_data"}
    assert jobs <= set(repository.job_names)
    assert repository.has_sensor_def("embedded_walk")


def test_definitions_load_without_torch() -> None:
    code = "from stargate_assets.definitions import defs; defs()"
    code += "; import sys; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode
        == 0
    )


@pytest.mark.parametrize("names", [["a", "b", "a"], ["a", "warehouse"], ["information_schema"]])
def test_a_name_is_declared_once_and_is_nobody_else_s(names: list[str]) -> None:
    with pytest.raises(
        ProjectError, match="is taken; give each data set, experiment and evaluation"
    ):
        check_names(names)
