"""The tables of one experiment that its report is made from."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from stargate_assets.config.experiment import Experiment
from stargate_assets.method.arms import Arm, Reference
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.statistics import PairValues
from stargate_assets.storage.schemas import SCHEMAS


@dataclass(frozen=True, slots=True)
class ExperimentTables:
    """The tables of an experiment and its data set.

    `frames` has whole tables by name, of the slices that were made from the experiment's present
    settings. `written` are their rows of `warehouse.materializations`, `usage` those of
    `warehouse.usage`.
    """

    name: str
    experiment: Experiment
    frames: Mapping[str, pl.DataFrame]
    written: pl.DataFrame
    usage: pl.DataFrame

    def frame(self, table: str) -> pl.DataFrame:
        """A whole table; one that was not written has no rows."""
        found = self.frames.get(table)
        return SCHEMAS[table].create_empty() if found is None else found

    def tested(self, table: str) -> pl.DataFrame:
        """A table's rows on the test split."""
        return self.frame(table).filter(pl.col("split") == TEST_SPLIT)

    def headline(
        self, table: str, reference: Reference = Reference.BASE, *, tested: bool = True
    ) -> pl.DataFrame:
        """A table's rows of the headline Judge against one reference, on the test split or on
        all.
        """
        judge = self.experiment.judge
        frame = self.tested(table) if tested else self.frame(table)
        if judge is None:
            return frame.clear()
        return frame.filter(judge=judge.label, reference=reference)


def first_row(frame: pl.DataFrame, **values: object) -> dict[str, object] | None:
    """The row with these values, or None."""
    found = frame.filter(*(pl.col(column) == value for column, value in values.items()))
    return found.row(0, named=True) if found.height else None


def metric_row(
    report: pl.DataFrame, metric: str, iteration: int, arm: Arm = Arm.METHOD
) -> dict[str, object] | None:
    """A policy's row of the table `report` for a metric, in this arm if answers show it."""
    of_arm = report.filter(pl.col("arm").is_null() | (pl.col("arm") == arm))
    return first_row(of_arm, metric=metric, iteration=iteration)


def by_pair(frame: pl.DataFrame, column: str) -> PairValues:
    """The mean of a column for each pair."""
    means = frame.group_by("task_id", "persona_id").agg(pl.col(column).mean())
    return {(task, persona): value for task, persona, value in means.iter_rows()}
