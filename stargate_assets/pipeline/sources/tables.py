"""A data set's tables from its sources: ids, splits, and the rules that hold over several rows."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import polars as pl

from stargate_assets.config.data_set import DataError, DataSet, Source, with_sources
from stargate_assets.config.digest import digest_fields, digest_text
from stargate_assets.method.conversation import Persona
from stargate_assets.method.hygiene import Fault, names_in_tasks, repeated_texts
from stargate_assets.method.keys import text_id
from stargate_assets.method.personas import EXAMPLES
from stargate_assets.method.plan import SPLITS
from stargate_assets.method.splits import draw, draw_splits, split_sizes
from stargate_assets.method.text import SAME_TEXT, SameText
from stargate_assets.pipeline.sources.files import paths_of
from stargate_assets.pipeline.sources.rows import Row, Rows, raise_faults, read_rows

NEEDED = {
    "tasks": ("text",),
    "personas": ("name", "text"),
    "gold_responses": ("task", "persona", "text"),
}
"""The fields that a row of each table needs."""
RECORDED, GENERATED = "recorded", "generated"


@dataclass(frozen=True, slots=True)
class Table:
    """All rows of a source, those that are in no split included: their `split` is null."""

    frame: pl.DataFrame
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])

    def of(self, split: str) -> pl.DataFrame:
        return self.frame.filter(pl.col("split") == split)


@dataclass(frozen=True, slots=True)
class Tables:
    """What the sources of a data set hold; None is what they do not say."""

    tasks: Table
    personas: Table | None
    examples: list[Persona]
    gold_responses: Table | None


Read = Callable[[], Tables]


def content_version(data_set: DataSet) -> str:
    """A digest of what is stated and of the files: other files, other tables. Where the files lie
    does not matter.
    """
    stated = with_sources(data_set, lambda source: source.model_copy(update={"file": ()}))
    files = [f for source in data_set.sources() for f in paths_of(source) if f.is_file()]
    hashes = (hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return digest_text(digest_fields(stated, {"prompts", "license"}), *hashes)


def reader(name: str, data_set: DataSet) -> Read:
    """Reads the sources once for all splits. Refuses files that have changed since: the version of
    what would be written is of the files as they were.
    """
    version = content_version(data_set)

    @cache
    def read() -> Tables:
        if content_version(data_set) != version:
            raise DataError(
                f"The files of {name} have changed since the definitions were loaded; reload them "
                "(in the UI: Deployment, Reload)."
            )
        return read_tables(data_set)

    return read


def read_tables(data_set: DataSet) -> Tables:
    """Everything that the sources say, or a DataError: nothing is half-loaded."""
    same = data_set.same_text
    tasks = _task_rows(data_set.tasks, same)
    writer = data_set.persona_writer
    personas = _persona_rows(data_set.personas, same) if data_set.personas else None
    examples = _persona_rows(writer.examples, same) if writer else None
    if personas is not None:
        _refuse_names_in_tasks(personas, tasks)
    raise_faults(*(rows for rows in (tasks, personas, examples) if rows is not None))
    if examples is not None and len(examples.rows) < EXAMPLES:
        raise DataError(f"{examples.name} has one persona; a writer needs {EXAMPLES} examples.")
    task_table = _task_table(data_set.tasks, tasks, data_set.seed)
    persona_table = gold_table = None
    if personas is not None and data_set.personas is not None:
        persona_table = _persona_table(data_set.personas, personas, data_set.seed)
        if data_set.gold_responses is not None:
            gold_table = _gold_table(data_set, task_table, persona_table)
    return Tables(
        task_table,
        persona_table,
        [_persona(row) for row in examples.rows] if examples else [],
        gold_table,
    )


def _task_rows(source: Source, same: SameText) -> Rows:
    rows = read_rows(source, NEEDED["tasks"])
    _refuse_repeated(rows, "text", same)
    _refuse_without_split(rows)
    return rows


def _persona_rows(source: Source, same: SameText) -> Rows:
    rows = read_rows(source, NEEDED["personas"])
    for column in ("name", "text"):
        _refuse_repeated(rows, column, same)
    _refuse_without_split(rows)
    return rows


def _refuse_without_split(rows: Rows) -> None:
    """Where any row states its split, all must."""
    if any("split" in row.values for row in rows.rows):
        for row in rows.rows:
            if "split" not in row.values:
                message = "must be text, because other rows have it; add it"
                rows.refuse(row, "split", Fault("no_split", message))
        rows.keep([row for row in rows.rows if "split" in row.values])


def _task_table(source: Source, rows: Rows, seed: int) -> Table:
    by_id = {text_id(row["text"]): row for row in rows.rows}
    split_of = _splits(source, rows, by_id, seed)
    records = [
        {
            "split": split_of.get(task_id),
            "task_id": task_id,
            "text": row["text"],
            "domain": row.values.get("domain"),
            "kind": row.values.get("kind"),
        }
        for task_id, row in sorted(by_id.items())
    ]
    return _table(records, rows, ("domain", "kind"))


def _persona_table(source: Source, rows: Rows, seed: int) -> Table:
    by_id = {_persona(row).persona_id: row for row in rows.rows}
    split_of = _splits(source, rows, by_id, seed)
    records = [
        {
            "split": split_of.get(persona_id),
            "persona_id": persona_id,
            "name": row["name"],
            "text": row["text"],
            "source": RECORDED,
        }
        for persona_id, row in sorted(by_id.items())
    ]
    return _table(records, rows)


def _persona(row: Row) -> Persona:
    return Persona(text_id(row["name"], row["text"]), row["name"], row["text"])


def _table(
    records: Sequence[dict[str, str | None]], rows: Rows, optional: Sequence[str] = ()
) -> Table:
    schema = dict.fromkeys((*records[0], *optional), pl.String)
    frame = pl.DataFrame(list(records), schema=schema)
    undrawn = frame["split"].null_count()
    return Table(frame, dict(rows.left_out) | ({"not_drawn": undrawn} if undrawn else {}))


def _splits(source: Source, rows: Rows, by_id: Mapping[str, Row], seed: int) -> dict[str, str]:
    """id -> split: the rows' own, or drawn. Ids that are not in it are in no split."""
    ids = list(by_id)
    if source.limit is not None:
        ids = draw(ids, source.limit, seed, "limit")
    own = {row: split for row in ids if (split := by_id[row].values.get("split"))}
    if not own:
        sizes = source.sizes.model_dump() if source.sizes else split_sizes(len(ids))
        if len(ids) < sum(sizes.values()) or len(ids) < len(SPLITS):
            raise DataError(
                f"{rows.name} has {len(ids)} usable rows for splits of {_format_sizes(sizes)}; add "
                "rows, or state smaller sizes."
            )
        return draw_splits(ids, sizes, seed)
    if source.sizes is None:
        return own
    sizes = source.sizes.model_dump()
    drawn: dict[str, str] = {}
    for split, size in sizes.items():
        of_split = [row for row in ids if own[row] == split]
        if len(of_split) < size:
            raise DataError(
                f"{rows.name} has {len(of_split)} usable rows of the split {split} where sizes "
                f"ask for {size}; add rows, or state smaller sizes."
            )
        drawn |= dict.fromkeys(draw(of_split, size, seed, "split"), split)
    return drawn


def _format_sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {size}" for split, size in sizes.items())


def _refuse_repeated(rows: Rows, column: str, same: SameText) -> None:
    again: set[int] = set()
    for first, later in repeated_texts([row[column] for row in rows.rows], same):
        row = rows.rows[later]
        message = f"is the same as in {rows.rows[first].seen_from(row)}; remove one"
        rows.refuse(row, column, Fault("repeated", message))
        again.add(later)
    rows.keep([row for index, row in enumerate(rows.rows) if index not in again])


def _refuse_names_in_tasks(personas: Rows, tasks: Rows) -> None:
    named: set[int] = set()
    names, texts = [p["name"] for p in personas.rows], [t["text"] for t in tasks.rows]
    for person, task in names_in_tasks(names, texts):
        if person in named:
            continue
        message = (
            f"{names[person]!r} stands in the task of {tasks.rows[task]}; "
            "give the persona another name"
        )
        personas.refuse(personas.rows[person], "name", Fault("name_in_a_task", message))
        named.add(person)
    personas.keep([row for index, row in enumerate(personas.rows) if index not in named])


def _gold_table(data_set: DataSet, tasks: Table, personas: Table) -> Table:
    """The recorded gold responses of pairs inside a split. Where no Oracle writes what is missing,
    every pair needs one.
    """
    assert data_set.gold_responses is not None
    rows = read_rows(data_set.gold_responses, NEEDED["gold_responses"])
    same = SAME_TEXT[data_set.same_text]
    task_of = _ids_and_splits(tasks, "text", "task_id", same)
    persona_of = _ids_and_splits(personas, "name", "persona_id", same)
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
    return _table(records, rows)


def _ids_and_splits(
    table: Table, text: str, row_id: str, same: Callable[[str], str]
) -> dict[str, tuple[str, str | None]]:
    """The id and split of each row, by what its text has alike with the same one."""
    rows = table.frame.select(text, row_id, "split").iter_rows()
    return {same(said): (found, split) for said, found, split in rows}


def _complain_of_missing_pairs(
    rows: Rows,
    tasks: Table,
    personas: Table,
    recorded: Mapping[tuple[str, str], tuple[str, Row]],
) -> None:
    pairs = tasks.frame.join(personas.frame, on="split", suffix="_persona")
    columns = ("task_id", "persona_id", "text", "name")
    for number, (task_id, persona_id, task, name) in enumerate(pairs.select(columns).iter_rows()):
        if (task_id, persona_id) not in recorded:
            message = (
                f"{rows.name}: no gold response of {name!r} for the task {task!r}; add one, or "
                "state an oracle that writes what is missing."
            )
            rows.faults.append((number, message))
    raise_faults(rows)
