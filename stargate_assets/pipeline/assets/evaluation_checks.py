"""The checks of the evaluation: blocking where rows are missing, a warning where a Judge is not to
be trusted.
"""

import dagster as dg
import polars as pl

from stargate_assets.config.experiment import Experiment
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.method.arms import BASE, arms_of, judged_arms
from stargate_assets.method.audits import (
    NO_OWN_TEXT,
    TRUSTED_ACCURACY,
    Audit,
    audit_pairs,
    audits_of,
    deciding_accuracy,
)
from stargate_assets.method.heard import heard_conversations, statements
from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.cell_run import cell_of, read_gold_texts, read_pairs
from stargate_assets.pipeline.assets.checks import check_count, grid_check, schema_check
from stargate_assets.pipeline.assets.judged_rows import accuracies_from_rows
from stargate_assets.pipeline.assets.lineage import ANSWERED, JUDGED
from stargate_assets.pipeline.assets.rows import conversations_from_rows, responses_from_rows
from stargate_assets.storage.io_manager import slice_of
from stargate_assets.storage.warehouse import Warehouse


def evaluation_checks(
    name: str, experiment: Experiment, oracle: ModelSpec | None
) -> list[dg.AssetChecksDefinition]:
    """The checks of responses and, if the experiment has a Judge, of what it said."""
    data_set, check = experiment.data_set, grid_check(name, experiment)
    wanted = experiment.evaluation.arms

    def check_every_pair(
        warehouse: Warehouse, table: str, cell: Cell, times: int
    ) -> dg.AssetCheckResult:
        rows = warehouse.read(name, table, [slice_of(cell.key)]).height
        pairs = len(read_pairs(warehouse, data_set, cell.split))
        return check_count(rows, pairs * times)

    @check("responses", "Every pair has a response in every arm.")
    def expected_responses(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        cell = cell_of(context.partition_key)
        return check_every_pair(warehouse, "responses", cell, len(arms_of(cell.iteration, wanted)))

    @check(
        "heard_statements", "Every statement before every response that says something is traced."
    )
    def expected_statements(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        cell = cell_of(context.partition_key)
        where, pairs = slice_of(context.partition_key), read_pairs(warehouse, data_set, cell.split)
        responses = responses_from_rows(warehouse.read(name, "responses", [where]), pairs)
        conversations = {
            asker: conversations_from_rows(
                warehouse.read(name, "conversations", [slice_of(Cell(asker, cell.split).key)]),
                pairs,
            )
            for asker in {BASE, cell.iteration}
        }
        heard = heard_conversations(responses, conversations)
        rows = warehouse.read(name, "heard_statements", [where]).height
        return check_count(rows, sum(len(statements(c)) for _, c in heard))

    of_responses = [
        *(schema_check(name, experiment, table) for table in ANSWERED),
        expected_responses,
        expected_statements,
    ]
    if experiment.judge is None:
        return of_responses

    @check(
        "judgements",
        "Each Judge compares every arm with its references for every pair, or it is unscored.",
    )
    def expected_judgements(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        cell = cell_of(context.partition_key)
        times = len(judged_arms(cell.iteration, wanted)) * len(experiment.judges)
        return check_every_pair(warehouse, "judgements", cell, times)

    @check("judge_audit", "Each Judge is asked about every response that has a rival.")
    def expected_audit(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        split = cell_of(context.partition_key).split
        pairs = read_pairs(warehouse, data_set, split)
        gold = read_gold_texts(warehouse, data_set, split)
        base = warehouse.read(name, "responses", [slice_of(Cell(BASE, split).key)])
        responses = responses_from_rows(base, pairs)
        audits = audit_pairs(pairs, gold, responses, split, experiment.seed)
        rows = warehouse.read(name, "judge_audit", [slice_of(context.partition_key)]).height
        return check_count(rows, len(audits.audited) * len(experiment.judges))

    @check("win_rates", "Every judgement is counted.")
    def expected_counts(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        where = [slice_of(context.partition_key)]
        of_all = warehouse.read(name, "win_rates", where).filter(pl.col("dimension") == "all")
        rows = warehouse.read(name, "judgements", where).height
        return check_count(int(of_all["pairs"].sum()), rows)

    schemas = [schema_check(name, experiment, table) for table in JUDGED]
    counts = [expected_judgements, expected_audit, expected_counts]
    return [*of_responses, *schemas, *counts, trusted_judge(name, experiment, oracle)]


def trusted_judge(
    name: str, experiment: Experiment, oracle: ModelSpec | None
) -> dg.AssetChecksDefinition:
    """A warning, because a weak Judge is a fact about the figures and no fault of the tables."""

    @grid_check(name, experiment)(
        "judge_audit",
        "Each Judge finds the truth where it is known, and has not written the gold responses.",
        blocking=False,
    )
    def trusted(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        audit = warehouse.read(name, "judge_audit", [slice_of(context.partition_key)])
        return check_trust(audit, experiment, oracle)

    return trusted


def check_trust(
    judge_audit: pl.DataFrame, experiment: Experiment, oracle: ModelSpec | None
) -> dg.AssetCheckResult:
    """Whether each Judge finds the truth where it is known, and has not written it itself. The
    harder audit decides, where there is one.
    """
    doubts: list[str] = []
    metadata: dict[str, float | str] = {}
    for judge in experiment.judges:
        accuracies = accuracies_from_rows(judge_audit, judge.label)
        deciding = deciding_accuracy(accuracies)
        metadata |= {f"{audit}, {judge.label}": a.mean for audit, a in accuracies.items()}
        if deciding is None:
            doubts.append(f"The Judge {judge.label} gave no verdict where the truth is known.")
        elif deciding.mean < TRUSTED_ACCURACY:
            found = ", ".join(
                f"on {audit.label} in {a.mean:.0%} ({a.low:.0%} to {a.high:.0%})"
                for audit, a in reversed(accuracies.items())
            )
            doubts.append(
                f"The Judge {judge.label} finds the truth, where it is known, {found} of the "
                "pairs; its win rates say little."
            )
        if oracle is not None and oracle.model == judge.model.model:
            doubts.append(
                f"The Judge {judge.label} has written the gold responses too, so it may prefer "
                "what sounds like itself, and the audit on them cannot tell."
            )
    if Audit.OWN_TEXT not in audits_of(experiment.evaluation.arms):
        metadata[Audit.OWN_TEXT.value] = NO_OWN_TEXT
    return dg.AssetCheckResult(
        passed=not doubts,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(doubts) or None,
        metadata=metadata,
    )
