"""Judgements of responses against the base model's, how well the Judges judge, and win rates."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import dagster as dg
import polars as pl

from stargate_assets.config.experiment import Experiment
from stargate_assets.method.agreement import judges_agree
from stargate_assets.method.arms import judged_arms
from stargate_assets.method.audits import NO_OWN_TEXT, Audit, audit_pairs, audits_of
from stargate_assets.method.judging import (
    Comparison,
    Judgement,
    Unscored,
    Verdict,
    compare_with_references,
)
from stargate_assets.method.simulation import Cell
from stargate_assets.method.win_rates import Judged, group_judged, win_rate
from stargate_assets.models.pool import engine_kind
from stargate_assets.pipeline.assets.cell_run import CellRun
from stargate_assets.pipeline.assets.grid import cell_asset
from stargate_assets.pipeline.assets.judged_rows import (
    accuracies_from_rows,
    audit_rows,
    judged_from_rows,
    judgement_rows,
)
from stargate_assets.pipeline.assets.rows import responses_from_rows, table_rows
from stargate_assets.pipeline.assets.steps import judge_comparisons

Output = Iterator[dg.Output[pl.DataFrame]]


def judging_assets(name: str, experiment: Experiment) -> list[dg.AssetsDefinition]:
    """judge_audit, judgements and win_rates on the grid; none without a Judge."""
    judges = experiment.judges
    if not judges:
        return []
    labels = [judge.label for judge in judges]
    engines = tuple(engine_kind(judge.model) for judge in judges)

    def ask_each(
        run: CellRun, comparisons: Sequence[Comparison]
    ) -> Iterator[tuple[str, list[Judgement]]]:
        """What each Judge, by its label, says of the same comparisons."""
        for judge in judges:
            model = run.model("judge", judge.model)
            yield judge.label, judge_comparisons(judge, model, comparisons, experiment.told)

    @cell_asset(
        name,
        experiment,
        "Each Judge on pairs whose truth is known: the response to one persona against that to "
        "another for the same task, called by the same name. Gold responses, and the base model's "
        "instructed answers.",
        engines=engines,
    )
    def judge_audit(run: CellRun) -> Output:
        base = responses_from_rows(run.reference_rows("responses"), run.pairs)
        audits = audit_pairs(run.pairs, run.gold_texts, base, run.cell.split, experiment.seed)
        comparisons = [a.comparison for a in audits.audited]
        rows = pl.concat(
            audit_rows(run.cell, label, audits.audited, judgements)
            for label, judgements in ask_each(run, comparisons)
        )
        metadata: dict[str, Any] = {
            f"{audit}, left out: {reason}": n for (audit, reason), n in audits.left_out.items()
        }
        if Audit.OWN_TEXT not in audits_of(experiment.evaluation.arms):
            metadata[Audit.OWN_TEXT] = NO_OWN_TEXT
        for label in labels:
            for audit, accuracy in accuracies_from_rows(rows, label).items():
                metadata[f"accuracy, {audit}, {label}"] = accuracy.mean
        yield run.output(rows, metadata | verdict_metadata(rows, "audit"))

    @cell_asset(
        name,
        experiment,
        "Which response fits the persona better, that of an arm or that of a reference: the base "
        "model's on its own conversation, or the policy's on the base model's conversation; both "
        "orders, by each Judge.",
        engines=engines,
    )
    def judgements(run: CellRun) -> Output:
        responses = responses_from_rows(run.rows("responses"), run.pairs)
        of_base = responses_from_rows(run.reference_rows("responses"), run.pairs)
        compared = compare_with_references(responses, of_base, run.cell.iteration)
        rows = pl.concat(
            judgement_rows(run.cell, label, compared, judged)
            for label, judged in ask_each(run, [comparison for *_, comparison in compared])
        )
        yield run.output(rows, verdict_metadata(rows))

    @cell_asset(
        name,
        experiment,
        "How often each Judge prefers each arm to its references: all pairs, and by turns and kind "
        "of task, with intervals clustered by task and persona.",
    )
    def win_rates(run: CellRun) -> Output:
        rows = win_rate_rows(run.cell, labels, run.rows("judgements"), run.rows("judge_audit"))
        of_all = rows.filter(pl.col("dimension") == "all")
        metadata = {
            f"{number}, {row['arm']} against {row['reference']}, {row['judge']}": row[number]
            for row in of_all.iter_rows(named=True)
            for number in (
                "win_rate", "position_bias", "order_consistency", "longer_wins", "agreement",
            )
            if row[number] is not None
        }  # fmt: skip
        yield run.output(rows, metadata)

    return [judge_audit, judgements, win_rates]


def win_rate_rows(
    cell: Cell, labels: Sequence[str], judgements: pl.DataFrame, judge_audit: pl.DataFrame
) -> pl.DataFrame:
    """Rows of `win_rates`: for each Judge, reference and arm, and for each of its numbers of turns
    and kinds of task where there are several. The first label is the headline Judge's.
    """
    headline = labels[0]
    audited = {label: _audit_columns(judge_audit, label) for label in labels}
    rows: list[dict[str, object]] = []
    for reference, arm in judged_arms(cell.iteration):
        compared = judgements.filter(reference=reference, arm=arm)
        of_arm = {
            label: group_judged(judged_from_rows(compared.filter(judge=label))) for label in labels
        }
        rows += [
            {
                "iteration": cell.iteration,
                "split": cell.split,
                "arm": arm,
                "reference": reference,
                "dimension": dimension,
                "value": value,
                "judge": label,
                "headline": label == headline,
                **asdict(win_rate(judged)),
                **audited[label],
                **(
                    {}
                    if label == headline
                    else _agreement_columns(of_arm[headline][dimension, value], judged)
                ),
            }
            for label, groups in of_arm.items()
            for (dimension, value), judged in groups.items()
        ]
    return table_rows("win_rates", rows)


def _audit_columns(judge_audit: pl.DataFrame, label: str) -> dict[str, float]:
    """What `win_rates` says of the audits of a Judge."""
    return {
        f"{audit}_audit{end}": number
        for audit, accuracy in accuracies_from_rows(judge_audit, label).items()
        for end, number in (
            ("", accuracy.mean),
            ("_low", accuracy.low),
            ("_high", accuracy.high),
        )
    }


def _agreement_columns(
    headline: Sequence[Judged], other: Sequence[Judged]
) -> dict[str, float | None]:
    """How far the verdicts of two Judges on the same pairs agree."""
    said = {judged.pair: judged.judgement.verdict for judged in headline}
    found = judges_agree(
        {
            judged.pair: [(one, verdict)]
            for judged in other
            if (one := said[judged.pair]) and (verdict := judged.judgement.verdict)
        }
    )
    return asdict(found) if found else {}


def verdict_metadata(rows: pl.DataFrame, *by: str) -> dict[str, int]:
    """How many verdicts of each kind each Judge gives, and how many comparisons have none, by
    reason; for each value of the columns `by`.
    """
    counts: dict[str, int] = {}
    for key, of_key in rows.group_by(*by, "judge", maintain_order=True):
        where = ", ".join(map(str, key))
        verdicts, unscored = Counter(of_key["verdict"]), Counter(of_key["unscored"])
        counts |= {f"verdict: {verdict}, {where}": verdicts[verdict] for verdict in Verdict}
        counts |= {f"unscored: {reason}, {where}": unscored[reason] for reason in Unscored}
    return counts
