"""The assets of a data set: tasks, personas and gold responses, partitioned by split and shared by
experiments.
"""

from pathlib import Path

import dagster as dg
import polars as pl

from stargate_assets.assets.grid import (
    OWNERS,
    AssetDecorator,
    column_schema,
    split_partitions,
    table_output,
)
from stargate_assets.data_files import (
    content_version,
    read_gold_responses,
    read_personas,
    read_tasks,
)


def data_set_assets(name: str, directory: Path) -> list[dg.AssetsDefinition]:
    """tasks[s], personas[s], gold_responses[s], read from the directory's JSON lines."""
    version = content_version(directory)

    def asset(table: str, description: str) -> AssetDecorator:
        return dg.asset(
            name=table,
            key_prefix=name,
            partitions_def=split_partitions,
            group_name=name,
            kinds={"duckdb"},
            owners=OWNERS,
            code_version=version,
            description=description,
            metadata={"dagster/column_schema": column_schema(table)},
        )

    def output(frame: pl.DataFrame, split: str) -> dg.Output[pl.DataFrame]:
        rows = frame.filter(pl.col("split") == split)
        words = rows["text"].str.count_matches(r"\S+").mean()
        return table_output(rows, version, {"mean_words": words or 0.0})

    @asset("tasks", "What users ask for: short, everyday, and underspecified on purpose.")
    def tasks(context: dg.AssetExecutionContext) -> dg.Output[pl.DataFrame]:
        return output(read_tasks(directory), context.partition_key)

    @asset(
        "personas", "Who asks: a name and first-person statements that the questioner never sees."
    )
    def personas(context: dg.AssetExecutionContext) -> dg.Output[pl.DataFrame]:
        return output(read_personas(directory), context.partition_key)

    @asset("gold_responses", "The best answer to each task for each persona of the split.")
    def gold_responses(context: dg.AssetExecutionContext) -> dg.Output[pl.DataFrame]:
        return output(read_gold_responses(directory), context.partition_key)

    return [tasks, personas, gold_responses]
