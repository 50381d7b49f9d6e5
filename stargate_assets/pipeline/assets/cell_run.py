"""One table of one cell while it is made: what it reads, the models that it asks, and what becomes
of its rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg
import polars as pl

from stargate_assets.config.experiment import Experiment
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.method.arms import BASE
from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.errors import StargateError
from stargate_assets.method.scoring import GoldLogProb
from stargate_assets.method.simulation import Cell
from stargate_assets.models.pool import ModelPool
from stargate_assets.models.stored import StoredModel
from stargate_assets.pipeline.assets.outputs import table_output
from stargate_assets.pipeline.assets.rows import (
    conversations_from_rows,
    gold_log_probs_from_rows,
    gold_texts,
    pairs_from_rows,
)
from stargate_assets.pipeline.assets.versions import (
    policy_checkpoint,
    registered_version,
    table_version,
)
from stargate_assets.storage.completions import Use
from stargate_assets.storage.io_manager import slice_of
from stargate_assets.storage.warehouse import MissingSliceError, Warehouse


class MissingReferenceError(StargateError):
    """What a cell is compared with is not there. The message names the cell that makes it."""


def cell_of(partition_key: str) -> Cell:
    """The cell that a partition key such as `1|train_b` stands for."""
    iteration, split = partition_key.split("|")
    return Cell(int(iteration), split)


def read_pairs(warehouse: Warehouse, data_set: str, split: str) -> list[Pair]:
    """Every task with every persona of a split."""
    where = [{"split": split}]
    tasks, personas = (warehouse.read(data_set, t, where) for t in ("tasks", "personas"))
    return pairs_from_rows(tasks, personas)


def read_gold_texts(warehouse: Warehouse, data_set: str, split: str) -> dict[tuple[str, str], str]:
    """The gold responses of a split that can be compared with, by (task_id, persona_id)."""
    return gold_texts(warehouse.read(data_set, "gold_responses", [{"split": split}]))


@dataclass(frozen=True)
class CellRun:
    """Made when an asset starts, before it reads anything, so `version` is never newer than what is
    read: rows that were made from what has been rewritten meanwhile are still due.
    """

    context: dg.AssetExecutionContext
    warehouse: Warehouse
    models: ModelPool
    name: str
    experiment: Experiment
    table: str
    cell: Cell
    policy: Checkpoint | None
    version: str

    def model(self, role: str, spec: ModelSpec | None = None) -> StoredModel:
        """The model that plays a role: the base model of the questioner unless another is stated.
        Its weights are loaded at the first call.
        """
        use = Use(self.name, self.cell.key, role)
        return self.models.open(spec or self.experiment.questioner, use)

    def policy_model(self, role: str) -> StoredModel:
        """The questioner as it is in this cell: policy i."""
        use = Use(self.name, self.cell.key, role)
        return self.models.open(self.experiment.questioner, use, self.policy)

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every task with every persona of the split."""
        return read_pairs(self.warehouse, self.experiment.data_set, self.cell.split)

    @cached_property
    def gold_texts(self) -> dict[tuple[str, str], str]:
        """The gold responses that can be compared with, by (task_id, persona_id)."""
        return read_gold_texts(self.warehouse, self.experiment.data_set, self.cell.split)

    @cached_property
    def conversations(self) -> list[Conversation]:
        """The cell's conversations, ordered by pair and sample."""
        return conversations_from_rows(self.rows("conversations"), self.pairs)

    @cached_property
    def best_conversations(self) -> list[Conversation]:
        """Those of them that were selected."""
        best = self.rows("best_conversations").select("task_id", "persona_id", "sample")
        selected = set(best.iter_rows())
        return [c for c in self.conversations if c.key in selected]

    @cached_property
    def scores(self) -> list[GoldLogProb]:
        """The cell's scores of gold responses."""
        return gold_log_probs_from_rows(self.rows("gold_log_probs"), self.pairs)

    def data(self, table: str) -> pl.DataFrame:
        """A table of the data set on the cell's split."""
        where = {"split": self.cell.split}
        return self.warehouse.read(self.experiment.data_set, table, [where])

    def rows(self, table: str) -> pl.DataFrame:
        """A table of this cell."""
        return self.warehouse.read(self.name, table, [slice_of(self.cell.key)])

    def reference_rows(self, table: str) -> pl.DataFrame:
        """A table of the base model's cell on the same split. Raises MissingReferenceError."""
        key = Cell(BASE, self.cell.split).key
        try:
            return self.warehouse.read(self.name, table, [slice_of(key)])
        except MissingSliceError as error:
            raise MissingReferenceError(
                f"The base model's {table} on {self.cell.split} are not there to compare with; "
                f"materialise the cell {key} of {self.name} up to {table} first."
            ) from error

    def output(
        self, rows: pl.DataFrame, metadata: Mapping[str, Any], data_version: str | None = None
    ) -> dg.Output[pl.DataFrame]:
        """The rows, with the version of what they were made from."""
        policy = policy_checkpoint(self.warehouse, self.name, self.cell)
        now = version_now(self.warehouse, self.name, self.experiment, self.table, self.cell, policy)
        if now != self.version:
            self.context.log.warning(
                f"What {self.name}.{self.table} {self.cell.key} is made from was rewritten while "
                "it was made: its rows carry the version of what was read, so the cell is still "
                "due; materialise it again."
            )
        return table_output(rows, self.version, metadata, data_version)


def start_cell_run(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    models: ModelPool,
    name: str,
    experiment: Experiment,
) -> CellRun:
    """Begin to make the table and cell that the context names. Raises MissingPolicyError if the
    policy is not trained yet.
    """
    table, cell = context.asset_key.path[-1], cell_of(context.partition_key)
    policy = policy_checkpoint(warehouse, name, cell)
    version = version_now(warehouse, name, experiment, table, cell, policy)
    return CellRun(context, warehouse, models, name, experiment, table, cell, policy, version)


def version_now(
    warehouse: Warehouse,
    name: str,
    experiment: Experiment,
    table: str,
    cell: Cell,
    policy: Checkpoint | None,
) -> str:
    """The version of a table that is made from what is in the warehouse now, by this policy."""
    there, data = warehouse.materializations(name), warehouse.materializations(experiment.data_set)
    keys = {"cell": cell.key, "reference": Cell(BASE, cell.split).key}

    def version_of(where: str, read: str) -> str:
        if where == "data":
            return registered_version(data, read, cell.split)
        return registered_version(there, read, keys[where])

    return table_version(experiment, table, cell.split, policy, version_of)
