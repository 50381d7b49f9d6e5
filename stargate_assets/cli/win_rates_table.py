"""Win rates for the terminal, with what the Judges are worth."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from rich.markup import escape
from rich.table import Table

from stargate_assets.method.arms import Arm, Players, Reference, arms_of
from stargate_assets.method.audits import Audit

OF_ASKING = "*"
"""Marks the row whose reference is answered by the policy too."""

Row = Mapping[str, Any]
"""Of `win_rates`."""


def make_win_rates_table(experiment: str, frame: pl.DataFrame) -> Table:
    """A row for each policy, reference and arm, by the headline Judge, and a column for each other
    Judge; how far they can be trusted stands below.
    """
    of_all = frame.filter(pl.col("dimension") == "all")
    rows = {(r["judge"], r["iteration"], r["reference"], r["arm"]): r for r in of_all.to_dicts()}
    headline = of_all.filter("headline")["judge"][0]
    others = sorted({judge for judge, *_ in rows} - {headline})
    table = Table(
        title=f"{experiment}: responses that {escape(headline)} prefers to the base model's own",
        caption="\n".join(
            [*(_describe_judge(of_all, judge) for judge in (headline, *others)), _caption(of_all)]
        ),
    )
    table.add_column("policy", justify="right")
    for column in ("asks", "answers"):
        table.add_column(column)
    for column in ("win rate", "95 % interval", "won, tied, lost", "unscored"):
        table.add_column(column, justify="right")
    for judge in others:
        table.add_column(escape(judge), justify="right", overflow="fold")
    iterations = sorted(of_all["iteration"].unique())
    for iteration in iterations:
        compared = [
            (reference, arm)
            for reference in Reference
            for arm in arms_of(iteration)
            if (headline, iteration, reference, arm) in rows
        ]
        for key in compared:
            reference, arm = key
            players = arms_of(iteration)[arm]
            last = key == compared[-1] and iteration != iterations[-1]
            cells = _arm_cells(arm, players, rows[headline, iteration, *key])
            if reference is Reference.BASE_ASKS:
                cells[1] += OF_ASKING
            cells += [_other_cell(rows[judge, iteration, *key]) for judge in others]
            table.add_row(str(iteration), *cells, end_section=last)
    return table


def _arm_cells(arm: Arm, players: Players, row: Row) -> list[str]:
    how = ", instructed" if arm.instructed else ""
    asks = "nobody" if players.asker is None else f"policy {players.asker}"
    counts = f"{row['wins']}, {row['ties']}, {row['losses']}"
    interval = "" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
    return [
        asks,
        f"policy {players.answerer}{how}",
        _format_share(row["win_rate"]),
        interval,
        counts,
        str(row["unscored"]),
    ]


def _other_cell(row: Row) -> str:
    """Another Judge's win rate, and the share of pairs with the headline Judge's verdict."""
    agreed = "" if row["agreement"] is None else f" ({row['agreement']:.0%})"
    return f"{_format_share(row['win_rate'])}{agreed}"


def _describe_judge(of_all: pl.DataFrame, judge: str) -> str:
    """How far a Judge can be trusted."""
    latest = of_all.filter(judge=judge).sort("iteration").row(-1, named=True)
    found = [
        f"{latest[f'{audit}_audit']:.0%} ({latest[f'{audit}_audit_low']:.0%} to "
        f"{latest[f'{audit}_audit_high']:.0%}) on {audit.label}"
        for audit in Audit
        if latest[f"{audit}_audit"] is not None
    ]
    said = f"finds it in {' and '.join(found)}" if found else "has no verdict"
    return f"Where the truth is known, {escape(judge)} {said}."


def _caption(of_all: pl.DataFrame) -> str:
    sentences = ["Ties count half."]
    if of_all["judge"].n_unique() > 1:
        sentences.append("In brackets: pairs with the same verdict as the first judge's.")
    if (of_all["reference"] == Reference.BASE_ASKS).any():
        sentences.append(
            f"{OF_ASKING} Against the policy's answer after the base model's questions."
        )
    return " ".join(sentences)


def _format_share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
