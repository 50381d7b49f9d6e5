"""External evaluations of an experiment's policies: the cells (i, evaluation), their versions and
their asset.

A version has two parts: of what makes the outcomes, and of the evaluation's own records. Who reads
outcomes, such as the report, holds them to the first: the records are not the experiment's.
"""

from collections.abc import Iterable, Iterator, Mapping

import dagster as dg
import polars as pl

from stargate_assets.config.data_set import DataError
from stargate_assets.config.engines import compute_here
from stargate_assets.config.evaluation_set import EvaluationSet
from stargate_assets.config.experiment import Experiment
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.method.contamination import overlaps
from stargate_assets.method.evaluations import EVALUATIONS
from stargate_assets.method.evaluations.kind import Figure, Outcome
from stargate_assets.method.plan import TRAIN_SPLITS, Step, parent_cell
from stargate_assets.method.simulation import Cell
from stargate_assets.models.pool import ModelPool, engine_kind
from stargate_assets.pipeline.assets.cell_run import cell_of
from stargate_assets.pipeline.assets.grid import GPU_POOL, iteration_partitions
from stargate_assets.pipeline.assets.lineage import EVALUATED
from stargate_assets.pipeline.assets.outputs import column_schema, table_output
from stargate_assets.pipeline.assets.rows import table_rows
from stargate_assets.pipeline.assets.steps import evaluate_cell
from stargate_assets.pipeline.assets.versions import (
    code_version,
    done_steps,
    policy_checkpoint,
    policy_version,
    registered_version,
    table_version,
)
from stargate_assets.pipeline.sources.evaluation_sets import evaluation_content, read_items
from stargate_assets.storage.completions import Use
from stargate_assets.storage.io_manager import slice_of
from stargate_assets.storage.warehouse import Warehouse

Sets = Mapping[str, EvaluationSet]
"""Evaluations by name."""


def making_version(experiment: Experiment, cell: Cell, policy: Checkpoint | None) -> str:
    """The first part of a version: of the rules, the prompts, what is stated, and the policy."""
    return table_version(experiment, EVALUATED, cell.split, policy, lambda where, read: read)


def evaluation_version(making: str, content: str) -> str:
    """Both parts; `content` is the digest of the evaluation's records."""
    return f"{making}-{content}"


def evaluated_cells(
    warehouse: Warehouse, name: str, experiment: Experiment
) -> list[tuple[Cell, str]]:
    """The cells on the experiment's evaluations whose policies are there, with the first part of
    the version that they have if they are made now.
    """
    done = done_steps(warehouse, name, experiment)
    found: list[tuple[Cell, str]] = []
    for iteration in range(experiment.iterations + 1):
        for evaluation in experiment.evaluations:
            cell = Cell(iteration, evaluation)
            parent = parent_cell(cell)
            if parent is None or Step(parent, "train") in done:
                policy = policy_checkpoint(warehouse, name, cell)
                found.append((cell, making_version(experiment, cell, policy)))
    return found


def missing_evaluations(
    warehouse: Warehouse, name: str, experiment: Experiment, sets: Sets
) -> list[tuple[Cell, str]]:
    """Those of them that are not there as their records are now, with the version that they have if
    they are made now.
    """
    there = warehouse.materializations(name)
    contents = {named: evaluation_content(sets[named]) for named in experiment.evaluations}
    due = [
        (cell, evaluation_version(making, contents[cell.split]))
        for cell, making in evaluated_cells(warehouse, name, experiment)
    ]
    return [
        (cell, version)
        for cell, version in due
        if registered_version(there, EVALUATED, cell.key) != version
    ]


def made_evaluations(warehouse: Warehouse, name: str, experiment: Experiment) -> list[Cell]:
    """The cells on any evaluation whose outcomes are of the experiment and its policies as they are
    now, whether the experiment names the evaluation or not.
    """
    there = warehouse.materializations(name)
    named = {cell_of(where).split for table, where in there if table == EVALUATED}
    everything = experiment.model_copy(update={"evaluations": tuple(sorted(named))})
    return [
        cell
        for cell, making in evaluated_cells(warehouse, name, everything)
        if registered_version(there, EVALUATED, cell.key).startswith(f"{making}-")
    ]


def evaluation_asset(name: str, experiment: Experiment, sets: Sets) -> dg.AssetsDefinition:
    """What each policy does on the experiment's external evaluations."""
    # Files that change later are refused, so these are the versions that a run notes.
    contents = {named: evaluation_content(sets[named]) for named in experiment.evaluations}
    roleplayers = experiment.all_roleplayers
    engines = {engine_kind(experiment.questioner), *(engine_kind(r.model) for r in roleplayers)}

    @dg.asset(
        name=EVALUATED,
        key_prefix=name,
        partitions_def=evaluation_partitions(experiment),
        group_name=name,
        kinds={"duckdb", *engines},
        code_version=code_version(experiment, EVALUATED),
        description="What policy i does on an external evaluation, and what each item shows of it; "
        "nothing of it is trained on.",
        metadata={"dagster/column_schema": column_schema(EVALUATED)},
        deps=[dg.AssetKey([name, "policy"])],
        pool=GPU_POOL if compute_here(engines) else None,
    )
    def evaluation_outcomes(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        models: dg.ResourceParam[ModelPool],
    ) -> Iterator[dg.Output[pl.DataFrame]]:
        cell = cell_of(context.partition_key)
        policy = policy_checkpoint(warehouse, name, cell)
        making, stated = making_version(experiment, cell, policy), sets[cell.split]
        items = read_items(cell.split, stated)
        if evaluation_content(stated) != contents[cell.split]:
            raise DataError(
                f"The file of the evaluation {cell.split} has changed since the definitions were "
                "loaded; reload them (in the UI: Deployment, Reload)."
            )
        outcomes = evaluate_cell(
            experiment,
            cell,
            EVALUATIONS[stated.kind],
            items.items,
            models.open(experiment.questioner, Use(name, cell.key, "questioner"), policy),
            models.open(experiment.questioner, Use(name, cell.key, "scorer")),
            {
                r.label: models.open(r.model, Use(name, cell.key, "roleplayer"))
                for r in experiment.roleplayers_of(cell.split)
            },
        )
        yield table_output(
            outcome_rows(cell, stated.kind, policy_version(policy), outcomes),
            evaluation_version(making, contents[cell.split]),
            {
                **{f"left out: {reason}": count for reason, count in items.left_out.items()},
                "refused": sum(o.conversation.refused for o in outcomes),
                **figure_metadata(EVALUATIONS[stated.kind].figures, outcomes),
            },
        )

    return evaluation_outcomes


def evaluation_partitions(experiment: Experiment) -> dg.MultiPartitionsDefinition:
    """iteration x evaluation; keys such as `1|in3`."""
    evaluations = dg.StaticPartitionsDefinition(list(experiment.evaluations))
    return dg.MultiPartitionsDefinition(
        {"iteration": iteration_partitions(experiment), "split": evaluations}
    )


def training_check(name: str, experiment: Experiment) -> dg.AssetChecksDefinition:
    """The check that nothing of an evaluation is trained on."""

    @dg.asset_check(
        asset=dg.AssetKey([name, EVALUATED]),
        description="No item is a near-duplicate of a task of the training splits.",
        partitions_def=evaluation_partitions(experiment),
    )
    def not_trained_on(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        rows = warehouse.read(name, EVALUATED, [slice_of(context.partition_key)])
        there = warehouse.materializations(experiment.data_set)
        splits = [{"split": split} for split in TRAIN_SPLITS if ("tasks", split) in there]
        tasks = warehouse.read(experiment.data_set, "tasks", splits)["text"] if splits else []
        found = overlaps(list(tasks), rows["task"].to_list())
        return dg.AssetCheckResult(
            passed=not found,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"near-duplicates": len(found)},
        )

    return not_trained_on


def outcome_rows(cell: Cell, kind: str, policy: str, outcomes: Iterable[Outcome]) -> pl.DataFrame:
    """Rows of `evaluation_outcomes`; `policy` is the version of the questioner."""
    return table_rows(
        EVALUATED,
        [
            {
                "iteration": cell.iteration,
                "split": cell.split,
                "item_id": o.item.item_id,
                "kind": kind,
                "cluster": o.item.cluster,
                "policy": policy,
                "task": o.item.pair.task.text,
                "known": o.item.pair.persona.text,
                "roleplayer": o.conversation.roleplayer,
                "first": o.first,
                "questions": o.conversation.questions,
                "answers": o.conversation.answers,
                "refused": o.conversation.refused,
                "measures": [{"measure": m, "value": v} for m, v in o.values.items()],
            }
            for o in outcomes
        ],
    )


def figure_metadata(figures: tuple[Figure, ...], outcomes: list[Outcome]) -> dict[str, float]:
    """Each figure that there is."""
    found = {figure.label: figure.estimate(outcomes) for figure in figures}
    return {label: estimate.mean for label, estimate in found.items() if estimate is not None}
