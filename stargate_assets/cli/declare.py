"""The commands that declare what is to be run: each writes a defs.yaml."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from stargate_assets.cli.terminal import console


def path_option(help_text: str, *, required: bool = False) -> dict[str, Any]:
    """What `click.option` needs to know of an option that takes a path."""
    return {"type": click.Path(path_type=Path), "required": required, "help": help_text}


@click.command()
@click.argument("name")
@click.option("--tasks", metavar="FILE", help="File, folder, pattern, URL; or PRESET:FILE.")
@click.option("--personas", metavar="FILE", help="The same.")
@click.option(
    "--domain", "domains", metavar="TEXT", multiple=True, help="Write everything, about this."
)
@click.option("--model", metavar="MODEL", help="With --domain: who writes everything.")
@click.option(
    "--engine", default="transformers", show_default=True, help="With --domain: where it runs."
)
@click.option("--gold-responses", metavar="FILE", help="Recorded gold responses.")
@click.option("--oracle", metavar="MODEL", help="Writes the gold responses that are not recorded.")
@click.option(
    "--column",
    "columns",
    metavar="TABLE.FIELD=COLUMN",
    multiple=True,
    help="Where a file calls it otherwise, e.g. tasks.text=query.",
)
@click.option(
    "--format",
    "formats",
    metavar="TABLE.FIELD=VALUE",
    multiple=True,
    help="How a file is to be read: its encoding, delimiter or sheet, e.g. tasks.encoding=cp1252.",
)
@click.option("--skip-bad", is_flag=True, help="Leave rows with faults out, and count them.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the drawn splits.")
def init(
    name: str,
    tasks: str | None,
    personas: str | None,
    domains: tuple[str, ...],
    model: str | None,
    engine: str,
    gold_responses: str | None,
    oracle: str | None,
    columns: tuple[str, ...],
    formats: tuple[str, ...],
    skip_bad: bool,
    seed: int,
) -> None:
    """Check the files of a data set NAME, or state who writes it, and declare it under
    stargate_assets/defs/.
    """
    from stargate_assets.cli.scaffold import scaffold_data_set
    from stargate_assets.cli.scaffold_written import scaffold_written_data_set

    if domains:
        if tasks or personas or gold_responses or oracle or columns or formats or skip_bad:
            raise click.UsageError("--domain takes --model, --engine and --seed, and no files.")
        if model is None:
            raise click.UsageError("--domain needs --model: who writes the data set.")
        path = scaffold_written_data_set(name, domains, {"engine": engine, "model": model}, seed)
        console.print(f"Wrote {escape(str(path))}.", soft_wrap=True)
        console.print(f"Write the data: stargate run {name}")
        return
    if tasks is None or personas is None:
        raise click.UsageError("State --tasks and --personas, or --domain and --model.")
    files = {"tasks": tasks, "personas": personas, "gold_responses": gold_responses}
    scaffold = scaffold_data_set(
        name,
        {table: file for table, file in files.items() if file is not None},
        _stated_of_tables("--column", columns),
        _stated_of_tables("--format", formats),
        oracle,
        seed,
        skip_bad=skip_bad,
    )
    for line in scaffold.findings:
        console.print(escape(line), soft_wrap=True)
    console.print(f"Wrote {escape(str(scaffold.path))}.", soft_wrap=True)
    if gold_responses is None and oracle is None:
        console.print("An experiment needs gold responses too: add a file or an oracle there.")
    console.print(f"Load it: stargate run {name}")


def _stated_of_tables(option: str, values: Sequence[str]) -> list[tuple[str, str, str]]:
    """(table, field, value) of each TABLE.FIELD=VALUE."""
    found: list[tuple[str, str, str]] = []
    for value in values:
        match = re.fullmatch(r"(\w+)\.(\w+)=(.+)", value, re.DOTALL)
        if match is None:
            raise click.UsageError(f"{option} {value!r} is not of the form TABLE.FIELD=VALUE.")
        found.append((match[1], match[2], match[3]))
    return found


@click.command()
@click.argument("data_set")
@click.option("--model", default="bundled", show_default=True, help="Under which they are scored.")
@click.option(
    "--pairs", type=click.IntRange(1), default=16, show_default=True, help="How many, drawn."
)
def headroom(data_set: str, model: str, pairs: int) -> None:
    """Say whether the gold responses of DATA_SET leave anything to win by asking, before anything
    is simulated.
    """
    from stargate_assets.cli.driver import load
    from stargate_assets.cli.headroom import describe_headroom
    from stargate_assets.config.model_spec import ModelSpec

    for line in describe_headroom(load(data_set), data_set, ModelSpec(model=model), pairs):
        console.print(escape(line), soft_wrap=True)


@click.command()
@click.argument("name")
@click.option("--from", "like", metavar="EXPERIMENT", required=True, help="Start from this one.")
@click.argument("fields", metavar="[FIELD=VALUE]...", nargs=-1)
def new(name: str, like: str, fields: tuple[str, ...]) -> None:
    """Declare an experiment NAME: like another, but for the FIELDs that differ, such as
    training.epochs=3. A VALUE is YAML.
    """
    import yaml

    from stargate_assets.cli.scaffold import scaffold_experiment

    assignments: list[tuple[str, Any]] = []
    for field in fields:
        match = re.fullmatch(r"([\w.]+)=(.*)", field, re.DOTALL)
        if match is None:
            raise click.UsageError(f"{field!r} is not of the form FIELD=VALUE.")
        try:
            assignments.append((match[1], yaml.safe_load(match[2])))
        except yaml.YAMLError as error:
            raise click.UsageError(f"The value of {match[1]} is not YAML: {match[2]}.") from error
    path = scaffold_experiment(name, like, assignments)
    console.print(f"Wrote {escape(str(path))}.", soft_wrap=True)
    console.print(f"Run it: stargate run {name}")
