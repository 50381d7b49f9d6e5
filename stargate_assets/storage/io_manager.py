"""The warehouse as Dagster's IO manager: an asset's frame becomes its slice of the table of the
same name.
"""

from collections.abc import Callable, Iterable

import dagster as dg
import polars as pl

from stargate_assets.storage.bookkeeping import count_calls
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.warehouse import Slice, Warehouse

VERSION = "version"
"""Key of the output metadata that has the version of what the frame was made from."""


Notice = Callable[[str, str, Callable[[str], None]], None]
"""Called with the schema and the table of a slice that was written, and what warns in the run's
log.
"""


class WarehouseIOManager(dg.IOManager):
    """Writes what an asset returns to the warehouse, and reads the inputs of assets from it."""

    def __init__(
        self, warehouse: Warehouse, completions: Callable[[], CompletionStore], notice: Notice
    ):
        self.warehouse = warehouse
        self.completions = completions
        self.notice = notice

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame) -> None:
        schema, table = context.asset_key.path
        where = slice_of(context.partition_key if context.has_partition_key else None)
        version = context.output_metadata[VERSION].value
        self.warehouse.write(
            schema, table, where, obj, str(version), lambda: count_calls(self.completions())
        )
        self.notice(schema, table, context.log.warning)

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        schema, table = context.asset_key.path
        partitioned = context.has_asset_partitions
        keys: Iterable[str | None] = context.asset_partition_keys if partitioned else [None]
        return self.warehouse.read(schema, table, [slice_of(key) for key in keys])


def slice_of(partition_key: str | None) -> Slice:
    """The rows that a partition key stands for: `1|train_b` in an experiment, `train_b` in a data
    set.
    """
    if partition_key is None:
        return {}
    if isinstance(partition_key, dg.MultiPartitionKey):
        dimensions = partition_key.keys_by_dimension
        return {"iteration": int(dimensions["iteration"]), "split": dimensions["split"]}
    iteration, bar, split = partition_key.partition("|")
    return {"iteration": int(iteration), "split": split} if bar else {"split": partition_key}
