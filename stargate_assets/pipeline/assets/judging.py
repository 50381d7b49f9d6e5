"""Judgements of responses against the base model's, how well the Judge judges, and win rates."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg
import polars as pl

from stargate_assets.config.experiment import Experiment, Judge
from stargate_assets.method.arms import judged_arms
from stargate_assets.method.judging import (
    Judgement,
    Unscored,
    Verdict,
    audit,
    compare_with_reference,
)
from stargate_assets.method.simulation import Cell
from stargate_assets.method.text import words
from stargate_assets.method.win_rates import Judged, audit_accuracy, group_win_rates
from stargate_assets.models.pool import engine_kind
from stargate_assets.pipeline.assets.cell_run import CellRun
from stargate_assets.pipeline.assets.grid import cell_asset
from stargate_assets.pipeline.assets.rows import (
    audit_rows,
    judgement_columns,
    pair_key,
    responses_from_rows,
    table_rows,
    verdicts_from_rows,
)
from stargate_assets.pipeline.assets.steps import judge_comparisons

Output = Iterator[dg.Output[pl.DataFrame]]


def judging_assets(name: str, experiment: Experiment, judge: Judge) -> list[dg.AssetsDefinition]:
    """judge_audit, judgements and win_rates on the grid."""
    engines = (engine_kind(judge.model),)

    @cell_asset(
        name,
        experiment,
        "The Judge on pairs whose truth is known: each persona's gold response against another's "
        "for the same task, called by the same name.",
        engines=engines,
    )
    def judge_audit(run: CellRun) -> Output:
        audited = audit(run.pairs, run.gold_texts, run.cell.split, experiment.seed)
        judgements = judge_comparisons(
            judge,
            run.model("judge", judge.model),
            [a.comparison for a in audited],
            experiment.told,
        )
        rows = audit_rows(run.cell, audited, judgements)
        accuracy = audit_accuracy(verdicts_from_rows(rows))
        metadata = {
            "without a comparison": len(run.pairs) - len(audited),
            **verdict_metadata(rows),
            **({"accuracy": accuracy.mean} if accuracy else {}),
        }
        yield run.output(rows, metadata)

    @cell_asset(
        name,
        experiment,
        "Which response fits the persona better, that of an arm or the base model's on its own "
        "conversation; both orders.",
        engines=engines,
    )
    def judgements(run: CellRun) -> Output:
        responses = responses_from_rows(run.rows("responses"), run.pairs)
        reference = responses_from_rows(run.reference_rows("responses"), run.pairs)
        compared = compare_with_reference(responses, reference, run.cell.iteration)
        judged = judge_comparisons(
            judge,
            run.model("judge", judge.model),
            [comparison for _, comparison in compared],
            experiment.told,
        )
        rows = table_rows(
            "judgements",
            [
                {
                    **pair_key(run.cell, response.pair.key),
                    "arm": response.arm,
                    "turns": response.turns,
                    "kind": response.pair.task.kind,
                    **judgement_columns(judgement),
                    "comparison_first": judgement.comparison_first,
                    "comparison_second": judgement.comparison_second,
                    "words": len(words(response.text)),
                    "reference_words": len(words(comparison.reference or "")),
                }
                for (response, comparison), judgement in zip(compared, judged, strict=True)
            ],
        )
        yield run.output(rows, verdict_metadata(rows))

    @cell_asset(
        name,
        experiment,
        "How often the Judge prefers each arm to the base model: all pairs, and by turns and kind "
        "of task, with intervals clustered by task and persona.",
    )
    def win_rates(run: CellRun) -> Output:
        rows = win_rate_rows(run.cell, judge.label, run.rows("judgements"), run.rows("judge_audit"))
        of_all = rows.filter(pl.col("dimension") == "all")
        metadata = {
            f"{number}, {row['arm']}": row[number]
            for row in of_all.iter_rows(named=True)
            for number in ("win_rate", "position_bias", "order_consistency", "longer_wins")
            if row[number] is not None
        }
        yield run.output(rows, metadata)

    return [judge_audit, judgements, win_rates]


def win_rate_rows(
    cell: Cell, label: str, judgements: pl.DataFrame, judge_audit: pl.DataFrame
) -> pl.DataFrame:
    """Rows of `win_rates`: for each arm, and for each of its numbers of turns and kinds of task
    where there are several.
    """
    accuracy = audit_accuracy(verdicts_from_rows(judge_audit))
    rows = [
        {
            "iteration": cell.iteration,
            "split": cell.split,
            "arm": arm,
            "dimension": dimension,
            "value": value,
            "judge": label,
            **asdict(win_rate),
            "audit_accuracy": accuracy and accuracy.mean,
            "audit_low": accuracy and accuracy.low,
            "audit_high": accuracy and accuracy.high,
        }
        for arm in judged_arms(cell.iteration)
        for dimension, value, win_rate in group_win_rates(
            [judged_from_row(row) for row in judgements.filter(arm=arm).iter_rows(named=True)]
        )
    ]
    return table_rows("win_rates", rows)


def judged_from_row(row: Mapping[str, Any]) -> Judged:
    """A row of `judgements`, as win rates want it."""

    def verdict(column: str) -> Verdict | None:
        return None if row[column] is None else Verdict(row[column])

    judgement = Judgement(
        verdict=verdict("verdict"),
        first=verdict("verdict_first"),
        second=verdict("verdict_second"),
    )
    return Judged(
        (row["task_id"], row["persona_id"]),
        judgement,
        row["words"],
        row["reference_words"],
        row["turns"],
        row["kind"],
    )


def verdict_metadata(rows: pl.DataFrame) -> dict[str, int]:
    """How many verdicts of each kind there are, and how many comparisons have none, by reason."""
    verdicts, unscored = Counter(rows["verdict"]), Counter(rows["unscored"])
    return {f"verdict: {verdict}": verdicts[verdict] for verdict in Verdict} | {
        f"unscored: {reason}": unscored[reason] for reason in Unscored
    }
