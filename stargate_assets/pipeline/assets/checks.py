"""Blocking checks: a cell whose table is not what it should be stops there, before anything is
built on it.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import mean
from typing import Any

import dagster as dg
import polars as pl
from dataframely.exc import ValidationError

from stargate_assets.config.experiment import Experiment
from stargate_assets.method.conditions import CONTROLS
from stargate_assets.method.conversation import Conversation
from stargate_assets.method.eligibility import COPIED_RUN
from stargate_assets.method.headroom import gain_warning
from stargate_assets.method.language_model import ScoreRequest
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.roleplayer_audit import replied_turns
from stargate_assets.method.scoring import gold_contexts
from stargate_assets.method.simulation import conversations_without_questions
from stargate_assets.method.text import runs
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.assets.cell_run import cell_of, read_gold_texts, read_pairs
from stargate_assets.pipeline.assets.grid import GPU_POOL, grid_partitions
from stargate_assets.pipeline.assets.rows import conversations_from_rows
from stargate_assets.pipeline.assets.versions import read_checkpoint
from stargate_assets.storage.checkpoints import verify
from stargate_assets.storage.completions import Use, request_key
from stargate_assets.storage.io_manager import slice_of
from stargate_assets.storage.schemas import SCHEMAS
from stargate_assets.storage.warehouse import MissingSliceError, Warehouse

PROBES = 4
"""Gold responses that a checkpoint must score otherwise than the base model does."""
TABLES = (
    "conversations",
    "roleplayer_audit",
    "gold_log_probs",
    "best_conversations",
    "regularization_responses",
)


CheckDecorator = Callable[[Callable[..., Any]], dg.AssetChecksDefinition]


def grid_check(name: str, experiment: Experiment) -> Callable[..., CheckDecorator]:
    """`dg.asset_check` for the grid of an experiment: blocking, unless said otherwise."""

    def check(
        table: str, description: str, pool: str | None = None, *, blocking: bool = True
    ) -> CheckDecorator:
        return dg.asset_check(
            asset=dg.AssetKey([name, table]),
            description=description,
            blocking=blocking,
            partitions_def=grid_partitions(experiment),
            pool=pool,
        )

    return check


def schema_check(name: str, experiment: Experiment, table: str) -> dg.AssetChecksDefinition:
    """The check of a table's schema."""

    @grid_check(name, experiment)(
        table, "The rows in the warehouse are valid against the table's schema."
    )
    def schema(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        rows = warehouse.read(name, table, [slice_of(context.partition_key)])
        return check_schema(table, rows)

    return schema


def grid_checks(name: str, experiment: Experiment) -> list[dg.AssetChecksDefinition]:
    """The checks of what is simulated, scored, selected and trained."""
    data_set, check = experiment.data_set, grid_check(name, experiment)

    @check("conversations", "Every pair has its number of conversations.")
    def expected_rows(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        split = cell_of(context.partition_key).split
        rows = warehouse.read(name, "conversations", [slice_of(context.partition_key)]).height
        pairs = read_pairs(warehouse, data_set, split)
        unasked = conversations_without_questions(pairs, 0, experiment.unasked(split))
        return check_count(rows, len(pairs) * experiment.samples(split) + len(unasked))

    @check("roleplayer_audit", "Every reply is audited.")
    def expected_replies(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        where = [slice_of(context.partition_key)]
        pairs = read_pairs(warehouse, data_set, cell_of(context.partition_key).split)
        talked = conversations_from_rows(warehouse.read(name, "conversations", where), pairs)
        rows = warehouse.read(name, "roleplayer_audit", where).height
        return check_count(rows, sum(len(replied_turns(c)) for c in talked))

    @check(
        "gold_log_probs",
        "Of the pairs with a gold response: on the held-out split every conversation is scored "
        "under its conditions, and every pair has its two controls; elsewhere every eligible "
        "conversation is scored, under what its objective compares; but for what is too long for "
        "the model.",
    )
    def expected_scores(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        models: dg.ResourceParam[ModelPool],
    ) -> dg.AssetCheckResult:
        where, cell = slice_of(context.partition_key), cell_of(context.partition_key)
        pairs = read_pairs(warehouse, data_set, cell.split)
        conversations = warehouse.read(name, "conversations", [where])
        expected = gold_contexts(
            conversations_from_rows(conversations, pairs),
            read_gold_texts(warehouse, data_set, cell.split),
            cell,
            experiment.seed,
            experiment.selection.objective,
        )
        rows = warehouse.read(name, "gold_log_probs", [where]).height
        if rows == len(expected):
            return check_count(rows, rows)
        failed = {row.key for row in models.failure_rows([name])}
        identity = models.identity(experiment.questioner)
        requests = (context.request(experiment.told) for context in expected)
        scored = sum(request_key(identity, request) not in failed for request in requests)
        return check_count(rows, scored)

    @check(
        "gold_log_probs",
        "The persona makes gold responses so much more probable that there is something to win by "
        "asking.",
        blocking=False,
    )
    def headroom(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        return check_headroom(
            warehouse.read(name, "gold_log_probs", [slice_of(context.partition_key)])
        )

    @check(
        "conversations",
        "No questioner prompt holds a run of persona text that the persona had not said.",
    )
    def no_persona_leak(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        pairs = read_pairs(warehouse, data_set, cell_of(context.partition_key).split)
        rows = warehouse.read(name, "conversations", [slice_of(context.partition_key)])
        return check_leaks(conversations_from_rows(rows, pairs), experiment.told)

    @check(
        "checkpoints",
        "The checkpoint is undamaged and changes the scores of gold responses.",
        GPU_POOL,
    )
    def adapter_changes_scores(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        models: dg.ResourceParam[ModelPool],
    ) -> dg.AssetCheckResult:
        cell = cell_of(context.partition_key)
        try:
            checkpoint = read_checkpoint(warehouse, name, cell)
        except MissingSliceError:
            return dg.AssetCheckResult(
                passed=True, description="The held-out split has no checkpoint."
            )
        verify(checkpoint.path)
        gold = read_gold_texts(warehouse, data_set, cell.split)
        probes = [
            ScoreRequest(experiment.told.negative_control_messages(pair), gold[pair.key])
            for pair in read_pairs(warehouse, data_set, cell.split)
            if pair.key in gold
        ][:PROBES]
        questioner, use = experiment.questioner, Use(name, cell.key, "check")
        base = models.open(questioner, use).score(probes, "checking the base model")
        trained = models.open(questioner, use, checkpoint).score(probes, "checking the policy")
        changes = [
            abs(a.total - b.total)
            for a, b in zip(base, trained, strict=True)
            if not (a.failure or b.failure)
        ]
        change = max(changes, default=0.0)
        scripted = experiment.questioner.engine == "scripted"  # it has no weights to change
        return dg.AssetCheckResult(
            passed=change > 0 or scripted, metadata={"largest change of log_prob": change}
        )

    schemas = [schema_check(name, experiment, table) for table in TABLES]
    counts = [expected_rows, expected_replies, expected_scores]
    return [*schemas, *counts, headroom, no_persona_leak, adapter_changes_scores]


def check_schema(table: str, rows: pl.DataFrame) -> dg.AssetCheckResult:
    """Whether rows are valid against a table's schema."""
    try:
        SCHEMAS[table].validate(rows, cast=True)
    except ValidationError as error:
        return dg.AssetCheckResult(passed=False, description=str(error))
    return dg.AssetCheckResult(passed=True)


def check_count(rows: int, expected: int) -> dg.AssetCheckResult:
    """Whether there are as many rows as there must be."""
    return dg.AssetCheckResult(
        passed=rows == expected, metadata={"rows": rows, "expected": expected}
    )


def check_headroom(gold_log_probs: pl.DataFrame) -> dg.AssetCheckResult:
    """Whether the positive control lies far enough above the negative one, where a cell has both:
    if it does not, the whole method has nothing to learn from.
    """
    negative, positive = (
        pl.col("log_prob").filter(pl.col("condition") == control).first() for control in CONTROLS
    )
    gains = (
        gold_log_probs.group_by("task_id", "persona_id")
        .agg(gain=(positive - negative) / pl.col("tokens").first())["gain"]
        .drop_nulls()
    )
    if gains.is_empty():
        return dg.AssetCheckResult(
            passed=True, description="The controls are scored on the held-out split alone."
        )
    gain = mean(gains)
    warning = gain_warning(gain)
    return dg.AssetCheckResult(
        passed=warning is None,
        severity=dg.AssetCheckSeverity.WARN,
        description=warning,
        metadata={"gain of the positive control, nats a token": gain, "pairs": len(gains)},
    )


def check_leaks(conversations: Sequence[Conversation], prompts: Prompts) -> dg.AssetCheckResult:
    """Whether persona text reaches a questioner only as something that the persona said."""
    leaks = 0
    for conversation in conversations:
        pair = conversation.pair
        persona = runs(pair.persona.text, COPIED_RUN)
        told = [m.content for m in prompts.questioner_messages(conversation)]
        said = (pair.task.text, *conversation.answers, *conversation.questions)
        leaks += not _shared_runs(persona, told) <= _shared_runs(persona, said)
    return dg.AssetCheckResult(passed=leaks == 0, metadata={"conversations with a leak": leaks})


def _shared_runs(persona: frozenset[tuple[str, ...]], texts: Iterable[str]) -> set[tuple[str, ...]]:
    """The persona's runs that stand in any of the texts."""
    return {run for text in texts for run in persona & runs(text, COPIED_RUN)}
