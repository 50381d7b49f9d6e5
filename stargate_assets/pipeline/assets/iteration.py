"""Simulate, score and select: the first half of an iteration (Algorithm 1, lines 3 and 4)."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import cast

import dagster as dg
import polars as pl

from stargate_assets.config.experiment import Experiment
from stargate_assets.method.conditions import Condition
from stargate_assets.method.objectives import OBJECTIVES
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.roleplayer_audit import Fault, audit_replies
from stargate_assets.models.pool import engine_kind
from stargate_assets.pipeline.assets.cell_run import CellRun
from stargate_assets.pipeline.assets.grid import cell_asset, report_policy
from stargate_assets.pipeline.assets.outputs import picture_metadata
from stargate_assets.pipeline.assets.rows import (
    audited_rows,
    conversation_rows,
    gold_log_prob_rows,
    selected_rows,
)
from stargate_assets.pipeline.assets.steps import score_cell, select_cell, simulate_cell
from stargate_assets.pipeline.assets.versions import policy_version
from stargate_assets.reporting.figures import score_distributions, turns_and_lengths

Output = Iterator[dg.Output[pl.DataFrame]]


def iteration_assets(name: str, experiment: Experiment) -> list[dg.AssetsDefinition]:
    """conversations, roleplayer_audit, gold_log_probs and best_conversations on the grid."""
    questioner = engine_kind(experiment.questioner)
    everyone = experiment.all_roleplayers

    @cell_asset(
        name,
        experiment,
        "Policy i asks, the Roleplayer answers: N conversations for each task and persona "
        "(Algorithm 1, line 3).",
        engines=(questioner, *(engine_kind(roleplayer.model) for roleplayer in everyone)),
        other_deps=("policy",),
    )
    def conversations(run: CellRun) -> Output:
        if run.policy is None:
            report_policy(run.context, name, 0, policy_version(None))
        roleplayers = experiment.roleplayers_of(run.cell.split)
        rows = conversation_rows(
            run.cell,
            policy_version(run.policy),
            simulate_cell(
                experiment,
                run.cell,
                run.pairs,
                run.policy_model("questioner"),
                {r.label: run.model("roleplayer", r.model) for r in roleplayers},
            ),
        )
        reasons = Counter(rows["ineligibility"].drop_nulls())
        yield run.output(
            rows,
            {
                "question_rate": rows["question_rate"].mean(),
                "eligible": rows["ineligibility"].null_count(),
                **{f"ineligible: {reason}": count for reason, count in sorted(reasons.items())},
                **picture_metadata(turns_and_lengths(rows)),
            },
        )

    @cell_asset(
        name,
        experiment,
        "What is wrong with each reply of the Roleplayer: whether the persona supports it or "
        "contradicts it, and whether it tells what nobody asked or is no person's reply.",
        engines=(questioner,),
    )
    def roleplayer_audit(run: CellRun) -> Output:
        kinds = {r.label: r.replies for r in experiment.roleplayers_of(run.cell.split)}
        audited = audit_replies(run.model("auditor"), run.conversations)
        rows = audited_rows(run.cell, kinds, audited)
        yield run.output(
            rows, audit_metadata(rows, refused=sum(c.refused for c in run.conversations))
        )

    @cell_asset(
        name,
        experiment,
        "log p(gold response) under the base model, in nats: on test in four conditions (section "
        "5), elsewhere after each eligible conversation (Algorithm 1, line 4).",
        engines=(questioner,),
    )
    def gold_log_probs(run: CellRun) -> Output:
        scores = score_cell(
            experiment, run.cell, run.conversations, run.gold_texts, run.model("scorer")
        )
        rows = gold_log_prob_rows(run.cell, scores)
        conditions = {str(key): of["log_prob"] for (key,), of in rows.group_by("condition")}
        excluded = run.data("gold_responses")["exclusion"].count()
        counts = {"pairs without a gold response": excluded}
        if run.cell.split == TEST_SPLIT:
            has_choices = any(pair.task.options for pair in run.pairs)
        else:
            has_choices = OBJECTIVES[experiment.selection.objective].candidates is not None
        if has_choices:
            counts["scores without a choice"] = rows["choice_log_prob"].null_count()
        yield run.output(rows, {**counts, **mean_metadata(conditions)})

    @cell_asset(
        name,
        experiment,
        "The k eligible conversations of each pair after which the gold response is most "
        "probable (Algorithm 1, line 4).",
    )
    def best_conversations(run: CellRun) -> Output:
        margin = experiment.selection.margin
        selected = select_cell(experiment, run.conversations, run.scores, margin=margin)
        rows, scored = selected_rows(run.cell, selected), run.rows("gold_log_probs")
        own = scored.filter(pl.col("condition") == Condition.EXPERIMENTAL)
        pairs = len({c.pair.key for c in run.conversations})
        yield run.output(
            rows,
            {
                "pairs": pairs,
                "pairs without a selected conversation": pairs
                - len({s.conversation.pair.key for s in selected}),
                **mean_metadata({"scored": own["log_prob"], "selected": rows["log_prob"]}),
                **picture_metadata(score_distributions(scored, rows)),
            },
        )

    return [conversations, roleplayer_audit, gold_log_probs, best_conversations]


def audit_metadata(rows: pl.DataFrame, refused: int) -> dict[str, float]:
    """The share of replies with each fault, how many could not be scored, and the refused turns,
    which have no reply.
    """
    shares = {f"replies: {fault}": rows["faults"].list.contains(fault).mean() for fault in Fault}
    return {
        **{
            name: float(cast("float", share)) for name, share in shares.items() if share is not None
        },
        "too long to be scored": int((~rows["verbatim"] & rows["tokens"].is_null()).sum()),
        "refused turns": refused,
    }


def mean_metadata(log_probs: Mapping[str, pl.Series]) -> dict[str, float]:
    """The mean of each series that is not empty, in nats."""
    return {
        f"mean log_prob, {label}": float(cast("float", values.mean()))
        for label, values in sorted(log_probs.items())
        if len(values)
    }
