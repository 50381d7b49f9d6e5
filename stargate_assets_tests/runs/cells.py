"""A training cell through the real definitions, up to what it would be trained on."""

import dagster as dg
import polars as pl

from stargate_assets.cli.driver import open_instance
from stargate_assets.definitions.project import Project
from stargate_assets.pipeline.jobs import data_job_name, job_name
from stargate_assets.storage.io_manager import slice_of

TABLES = ("conversations", "gold_log_probs", "best_conversations", "regularization_responses")
SPLIT, KEY = "train_a", "0|train_a"


def materialize(project: Project, name: str) -> dg.ExecuteInProcessResult:
    """Make the tables of the experiment's first training cell, in the current directory."""
    repository = project.definitions.get_repository_def()
    keys = [dg.AssetKey([name, table]) for table in TABLES]
    with open_instance() as instance:
        data = repository.get_job(data_job_name(project.experiments[name].data_set))
        data.execute_in_process(instance=instance, partition_key=SPLIT)
        made = repository.get_job(job_name(name, "train")).execute_in_process(
            instance=instance, partition_key=KEY, asset_selection=keys
        )
    checked = made.get_asset_check_evaluations()
    assert {evaluation.asset_key for evaluation in checked} == set(keys)
    assert all(evaluation.passed for evaluation in checked)
    return made


def tables(project: Project, name: str) -> dict[str, pl.DataFrame]:
    """What is in the warehouse of them."""
    return {table: project.warehouse.read(name, table, [slice_of(KEY)]) for table in TABLES}
