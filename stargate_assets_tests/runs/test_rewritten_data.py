"""Data that is rewritten while a cell is made: its rows say what they were made from."""

from collections.abc import Callable

import pytest

from stargate_assets.cli.driver import launcher, run_data_set, run_experiment
from stargate_assets.definitions.project import Project
from stargate_assets.method.plan import Step
from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.lineage import LINEAGE
from stargate_assets.pipeline.assets.versions import cell_versions, done_steps
from stargate_assets.pipeline.jobs import job_name

CELL = Cell(0, "test")


@pytest.fixture
def project(scripted_project: Callable[..., Project]) -> Project:
    """Its data set is there, and is rewritten as soon as the first question is asked."""
    built = scripted_project(iterations=1)
    run_data_set(built, "mini", announce=lambda _: None)
    rewritten: list[str] = []

    def rewrite(doing: str, done: int, total: int) -> None:
        del done, total
        if doing.startswith("asking") and not rewritten:
            rewritten.append(doing)
            rows = built.warehouse.read("mini", "tasks", [{"split": "test"}])
            built.warehouse.write("mini", "tasks", {"split": "test"}, rows, "rewritten")

    built.models.on_progress = rewrite
    return built


@pytest.mark.slow
def test_rows_carry_the_version_of_what_was_read(project: Project) -> None:
    experiment = project.experiments["loop"]
    read = cell_versions(experiment, CELL, None, project.warehouse.materializations("mini"))
    with launcher(project, models=True) as launch:
        launch(job_name("loop", "evaluate"), CELL.key)
    there = project.warehouse.materializations("loop")
    now = cell_versions(experiment, CELL, None, project.warehouse.materializations("mini"))
    assert there["conversations", CELL.key].version == read["conversations"]
    assert read["conversations"] != now["conversations"]
    # It began after the rewriting, and read conversations that were made before.
    assert there["gold_log_probs", CELL.key].version not in {
        read["gold_log_probs"],
        now["gold_log_probs"],
    }
    assert Step(CELL, "evaluate") not in done_steps(project.warehouse, "loop", experiment)


@pytest.mark.slow
def test_a_run_says_so_and_makes_the_cell_again(project: Project) -> None:
    announced: list[str] = []
    run_experiment(project, "loop", None, announced.append)
    first = announced.index("loop: cell 0|test (evaluate)")
    assert announced[first + 1 : first + 3] == [
        "loop: what the cell 0|test is made from was rewritten while it was made, so it is made "
        "again",
        "loop: cell 0|test (evaluate)",
    ]
    there = project.warehouse.materializations("loop")
    data = project.warehouse.materializations("mini")
    versions = cell_versions(project.experiments["loop"], CELL, None, data)
    made = {
        table: there[table, CELL.key].version for table in LINEAGE if (table, CELL.key) in there
    }
    assert made == {table: versions[table] for table in made}
