"""Blocking checks: a cell whose table is not what it should be stops there, before anything is
built on it.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
from dataframely.exc import ValidationError

from stargate_assets.config.experiment import Experiment
from stargate_assets.method.conversation import Pair
from stargate_assets.method.eligibility import COPIED_RUN
from stargate_assets.method.language_model import ScoreRequest
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.prompts import negative_control_messages, questioner_messages
from stargate_assets.method.selection import Objective
from stargate_assets.method.simulation import unasked_conversations
from stargate_assets.method.text import runs
from stargate_assets.models.pool import Checkpoint, ModelPool
from stargate_assets.pipeline.assets.frames import conversations_of, gold_texts, pairs_of
from stargate_assets.pipeline.assets.grid import GPU_POOL, cell_of, grid_partitions
from stargate_assets.storage.checkpoints import verify
from stargate_assets.storage.completions import Use
from stargate_assets.storage.io_manager import slice_of
from stargate_assets.storage.schemas import SCHEMAS
from stargate_assets.storage.warehouse import MissingSliceError, Warehouse

PROBES = 4
"""Gold responses that a checkpoint must score otherwise than the base model does."""
TABLES = ("conversations", "gold_log_probs", "best_conversations", "regularization_responses")


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
        frame = warehouse.read(name, table, [slice_of(context.partition_key)])
        return schema_result(table, frame)

    return schema


def grid_checks(name: str, experiment: Experiment) -> list[dg.AssetChecksDefinition]:
    """The checks of what is simulated, scored, selected and trained."""
    data_set, check = experiment.data_set, grid_check(name, experiment)

    @check("conversations", "Every pair has its number of conversations.")
    def expected_rows(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        where = slice_of(context.partition_key)
        split = cell_of(context.partition_key).split
        rows = warehouse.read(name, "conversations", [where]).height
        pairs = pairs_there(warehouse, data_set, split)
        unasked = unasked_conversations(pairs, 0, experiment.unasked(split))
        return count_result(rows, len(pairs) * experiment.samples(split) + len(unasked))

    @check(
        "gold_log_probs",
        "Of the pairs with a gold response: on the held-out split every conversation is scored "
        "under its conditions, and every pair has its two controls; elsewhere every eligible "
        "conversation is scored.",
    )
    def expected_scores(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        where = slice_of(context.partition_key)
        split = cell_of(context.partition_key).split
        conversations = warehouse.read(name, "conversations", [where])
        gold = warehouse.read(data_set, "gold_responses", [{"split": split}])
        comparable = gold.filter(pl.col("exclusion").is_null())
        scored = conversations.join(comparable, on=["task_id", "persona_id"], how="semi")
        rows = warehouse.read(name, "gold_log_probs", [where]).height
        if split != TEST_SPLIT:
            eligible = scored.filter(pl.col("ineligibility").is_null())
            expected = expected_training_scores(
                experiment.selection.objective, eligible, comparable
            )
            return count_result(rows, expected)
        pairs = scored.select("task_id", "persona_id").n_unique()
        heard = 2 if conversations["persona_id"].n_unique() > 1 else 1  # with Q-random or without
        return count_result(rows, 2 * pairs + heard * scored.height)

    @check(
        "conversations",
        "No questioner prompt holds a run of persona text that the persona had not said.",
    )
    def no_persona_leak(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        where = slice_of(context.partition_key)
        split = {"split": cell_of(context.partition_key).split}
        tasks = warehouse.read(data_set, "tasks", [split])
        personas = warehouse.read(data_set, "personas", [split])
        conversations = warehouse.read(name, "conversations", [where])
        return leak_result(tasks, personas, conversations)

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
            frame = warehouse.read(name, "checkpoints", [slice_of(context.partition_key)])
        except MissingSliceError:
            return dg.AssetCheckResult(
                passed=True, description="The held-out split has no checkpoint."
            )
        row = frame.row(0, named=True)
        verify(models.warehouse / row["path"])
        pairs = pairs_there(warehouse, data_set, cell.split)
        gold = gold_texts(warehouse.read(data_set, "gold_responses", [{"split": cell.split}]))
        probes = [
            ScoreRequest(negative_control_messages(pair), gold[pair.key])
            for pair in pairs
            if pair.key in gold
        ][:PROBES]
        checkpoint = Checkpoint(models.warehouse / row["path"], row["sha256"])
        questioner, use = experiment.questioner, Use(name, cell.key, "check")
        base = models.open(questioner, use).score(probes, "checking the base model")
        trained = models.open(questioner, use, checkpoint).score(probes, "checking the policy")
        change = max(abs(a.total - b.total) for a, b in zip(base, trained, strict=True))
        scripted = experiment.questioner.engine == "scripted"  # it has no weights to change
        return dg.AssetCheckResult(
            passed=change > 0 or scripted, metadata={"largest change of log_prob": change}
        )

    schemas = [schema_check(name, experiment, table) for table in TABLES]
    return [*schemas, expected_rows, expected_scores, no_persona_leak, adapter_changes_scores]


def schema_result(table: str, frame: pl.DataFrame) -> dg.AssetCheckResult:
    try:
        SCHEMAS[table].validate(frame, cast=True)
    except ValidationError as error:
        return dg.AssetCheckResult(passed=False, description=str(error))
    return dg.AssetCheckResult(passed=True)


def pairs_there(warehouse: Warehouse, data_set: str, split: str) -> list[Pair]:
    """Every task with every persona of a split."""
    where = [{"split": split}]
    return pairs_of(*(warehouse.read(data_set, table, where) for table in ("tasks", "personas")))


def expected_training_scores(
    objective: Objective, eligible: pl.DataFrame, comparable: pl.DataFrame
) -> int:
    """Scores of a training cell: every eligible conversation, and what the objective compares it
    with. `comparable` are the gold responses that can be compared with.
    """
    if objective == "gain":
        return eligible.height + eligible.select("task_id", "persona_id").n_unique()
    if objective == "contrast":
        several = comparable.filter(pl.len().over("task_id") > 1)
        return eligible.height + eligible.join(several, on="task_id", how="semi").height
    return eligible.height


def count_result(rows: int, expected: int) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=rows == expected, metadata={"rows": rows, "expected": expected}
    )


def leak_result(
    tasks: pl.DataFrame, personas: pl.DataFrame, conversations: pl.DataFrame
) -> dg.AssetCheckResult:
    """Persona text may reach a questioner's prompt only as something that the persona said."""
    leaks = 0
    for conversation in conversations_of(conversations, pairs_of(tasks, personas)):
        pair = conversation.pair
        said = "\n".join((pair.task.text, *conversation.answers, *conversation.questions))
        prompt = "\n".join(message.content for message in questioner_messages(conversation))
        secret = runs(pair.persona.text, COPIED_RUN) - runs(said, COPIED_RUN)
        leaks += bool(secret & runs(prompt, COPIED_RUN))
    return dg.AssetCheckResult(passed=leaks == 0, metadata={"conversations with a leak": leaks})
