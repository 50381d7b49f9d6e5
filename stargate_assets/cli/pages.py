"""The pages of experiments: what `stargate report` and `stargate compare` write."""

from collections.abc import Sequence
from pathlib import Path

from stargate_assets.cli.driver import find_experiment
from stargate_assets.definitions.project import Project
from stargate_assets.pipeline.assets.evaluation import read_evaluated_tables
from stargate_assets.pipeline.assets.report_page import page_path, write_page
from stargate_assets.reporting.comparison import compare
from stargate_assets.reporting.comparison_grids import comparison_grids
from stargate_assets.reporting.quality import Grid
from stargate_assets.reporting.tables import ExperimentTables


def write_report(project: Project, names: Sequence[str]) -> Path:
    """The page of one experiment, or of several beside each other; returns where it is."""
    return write_page(project.warehouse, _read_evaluated_tables(project, names))


def compare_experiments(
    project: Project, names: Sequence[str], policy: int | None = None
) -> tuple[list[Grid], Path]:
    """The tables that hold the latest policy of each experiment, or the one that is asked for,
    against the first's; and where the page is that shows them with a figure.
    """
    tables = _read_evaluated_tables(project, names)
    grids = comparison_grids(compare(tables, policy))
    return grids, write_page(project.warehouse, tables, policy)


def _read_evaluated_tables(project: Project, names: Sequence[str]) -> list[ExperimentTables]:
    return [
        read_evaluated_tables(project.warehouse, name, find_experiment(project, name))
        for name in dict.fromkeys(names)
    ]


def find_report_page(project: Project, name: str) -> Path:
    """The page that the last run of the experiment wrote; written again where it was deleted."""
    path = page_path(project.warehouse, [name])
    return path if path.exists() else write_report(project, [name])
