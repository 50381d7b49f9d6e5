"""How often the right option is the most probable: in the report, its page and comparisons."""

from dataclasses import replace

import polars as pl
import pytest

from stargate_assets.cli.terminal import console, print_report
from stargate_assets.pipeline.assets.evaluation import report_rows
from stargate_assets.reporting.comparison import compare
from stargate_assets.reporting.comparison_grids import comparison_grids
from stargate_assets.reporting.quality import estimates
from stargate_assets.reporting.summary import summary
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets_tests.reporting import frames

RIGHT = "right_choice_experimental"


@pytest.fixture(scope="module")
def tables() -> ExperimentTables:
    """Policy 2 brings out the right option for everybody but the first person, policy 1 for nobody,
    the base model for the last person alone. The controls are as they should be.
    """
    plain = frames.tables(tasks=2, people=4)
    person, policy = pl.col("persona_id").str.slice(-1).cast(pl.Int64), pl.col("iteration")
    of_policy = pl.when(policy == 2).then(person > 0).when(policy == 0).then(person == 3)
    chosen = of_policy.otherwise(statement=False)
    scored = plain.frame("gold_log_probs").filter(condition="experimental")
    key = ["iteration", "split", "task_id", "persona_id"]
    controls = [
        scored.unique(key).with_columns(
            condition=pl.lit(f"{name}_control"),
            sample=pl.lit(None, pl.Int64),
            heard_persona_id=pl.lit(None, pl.String),
            chosen=pl.lit(name == "positive"),
        )
        for name in ("negative", "positive")
    ]
    rows = pl.concat([scored.with_columns(chosen=chosen), *controls])
    changed = replace(plain, frames={**plain.frames, "gold_log_probs": rows})
    return replace(changed, frames={**changed.frames, "report": report_rows(changed)})


def test_right_choices_are_shares_of_pairs_with_gains_on_policy_0(
    tables: ExperimentTables,
) -> None:
    rows = tables.frame("report").filter(metric=RIGHT).sort("iteration")
    assert rows["mean"].to_list() == [0.25, 0, 0.75]
    assert rows["gain"].to_list() == [None, -0.25, 0.5]
    assert rows["pairs"].to_list() == [8, 8, 8]
    assert rows["low"].min() >= 0 and rows["high"].max() <= 1  # type: ignore[operator]
    controls = tables.frame("report").filter(
        pl.col("metric").str.starts_with("right_choice_") & (pl.col("metric") != RIGHT)
    )
    assert set(controls.select("metric", "mean", "gain").iter_rows()) == {
        ("right_choice_negative_control", 0.0, None),
        ("right_choice_positive_control", 1.0, None),
    }


def test_the_summary_says_what_was_gained(tables: ExperimentTables) -> None:
    found = summary(tables)
    said = " ".join(found.findings).replace("\u202f", " ")
    assert "the right option is the most probable in 75 % of cases" in said
    assert "after the base model's in 25 %: +50 points" in said
    assert "After the task alone it is in 0 %, and after task and persona in 100 %." in said
    assert "right choice" in [figure.label for figure in found.figures]


def test_tables_have_right_choices_where_tasks_have_options(tables: ExperimentTables) -> None:
    plain = frames.tables(tasks=2, people=4)
    for of, is_there in ((tables, True), (plain, False)):
        names = [row[0] for grid in estimates(of) for row in grid.rows]
        assert ("right choice, Q-experimental" in names) == is_there
        grids = {grid.title: grid for grid in comparison_grids(compare([of]))}
        assert ("Right choices" in grids) == is_there
        with console.capture() as capture:
            print_report(of.name, of.frame("report"))
        assert ("choices among the options" in capture.get()) == is_there
    # Beside one without options, the experiment with them stands alone.
    (row,) = next(
        grid.rows
        for grid in comparison_grids(compare([plain, replace(tables, name="chosen")]))
        if grid.title == "Right choices"
    )
    shown = [cell.split("\n")[0].replace("\u202f", " ") for cell in row]
    assert shown == ["chosen", "2", "75 %", "+50", "–", "0 %", "100 %"]


def test_a_warehouse_from_before_options_has_none(tables: ExperimentTables) -> None:
    """Columns that came later are null."""
    plain = frames.tables(tasks=2, people=4)
    assert plain.frame("gold_log_probs")["chosen"].null_count() > 0
    metrics = set(report_rows(plain)["metric"])
    assert metrics and not any(metric.startswith("right_choice") for metric in metrics)
