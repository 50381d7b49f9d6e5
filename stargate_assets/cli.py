"""The `stargate` command: run an experiment, see where it stands, query its tables."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from stargate_assets.language_model import OnProgress

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

console = Console()


class _Commands(click.Group):
    """Shows what the user can mend as one sentence, with exit code 1; anything else is a bug and
    keeps its trace.
    """

    def invoke(self, ctx: click.Context) -> Any:
        from stargate_assets.errors import StargateError

        try:
            return super().invoke(ctx)
        except StargateError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="stargate-assets")
def main() -> None:
    """STaR-GATE: teach a language model to ask good clarifying questions."""
    logging.getLogger("transformers").setLevel(logging.ERROR)


@main.command()
@click.argument("experiment")
@click.option("--iterations", type=click.IntRange(1), help="Train this many policies.")
@click.option("--samples", type=click.IntRange(1), help="Conversations per training pair.")
@click.option("--seed", type=click.IntRange(0), help="Seed of everything that is drawn.")
@click.option("--force", metavar="CELL", help="Make a planned cell again, e.g. '0|train_a'.")
def run(
    experiment: str,
    iterations: int | None,
    samples: int | None,
    seed: int | None,
    force: str | None,
) -> None:
    """Materialise what is missing of EXPERIMENT and print its figures."""
    from stargate_assets.driver import load, run_experiment

    started = time.monotonic()
    project = load(experiment, iterations=iterations, samples=samples, seed=seed)
    with _progress() as on_progress:
        project.models.on_progress = on_progress
        frame = run_experiment(project, experiment, force, announce=console.print)
    _print_report(experiment, frame)
    usage = project.models.usage
    console.print(
        f"{usage.made} model calls made in {usage.seconds:.0f} s, {usage.stored} answered from "
        "disk; "
        f"{time.monotonic() - started:.0f} s in all."
    )


@main.command()
@click.argument("experiment")
def status(experiment: str) -> None:
    """Show which cells of EXPERIMENT are there and what runs next."""
    from stargate_assets.driver import cell_states, load

    project = load(experiment)
    table = Table(title=f"{experiment}: cells and the rows of their tables")
    for column in ("cell", "for", "state", "rows"):
        table.add_column(column)
    for state in cell_states(project, experiment):
        rows = ", ".join(f"{name} {count}" for name, count in state.rows.items())
        table.add_row(state.step.cell.key, state.step.purpose, state.state, rows)
    console.print(table)


@main.command()
@click.argument("query")
def sql(query: str) -> None:
    """Run a read-only QUERY on the warehouse, e.g. "from embedded.conversations limit 3"."""
    import duckdb

    from stargate_assets.definitions import WAREHOUSE
    from stargate_assets.storage.warehouse import Warehouse

    try:
        frame = Warehouse(WAREHOUSE / "stargate.duckdb").query(query)
    except duckdb.Error as error:
        raise click.ClickException(str(error)) from error
    table = Table()
    for column in frame.columns:
        table.add_column(column)
    for row in frame.iter_rows():
        table.add_row(*(escape(f"{v:.4f}" if isinstance(v, float) else str(v)) for v in row))
    console.print(table)


@contextmanager
def _progress() -> Iterator[OnProgress]:
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
    with Progress(*columns, console=console) as progress:
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


def _print_report(experiment: str, frame: pl.DataFrame) -> None:
    """The report as a table: level with interval, and the gain on policy 0 with interval."""
    from stargate_assets.assets.evaluation import METRICS, QUESTION_RATE

    table = Table(title=f"{experiment}: test split, 95 % intervals clustered by task and persona")
    for column in ("policy", "metric", "mean", "interval", "gain on policy 0", "interval"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    ordered = frame.sort("iteration", maintain_order=True)
    for row in ordered.iter_rows(named=True):
        digits = 2 if row["metric"] == QUESTION_RATE else 1
        gain = row["gain"]
        table.add_row(
            str(row["iteration"]),
            row["metric"] if row["metric"] == QUESTION_RATE else f"log p(gold), {row['metric']}",
            f"{row['mean']:.{digits}f}",
            f"{row['low']:.{digits}f} to {row['high']:.{digits}f}",
            "" if gain is None else f"{gain:+.{digits}f}",
            ""
            if gain is None
            else f"{row['gain_low']:+.{digits}f} to {row['gain_high']:+.{digits}f}",
            end_section=row["metric"] == METRICS[-1],
        )
    console.print(table)
