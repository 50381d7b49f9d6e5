"""Recorded gold responses, matched with the tasks and personas that they are for."""

from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase

from stargate_assets.config.data_set import DataSet
from stargate_assets.method.hygiene import Fault
from stargate_assets.method.text import SAME_TEXT
from stargate_assets.pipeline.sources.rows import Row, Rows, raise_faults, read_rows
from stargate_assets.pipeline.sources.table import NEEDED, RECORDED, Table, make_table


def make_gold_table(data_set: DataSet, tasks: Table, personas: Table) -> Table:
    """The recorded gold responses of pairs inside a split. Where no Oracle writes what is missing,
    every pair needs one.
    """
    assert data_set.gold_responses is not None
    rows = read_rows(data_set.gold_responses, NEEDED["gold_responses"])
    same = SAME_TEXT[data_set.same_text]
    task_of = _ids_and_splits(tasks, "text", "task_id", same)
    persona_of = _ids_and_splits(personas, "text", "persona_id", same)
    persona_of |= _ids_and_splits(personas, "name", "persona_id", same)
    options_of = dict(tasks.frame.select("task_id", "options").iter_rows())
    recorded: dict[tuple[str, str], tuple[str, Row]] = {}
    for row in rows.rows:
        task, persona = task_of.get(same(row["task"])), persona_of.get(same(row["persona"]))
        if task is None or persona is None:
            column, what = ("task", "task") if task is None else ("persona", "name of a persona")
            message = f"{row[column]!r} is no {what} of this data set; use one as it stands there"
            rows.refuse(row, column, Fault(f"unknown_{column}", message))
            continue
        if task[1] is None or task[1] != persona[1]:
            rows.left_out["pair_of_no_split"] += 1
            continue
        pair = task[0], persona[0]
        if pair in recorded:
            message = (
                f"is a second gold response for the pair of {recorded[pair][1].seen_from(row)}"
            )
            rows.refuse(row, "text", Fault("repeated", f"{message}; remove one"))
            continue
        if options := options_of[task[0]]:
            right = find_option(row["text"], options, same)
            if right is None:
                rows.refuse(row, "text", _unknown_option(row["text"], options))
                continue
            row.values["text"] = options[right]
        recorded[pair] = task[1], row
    raise_faults(rows)
    if data_set.oracle is None:
        _complain_of_missing_pairs(rows, tasks, personas, recorded)
    records = [
        {
            "split": split,
            "task_id": task_id,
            "persona_id": persona_id,
            "text": row["text"],
            "source": RECORDED,
            "exclusion": None,
        }
        for (task_id, persona_id), (split, row) in sorted(recorded.items(), key=lambda i: i[0])
    ]
    return make_table("gold_responses", records, rows)


def find_option(stated: str, options: Sequence[str], same: Callable[[str], str]) -> int | None:
    """Which option is meant by its text, or else by its letter, A for the first, or by its index
    from 0; None if none is.
    """
    texts = [same(option) for option in options]
    if same(stated) in texts:
        return texts.index(same(stated))
    if len(stated) == 1 and stated.upper() in ascii_uppercase:
        index = ascii_uppercase.index(stated.upper())
    else:
        index = int(stated) if stated.isascii() and stated.isdigit() else len(options)
    return index if index < len(options) else None


def _unknown_option(stated: str, options: Sequence[str]) -> Fault:
    message = (
        f"{stated!r} is none of the task's options ({', '.join(map(repr, options))}); state one by "
        "its text, its letter (A is the first) or its index (0 is the first)"
    )
    return Fault("unknown_option", message)


def _ids_and_splits(
    table: Table, text: str, row_id: str, same: Callable[[str], str]
) -> dict[str, tuple[str, str | None]]:
    """The id and split of each row, by what its text has alike with the same one."""
    rows = table.frame.select(text, row_id, "split").iter_rows()
    return {same(said): (found, split) for said, found, split in rows if said is not None}


def _complain_of_missing_pairs(
    rows: Rows,
    tasks: Table,
    personas: Table,
    recorded: Mapping[tuple[str, str], tuple[str, Row]],
) -> None:
    pairs = tasks.frame.join(personas.frame, on="split", suffix="_persona")
    columns = ("task_id", "persona_id", "text", "name", "text_persona")
    for number, (task_id, persona_id, task, name, persona) in enumerate(
        pairs.select(columns).iter_rows()
    ):
        if (task_id, persona_id) not in recorded:
            message = (
                f"{rows.name}: no gold response of {name or persona[:60]!r} for the task {task!r}; "
                "add one, or state an oracle that writes what is missing."
            )
            rows.faults.append((number, message))
    raise_faults(rows)
