"""What every asset of an experiment shares: partitions, the state of a cell, and how a frame
becomes an output.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import polars as pl

from stargate_assets.config.data_set import DATA_TABLES
from stargate_assets.config.experiment import Experiment
from stargate_assets.method.arms import BASE
from stargate_assets.method.errors import StargateError
from stargate_assets.method.plan import (
    SPLITS,
    Purpose,
    Step,
    parent_cell,
    planned_steps,
)
from stargate_assets.method.simulation import Cell
from stargate_assets.models.pool import Checkpoint
from stargate_assets.reporting.style import Picture
from stargate_assets.storage.io_manager import VERSION, slice_of
from stargate_assets.storage.schemas import SCHEMAS, table_columns
from stargate_assets.storage.warehouse import Materialization, MissingSliceError, Warehouse

OWNERS = ["team:stargate-assets"]
GPU_POOL = "gpu"
CODE_VERSION = "1"
"""Raised when an asset's meaning changes; configuration has a digest of its own."""
BASE_POLICY = "base"
SIMULATED = ("conversations", "gold_log_probs")
TRAINED = ("best_conversations", "regularization_responses", "checkpoints")
JUDGED = ("judge_audit", "judgements", "win_rates")

split_partitions = dg.StaticPartitionsDefinition(list(SPLITS))
AssetDecorator = Callable[[Callable[..., Any]], dg.AssetsDefinition]
Registry = Mapping[tuple[str, str], Materialization]


class MissingPolicyError(StargateError):
    """The policy of a cell is not trained yet. The message names the cell that trains it."""


class MissingReferenceError(StargateError):
    """What a cell is compared with is not there. The message names the cell that makes it."""


def planned_tables(purpose: Purpose, experiment: Experiment) -> tuple[str, ...]:
    """What a planned cell consists of, in order."""
    if purpose == "train":
        return (*SIMULATED, *TRAINED)
    return (*SIMULATED, "responses", *(JUDGED if experiment.judge else ()))


def iteration_partitions(experiment: Experiment) -> dg.StaticPartitionsDefinition:
    return dg.StaticPartitionsDefinition([str(i) for i in range(experiment.iterations + 1)])


def grid_partitions(experiment: Experiment) -> dg.MultiPartitionsDefinition:
    """iteration x split; keys such as `1|train_b`."""
    return dg.MultiPartitionsDefinition(
        {"iteration": iteration_partitions(experiment), "split": split_partitions}
    )


def grid_asset(name: str, experiment: Experiment) -> Callable[..., AssetDecorator]:
    """`dg.asset` for the grid of an experiment: what all its assets have in common."""

    def decorator(table: str, kinds: set[str], description: str, **more: Any) -> AssetDecorator:
        return dg.asset(
            name=table,
            key_prefix=name,
            partitions_def=grid_partitions(experiment),
            group_name=name,
            kinds={"duckdb", *kinds},
            owners=OWNERS,
            code_version=f"{CODE_VERSION}-{experiment.digest()}",
            description=description,
            metadata={"dagster/column_schema": column_schema(table)},
            **more,
        )

    return decorator


def inputs(schema: str, *tables: str) -> dict[str, dg.AssetIn]:
    """Tables of one schema as inputs of the same names."""
    return {table: dg.AssetIn(key=[schema, table]) for table in tables}


def cell_of(partition_key: str) -> Cell:
    iteration, split = partition_key.split("|")
    return Cell(int(iteration), split)


def policy_checkpoint(warehouse: Warehouse, name: str, cell: Cell) -> Checkpoint | None:
    """The questioner of a cell: None is the base model. Raises MissingPolicyError before anything
    is loaded.
    """
    parent = parent_cell(cell)
    if parent is None:
        return None
    try:
        frame = warehouse.read(name, "checkpoints", [slice_of(parent.key)])
    except MissingSliceError as error:
        raise MissingPolicyError(
            f"Policy {cell.iteration} of {name} is not trained yet; materialise the cell "
            f"{parent.key} of {name} up to checkpoints first."
        ) from error
    row = frame.row(0, named=True)
    return Checkpoint(warehouse.path.parent / row["path"], row["sha256"])


def reference_table(warehouse: Warehouse, name: str, table: str, cell: Cell) -> pl.DataFrame:
    """A table of the base model's cell on the same split, or a MissingReferenceError."""
    reference = Cell(BASE, cell.split)
    try:
        return warehouse.read(name, table, [slice_of(reference.key)])
    except MissingSliceError as error:
        raise MissingReferenceError(
            f"The base model's {table} on {cell.split} are not there to compare with; materialise "
            f"the cell {reference.key} of {name} up to {table} first."
        ) from error


def cell_version(
    experiment: Experiment, cell: Cell, policy: Checkpoint | None, data: Registry
) -> str:
    """What a cell's tables are made from: code, configuration, policy, and the data set's
    slices.
    """
    slices = [data.get((table, cell.split)) for table in DATA_TABLES]
    parts = [CODE_VERSION, experiment.digest(cell.split), policy.sha256 if policy else BASE_POLICY]
    parts += [found.version if found else "" for found in slices]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def done_steps(warehouse: Warehouse, name: str, experiment: Experiment) -> list[Step]:
    """The planned steps whose tables are all there, made from what the experiment says now."""
    there, data = warehouse.materializations(name), warehouse.materializations(experiment.data_set)
    done: list[Step] = []
    for step in planned_steps(experiment.iterations):
        try:
            policy = policy_checkpoint(warehouse, name, step.cell)
        except MissingPolicyError:
            continue
        parent = parent_cell(step.cell)
        if parent is not None and Step(parent, "train") not in done:
            continue
        version = cell_version(experiment, step.cell, policy, data)
        tables = planned_tables(step.purpose, experiment)
        slices = [there.get((table, step.cell.key)) for table in tables]
        if all(found is not None and found.version == version for found in slices):
            done.append(step)
    return done


def grid_output(
    frame: pl.DataFrame,
    warehouse: Warehouse,
    name: str,
    experiment: Experiment,
    cell: Cell,
    metadata: Mapping[str, Any],
    data_version: str | None = None,
) -> dg.Output[pl.DataFrame]:
    """A cell's frame with the version that it was made from, its row count, and numbers that the UI
    plots.
    """
    data = warehouse.materializations(experiment.data_set)
    version = cell_version(experiment, cell, policy_checkpoint(warehouse, name, cell), data)
    return table_output(frame, version, metadata, data_version)


def shown(picture: Picture | None) -> dict[str, dg.MarkdownMetadataValue]:
    """A figure as metadata, if there is one."""
    return {} if picture is None else {picture.title: dg.MetadataValue.md(picture.markdown())}


def table_output(
    frame: pl.DataFrame,
    version: str,
    metadata: Mapping[str, Any],
    data_version: str | None = None,
) -> dg.Output[pl.DataFrame]:
    """A frame as an asset's output; `version` is what the IO manager notes beside the slice."""
    return dg.Output(
        frame,
        metadata={VERSION: version, "dagster/row_count": frame.height, **metadata},
        data_version=None if data_version is None else dg.DataVersion(data_version),
    )


def report_policy(context: dg.AssetExecutionContext, name: str, index: int, version: str) -> None:
    """Tell Dagster that policy `index` is there: 0 when it is first used, others when they are
    trained.
    """
    context.log_event(
        dg.AssetMaterialization(
            asset_key=[name, "policy"],
            partition=str(index),
            tags={"dagster/data_version": version},
        )
    )


def column_schema(table: str) -> dg.TableSchema:
    """A table's columns as the UI shows them."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                column.type,
                column.description,
                dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in table_columns(SCHEMAS[table])
        ]
    )
