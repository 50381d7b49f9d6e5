"""The audit of replies in a whole run, and in a warehouse that was made before there was one."""

from collections.abc import Callable

import polars as pl
import pytest

from stargate_assets.cli.driver import run_experiment
from stargate_assets.cli.estimate.estimator import estimate_calls
from stargate_assets.definitions.project import Project
from stargate_assets.pipeline.assets.report_page import experiment_tables
from stargate_assets.pipeline.assets.versions import done_steps, missing_aside, report_is_due
from stargate_assets.reporting.roleplayers import roleplayer_grids

CELLS = {"0|test", "0|train_a", "1|test", "1|train_b", "2|test"}


def test_every_reply_of_every_cell_is_audited(finished_project: Callable[..., Project]) -> None:
    warehouse = finished_project().warehouse
    said = warehouse.query(
        "SELECT iteration, split, task_id, persona_id, sample, generate_subscripts(answers, 1) - 1 "
        "AS turn, unnest(answers) AS reply FROM loop.conversations ORDER BY ALL"
    )
    audited = warehouse.query("FROM loop.roleplayer_audit").select(said.columns)
    assert audited.sort(pl.all()).equals(said)
    kinds = warehouse.query("SELECT DISTINCT replies FROM loop.roleplayer_audit")
    assert kinds["replies"].to_list() == ["generated"]


@pytest.mark.slow
def test_a_warehouse_without_audits_gets_them_and_nothing_else(
    finished_project: Callable[..., Project],
) -> None:
    project = finished_project()
    warehouse, experiment = project.warehouse, project.experiments["loop"]
    before = warehouse.query("FROM loop.roleplayer_audit ORDER BY ALL")
    with warehouse.connect(read_only=False) as connection:
        connection.execute(
            "DELETE FROM warehouse.materializations WHERE table_name = 'roleplayer_audit'"
        )
        connection.execute("DROP VIEW all_experiments.roleplayer_audit")
        connection.execute("DROP TABLE loop.roleplayer_audit")
    others = warehouse.materializations("loop")
    assert len(done_steps(warehouse, "loop", experiment)) == len(CELLS)
    assert {cell.key for _, cell in missing_aside(warehouse, "loop", experiment)} == CELLS
    assert roleplayer_grids(experiment_tables(warehouse, "loop", experiment)) == []
    asked = estimate_calls(project, ["loop"])["loop"]
    assert {e.role for e in asked} == {"auditor"}
    assert all(e.calls == e.stored for e in asked)

    announced: list[str] = []
    run_experiment(project, "loop", None, announced.append)
    assert project.models.usage.made == 0
    assert not [said for said in announced if "cell" in said]
    now = warehouse.materializations("loop")
    made = {key for key in now if now[key] != others.get(key)}
    assert made == {("roleplayer_audit", cell) for cell in CELLS}
    assert warehouse.query("FROM loop.roleplayer_audit ORDER BY ALL").equals(before)
    assert not missing_aside(warehouse, "loop", experiment)
    assert not report_is_due(warehouse, "loop")
