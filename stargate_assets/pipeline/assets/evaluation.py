"""Estimates per policy on the test split, from all cells that are there."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl

from stargate_assets.config.digest import digest_text
from stargate_assets.config.experiment import Experiment
from stargate_assets.method.answer_metrics import answer_values
from stargate_assets.method.arms import BASE, REFERENCE_ARM, Arm, answered_conversations
from stargate_assets.method.conditions import TESTED
from stargate_assets.method.conversation import Conversation, people_of
from stargate_assets.method.errors import StargateError
from stargate_assets.method.heard import Heard
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.statistics import (
    PairValues,
    clustered_share,
    paired_difference,
    two_way_clustered,
)
from stargate_assets.pipeline.assets.lineage import ASIDE, REPORT_RULES
from stargate_assets.pipeline.assets.outputs import column_schema, picture_metadata, table_output
from stargate_assets.pipeline.assets.report_page import experiment_tables, write_page
from stargate_assets.pipeline.assets.rows import (
    conversations_from_rows,
    heard_from_rows,
    pairs_from_rows,
    responses_from_rows,
    table_rows,
)
from stargate_assets.pipeline.assets.versions import report_version
from stargate_assets.reporting.curves import log_probs, win_rates_by_arm
from stargate_assets.reporting.metrics import OF_NO_POLICY, QUESTION_RATE, RIGHT_CHOICE, is_share
from stargate_assets.reporting.tables import ExperimentTables, by_pair
from stargate_assets.storage.warehouse import Warehouse

MetricValues = Mapping[tuple[int, Arm | None, str], PairValues]
"""By policy, arm (None for what no answer shows) and metric: a value for each pair."""


class NothingEvaluatedError(StargateError):
    """There is no test cell to report on. The message says what to run."""


def report_rows(tables: ExperimentTables) -> pl.DataFrame:
    """One row per policy, arm and metric: the mean over pairs, and its paired difference to policy
    0 (of answers, to its arm method) where the metric depends on the policy, both with intervals
    clustered by task and persona.
    """
    values = {**conversation_metrics(tables), **answer_metrics(tables)}
    rows: list[dict[str, object]] = []
    for (iteration, arm, metric), observed in values.items():
        level = (clustered_share if is_share(metric) else two_way_clustered)(observed)
        reference = BASE, arm and REFERENCE_ARM, metric
        compared = (iteration, arm, metric) != reference and metric not in OF_NO_POLICY
        gain = paired_difference(observed, values.get(reference, {})) if compared else None
        rows.append(
            {
                "split": TEST_SPLIT,
                "iteration": iteration,
                "arm": arm,
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
            f"No test cell of {name} is there yet, in {warehouse.place}; run it first: "
            f"stargate run {name}."
        )
    return replace(tables, frames={**tables.frames, "report": report_rows(tables)})


def report_asset(name: str, experiment: Experiment) -> dg.AssetsDefinition:
    """The figures of an experiment, over all test cells that are there."""

    def every_cell(upstream: str) -> dg.AssetDep:
        key = dg.AssetKey([name, upstream])
        return dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping())

    read = (
        *ASIDE,
        "gold_log_probs",
        "heard_statements",
        *(("win_rates",) if experiment.judge else ()),
    )

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
            ", ".join(filter(None, (f"latest {row['metric']}", row["arm"]))): row["mean"]
            for row in latest.iter_rows(named=True)
        }
        metadata["page"] = dg.MetadataValue.path(write_page(warehouse, [tables]))
        metadata |= picture_metadata(win_rates_by_arm(tables.headline("win_rates")))
        metadata |= picture_metadata(log_probs(frame))
        return table_output(frame, report_version(warehouse, name), metadata)

    return report


def conversation_metrics(tables: ExperimentTables) -> MetricValues:
    """What each pair's conversations on the test split show: question rate, scores, and whether
    the right option was the most probable.
    """
    conversations, scored = tables.tested("conversations"), tables.tested("gold_log_probs")
    values: dict[tuple[int, Arm | None, str], PairValues] = {}
    for iteration in sorted(conversations["iteration"].unique()):
        here = pl.col("iteration") == iteration
        values[iteration, None, QUESTION_RATE] = by_pair(conversations.filter(here), QUESTION_RATE)
        for condition in TESTED:
            of_condition = scored.filter(here, pl.col("condition") == condition)
            if of_condition.height:
                values[iteration, None, condition] = by_pair(of_condition, "log_prob")
            chosen = of_condition.filter(pl.col("chosen").is_not_null())
            if chosen.height:
                values[iteration, None, RIGHT_CHOICE[condition]] = by_pair(chosen, "chosen")
    return values


def answer_metrics(tables: ExperimentTables) -> MetricValues:
    """What each pair's answer shows on the test split, in every arm. Answers after conversations of
    a cell that is not there are left out.
    """
    pairs = pairs_from_rows(tables.tested("tasks"), tables.tested("personas"))
    people, seed = people_of(pairs), tables.experiment.seed
    talked = tables.tested("conversations")
    conversations = {
        int(asker): conversations_from_rows(rows, pairs)
        for (asker,), rows in talked.group_by("iteration")
    }
    values: dict[tuple[int, Arm | None, str], PairValues] = {}
    responses, statements = tables.tested("responses"), tables.tested("heard_statements")
    for iteration in sorted(responses["iteration"].unique()):
        said = responses_from_rows(responses.filter(iteration=iteration), pairs)
        heard = heard_from_rows(statements.filter(iteration=iteration))
        answers: dict[Arm, list[tuple[Conversation, str, Sequence[Heard]]]] = {}
        for r, conversation in answered_conversations(said, conversations):
            stated = heard.get((r.arm, *r.pair.key), [])
            answers.setdefault(r.arm, []).append((conversation, r.text, stated))
        for arm, of_arm in answers.items():
            found = answer_values(of_arm, people, seed)
            values |= {(iteration, arm, metric): of_pairs for metric, of_pairs in found.items()}
    return values
