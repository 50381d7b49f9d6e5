"""What the `stargate` command shows: progress and tables."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.segment import Segment
from rich.table import Table

from stargate_assets.method.language_model import OnProgress
from stargate_assets.reporting.metrics import OF_CHOICES, OF_CONVERSATIONS, is_share
from stargate_assets.reporting.words import NARROW

if TYPE_CHECKING:
    from stargate_assets.definitions.project import Project
    from stargate_assets.models.usage import Usage
    from stargate_assets.reporting.quality import Grid

WIDTH_OF_A_FILE = 110
LEAST_WORDS = 20
"""Columns for words between a row's name and its numbers."""
ANY_WIDTH = 1_000_000
"""Of a console whose lines are not broken."""
_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
_VISIBLE = (
    dict.fromkeys((*range(128, 160), *range(55296, 57344)), "�")
    | _PICTURES
    | {ord(letter): letter for letter in "\t\n"}
)


def visible(text: str) -> str:
    """A text whose control characters are seen and not obeyed: models and data sets may write what
    a terminal would take for commands. Lines and tabs stay.
    """
    return text.translate(_VISIBLE)


class _Console(Console):
    """A console on which nothing that is shown commands the terminal."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(visible(text), style)


console = _Console()
if not console.is_terminal:
    console = _Console(width=WIDTH_OF_A_FILE)


@contextmanager
def progress_bars() -> Iterator[OnProgress]:
    """A bar for each kind of model call on a terminal, a line for each elsewhere."""
    if not console.is_terminal:
        yield _log_progress
        return
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    # Dagster tees a step's standard output through a file; bars want the terminal itself.
    terminal = Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w"), force_terminal=True)
    with Progress(*columns, console=terminal) as progress:
        bars: dict[str, TaskID] = {}

        def on_progress(doing: str, done: int, total: int) -> None:
            if doing not in bars:
                bars[doing] = progress.add_task(doing)
            progress.update(bars[doing], completed=done, total=total)
            if done == total:
                del bars[doing]

        yield on_progress


def _log_progress(doing: str, done: int, total: int) -> None:
    if done == total:
        console.print(f"  {doing}: {total}")


def print_rows(frame: pl.DataFrame, title: str | None = None) -> None:
    """A frame as a table."""
    print_table(frame.columns, frame.iter_rows(), title)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None
) -> None:
    """A table; where it is not for a terminal, each row is one line, however long."""
    table = Table(title=title and escape(title))
    for column in columns:
        table.add_column(escape(_format_cell(column)))
    for row in rows:
        table.add_row(*(escape(_format_cell(value)) for value in row))
    if console.is_terminal:
        console.print(table)
    else:
        _Console(file=console.file, width=ANY_WIDTH).print(table)


def _format_cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e9 else f"{value:.4g}"
    text = visible("NULL" if value is None else str(value))
    return text if console.is_terminal else text.translate(_PICTURES)


def print_report(experiment: str, frame: pl.DataFrame) -> None:
    """A row for each policy: levels, and gains on policy 0, each with its interval."""
    nats = "log p(gold response) in nats"
    _print_metrics(f"{experiment} on the test split", nats, frame, OF_CONVERSATIONS)
    there = set(frame["metric"])
    if chosen := {metric: label for metric, label in OF_CHOICES.items() if metric in there}:
        shares = "shares of conversations, or of pairs"
        _print_metrics(f"{experiment}, choices among the options", shares, frame, chosen)


def _print_metrics(title: str, unit: str, frame: pl.DataFrame, metrics: Mapping[str, str]) -> None:
    from stargate_assets.reporting.quality import NONE
    from stargate_assets.reporting.tables import metric_row

    table = Table(
        title=title,
        caption=f"{unit}; 95 % intervals, clustered by task and persona",
        show_lines=True,
    )
    table.add_column("policy", justify="right")
    for heading in metrics.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for iteration in sorted(frame["iteration"].unique()):
        cells: list[str] = []
        for metric in metrics:
            row: dict[str, Any] | None = metric_row(frame, metric, iteration)
            if row is None:  # one person alone hears nobody else
                cells.append(NONE)
                continue
            digits = 2 if is_share(metric) else 1
            lines = [
                f"{row['mean']:.{digits}f}",
                _format_interval(row["low"], row["high"], f".{digits}f"),
            ]
            if row["gain"] is not None:
                lines.append(f"gain {row['gain']:+.{digits}f}")
                lines.append(_format_interval(row["gain_low"], row["gain_high"], f"+.{digits}f"))
            cells.append("\n".join(lines))
        table.add_row(str(iteration), *cells)
    console.print(table)


def print_comparison(project: "Project", names: Sequence[str], policy: int | None = None) -> None:
    """The tables of a comparison, and where its page is."""
    from stargate_assets.cli.pages import compare_experiments

    grids, path = compare_experiments(project, names, policy)
    for grid in grids:
        console.print(make_grid_table(grid))
    console.print(f"Wrote {path}, with a figure; open it in a browser.", soft_wrap=True)


def make_grid_table(grid: "Grid") -> Table:
    """A table of the page, for the terminal: each row's name and its numbers are as wide as they
    must be, and other words take what is left.
    """
    table = Table(title=grid.title, caption=grid.note, show_lines=True)
    rows = [[cell.replace(NARROW, "") for cell in row] for row in grid.rows]
    widths: list[int] = []
    for number, heading in enumerate(grid.head):
        lines = [line for row in rows for line in row[number].splitlines()]
        widths.append(max(map(len, [*lines, *heading.split()])))
    others = sum(widths[grid.texts :]) + (grid.texts - 1) * LEAST_WORDS
    room = WIDTH_OF_A_FILE - others - 3 * len(widths) - 1
    table.add_column(grid.head[0], width=min(widths[0], room), overflow="fold")
    for heading in grid.head[1 : grid.texts]:
        table.add_column(heading, overflow="fold")
    for heading, width in zip(grid.head[grid.texts :], widths[grid.texts :], strict=True):
        table.add_column(heading, width=width, justify="right")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _format_interval(low: float, high: float, digits: str) -> str:
    return f"{low:{digits}} to {high:{digits}}"


def print_usage(usage: "Usage", seconds: float) -> None:
    """What a run has asked of its models, what that cost, and how long all of it took."""
    paid = f", {usage.dollars:.2f} dollars" if usage.dollars else ""
    if usage.estimated:
        paid += (
            f" ({usage.estimated} calls at the most that they can have been: the server did not "
        )
        paid += "report their tokens)"
    console.print(
        f"{usage.made} model calls in {usage.seconds:.0f} s{paid}, {usage.stored} answered from "
        f"disk, training {usage.training_seconds:.0f} s; {seconds:.0f} s in all."
    )
