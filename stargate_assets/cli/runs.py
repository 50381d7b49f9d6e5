"""What `stargate run` does, and what it prints of what is there then."""

import polars as pl

from stargate_assets.cli.driver import (
    find_experiment,
    list_family,
    run_data_set,
    run_experiment,
    run_experiments,
)
from stargate_assets.cli.evaluations import run_evaluations
from stargate_assets.cli.example_conversations import (
    example_conversations,
    print_example_conversations,
)
from stargate_assets.cli.pages import find_report_page
from stargate_assets.cli.retry import retry_failed
from stargate_assets.cli.terminal import (
    console,
    make_grid_table,
    print_comparison,
    print_report,
    print_rows,
)
from stargate_assets.cli.win_rates_table import make_win_rates_table
from stargate_assets.definitions.project import Project
from stargate_assets.pipeline.assets.report_page import experiment_tables
from stargate_assets.pipeline.assets.versions import done_steps
from stargate_assets.reporting.answers import answer_estimates
from stargate_assets.reporting.evaluation_sets import evaluation_grids
from stargate_assets.reporting.roleplayers import roleplayer_grids
from stargate_assets.storage.io_manager import slice_of


def run_family(project: Project, name: str) -> None:
    """Run an experiment and all that are named after it, and compare them."""
    names = list_family(project, name)
    for experiment, report in run_experiments(project, names, announce=console.print):
        _show(project, experiment, report)
    print_comparison(project, names)


def run_one(project: Project, name: str, force: str | None, *, retries: bool) -> None:
    """Run one experiment or data set, or ask again what had no answer in it."""
    if name in project.data_sets:
        make = retry_failed if retries else run_data_set
        print_rows(make(project, name, announce=console.print), f"{name}: rows")
        return
    if retries:
        report = retry_failed(project, name, announce=console.print)
    else:
        report = run_experiment(project, name, force, announce=console.print)
    _show(project, name, report)
    console.print(f"Report: {find_report_page(project, name)}", soft_wrap=True)
    print_example_conversations(console, example_conversations(project, name))


def evaluate(project: Project, name: str) -> None:
    """Run an experiment's policies on external evaluations, and show the figures."""
    tables = run_evaluations(project, name, announce=console.print)
    for grid in evaluation_grids(tables):
        console.print(make_grid_table(grid))


def _show(project: Project, experiment: str, report: pl.DataFrame) -> None:
    print_report(experiment, report)
    tables = experiment_tables(project.warehouse, experiment, find_experiment(project, experiment))
    grids = (*roleplayer_grids(tables), *answer_estimates(report), *evaluation_grids(tables))
    for grid in grids:
        console.print(make_grid_table(grid))
    win_rates = read_win_rates(project, experiment)
    if win_rates is not None:
        console.print(make_win_rates_table(experiment, win_rates))


def read_win_rates(project: Project, name: str) -> pl.DataFrame | None:
    """Read the win rates of the test cells that are done; None if nothing is judged there."""
    experiment = find_experiment(project, name)
    if experiment.judge is None:
        return None
    done = done_steps(project.warehouse, name, experiment)
    slices = [slice_of(step.cell.key) for step in done if step.purpose == "evaluate"]
    rows = project.warehouse.read(name, "win_rates", slices) if slices else None
    return rows if rows is not None and rows.height else None
