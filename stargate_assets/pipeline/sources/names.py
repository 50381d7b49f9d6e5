"""Names for the personas of a source that has no column of them."""

from collections.abc import Sequence
from typing import Literal

from stargate_assets.method.hygiene import Fault, fault
from stargate_assets.method.keys import text_id
from stargate_assets.method.names import draw_name, found_name
from stargate_assets.method.text import mentions
from stargate_assets.pipeline.sources.rows import Row, Rows


def give_names(
    rows: Rows, how: Literal["drawn", "found", "none"], seed: int, tasks: Sequence[str]
) -> None:
    """Give each row the name that is drawn for it or found in its text; refuse rows that get none.
    Drawn ones are unlike each other, stand in no task, and do not depend on the order of rows.
    """
    if how == "none":
        return
    if how == "found":
        names = {row.number: found_name(row["text"]) for row in rows.rows}
    else:
        names = _drawn(rows.rows, seed, tasks)
    for row in rows.rows:
        name = names[row.number]
        wrong = fault("name", name) if name else None
        if not name:
            message = "no name can be found in it; state names: drawn, or none"
            if how == "drawn":
                message = "all names of its script that are shipped are taken; state names: none"
            wrong = Fault("no_name", message)
        if wrong is not None:
            rows.refuse(row, "text", wrong)
        elif name:
            row.values["name"] = name
    rows.keep([row for row in rows.rows if "name" in row.values])


def _drawn(rows: Sequence[Row], seed: int, tasks: Sequence[str]) -> dict[int, str | None]:
    everything = "\n".join(tasks)
    taken: set[str] = set()
    names: dict[int, str | None] = {}
    by_key = {text_id(row["text"]): row for row in rows}
    for key, row in sorted(by_key.items()):
        while True:
            name = draw_name(row["text"], seed, key, taken)
            if name is None:
                break
            taken.add(name)
            if not mentions(everything, name):
                break
        names[row.number] = name
    return names
