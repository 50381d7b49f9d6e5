"""What `stargate run --retry-failed` makes again: slices with requests that have no answer."""

from collections.abc import Iterable

import polars as pl

from stargate_assets.cli.cells import list_cell_states
from stargate_assets.cli.driver import (
    Announce,
    DriverError,
    find_experiment,
    launcher,
    run_data_set,
    walk,
)
from stargate_assets.cli.other_runs import computes_here
from stargate_assets.definitions.project import Project
from stargate_assets.method.arms import BASE
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.simulation import Cell
from stargate_assets.storage.warehouse import slice_name

Slices = dict[str, set[str]]
"""By DuckDB schema."""
REPORT = slice_name({})


def retry_failed(project: Project, name: str, announce: Announce) -> pl.DataFrame:
    """Ask again what had no answer in an experiment or data set, and nothing that is not made from
    it; returns the report, or the rows of the data set.
    """
    is_data_set = name in project.data_sets
    if not is_data_set:
        find_experiment(project, name)
    due = forget_failed_slices(project, name)
    if not due:
        raise DriverError(f"Every request of {name} has an answer; there is nothing to ask again.")
    if is_data_set:
        return run_data_set(project, name, announce, due[name])
    with launcher(project, models=computes_here(project, name)) as launch:
        report = walk(project, name, None, launch, announce, due)
    if any(cell.state == "next" for cell in list_cell_states(project, name)):
        announce(f"{name}: other cells are due; stargate run {name} makes them")
    return report


def forget_failed_slices(project: Project, name: str) -> Slices:
    """Make due again what holds requests without an answer, and what is made from it; what has an
    answer comes from disk. Returns these slices of the experiment or data set, and of its data set.

    They are forgotten before anything is asked, so that a run that is killed leaves nothing that
    looks finished and is not.
    """
    experiment = project.experiments.get(name)
    schemas = [name] if experiment is None else [experiment.data_set, name]
    failed: Slices = {}
    for row in project.models.failure_rows(schemas):
        failed.setdefault(row.schema_name, set()).add(row.slice)
    due = _with_dependants(project, failed)
    for schema, slices in due.items():
        project.warehouse.forget(schema, sorted(slices))
    for schema, slices in failed.items():
        project.models.store().forget_failures(schema, sorted(slices))
    return {schema: due[schema] for schema in schemas if schema in due}


def _with_dependants(project: Project, failed: Slices) -> Slices:
    due = {schema: set(slices) for schema, slices in failed.items()}
    for name, experiment in project.experiments.items():
        there = {where for _, where in project.warehouse.materializations(name)}
        cells = due.get(name, set())
        for split in failed.get(experiment.data_set, ()):
            cells |= _on_split(there, split)
        if Cell(BASE, TEST_SPLIT).key in cells:  # what the others are compared with
            cells |= _on_split(there, TEST_SPLIT)
        if cells:
            due[name] = cells | {REPORT}
    return due


def _on_split(cells: Iterable[str], split: str) -> set[str]:
    return {cell for cell in cells if cell.endswith(f"|{split}")}
