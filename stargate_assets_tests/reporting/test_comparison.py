"""Experiments beside each other, by value."""

from dataclasses import replace

import polars as pl
import pytest
from rich.console import Console

from stargate_assets.cli.terminal import make_grid_table
from stargate_assets.method.arms import Arm
from stargate_assets.reporting.comparison import (
    NotEvaluatedError,
    compare,
    differences,
)
from stargate_assets.reporting.comparison_grids import comparison_grids
from stargate_assets.reporting.forest import forest
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets_tests.reporting import frames

JUDGE = {"model": {"model": "bundled"}, "method": "fit"}


@pytest.fixture(scope="module")
def tables() -> ExperimentTables:
    return frames.tables()


def changed(
    tables: ExperimentTables, table: str, *columns: pl.Expr, **experiment: object
) -> ExperimentTables:
    """The same as another experiment, with columns of one table replaced."""
    frame = tables.frame(table).with_columns(*columns)
    return replace(
        tables,
        name="other",
        experiment=frames.experiment(**experiment),
        frames={**tables.frames, table: frame},
    )


def test_what_differs_is_named_by_field_and_value() -> None:
    first, other = (
        frames.experiment(**stated).model_dump(mode="json")
        for stated in (
            {},
            {
                "judge": None,
                "seed": 3,
                "selection": {"objective": "gain"},
                "roleplayers": [{"model": {"model": "mistral"}, "replies": "chosen"}],
                "evaluation": {"roleplayers": [{"model": {"model": "gemma"}}]},
            },
        )
    )
    assert list(differences(first, first)) == []
    assert list(differences(first, other)) == [
        "roleplayers.model.model mistral",
        "roleplayers.name none",
        "seed 3",
        "selection.objective gain",
        "evaluation.roleplayers gemma",
        "judge none",
    ]
    assert list(differences(other, first))[-1] == "judge SmolLM2-135M-Instruct"


def test_differences_are_paired_on_the_pairs_that_both_have(tables: ExperimentTables) -> None:
    """Two nats more for every pair; and every loss a win."""
    higher = changed(tables, "gold_log_probs", pl.col("log_prob") + 2)
    _, found = compare([tables, higher])
    assert found.log_prob_difference is not None
    assert found.log_prob_difference.mean == pytest.approx(2)
    assert found.log_prob_difference.high == pytest.approx(2)
    assert found.log_prob_difference.pairs == 32
    assert found.win_rate_difference is not None
    assert found.win_rate_difference.mean == 0

    here = (pl.col("iteration") == 2) & (pl.col("arm") == "method") & (pl.col("verdict") == "loss")
    turned = pl.when(here).then(pl.lit("win")).otherwise("verdict").alias("verdict")
    won = changed(tables, "judgements", turned)
    _, found = compare([tables, won])
    verdicts = tables.headline("judgements").filter(iteration=2, arm="method")["verdict"]
    assert found.win_rate_difference is not None
    assert found.win_rate_difference.pairs == verdicts.count()
    assert found.win_rate_difference.mean == pytest.approx(
        (verdicts == "loss").sum() / verdicts.count()
    )


def test_what_cannot_be_compared_has_no_difference(tables: ExperimentTables) -> None:
    judged = changed(tables, "tasks", judge={"model": {"model": "gpt-4"}, "method": "written"})
    _, found = compare([tables, judged])
    assert found.win_rate_difference is None
    assert found.log_prob_difference is not None

    asked = changed(tables, "tasks", questioner={"model": "mistral"})
    _, found = compare([tables, asked])
    assert found.win_rate_difference is not None
    assert found.log_prob_difference is None

    said = pl.when(pl.col("task_id") == "test-t0").then(pl.lit("No.")).otherwise("text")
    _, found = compare([tables, changed(tables, "gold_responses", said.alias("text"))])
    assert found.log_prob_difference is not None
    assert found.log_prob_difference.pairs == 28

    elsewhere = changed(tables, "gold_log_probs", pl.col("task_id") + "x")
    elsewhere = changed(elsewhere, "judgements", pl.col("task_id") + "x")
    first, found = compare([tables, elsewhere])
    assert found.win_rate_difference is None
    assert found.log_prob_difference is None
    assert comparison_grids([first, found])[1].rows == [["other", "–", "–", "–"]]


def test_each_experiment_is_shown_at_one_policy(tables: ExperimentTables) -> None:
    report = tables.frame("report").filter(pl.col("iteration") < 2)
    short = replace(tables, name="short", frames={**tables.frames, "report": report})
    assert [found.policy for found in compare([tables, short])] == [2, 1]
    assert [found.policy for found in compare([tables, short], 1)] == [1, 1]
    sentence = r"Policy 2 of short has no test cell; there are policies 0, 1\. .*run short"
    with pytest.raises(NotEvaluatedError, match=sentence):
        compare([tables, short], 2)


def test_an_experiment_alone_is_compared_with_nothing(tables: ExperimentTables) -> None:
    gained, does, judges = comparison_grids(compare([tables]))
    (row,) = gained.rows
    assert row[:2] == ["embedded", "2"]
    assert row[5:] == ["+16.0\n(+13.8 to +18.2)", "+2.0\n(−0.2 to +4.2)"]
    shown = [cell.replace("\u202f", " ") for cell in does.rows[0][:5]]
    assert shown == ["embedded", "93 %", "80 %", "65 % (10 %)", "2 % (2 %)"]
    assert does.rows[0][5:] == ["1,364", "8.0", "34", "$1.26\nand unknown"]
    assert f"judged by {frames.JUDGE};" in gained.note
    assert [cell.replace("\u202f", " ") for cell in judges.rows[0]] == [
        "embedded", frames.JUDGE, "91 %\n(78 % to 100 %)", "87 %\n(74 % to 96 %)", "–", "–",
    ]  # fmt: skip


def test_a_comparison_is_by_the_headline_judge_and_shows_the_others(
    tables: ExperimentTables,
) -> None:
    turned = pl.col("verdict").replace({"win": "loss", "loss": "win"})
    two = replace(frames.with_other_judge(tables, turned), name="two")
    alone, found = compare([tables, two])
    assert found.win_rate(Arm.METHOD) == alone.win_rate(Arm.METHOD)
    assert found.win_rate_difference is not None
    assert (found.win_rate_difference.mean, found.win_rate_difference.high) == (0, 0)
    assert found.differs == "other_judges oak"
    *_, judges = comparison_grids([alone, found])
    assert [row[:2] for row in judges.rows] == [
        ["embedded", frames.JUDGE], ["two", frames.JUDGE], ["two", "oak"],
    ]  # fmt: skip
    assert judges.rows[-1][4].startswith("0\u202f%\n(0")
    oak = replace(two, name="oak", experiment=frames.experiment(judge={**JUDGE, "name": "oak"}))
    gained, *_ = comparison_grids(compare([tables, oak]))
    assert f"judged by {frames.JUDGE} (embedded), oak (oak);" in gained.note


def test_tables_fit_the_terminal(tables: ExperimentTables) -> None:
    longer = changed(tables, "tasks", seed=4, iterations=1, selection={"objective": "contrast"})
    longer = replace(longer, name="embedded_" + "and_so_on_" * 5)
    wide = {"gain": 812.5, "gain_low": -1000.1, "gain_high": 1000.9}
    report = longer.frame("report").with_columns(pl.lit(v).alias(c) for c, v in wide.items())
    longer = replace(longer, frames={**longer.frames, "report": report})
    console = Console(width=110)
    for grid in comparison_grids(compare([tables, longer])):
        with console.capture() as capture:
            console.print(make_grid_table(grid))
        shown = capture.get()
        assert max(map(len, shown.splitlines())) <= 110
        assert "…" not in shown
        for cell in (part for row in grid.rows for part in row[grid.texts :]):
            assert all(line.replace("\u202f", "") in shown for line in cell.splitlines())


def test_the_forest_has_a_row_for_each_experiment(tables: ExperimentTables) -> None:
    compared = compare([tables, changed(tables, "tasks", seed=4)])
    picture = forest(compared)
    assert picture is not None
    left, right = picture.figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["embedded", "other"]
    rates = tables.frame("win_rates").filter(
        arm="method", dimension="all", iteration=2, reference="base"
    )
    drawn = [bar.lines[0].get_xdata()[0] for bar in left.containers]
    assert drawn == [rates["win_rate"][0]] * 2
    assert [bar.lines[0].get_xdata()[0] for bar in right.containers] == [16.0, 16.0]

    unjudged = replace(tables, frames={**tables.frames, "win_rates": rates.clear()})
    picture = forest(compare([unjudged]))
    assert picture is not None
    assert len(picture.figure.axes) == 1
    untrained = forest(compare([unjudged], 0))
    assert untrained is None
