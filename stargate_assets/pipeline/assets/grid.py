"""What every asset of an experiment shares: partitions, dependencies, and how a cell is made."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import dagster as dg
import polars as pl

from stargate_assets.config.engines import compute_here
from stargate_assets.config.experiment import Experiment
from stargate_assets.method.plan import SPLITS
from stargate_assets.pipeline.assets.cell_run import CellRun, start_cell_run
from stargate_assets.pipeline.assets.lineage import nearest_tables
from stargate_assets.pipeline.assets.outputs import column_schema
from stargate_assets.pipeline.assets.versions import code_version

GPU_POOL = "gpu"

split_partitions = dg.StaticPartitionsDefinition(list(SPLITS))
Make = Callable[[CellRun], Iterator[dg.Output[pl.DataFrame]]]
"""Makes the rows of a table for a cell; no output means that the table has nothing in it."""


def iteration_partitions(experiment: Experiment) -> dg.StaticPartitionsDefinition:
    return dg.StaticPartitionsDefinition([str(i) for i in range(experiment.iterations + 1)])


def grid_partitions(experiment: Experiment) -> dg.MultiPartitionsDefinition:
    """iteration x split; keys such as `1|train_b`."""
    return dg.MultiPartitionsDefinition(
        {"iteration": iteration_partitions(experiment), "split": split_partitions}
    )


def cell_asset(
    name: str,
    experiment: Experiment,
    description: str,
    *,
    engines: tuple[str, ...] = (),
    other_deps: tuple[str, ...] = (),
    **more: Any,
) -> Callable[[Make], dg.AssetsDefinition]:
    """Make an asset on the grid of a function that makes the rows of one cell. The function has the
    table's name. `engines` are those of the models that it asks; if they compute here, it waits
    for the pool.
    """

    def decorate(make: Make) -> dg.AssetsDefinition:
        table = make.__name__
        data, cell = nearest_tables(table)
        deps = [[experiment.data_set, read] for read in data]
        deps += [[name, read] for read in (*cell, *other_deps)]

        @dg.asset(
            name=table,
            key_prefix=name,
            partitions_def=grid_partitions(experiment),
            group_name=name,
            kinds={"duckdb", *engines},
            code_version=code_version(experiment, table),
            description=description,
            metadata={"dagster/column_schema": column_schema(table)},
            deps=[dg.AssetKey(key) for key in deps],
            required_resource_keys={"warehouse", "models", "pipes"},
            pool=GPU_POOL if compute_here(engines) else None,
            **more,
        )
        def asset(context: dg.AssetExecutionContext):
            resources = context.resources
            yield from make(
                start_cell_run(context, resources.warehouse, resources.models, name, experiment)
            )

        return cast("dg.AssetsDefinition", asset)

    return decorate


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
