"""The figures of docs/reproduction.md and its tables in Markdown, from what the warehouse holds.

stargate run --all embedded && python benchmarks/ablations.py
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from stargate_assets.cli.driver import list_family
from stargate_assets.definitions.project import Project, load_project
from stargate_assets.pipeline.assets.evaluation import NothingEvaluatedError, read_evaluated_tables
from stargate_assets.reporting import curves
from stargate_assets.reporting.comparison import compare
from stargate_assets.reporting.comparison_grids import (
    BEHAVIOUR,
    COSTS,
    GAINS,
    WIN_RATE,
    comparison_grids,
)
from stargate_assets.reporting.forest import forest
from stargate_assets.reporting.quality import NONE, Grid
from stargate_assets.reporting.tables import ExperimentTables

FIRST = "embedded"
POLICY = 1
"""The latest that all of them have."""
ABLATIONS = ("no_regularization", "any_answer", "faulty_masking", "gold_response", "self_oracle")
ROLEPLAYERS = ("roleplayer_generated", "several_roleplayers")
"""Experiments that the curves show beside the first, as figures 3a and 3b of the paper do."""
SAME_GOLD_RESPONSES = ABLATIONS[:-1]
FIGURES = Path(__file__).parent.parent / "docs" / "figures"


def main() -> None:
    """Write the figures, and print the tables."""
    experiments = evaluated(load_project())
    compared = compare(list(experiments.values()), POLICY)
    first = experiments[FIRST]

    def with_first(others: Sequence[str], table: str) -> dict[str, pl.DataFrame]:
        names = [FIRST, *(f"{FIRST}_{other}" for other in others)]
        return {name: experiments[name].frame(table) for name in names if name in experiments}

    pictures = {
        "comparison": forest(compared),
        "win_rates_of_ablations": curves.win_rates_by_experiment(
            with_first(ABLATIONS, "win_rates")
        ),
        "win_rates_by_roleplayer": curves.win_rates_by_experiment(
            with_first(ROLEPLAYERS, "win_rates")
        ),
        "win_rates_by_arm": curves.win_rates_by_arm(first.frame("win_rates")),
        "log_probs": curves.log_probs(first.frame("report"), controls=True),
        "log_probs_of_ablations": curves.log_probs_by_experiment(
            with_first(SAME_GOLD_RESPONSES, "report")
        ),
        "question_rates": curves.question_rates(with_first(ABLATIONS, "report")),
    }
    FIGURES.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        if picture is not None:
            (FIGURES / f"{name}.svg").write_text(picture.svg(), encoding="utf-8")
    print(markdown(in_one(*comparison_grids(compared))))


def evaluated(project: Project) -> dict[str, ExperimentTables]:
    """The embedded experiments whose policy is evaluated, the first one first."""
    found: dict[str, ExperimentTables] = {}
    for name in list_family(project, FIRST):
        try:
            tables = read_evaluated_tables(project.warehouse, name, project.experiments[name])
        except NothingEvaluatedError as error:
            print(error, file=sys.stderr)
            continue
        if POLICY in tables.frame("report")["iteration"]:
            found[name] = tables
    return found


def in_one(gained: Grid, away: Grid, does: Grid) -> Grid:
    """The comparison's tables as one: what was gained, how far that is from the first experiment,
    and what each policy does and costs.
    """

    def columns(grid: Grid, *wanted: str) -> dict[str, list[str]]:
        at = [grid.head.index(column) for column in wanted]
        return {row[0]: [row[column] for column in at] for row in [grid.head, *grid.rows]}

    won = columns(gained, WIN_RATE, *GAINS.values())
    differs = columns(away, away.head[-1])
    behaves = columns(does, *BEHAVIOUR, COSTS[0])
    head, *rows = [
        [name.removeprefix(f"{FIRST}_"), *values, *differs.get(name, [NONE]), *behaves[name]]
        for name, values in won.items()
    ]
    head[4] = f"less that of {FIRST}"
    return Grid(f"Policy {POLICY}", head, rows)


def markdown(grid: Grid) -> str:
    """A table, the lines of a cell in one."""
    rows = [grid.head, ["---"] * len(grid.head), *grid.rows]
    lines = ("| " + " | ".join(cell.replace("\n", " ") for cell in row) + " |" for row in rows)
    return "\n".join((f"**{grid.title}**\n", *lines, ""))


if __name__ == "__main__":
    main()
