"""One train cell of `star_gate` at the paper's size, without models:
`.venv/bin/python benchmarks/paper_size.py`

12,500 pairs x 10 conversations. Every role is played by the `scripted` engine, so what is measured
is this project: prompts, the completion store, tables and checks. The cell stops before its
training step. Prints seconds by asset, and the most memory that the process had.
"""

import os
import resource
import tempfile
import time
from pathlib import Path

import click
import dagster as dg
from rich.console import Console

from stargate_assets.config.data_set import DATA_TABLES, DataSet
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import Project, assemble, load_project
from stargate_assets.pipeline.assets.lineage import planned_tables

EXPERIMENT, SPLIT, CELL = "star_gate", "train_a", "0|train_a"
SCRIPTED = ModelSpec(engine="scripted", model="any")
console = Console()


def scripted_experiment(stated: Experiment) -> Experiment:
    """The same experiment, without models."""
    roleplayers = tuple(r.model_copy(update={"model": SCRIPTED}) for r in stated.roleplayers)
    return stated.model_copy(update={"questioner": SCRIPTED, "roleplayers": roleplayers})


def scripted_data_set(stated: DataSet) -> DataSet:
    """The same data set, without models."""
    assert stated.oracle is not None
    return stated.model_copy(
        update={"oracle": stated.oracle.model_copy(update={"model": SCRIPTED})}
    )


def scripted_project(root: Path) -> Project:
    """`star_gate` and its data set alone, in a warehouse of their own."""
    stated = load_project(root=root)
    experiment = scripted_experiment(stated.experiments[EXPERIMENT])
    name = experiment.data_set
    return assemble(
        {name: scripted_data_set(stated.data_sets[name])}, {EXPERIMENT: experiment}, root
    )


@click.command()
def main() -> None:
    """Measure a train cell at the paper's size."""
    with tempfile.TemporaryDirectory() as directory:
        project = scripted_project(Path(directory))
        data_set = project.experiments[EXPERIMENT].data_set
        job = project.definitions.get_repository_def().get_implicit_global_asset_job_def()
        wanted = [(data_set, table, SPLIT) for table in DATA_TABLES]
        wanted += [
            (EXPERIMENT, table, CELL)
            for table in planned_tables("train", project.experiments[EXPERIMENT])[:-1]
        ]
        cell_seconds = 0.0
        with dg.DagsterInstance.ephemeral() as instance:
            for schema, table, partition in wanted:
                started = time.perf_counter()
                job.execute_in_process(
                    instance=instance,
                    asset_selection=[dg.AssetKey([schema, table])],
                    partition_key=partition,
                    run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
                )
                seconds = time.perf_counter() - started
                cell_seconds += seconds * (schema == EXPERIMENT)
                rows = project.warehouse.materializations(schema)[table, partition].rows
                console.print(f"{schema}.{table} {partition}: {rows:,} rows in {seconds:.0f} s")
        gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        disk = sum(p.stat().st_size for p in Path(directory).rglob("*") if p.is_file()) / 2**30
        usage = project.models.usage
        console.print(
            f"cell {CELL} without training: {cell_seconds:.0f} s, goal < 600; {usage.made:,} calls "
            f"made; {gib:.2f} GiB of memory at most, goal < 3; {disk:.2f} GiB on disk"
        )
    os._exit(0)  # see stargate_assets.cli.main.entry


if __name__ == "__main__":
    main()
