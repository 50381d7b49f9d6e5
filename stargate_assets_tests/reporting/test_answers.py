"""The tables of what answers show, by value."""

from dataclasses import replace

import polars as pl
import pytest
from rich.console import Console

from stargate_assets.cli.terminal import WIDTH_OF_A_FILE, make_grid_table
from stargate_assets.method.answer_metrics import ANSWER_METRICS, AnswerMetric
from stargate_assets.method.arms import Arm
from stargate_assets.reporting.answers import answer_estimates, statement_counts
from stargate_assets.reporting.metrics import answer_metric_labels
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets_tests.reporting import frames


@pytest.fixture(scope="module")
def tables() -> ExperimentTables:
    return frames.tables()


def plain(cell: str) -> str:
    return cell.replace("\u202f", " ")


def test_each_arm_of_each_policy_has_a_row_and_each_metric_a_column(
    tables: ExperimentTables,
) -> None:
    (grid,) = answer_estimates(tables.frame("report"))
    assert grid.head[1:] == list(answer_metric_labels().values())
    rows = {row[0]: dict(zip(grid.head, map(plain, row), strict=True)) for row in grid.rows}
    later = (Arm.METHOD, Arm.BASE_ANSWERS, Arm.BASE_ASKS, Arm.NO_QUESTIONS)
    assert list(rows) == [
        f"{policy}: {arm.label}"
        for policy, arms in enumerate(
            ((Arm.METHOD, Arm.NO_QUESTIONS, Arm.INSTRUCTED), later, later)
        )
        for arm in arms
    ]
    method = rows[f"2: {Arm.METHOD.label}"]
    assert method["heard facts"] == "65 %\n(53 % to 77 %)\ngain +40\n(+38 to +42)"
    assert method["heard facts, nats"] == "2.5\n(1.9 to 3.1)\ngain +2.0\n(+1.9 to +2.1)"
    assert rows[f"0: {Arm.METHOD.label}"]["heard facts"] == "25 %\n(13 % to 37 %)"
    assert rows[f"2: {Arm.NO_QUESTIONS.label}"]["heard facts"] == "–"


def test_a_new_metric_of_answers_is_a_column(
    tables: ExperimentTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = AnswerMetric("words of answers", lambda answered: len(answered.text), share=False)
    monkeypatch.setitem(ANSWER_METRICS, "answer_words", metric)
    report = tables.frame("report")
    row = report.filter(metric="answers_that_ask", iteration=1, arm="method").with_columns(
        metric=pl.lit("answer_words"), mean=80.0, low=75.0, high=85.0,
        gain=4.0, gain_low=2.0, gain_high=6.0,
    )  # fmt: skip
    (grid,) = answer_estimates(pl.concat([report, row]))
    assert grid.head[-1] == "words of answers"
    shown = {row[0]: row[-1] for row in grid.rows if row[-1] != "–"}
    assert shown == {f"1: {Arm.METHOD.label}": "80.0\n(75.0 to 85.0)\ngain +4.0\n(+2.0 to +6.0)"}


def test_the_table_of_answers_fits_the_terminal(tables: ExperimentTables) -> None:
    report = tables.frame("report")
    shares = pl.col("metric") != "heard_facts_nats"
    wide = [
        pl.when(shares).then(-0.75).otherwise(-12.5).alias(c)
        for c in ("gain", "gain_low", "gain_high")
    ]
    (grid,) = answer_estimates(report.with_columns(wide))
    console = Console(width=WIDTH_OF_A_FILE)
    with console.capture() as capture:
        console.print(make_grid_table(grid))
    shown = capture.get()
    assert max(map(len, shown.splitlines())) <= WIDTH_OF_A_FILE
    assert "…" not in shown
    assert "(−12.5 to −12.5)" in shown


def test_statements_and_answers_without_one_are_counted(tables: ExperimentTables) -> None:
    heard = tables.frame("heard_statements")
    first = pl.col("task_id") == "test-t0"
    untold = pl.when(first).then(None).otherwise("used").alias("used")
    fewer = heard.with_columns(untold).filter(pl.col("task_id") != "test-t1")
    (grid,) = statement_counts(replace(tables, frames={**tables.frames, "heard_statements": fewer}))
    counts = {(cell, arm): numbers for cell, arm, *numbers in grid.rows}
    assert counts["1|test", "method"] == ["32", "4", "28", "4"]
    assert counts["1|test", "no questions"] == ["32", "32", "0", "0"]
    assert len(counts) == 3 + 4 + 4
