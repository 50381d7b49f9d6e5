"""The checks of the evaluation: blocking where rows are missing, a warning where the Judge is not
to be trusted.
"""

from collections.abc import Collection

import dagster as dg
import polars as pl

from stargate_assets.config.experiment import Experiment, Judge
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.method.arms import Arm, arms_of, judged_arms
from stargate_assets.method.judging import TRUSTED_ACCURACY, audit
from stargate_assets.method.simulation import Cell
from stargate_assets.method.win_rates import audit_accuracy
from stargate_assets.pipeline.assets.cell_run import cell_of, read_gold_texts, read_pairs
from stargate_assets.pipeline.assets.checks import check_count, grid_check, schema_check
from stargate_assets.pipeline.assets.lineage import JUDGED
from stargate_assets.pipeline.assets.rows import verdicts_from_rows
from stargate_assets.storage.io_manager import slice_of
from stargate_assets.storage.warehouse import Warehouse


def evaluation_checks(
    name: str, experiment: Experiment, oracle: ModelSpec | None
) -> list[dg.AssetChecksDefinition]:
    """The checks of responses and, if the experiment has a Judge, of what it said."""
    data_set, check = experiment.data_set, grid_check(name, experiment)
    wanted = experiment.evaluation.arms

    def check_every_arm(
        warehouse: Warehouse, table: str, cell: Cell, arms: Collection[Arm]
    ) -> dg.AssetCheckResult:
        rows = warehouse.read(name, table, [slice_of(cell.key)]).height
        return check_count(rows, len(read_pairs(warehouse, data_set, cell.split)) * len(arms))

    @check("responses", "Every pair has a response in every arm.")
    def expected_responses(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        cell = cell_of(context.partition_key)
        return check_every_arm(warehouse, "responses", cell, arms_of(cell.iteration, wanted))

    of_responses = [schema_check(name, experiment, "responses"), expected_responses]
    if experiment.judge is None:
        return of_responses

    @check("judgements", "Every pair is judged in every arm, or counted as not scored.")
    def expected_judgements(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        cell = cell_of(context.partition_key)
        return check_every_arm(warehouse, "judgements", cell, judged_arms(cell.iteration, wanted))

    @check("judge_audit", "Every gold response that has a rival is in the audit.")
    def expected_audit(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        split = cell_of(context.partition_key).split
        gold = read_gold_texts(warehouse, data_set, split)
        audited = audit(read_pairs(warehouse, data_set, split), gold, split, experiment.seed)
        rows = warehouse.read(name, "judge_audit", [slice_of(context.partition_key)]).height
        return check_count(rows, len(audited))

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
        "The Judge finds the truth where it is known, and has not written the gold responses.",
        blocking=False,
    )
    def trusted(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        audit = warehouse.read(name, "judge_audit", [slice_of(context.partition_key)])
        assert experiment.judge is not None
        return check_trust(audit, experiment.judge, oracle)

    return trusted


def check_trust(
    judge_audit: pl.DataFrame, judge: Judge, oracle: ModelSpec | None
) -> dg.AssetCheckResult:
    """Whether the Judge finds the truth where it is known, and has not written it itself."""
    accuracy = audit_accuracy(verdicts_from_rows(judge_audit))
    doubts: list[str] = []
    if accuracy is None:
        doubts.append("The Judge gave no verdict where the truth is known.")
    elif accuracy.mean < TRUSTED_ACCURACY:
        doubts.append(
            f"The Judge finds the truth in {accuracy.mean:.0%} of the pairs where it is known "
            f"({accuracy.low:.0%} to {accuracy.high:.0%}); its win rates say little."
        )
    if oracle is not None and oracle.model == judge.model.model:
        doubts.append(
            "The Judge has written the gold responses too, so it may prefer what sounds like "
            "itself, and the audit cannot tell."
        )
    return dg.AssetCheckResult(
        passed=not doubts,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(doubts) or None,
        metadata={"accuracy": accuracy.mean} if accuracy else {},
    )
