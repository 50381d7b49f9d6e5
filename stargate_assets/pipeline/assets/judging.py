"""Judgements of responses against the base model's, how well the Judge judges, and win rates."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import dagster as dg
import polars as pl

from stargate_assets.config.experiment import Experiment, Judge
from stargate_assets.method.arms import REFERENCE, judged_arms
from stargate_assets.method.conversation import Pair
from stargate_assets.method.judging import Comparison, Judgement, Unscored, Verdict, audit, judge
from stargate_assets.method.language_model import LanguageModel, Sampling
from stargate_assets.method.simulation import Cell
from stargate_assets.method.statistics import Estimate, clustered_share
from stargate_assets.method.text import words
from stargate_assets.method.win_rates import WORTH, Judged, win_rate
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.assets.frames import gold_texts, pair_key, pairs_of, table
from stargate_assets.pipeline.assets.grid import (
    GPU_POOL,
    cell_of,
    grid_asset,
    grid_output,
    inputs,
    reference_table,
)
from stargate_assets.storage.completions import Use
from stargate_assets.storage.warehouse import Warehouse


def judging_assets(name: str, experiment: Experiment, judge_: Judge) -> list[dg.AssetsDefinition]:
    """judge_audit, judgements and win_rates on the grid."""
    data_set, asset = experiment.data_set, grid_asset(name, experiment)

    @asset(
        "judge_audit",
        {judge_.model.engine},
        "The Judge on pairs whose truth is known: each persona's gold response against another's "
        "for the same task, called by the same name.",
        ins=inputs(data_set, "tasks", "personas", "gold_responses"),
        pool=GPU_POOL,
    )
    def judge_audit(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        models: dg.ResourceParam[ModelPool],
        tasks: pl.DataFrame,
        personas: pl.DataFrame,
        gold_responses: pl.DataFrame,
    ) -> dg.Output[pl.DataFrame]:
        cell = cell_of(context.partition_key)
        pairs = pairs_of(tasks, personas)
        audited = audit(pairs, gold_texts(gold_responses), cell.split, experiment.seed)
        model = models.open(judge_.model, Use(name, cell.key, "judge"))
        judgements = judged(model, judge_, [a.comparison for a in audited])
        rows = [
            {
                **pair_key(cell, *a.comparison.pair.key),
                "other_persona_id": a.other_persona_id,
                **_said(judgement),
            }
            for a, judgement in zip(audited, judgements, strict=True)
        ]
        frame = table("judge_audit", rows)
        found = audit_accuracy(frame)
        metadata = {
            "without a comparison": len(pairs) - len(audited),
            **_counts(frame),
            **({"accuracy": found.mean} if found else {}),
        }
        return grid_output(frame, warehouse, name, experiment, cell, metadata)

    @asset(
        "judgements",
        {judge_.model.engine},
        "Which response fits the persona better, that of an arm or the base model's on its own "
        "conversation; both orders.",
        ins=inputs(data_set, "tasks", "personas") | inputs(name, "responses"),
        pool=GPU_POOL,
    )
    def judgements(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        models: dg.ResourceParam[ModelPool],
        tasks: pl.DataFrame,
        personas: pl.DataFrame,
        responses: pl.DataFrame,
    ) -> dg.Output[pl.DataFrame]:
        cell = cell_of(context.partition_key)
        compared = compared_responses(
            responses, reference_table(warehouse, name, "responses", cell), cell
        )
        pair_of = {pair.key: pair for pair in pairs_of(tasks, personas)}
        kinds = dict(tasks.select("task_id", "kind").iter_rows())
        comparisons = [_comparison(pair_of, row) for row in compared.iter_rows(named=True)]
        model = models.open(judge_.model, Use(name, cell.key, "judge"))
        rows = [
            {
                **pair_key(cell, row["task_id"], row["persona_id"]),
                "arm": row["arm"],
                "turns": row["turns"],
                "kind": kinds[row["task_id"]],
                **_said(judgement),
                "comparison_first": judgement.comparison_first,
                "comparison_second": judgement.comparison_second,
                "words": len(words(row["text"])),
                "reference_words": len(words(row["reference"])),
            }
            for row, judgement in zip(
                compared.iter_rows(named=True), judged(model, judge_, comparisons), strict=True
            )
        ]
        frame = table("judgements", rows)
        return grid_output(frame, warehouse, name, experiment, cell, _counts(frame))

    @asset(
        "win_rates",
        set(),
        "How often the Judge prefers each arm to the base model: all pairs, and by turns and kind "
        "of task, with intervals clustered by task and persona.",
        ins=inputs(name, "judgements", "judge_audit"),
    )
    def win_rates(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        judgements: pl.DataFrame,
        judge_audit: pl.DataFrame,
    ) -> dg.Output[pl.DataFrame]:
        cell = cell_of(context.partition_key)
        frame = win_rate_rows(cell, judge_.label, judgements, judge_audit)
        of_all = frame.filter(pl.col("dimension") == "all")
        metadata = {
            f"{number}, {row['arm']}": row[number]
            for row in of_all.iter_rows(named=True)
            for number in ("win_rate", "position_bias", "order_consistency", "longer_wins")
            if row[number] is not None
        }
        return grid_output(frame, warehouse, name, experiment, cell, metadata)

    return [judge_audit, judgements, win_rates]


def judged(
    model: LanguageModel, judge_: Judge, comparisons: Sequence[Comparison]
) -> list[Judgement]:
    """Judgements as the experiment wants them."""
    return judge(model, judge_.method, comparisons, Sampling(judge_.answer_tokens))


def compared_responses(
    responses: pl.DataFrame, reference_cell: pl.DataFrame, cell: Cell
) -> pl.DataFrame:
    """The responses of the judged arms, each with the `reference` of its pair and whether that was
    refused.
    """
    reference = reference_cell.filter(pl.col("arm") == REFERENCE).select(
        "task_id",
        "persona_id",
        pl.col("text").alias("reference"),
        pl.col("refused").alias("reference_refused"),
    )
    return (
        responses.filter(pl.col("arm").is_in(judged_arms(cell.iteration)))
        .join(reference, on=["task_id", "persona_id"])
        .sort("arm", "task_id", "persona_id")
    )


def win_rate_rows(
    cell: Cell, label: str, judgements: pl.DataFrame, judge_audit: pl.DataFrame
) -> pl.DataFrame:
    """A row for each arm, and for each of its numbers of turns and kinds of task, where there are
    several.
    """
    audited = audit_accuracy(judge_audit)
    rows: list[dict[str, object]] = []
    for arm in judged_arms(cell.iteration):
        of_arm = judgements.filter(pl.col("arm") == arm)
        asked = of_arm.filter(pl.col("turns") > 0)
        groups = [("all", "", of_arm)] if of_arm.height else []
        groups += [("turns", str(turns), of) for (turns,), of in asked.group_by("turns")]
        kinds = list(of_arm.group_by("kind"))
        groups += [("kind", str(kind), of) for (kind,), of in kinds if kind and len(kinds) > 1]
        for dimension, value, group in sorted(groups, key=lambda group: group[:2]):
            found = win_rate([_judged(row) for row in group.iter_rows(named=True)])
            rows.append(
                {
                    "iteration": cell.iteration,
                    "split": cell.split,
                    "arm": arm,
                    "dimension": dimension,
                    "value": value,
                    "judge": label,
                    **asdict(found),
                    "audit_accuracy": audited and audited.mean,
                    "audit_low": audited and audited.low,
                    "audit_high": audited and audited.high,
                }
            )
    return table("win_rates", rows)


def audit_accuracy(judge_audit: pl.DataFrame) -> Estimate | None:
    """The share of known truths that the Judge finds, ties as half; None without any verdict."""
    verdicts = judge_audit.filter(pl.col("verdict").is_not_null())
    values = {
        (task, persona): WORTH[Verdict(verdict)]
        for task, persona, verdict in verdicts.select(
            "task_id", "persona_id", "verdict"
        ).iter_rows()
    }
    return clustered_share(values) if values else None


def _comparison(pair_of: Mapping[tuple[str, str], Pair], row: Mapping[str, Any]) -> Comparison:
    return Comparison(
        pair_of[row["task_id"], row["persona_id"]],
        None if row["refused"] else row["text"],
        None if row["reference_refused"] else row["reference"],
    )


def _said(judgement: Judgement) -> dict[str, object]:
    return {
        "verdict": judgement.verdict,
        "unscored": judgement.unscored,
        "preference": judgement.preference,
        "verdict_first": judgement.first,
        "verdict_second": judgement.second,
    }


def _judged(row: Mapping[str, Any]) -> Judged:
    """A row of judgements, as the win rate wants it."""

    def verdict(column: str) -> Verdict | None:
        return None if row[column] is None else Verdict(row[column])

    judgement = Judgement(
        verdict=verdict("verdict"),
        first=verdict("verdict_first"),
        second=verdict("verdict_second"),
    )
    pair = row["task_id"], row["persona_id"]
    return Judged(pair, judgement, row["words"], row["reference_words"])


def _counts(frame: pl.DataFrame) -> dict[str, int]:
    """Metadata: verdicts, and what has none by reason."""
    verdicts, unscored = Counter(frame["verdict"]), Counter(frame["unscored"])
    return {f"verdict: {verdict}": verdicts[verdict] for verdict in Verdict} | {
        f"unscored: {reason}": unscored[reason] for reason in Unscored
    }
