"""The report's page: what it reads, and where it stands."""

import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from stargate_assets.config.data_set import DATA_TABLES
from stargate_assets.config.experiment import Experiment
from stargate_assets.method.keys import text_id
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.pipeline.assets.evaluation_sets import made_evaluations
from stargate_assets.pipeline.assets.lineage import ASIDE, EVALUATED, step_tables
from stargate_assets.pipeline.assets.versions import done_steps, missing_aside
from stargate_assets.reporting.page import report_page
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.storage.io_manager import slice_of
from stargate_assets.storage.warehouse import Slice, Warehouse

REPORTS = "reports"
LONGEST_STEM = 120


def experiment_tables(warehouse: Warehouse, name: str, experiment: Experiment) -> ExperimentTables:
    """All tables of the planned cells that are done, the data set's, what people said and their
    verdicts.
    """
    slices: dict[tuple[str, str], list[Slice]] = {}
    missing = missing_aside(warehouse, name, experiment)
    for step in done_steps(warehouse, name, experiment):
        aside = [table for table in ASIDE if (table, step.cell) not in missing]
        for table in (*step_tables(step.purpose, experiment), *aside):
            slices.setdefault((name, table), []).append(slice_of(step.cell.key))
    for cell in made_evaluations(warehouse, name, experiment):
        slices.setdefault((name, EVALUATED), []).append(slice_of(cell.key))
    if ("human_judgements", TEST_SPLIT) in warehouse.materializations(name):
        slices[name, "human_judgements"] = [slice_of(TEST_SPLIT)]
    for table, chat_id in warehouse.materializations(name):
        if table == "chats":
            slices.setdefault((name, table), []).append({"chat_id": chat_id})
    for table, split in warehouse.materializations(experiment.data_set):
        if table in DATA_TABLES:
            slices.setdefault((experiment.data_set, table), []).append({"split": split})
    return ExperimentTables(
        name,
        experiment,
        {key[1]: warehouse.read(*key, wanted) for key, wanted in slices.items()},
        registered_rows(warehouse, "materializations", name, experiment.data_set),
        registered_rows(warehouse, "usage", name, experiment.data_set),
    )


def page_path(warehouse: Warehouse, names: Sequence[str]) -> Path:
    """Where the page of these experiments is, written or not."""
    stem = "+".join(names)
    if len(stem) > LONGEST_STEM:  # file systems have a limit, 255 bytes as a rule
        stem = f"{names[0]}+{len(names) - 1}-{text_id(*names)}"
    return warehouse.path.parent / REPORTS / f"{stem}.html"


def write_page(
    warehouse: Warehouse, experiments: Sequence[ExperimentTables], policy: int | None = None
) -> Path:
    """Write the page of these experiments beside the warehouse, and say where. Several are compared
    at their latest policies, or at the one that is asked for.
    """
    path = page_path(warehouse, [tables.name for tables in experiments])
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")  # two runs may write the same page
    aside.write_text(report_page(experiments, policy), encoding="utf-8")
    aside.replace(path)
    return path


def registered_rows(warehouse: Warehouse, table: str, *schemas: str) -> pl.DataFrame:
    """The rows of one of the warehouse's own tables that are about these two schemas."""
    return warehouse.query(f"FROM warehouse.{table} WHERE schema_name IN (?, ?)", schemas)
