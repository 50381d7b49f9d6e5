"""A whole loop on tasks with options: without an Oracle and without a Judge."""

from pathlib import Path

import polars as pl
import pytest

from stargate_assets.cli.driver import run_experiment
from stargate_assets.definitions.project import assemble
from stargate_assets.pipeline.assets.evaluation import read_evaluated_tables
from stargate_assets.reporting.comparison import compare
from stargate_assets.reporting.comparison_grids import comparison_grids
from stargate_assets_tests.conftest import mini_data_set, scripted_experiment, write_options


@pytest.mark.slow
def test_a_policy_is_selected_and_evaluated_by_its_choices(mini: Path, tiny_model: Path) -> None:
    data = mini_data_set(write_options(mini), tasks={"file": "tasks.jsonl", "options": True})
    experiment = scripted_experiment(tiny_model, iterations=1, selection={"objective": "choice"})
    project = assemble({"mini": data}, {"loop": experiment}, Path("warehouse"))
    run_experiment(project, "loop", None, print)
    scored = project.warehouse.query("FROM loop.gold_log_probs")
    assert scored["choice_log_prob"].null_count() == scored["chosen"].null_count() == 0
    assert set(scored.filter(split="train_a")["condition"]) == {"experimental"}
    best = project.warehouse.query("FROM loop.best_conversations").join(
        scored.filter(condition="experimental"),
        on=["iteration", "split", "task_id", "persona_id", "sample"],
    )
    assert best.height and (best["value"] == best["choice_log_prob"]).all()
    roles = project.warehouse.query("SELECT DISTINCT role FROM warehouse.usage")["role"]
    assert "scorer" in set(roles) and not {"oracle", "judge"} & set(roles)

    tables = read_evaluated_tables(project.warehouse, "loop", experiment)
    report = tables.frame("report")
    own = scored.filter(split="test", iteration=1, condition="experimental")
    row = report.filter(metric="right_choice_experimental", iteration=1).row(0, named=True)
    assert row["mean"] == pytest.approx(own["chosen"].mean())
    assert row["pairs"] == 4 and 0 <= row["low"] <= row["mean"] <= row["high"] <= 1
    controls = report.filter(pl.col("metric").str.contains("right_choice_.*_control"))
    assert controls.height == 4 and set(controls["gain"]) == {None}
    assert "Right choices" in [grid.title for grid in comparison_grids(compare([tables]))]
    page = (project.warehouse.path.parent / "reports" / "loop.html").read_text()
    assert "the right option is the most probable in" in page
