"""Requests without an answer, for the terminal."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from stargate_assets.cli.terminal import console
from stargate_assets.models.usage import Usage

Failed = tuple[str, str, str, str, str]
"""A request without an answer: slice, role, model, reason, and what the server said."""


def usage_failures(usage: Usage) -> list[Failed]:
    """The requests that a run asked and that have no answer."""
    return [
        (f"{use.schema} {use.slice}", use.role, model, failure.reason, failure.said)
        for (_, use), (model, failure) in usage.failures.items()
    ]


def print_failures(name: str, failed: Sequence[Failed]) -> None:
    """How many requests have no answer, by reason; the first of each with the server's words."""
    if not failed:
        return
    table = Table(title=f"{name}: requests without an answer", show_lines=True)
    for column in ("slice", "role", "model", "reason"):
        table.add_column(column, overflow="fold")
    table.add_column("requests", justify="right")
    table.add_column("what the server said", overflow="fold")
    for kind in dict.fromkeys(row[:4] for row in failed):
        said = [row[4] for row in failed if row[:4] == kind]
        table.add_row(*map(escape, kind), str(len(said)), escape(said[0]))
    console.print(table)
    console.print(
        f"stargate run {name} --retry-failed asks them again, and nothing else.", soft_wrap=True
    )
