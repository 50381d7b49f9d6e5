"""What policies do on external evaluations, with intervals, and how near an evaluation is to what
was trained on.
"""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from stargate_assets.method.contamination import overlaps
from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.evaluations import EVALUATIONS
from stargate_assets.method.evaluations.kind import NAME, Figure, Item, Outcome
from stargate_assets.method.plan import TRAIN_SPLITS
from stargate_assets.method.statistics import Estimate
from stargate_assets.reporting.quality import NONE, Grid
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.reporting.words import percent, plural, points, signed

INTERVALS = (
    "With intervals clustered by what makes items alike; the last column is the latest policy's "
    "difference from policy 0."
)


def evaluation_grids(tables: ExperimentTables) -> list[Grid]:
    """A table of each external evaluation: its figures, by policy."""
    outcomes = tables.frame("evaluation_outcomes")
    return [
        _grid(str(name), of_one, tables)
        for (name, _), of_one in sorted(
            outcomes.group_by("split", "kind"), key=lambda found: str(found[0])
        )
    ]


def _grid(name: str, rows: pl.DataFrame, tables: ExperimentTables) -> Grid:
    kind = EVALUATIONS[rows["kind"][0]]
    found = {
        int(policy): outcomes_from_rows(of_one)
        for (policy,), of_one in sorted(rows.group_by("iteration"), key=lambda found: found[0])
    }
    latest = max(found)
    lines: list[list[str]] = []
    for figure in kind.figures:
        number, change = _numbers(figure)
        cells = [_cell(figure.estimate(outcomes), number) for outcomes in found.values()]
        gain = None
        if latest > 0 and 0 in found:
            gain = figure.difference(found[latest], found[0])
        lines.append([figure.label, *cells, _cell(gain, change)])
    return Grid(
        f"External evaluation {name}",
        ["", *(f"policy {policy}" for policy in found), "against policy 0"],
        lines,
        note=f"{_described(rows)} {INTERVALS} {_near_training(rows, tables)}",
    )


def _described(rows: pl.DataFrame) -> str:
    """How many items there are, and how many of them could not be measured."""
    kind = EVALUATIONS[rows["kind"][0]]
    parts = [f"{plural(rows['item_id'].n_unique(), 'item')}: {kind.description}."]
    if refused := int(rows["refused"].sum()):
        parts.append(f"{plural(refused, 'conversation')} refused, in no figure that rests on one.")
    return " ".join(parts)


def _near_training(rows: pl.DataFrame, tables: ExperimentTables) -> str:
    """Which items are near-duplicates of a task that is trained on."""
    trained = tables.frame("tasks").filter(pl.col("split").is_in(TRAIN_SPLITS))["text"].to_list()
    if not trained:
        return "The training tasks are not there to be compared with."
    found = overlaps(trained, sorted(rows["task"].unique()))
    if not found:
        return "No item is a near-duplicate of a training task."
    task, item, alike = max(found, key=lambda overlap: overlap[2])
    return (
        f"{plural(len({item for _, item, _ in found}), 'item')} near to a training task, the "
        f"nearest with a similarity of {alike:.2f}: {item!r} and {task!r}."
    )


def outcomes_from_rows(rows: pl.DataFrame) -> list[Outcome]:
    """The outcomes of a policy on an evaluation, as far as figures need them."""
    return [_outcome(row) for row in rows.sort("item_id").iter_rows(named=True)]


def _outcome(row: Mapping[str, Any]) -> Outcome:
    persona = Persona(row["item_id"], NAME, row["known"])
    item = Item(Pair(Task(row["item_id"], row["task"]), persona), row["cluster"])
    values = {measured["measure"]: measured["value"] for measured in row["measures"]}
    return Outcome(item, Conversation(item.pair, 0, row["roleplayer"]), values, row["first"])


def _numbers(figure: Figure) -> tuple[Callable[[float], str], Callable[[float], str]]:
    """How a figure and a difference of it are written."""
    return (percent, points) if figure.is_share else ("{:.2f}".format, signed)


def _cell(found: Estimate | None, number: Callable[[float], str]) -> str:
    """An estimate and its interval in two lines."""
    if found is None:
        return NONE
    return f"{number(found.mean)}\n({number(found.low)} to {number(found.high)})"
