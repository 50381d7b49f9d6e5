"""The commands about the completion store: what models have answered, and what that may cost."""

import os
from math import isfinite

import click

from stargate_assets.cli.terminal import console, progress_bars


@click.group()
def completions() -> None:
    """Move what models have answered, or limit what all runs may pay together."""


@completions.command()
@click.option(
    "--to",
    "target",
    type=click.Choice(("postgresql", "sqlite")),
    required=True,
    help="The database that STARGATE_COMPLETIONS states, or warehouse/completions.sqlite.",
)
def copy(target: str) -> None:
    """Add what one completion store has to the other. What is there stays, and what was copied
    before is not counted again.
    """
    from stargate_assets.definitions.project import WAREHOUSE
    from stargate_assets.models.pool import COMPLETIONS
    from stargate_assets.storage.completions import CompletionStore
    from stargate_assets.storage.copy_completions import copy_completions
    from stargate_assets.storage.postgres import COMPLETIONS_URL, Postgres
    from stargate_assets.storage.sqlite import SqliteFile

    file, database = SqliteFile(WAREHOUSE / COMPLETIONS), Postgres.stated_in(os.environ)
    if database is None:
        raise click.UsageError(f"Set {COMPLETIONS_URL} to the address of the database.")
    source, to = (file, database) if target == "postgresql" else (database, file)
    if not source.is_there():
        raise click.ClickException("There is no completion store to copy.")
    with progress_bars() as on_progress:
        copied = copy_completions(CompletionStore(source), CompletionStore(to), on_progress)
    console.print(f"{copied.results} completions, {copied.new} of them new.")


@completions.command()
@click.argument("dollars", type=click.FloatRange(0, min_open=True), required=False)
@click.option("--remove", is_flag=True, help="Let runs pay without a common limit.")
def budget(dollars: float | None, remove: bool) -> None:
    """Let all runs that share the completion store pay DOLLARS from now on, together. Without
    DOLLARS, show what is left.
    """
    from stargate_assets.definitions.project import WAREHOUSE
    from stargate_assets.models.pool import ModelPool

    if dollars is not None and (remove or not isfinite(dollars)):
        raise click.UsageError("State a number of dollars, or --remove.")
    models = ModelPool(WAREHOUSE)
    if dollars is not None or (remove and models.database.is_there()):
        models.store().set_budget(dollars)
    found = models.store().budget() if models.database.is_there() else None
    if found is None:
        console.print("There is no budget; each run has a limit of its own (--max-dollars).")
        return
    console.print(
        f"Of {found.dollars:.2f} dollars, {found.paid:.4f} are paid, and {found.reserved:.4f} are "
        "reserved for calls under way.",
        soft_wrap=True,
    )
