"""The `stargate` command: run an experiment, see where it stands, query its tables."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from signal import Signals
from typing import Any, NoReturn

import click
import polars as pl
from rich.markup import escape
from rich.table import Table

from stargate_assets.cli.completions import completions
from stargate_assets.cli.declare import headroom, init, new, path_option
from stargate_assets.cli.failures import describe_failure
from stargate_assets.cli.interrupts import EXIT_CODE_OF_A_SIGNAL, ending_signal, notice_signals
from stargate_assets.cli.query import sql
from stargate_assets.cli.terminal import (
    console,
    print_comparison,
    print_rows,
    print_usage,
    progress_bars,
    visible,
)
from stargate_assets.cli.use import chat, compare_blind, evaluate, publish, serve

KEPT = (
    "Every table that was written and every answer of a model is kept; the same command goes on "
    "from there."
)

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class Commands(click.Group):
    """Shows whatever goes wrong as one sentence, with exit code 1; Ctrl-C and SIGTERM as one with
    the exit codes that shells expect, 130 and 143. The trace of what came from elsewhere goes to a
    file that is named.
    """

    def invoke(self, ctx: click.Context) -> Any:
        with notice_signals():
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                _end(ctx, ending_signal() or Signals.SIGINT)
            except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
                raise
            except Exception as error:
                if ended_by := ending_signal():  # of which DuckDB makes an error of its own
                    _end(ctx, ended_by)
                raise click.ClickException(visible(describe_failure(error))) from error


def _end(ctx: click.Context, ended_by: Signals) -> NoReturn:
    click.echo(f"Ended by {ended_by.name}. {KEPT}", err=True)
    ctx.exit(EXIT_CODE_OF_A_SIGNAL + ended_by)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="stargate-assets")
def main() -> None:
    """STaR-GATE: teach a language model to ask good clarifying questions."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # PEFT's calls


def _change_options(command: Callable[..., None]) -> Callable[..., None]:
    """What a command may change of an experiment."""
    for option in (
        click.option("--seed", type=click.IntRange(0), help="Seed of everything that is drawn."),
        click.option("--samples", type=click.IntRange(1), help="Conversations per training pair."),
        click.option("--iterations", type=click.IntRange(1), help="Train this many policies."),
    ):
        command = option(command)
    return command


main.add_command(init)
main.add_command(new)
main.add_command(headroom)
main.add_command(sql)
main.add_command(completions)
main.add_command(chat)
main.add_command(compare_blind)
main.add_command(evaluate)
main.add_command(publish)
main.add_command(serve)
_all_option = click.option(
    "--all", "all_of_it", is_flag=True, help="NAME and every experiment that is called NAME_..."
)


@main.command()
@click.argument("name")
@_all_option
@_change_options
@click.option("--force", metavar="CELL", help="Make a planned cell again, e.g. '0|train_a'.")
@click.option(
    "--max-dollars",
    type=click.FloatRange(0, min_open=True),
    help="Stop before the call that could cost more than this in all.",
)
@click.option(
    "--retry-failed",
    "retries",
    is_flag=True,
    help="Ask again what had no answer, make again what is made from it, and nothing else.",
)
def run(
    name: str,
    all_of_it: bool,
    force: str | None,
    max_dollars: float | None,
    retries: bool,
    **changes: Any,
) -> None:
    """Materialise what is missing of the experiment or data set NAME, and print its figures or its
    rows. The options change an experiment.
    """
    from stargate_assets.cli.driver import load
    from stargate_assets.cli.failures_table import print_failures, usage_failures
    from stargate_assets.cli.runs import run_family, run_one

    if retries and (all_of_it or force is not None):
        raise click.UsageError("--retry-failed asks for one NAME; leave --all and --force out.")
    if force is not None and all_of_it:
        raise click.UsageError("--force is for one experiment; leave --all out.")
    started = time.monotonic()
    project = load(name, all_of_it=all_of_it, **changes, max_dollars=max_dollars)
    if not all_of_it and name in project.data_sets and {force, *changes.values()} != {None}:
        raise click.UsageError(f"{name} is a data set; the options are for experiments.")
    project = project.of_a_run(console.print)
    try:
        with progress_bars() as project.models.on_progress:
            if all_of_it:
                run_family(project, name)
            else:
                run_one(project, name, force, retries=retries)
    finally:
        print_failures(name, usage_failures(project.models.usage))
    print_usage(project.models.usage, time.monotonic() - started)


@main.command()
@click.argument("experiment")
def status(experiment: str) -> None:
    """Show which cells of EXPERIMENT are there, what runs next, and what models were asked."""
    from stargate_assets.cli.cells import list_cell_states
    from stargate_assets.cli.driver import load
    from stargate_assets.cli.failures_table import print_failures

    project = load(experiment)
    table = Table(title=f"{experiment}: cells and the rows of their tables")
    console.print(f"Warehouse: {escape(project.warehouse.place)}", soft_wrap=True)
    for column in ("cell", "for", "state", "rows"):
        table.add_column(column)
    for state in list_cell_states(project, experiment):
        rows = ", ".join(f"{name} {count}" for name, count in state.rows.items())
        table.add_row(state.step.cell.key, state.step.purpose, state.state, rows)
    console.print(table)
    schemas = (project.experiments[experiment].data_set, experiment)
    used = [row for row in project.models.calls().usage if row.schema_name in schemas]
    if used:
        print_rows(pl.DataFrame(used), f"{experiment}: model calls")
    print_failures(
        experiment,
        [
            (f"{row.schema_name} {row.slice}", row.role, row.model, row.reason, row.said)
            for row in project.models.failure_rows(schemas)
        ],
    )


@main.command()
@click.argument("experiment")
@click.option("--pair", type=click.IntRange(0), default=0, help="Which test pair, from 0.")
@click.option("--raw", is_flag=True, help="The text after the chat template; ⟦what is learnt⟧.")
def prompts(experiment: str, pair: int, raw: bool) -> None:
    """Show what each role of EXPERIMENT sees of one pair. Asks nothing."""
    from stargate_assets.cli.driver import load
    from stargate_assets.cli.prompts import print_prompts, print_raw_prompts, shown_prompts

    project = load(experiment)
    shown = shown_prompts(project, experiment, pair)
    if raw:
        print_raw_prompts(console, project, shown)
    else:
        print_prompts(console, shown)
    console.print(f"\nWarehouse: {escape(project.warehouse.place)}", soft_wrap=True)


@main.command()
@click.argument("name")
@_all_option
@_change_options
def estimate(name: str, all_of_it: bool, **changes: Any) -> None:
    """Show what the experiment NAME would still ask of its models, and what that costs. Asks
    nothing.
    """
    from stargate_assets.cli.driver import find_experiment, list_family, load
    from stargate_assets.cli.estimate.estimator import estimate_calls
    from stargate_assets.cli.estimate_tables import print_estimate, print_estimates

    project = load(name, all_of_it=all_of_it, **changes)
    if not all_of_it:
        find_experiment(project, name)
    with progress_bars() as project.models.on_progress:
        found = estimate_calls(project, list_family(project, name) if all_of_it else [name])
    if all_of_it:
        print_estimates(found)
    else:
        print_estimate(name, found[name], project.models.machine)


@main.command()
@click.argument("experiments", metavar="EXPERIMENT...", nargs=-1, required=True)
def report(experiments: tuple[str, ...]) -> None:
    """Write the page of one EXPERIMENT, or of several beside each other: figures, tables and every
    conversation in one HTML file.
    """
    from stargate_assets.cli.driver import load
    from stargate_assets.cli.pages import write_report

    path = write_report(load(experiments[0]), experiments)
    console.print(f"Wrote {escape(str(path))}; open it in a browser.", soft_wrap=True)


@main.command()
@click.argument("experiments", metavar="EXPERIMENT...", nargs=-1, required=True)
@click.option("--policy", type=click.IntRange(0), help="Of each; its latest unless stated.")
def compare(experiments: tuple[str, ...], policy: int | None) -> None:
    """Hold each EXPERIMENT against the first: gains, what differs, paired differences, costs; and
    write the page of them all.
    """
    from stargate_assets.cli.driver import load

    print_comparison(load(experiments[0]), experiments, policy)


@main.command()
@click.argument("experiment")
@click.option(
    "--format",
    "kind",
    type=click.Choice(("parquet", "jsonl", "dpo", "sft", "verifiers")),
    required=True,
    help="Tables as Parquet or JSON lines; preference pairs; training dialogues; an environment "
    "for reinforcement learning.",
)
@click.option("--to", metavar="DIRECTORY", **path_option("Else warehouse/exports/."))
def export(experiment: str, kind: Any, to: Path | None) -> None:
    """Write the tables of EXPERIMENT, its preference pairs (dpo) or training dialogues (sft), with
    a data card; or a package that verifiers and TRL's GRPO train with (verifiers).
    """
    from stargate_assets.cli.driver import load
    from stargate_assets.cli.export import export as write

    for path in write(load(experiment), experiment, kind, to):
        console.print(f"Wrote {escape(str(path))}", soft_wrap=True)


def entry() -> None:
    """The console script. Leaves without tearing modules down: DuckDB's extension module would
    report the types that torch and Dagster still hold as leaks.
    """
    code = 0
    try:
        main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except KeyboardInterrupt:  # before or after the command itself
        code = EXIT_CODE_OF_A_SIGNAL + Signals.SIGINT
    if traces := sys.modules.get("stargate_assets.models.traces"):
        traces.end_traces()
    with suppress(BrokenPipeError):  # who read the output has had enough of it
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
