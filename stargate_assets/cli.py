"""The `stargate` command: run an experiment, see where it stands, query its tables."""

import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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

WIDTH_OF_A_FILE = 110
console = Console()
if not console.is_terminal:
    console = Console(width=WIDTH_OF_A_FILE)


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
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # PEFT's calls


@main.command()
@click.argument("name")
@click.option("--iterations", type=click.IntRange(1), help="Train this many policies.")
@click.option("--samples", type=click.IntRange(1), help="Conversations per training pair.")
@click.option("--seed", type=click.IntRange(0), help="Seed of everything that is drawn.")
@click.option("--force", metavar="CELL", help="Make a planned cell again, e.g. '0|train_a'.")
@click.option(
    "--max-dollars",
    type=click.FloatRange(0, min_open=True),
    help="Stop before the call that could cost more than this in all.",
)
def run(
    name: str,
    iterations: int | None,
    samples: int | None,
    seed: int | None,
    force: str | None,
    max_dollars: float | None,
) -> None:
    """Materialise what is missing of the experiment or data set NAME, and print its figures or its
    rows. The options change an experiment.
    """
    from stargate_assets.driver import load, run_data_set, run_experiment

    started = time.monotonic()
    project = load(name, iterations=iterations, samples=samples, seed=seed, max_dollars=max_dollars)
    with _progress() as on_progress:
        project.models.on_progress = on_progress
        if name in project.data_sets:
            if (iterations, samples, seed, force) != (None, None, None, None):
                raise click.UsageError(f"{name} is a data set; the options are for experiments.")
            _print_rows(run_data_set(project, name, announce=console.print), f"{name}: rows")
        else:
            _print_report(name, run_experiment(project, name, force, announce=console.print))
    usage, seconds = project.models.usage, time.monotonic() - started
    paid = f", {usage.dollars:.2f} dollars" if usage.dollars else ""
    console.print(
        f"{usage.made} model calls in {usage.seconds:.0f} s{paid}, {usage.stored} answered from "
        f"disk, training {usage.training_seconds:.0f} s; {seconds:.0f} s in all."
    )


def _file(help_text: str, *, required: bool = False) -> dict[str, Any]:
    return {"type": click.Path(path_type=Path), "required": required, "help": help_text}


@main.command()
@click.argument("name")
@click.option("--tasks", metavar="FILE", **_file("CSV, JSON lines or Parquet.", required=True))
@click.option("--personas", metavar="FILE", **_file("The same, with names.", required=True))
@click.option("--gold-responses", metavar="FILE", **_file("Recorded gold responses."))
@click.option("--oracle", metavar="MODEL", help="Writes the gold responses that are not recorded.")
@click.option(
    "--column",
    "columns",
    metavar="TABLE.FIELD=COLUMN",
    multiple=True,
    help="Where a file calls it otherwise, e.g. tasks.text=query.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the drawn splits.")
def init(
    name: str,
    tasks: Path,
    personas: Path,
    gold_responses: Path | None,
    oracle: str | None,
    columns: tuple[str, ...],
    seed: int,
) -> None:
    """Check the files of a data set NAME and declare it under stargate_assets/defs/."""
    from stargate_assets.scaffold import scaffold_data_set

    stated: list[tuple[str, str, str]] = []
    for column in columns:
        match = re.fullmatch(r"(\w+)\.(\w+)=(.+)", column)
        if match is None:
            raise click.UsageError(f"--column {column!r} is not of the form TABLE.FIELD=COLUMN.")
        stated.append((match[1], match[2], match[3]))
    files = {"tasks": tasks, "personas": personas, "gold_responses": gold_responses}
    given = {table: file for table, file in files.items() if file is not None}
    made = scaffold_data_set(name, given, stated, oracle, seed)
    for line in made.findings:
        console.print(escape(line), soft_wrap=True)
    console.print(f"Wrote {made.path}.", soft_wrap=True)
    if gold_responses is None and oracle is None:
        console.print("An experiment needs gold responses too: add a file or an oracle there.")
    console.print(f"Load it: stargate run {name}")


@main.command()
@click.argument("experiment")
def status(experiment: str) -> None:
    """Show which cells of EXPERIMENT are there, what runs next, and what models were asked."""
    from stargate_assets.driver import cell_states, load, record_usage

    project = load(experiment)
    table = Table(title=f"{experiment}: cells and the rows of their tables")
    for column in ("cell", "for", "state", "rows"):
        table.add_column(column)
    for state in cell_states(project, experiment):
        rows = ", ".join(f"{name} {count}" for name, count in state.rows.items())
        table.add_row(state.step.cell.key, state.step.purpose, state.state, rows)
    console.print(table)
    used = record_usage(project, project.experiments[experiment].data_set, experiment)
    if used:
        _print_rows(pl.DataFrame(used), f"{experiment}: model calls")


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
    _print_rows(frame)


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


def _print_rows(frame: pl.DataFrame, title: str | None = None) -> None:
    table = Table(title=title)
    for column in frame.columns:
        table.add_column(column)
    for row in frame.iter_rows():
        table.add_row(*(escape(f"{v:.4f}" if isinstance(v, float) else str(v)) for v in row))
    console.print(table)


def _print_report(experiment: str, frame: pl.DataFrame) -> None:
    """A row for each policy: levels, and gains on policy 0, each with its interval."""
    from stargate_assets.assets.evaluation import HEADINGS, QUESTION_RATE

    table = Table(
        title=f"{experiment} on the test split",
        caption="log p(gold response) in nats; 95 % intervals, clustered by task and persona",
        show_lines=True,
    )
    table.add_column("policy", justify="right")
    for heading in HEADINGS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for iteration in sorted(frame["iteration"].unique()):
        cells: list[str] = []
        for metric in HEADINGS:
            row = frame.row(
                by_predicate=(pl.col("iteration") == iteration) & (pl.col("metric") == metric),
                named=True,
            )
            digits = 2 if metric == QUESTION_RATE else 1
            lines = [f"{row['mean']:.{digits}f}", _interval(row["low"], row["high"], f".{digits}f")]
            if row["gain"] is not None:
                lines.append(f"gain {row['gain']:+.{digits}f}")
                lines.append(_interval(row["gain_low"], row["gain_high"], f"+.{digits}f"))
            cells.append("\n".join(lines))
        table.add_row(str(iteration), *cells)
    console.print(table)


def _interval(low: float, high: float, digits: str) -> str:
    return f"{low:{digits}} to {high:{digits}}"


def entry() -> None:
    """The console script. Leaves without tearing modules down: DuckDB's extension module would
    report the types that torch and Dagster still hold as leaks.
    """
    code = 0
    try:
        main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
