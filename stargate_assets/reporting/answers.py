"""The report's tables of what answers show, by policy and arm."""

from typing import Any

import polars as pl

from stargate_assets.method.arms import Arm
from stargate_assets.reporting.metrics import (
    ANSWERS_EXPLAINED,
    answer_metric_labels,
    format_change,
    format_level,
)
from stargate_assets.reporting.quality import NONE, Grid
from stargate_assets.reporting.tables import ExperimentTables, first_row
from stargate_assets.reporting.words import count


def answer_estimates(report: pl.DataFrame) -> list[Grid]:
    """A table of what answers show: a row for each policy and arm, and a column for each metric
    with its mean and its gain, each with its interval below it.
    """
    lines: list[list[str]] = []
    for policy in sorted(report["iteration"].unique()):
        for arm in Arm:
            of_arm = report.filter(iteration=policy, arm=arm)
            if of_arm.height:
                cells = [_format_answers(of_arm, metric) for metric in answer_metric_labels()]
                lines.append([f"{policy}: {arm.label}", *cells])
    head = ["policy and arm", *answer_metric_labels().values()]
    return [Grid("What answers show", head, lines, note=ANSWERS_EXPLAINED)] if lines else []


def _format_answers(report: pl.DataFrame, metric: str) -> str:
    """The mean of a metric and its gain, in two lines each."""
    row: dict[str, Any] | None = first_row(report, metric=metric)
    if row is None:
        return NONE
    level = [format_level(metric, row[column]) for column in ("mean", "low", "high")]
    lines = [f"{level[0]}\n({level[1]} to {level[2]})"]
    if row["gain"] is not None:
        gain = [format_change(metric, row[column]) for column in ("gain", "gain_low", "gain_high")]
        lines.append(f"gain {gain[0]}\n({gain[1]} to {gain[2]})")
    return "\n".join(lines)


def statement_counts(tables: ExperimentTables) -> list[Grid]:
    """A table that counts the statements before each arm's answers, and the answers without one."""
    responses, heard = tables.frame("responses"), tables.frame("heard_statements")
    pair = ["iteration", "split", "arm", "task_id", "persona_id"]
    lines: list[list[str]] = []
    for (iteration, split, arm), rows in responses.group_by(pair[:3]):
        stated = heard.filter(iteration=iteration, split=split, arm=arm)
        lines.append(
            [
                f"{iteration}|{split}",
                str(arm).replace("_", " "),
                count(rows.height),
                count(rows.join(heard, on=pair, how="anti").height),
                count(stated.height),
                count(stated["used"].null_count()),
            ]
        )
    head = ["cell", "arm", "answers", "without a statement", "statements", "without own words"]
    note = (
        "Before an answer without a statement nobody asked or nothing was stated, or the answer is "
        "refused or empty. Statements without own words count in nats alone."
    )
    return [Grid("Heard statements", head, sorted(lines), texts=2, note=note)] if lines else []
