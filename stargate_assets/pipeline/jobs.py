"""The jobs of data sets and experiments, and the sensor that walks an experiment's plan with
them.
"""

from collections.abc import Iterable
from functools import cache

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from stargate_assets.config.data_set import DataSet
from stargate_assets.config.digest import digest_text
from stargate_assets.config.experiment import Experiment
from stargate_assets.method.plan import Purpose, planned_steps, ready_steps
from stargate_assets.pipeline.assets.evaluation_sets import (
    Sets,
    missing_evaluations,
)
from stargate_assets.pipeline.assets.lineage import ASIDE, EVALUATED, planned_tables
from stargate_assets.pipeline.assets.versions import (
    cell_versions,
    data_versions,
    done_steps,
    missing_aside,
    missing_splits,
    policy_checkpoint,
    report_is_due,
    report_version,
)
from stargate_assets.storage.warehouse import Warehouse

PURPOSES: tuple[Purpose, ...] = ("train", "evaluate")


def job_name(experiment: str, purpose: Purpose) -> str:
    """The job that materialises a planned cell."""
    return f"{experiment}_{'train_iteration' if purpose == 'train' else 'evaluate'}"


def data_job_name(data_set: str) -> str:
    return f"{data_set}_data"


def aside_job_name(experiment: str, table: str) -> str:
    """The job that materialises a table aside by itself."""
    return f"{experiment}_{table}"


def evaluation_job_name(experiment: str) -> str:
    """The job that runs a policy on an external evaluation."""
    return f"{experiment}_external_evaluation"


def report_job_name(experiment: str) -> str:
    return f"{experiment}_report"


def _select(schema: str, tables: tuple[str, ...]) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(dg.AssetKey([schema, table]) for table in tables))


@cache  # the sensors of experiments must name the very job that the definitions hold
def data_set_job(data_set: str, tables: tuple[str, ...]) -> UnresolvedAssetJobDefinition:
    """Materialises all tables of a data set's split."""
    return dg.define_asset_job(
        data_job_name(data_set),
        _select(data_set, tables),
        description="Read or write the tasks, personas and gold responses of a split.",
    )


def experiment_jobs(name: str, experiment: Experiment) -> tuple[UnresolvedAssetJobDefinition, ...]:
    descriptions = {
        "train": "Simulate, score, select, answer and train: one iteration, cell (i, s(i)).",
        "evaluate": "What policy i does on the test split, cell (i, test).",
    }
    return (
        *(
            dg.define_asset_job(
                job_name(name, purpose),
                _select(name, planned_tables(purpose, experiment)),
                description=descriptions[purpose],
            )
            for purpose in PURPOSES
        ),
        *(
            dg.define_asset_job(
                aside_job_name(name, table),
                _select(name, (table,)),
                description=f"The table {table} of a cell whose other tables are there.",
            )
            for table in ASIDE
        ),
        *(
            [
                dg.define_asset_job(
                    evaluation_job_name(name),
                    _select(name, (EVALUATED,)),
                    description="What policy i does on an external evaluation.",
                )
            ]
            if experiment.evaluations
            else []
        ),
        dg.define_asset_job(
            report_job_name(name),
            _select(name, ("report",)),
            description="Estimates over all test cells that are there.",
        ),
    )


def walk_sensor(
    name: str,
    experiment: Experiment,
    jobs: Iterable[UnresolvedAssetJobDefinition],
    data_set: DataSet,
    evaluation_sets: Sets,
    data_location: str | None = None,
) -> dg.SensorDefinition:
    """Launches what can run next, with the experiment's `jobs`, until the plan is done; a run that
    failed is not launched again by itself.

    `data_location` is the code location that holds the data set, if it is another: no sensor can
    launch a job of another code location, so this one only says which job to run there.
    """
    data_jobs = (
        [data_set_job(experiment.data_set, data_set.tables)] if data_location is None else []
    )
    # Its assets refuse files that have changed since, so these are the versions that a run notes.
    loaded = data_versions(data_set)

    @dg.sensor(
        name=f"{name}_walk",
        jobs=[*data_jobs, *jobs],
        minimum_interval_seconds=10,
        description=f"Walks the plan of {name} unattended.",
    )
    def walk(warehouse: dg.ResourceParam[Warehouse]) -> dg.SensorResult | dg.SkipReason:
        current = data_versions(data_set) if data_location else loaded
        splits = needed_splits(experiment)
        missing = missing_splits(warehouse, experiment.data_set, current, splits)
        if missing and data_location is not None:
            return dg.SkipReason(
                f"The data set {experiment.data_set} lacks {', '.join(missing)}; run the job "
                f"{data_job_name(experiment.data_set)} of the code location {data_location} for "
                "each of these partitions."
            )
        requests = [
            dg.RunRequest(
                run_key=f"{experiment.data_set} {split} {digest_text(*current.values())}",
                job_name=data_job_name(experiment.data_set),
                partition_key=split,
            )
            for split in missing
        ] or _next_requests(warehouse, name, experiment, evaluation_sets)
        if not requests:
            return dg.SkipReason(f"The plan of {name} is done.")
        return dg.SensorResult(run_requests=requests)

    return walk


def _next_requests(
    warehouse: Warehouse, name: str, experiment: Experiment, sets: Sets
) -> list[dg.RunRequest]:
    """The cells that can be made now, or else the report if it is due."""
    data = warehouse.materializations(experiment.data_set)
    requests: list[dg.RunRequest] = []
    done = done_steps(warehouse, name, experiment)
    for step in ready_steps(experiment.iterations, done):
        policy = policy_checkpoint(warehouse, name, step.cell)
        versions = cell_versions(experiment, step.cell, policy, data)
        requests.append(
            dg.RunRequest(
                run_key=f"{name} {step.cell.key} {digest_text(*versions.values())}",
                job_name=job_name(name, step.purpose),
                partition_key=step.cell.key,
            )
        )
    for table, cell in missing_aside(warehouse, name, experiment):
        policy = policy_checkpoint(warehouse, name, cell)
        version = cell_versions(experiment, cell, policy, data)[table]
        requests.append(
            dg.RunRequest(
                run_key=f"{name} {table} {cell.key} {version}",
                job_name=aside_job_name(name, table),
                partition_key=cell.key,
            )
        )
    for cell, version in missing_evaluations(warehouse, name, experiment, sets):
        requests.append(
            dg.RunRequest(
                run_key=f"{name} {EVALUATED} {cell.key} {version}",
                job_name=evaluation_job_name(name),
                partition_key=cell.key,
            )
        )
    if not requests and report_is_due(warehouse, name):
        requests.append(
            dg.RunRequest(
                run_key=f"{name} report {report_version(warehouse, name)}",
                job_name=report_job_name(name),
            )
        )
    return requests


def needed_splits(experiment: Experiment) -> list[str]:
    """The splits of the data set that the plan uses."""
    return list(dict.fromkeys(s.cell.split for s in planned_steps(experiment.iterations)))
