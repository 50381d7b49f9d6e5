"""Estimates per policy on the test split, from all cells that are there."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl

from stargate_assets.config.digest import digest_text
from stargate_assets.config.experiment import Experiment
from stargate_assets.method.answer_metrics import answer_values
from stargate_assets.method.arms import Arm
from stargate_assets.method.conditions import CONTROLS, TESTED
from stargate_assets.method.errors import StargateError
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.statistics import (
    PairValues,
    clustered_share,
    paired_difference,
    two_way_clustered,
)
from stargate_assets.pipeline.assets.lineage import REPORT_RULES
from stargate_assets.pipeline.assets.outputs import column_schema, picture_metadata, table_output
from stargate_assets.pipeline.assets.report_page import experiment_tables, write_page
from stargate_assets.pipeline.assets.rows import (
    conversations_from_rows,
    pairs_from_rows,
    table_rows,
)
from stargate_assets.pipeline.assets.versions import report_version
from stargate_assets.reporting.curves import log_probs, win_rates_by_arm
from stargate_assets.reporting.metrics import QUESTION_RATE, is_share
from stargate_assets.reporting.tables import ExperimentTables, by_pair
from stargate_assets.storage.warehouse import Warehouse

MetricValues = Mapping[tuple[int, str], PairValues]
"""By policy and metric: a value for each pair."""


class NothingEvaluatedError(StargateError):
    """There is no test cell to report on. The message says what to run."""


def report_rows(tables: ExperimentTables) -> pl.DataFrame:
    """One row per policy and metric: the mean over pairs, and its paired difference to policy 0
    where the metric depends on the policy, both with intervals clustered by task and persona.
    """
    values = {**conversation_metrics(tables), **answer_metrics(tables)}
    rows: list[dict[str, object]] = []
    for (iteration, metric), observed in values.items():
        level = (clustered_share if is_share(metric) else two_way_clustered)(observed)
        base = values.get((0, metric), {})
        depends = iteration > 0 and metric not in CONTROLS
        gain = paired_difference(observed, base) if depends else None
        rows.append(
            {
                "split": TEST_SPLIT,
                "iteration": iteration,
                "metric": metric,
                "mean": level.mean,
                "low": level.low,
                "high": level.high,
                "gain": gain and gain.mean,
                "gain_low": gain and gain.low,
                "gain_high": gain and gain.high,
                "pairs": level.pairs,
            }
        )
    return table_rows("report", rows)


def read_evaluated_tables(
    warehouse: Warehouse, name: str, experiment: Experiment
) -> ExperimentTables:
    """What the warehouse holds of an experiment, with the estimates over its test cells."""
    tables = experiment_tables(warehouse, name, experiment)
    if not tables.tested("conversations").height:
        raise NothingEvaluatedError(
            f"No test cell of {name} is there yet; run it first: stargate run {name}."
        )
    return replace(tables, frames={**tables.frames, "report": report_rows(tables)})


def report_asset(name: str, experiment: Experiment) -> dg.AssetsDefinition:
    """The figures of an experiment, over all test cells that are there."""

    def every_cell(upstream: str) -> dg.AssetDep:
        key = dg.AssetKey([name, upstream])
        return dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping())

    read = ("gold_log_probs", "win_rates" if experiment.judge else "responses")

    @dg.asset(
        name="report",
        key_prefix=name,
        group_name=name,
        kinds={"duckdb"},
        code_version=digest_text(str(REPORT_RULES), experiment.digest()),
        description="Question rate, log p(gold response) and what the answers show, per policy on "
        "the test split; with it the page for people, warehouse/reports/NAME.html.",
        metadata={"dagster/column_schema": column_schema("report")},
        deps=[every_cell(table) for table in read],
    )
    def report(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.Output[pl.DataFrame]:
        tables = read_evaluated_tables(warehouse, name, experiment)
        frame = tables.frame("report")
        latest = frame.filter(pl.col("iteration") == frame["iteration"].max())
        metadata: dict[str, Any] = {
            f"latest {row['metric']}": row["mean"] for row in latest.iter_rows(named=True)
        }
        metadata["page"] = dg.MetadataValue.path(write_page(warehouse, [tables]))
        metadata |= picture_metadata(win_rates_by_arm(tables.frame("win_rates")))
        metadata |= picture_metadata(log_probs(frame))
        return table_output(frame, report_version(warehouse, name), metadata)

    return report


def conversation_metrics(tables: ExperimentTables) -> MetricValues:
    """What each pair's conversations on the test split show: question rate and scores."""
    conversations, scored = tables.tested("conversations"), tables.tested("gold_log_probs")
    values: dict[tuple[int, str], PairValues] = {}
    for iteration in sorted(conversations["iteration"].unique()):
        here = pl.col("iteration") == iteration
        values[iteration, QUESTION_RATE] = by_pair(conversations.filter(here), QUESTION_RATE)
        for condition in TESTED:
            of_condition = scored.filter(here, pl.col("condition") == condition)
            if of_condition.height:
                values[iteration, condition] = by_pair(of_condition, "log_prob")
    return values


def answer_metrics(tables: ExperimentTables) -> MetricValues:
    """What each pair's answer of arm `method` on the test split shows."""
    pairs = pairs_from_rows(tables.tested("tasks"), tables.tested("personas"))
    people = list({pair.persona.persona_id: pair.persona for pair in pairs}.values())
    responses = tables.tested("responses").filter(pl.col("arm") == Arm.METHOD)
    conversations = tables.tested("conversations")
    values: dict[tuple[int, str], PairValues] = {}
    for iteration in sorted(responses["iteration"].unique()):
        here = conversations.filter(iteration=iteration)
        by_key = {(*c.pair.key, c.sample): c for c in conversations_from_rows(here, pairs)}
        rows = responses.filter(iteration=iteration)
        answers = [
            (by_key[task, persona, sample], text)
            for task, persona, sample, text in rows.select(
                "task_id", "persona_id", "sample", "text"
            ).iter_rows()
        ]
        found = answer_values(answers, people, tables.experiment.seed)
        values |= {(iteration, metric): of_pairs for metric, of_pairs in found.items()}
    return values
