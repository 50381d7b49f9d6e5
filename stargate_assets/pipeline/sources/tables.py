"""A data set's tables from its sources: ids, splits, and the rules that hold over several rows."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from stargate_assets.config.data_set import DataError, DataSet, Source, with_sources
from stargate_assets.config.digest import digest_fields, digest_text
from stargate_assets.method.conversation import Persona
from stargate_assets.method.hygiene import Fault, names_in_tasks, repeated_texts
from stargate_assets.method.keys import text_id
from stargate_assets.method.personas import EXAMPLES
from stargate_assets.method.plan import SPLITS
from stargate_assets.method.splits import draw, draw_splits, split_sizes
from stargate_assets.method.text import SameText
from stargate_assets.method.written_tasks import WrittenTask
from stargate_assets.pipeline.sources.files import paths_of
from stargate_assets.pipeline.sources.gold import make_gold_table
from stargate_assets.pipeline.sources.names import give_names
from stargate_assets.pipeline.sources.rows import OPTIONS, Row, Rows, raise_faults, read_rows
from stargate_assets.pipeline.sources.table import (
    RECORDED,
    Table,
    make_table,
    needed_fields,
)


@dataclass(frozen=True, slots=True)
class Tables:
    """What the sources of a data set hold; None is what they do not say. Tasks that a model writes
    are not among `tasks`.
    """

    tasks: Table
    task_examples: list[WrittenTask]
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
    task_writer, writer = data_set.task_writer, data_set.persona_writer
    task_source = task_writer.examples if task_writer else data_set.tasks
    assert task_source is not None
    tasks = _task_rows(task_source, same)
    seed = data_set.seed
    personas = data_set.personas and _persona_rows(data_set.personas, same, seed, tasks)
    examples = _persona_rows(writer.examples, same, seed, tasks) if writer else None
    if personas is not None and task_writer is None:
        _refuse_names_in_tasks(personas, tasks)
    raise_faults(*(rows for rows in (tasks, personas, examples) if rows is not None))
    if examples is not None and len(examples.rows) < EXAMPLES:
        raise DataError(f"{examples.name} has one persona; a writer needs {EXAMPLES} examples.")
    if task_writer is None:
        task_table = _task_table(task_source, tasks, data_set.seed)
    else:
        task_table = make_table("tasks", [], Rows("", False, {}))
    persona_table = gold_table = None
    if personas is not None and data_set.personas is not None:
        persona_table = _persona_table(data_set.personas, personas, data_set.seed)
        if data_set.gold_responses is not None:
            gold_table = make_gold_table(data_set, task_table, persona_table)
    return Tables(
        task_table,
        [_example_of(row) for row in tasks.rows] if task_writer else [],
        persona_table,
        [persona_of(r, writer.examples) for r in examples.rows] if writer and examples else [],
        gold_table,
    )


def _task_rows(source: Source, same: SameText) -> Rows:
    rows = read_rows(source, needed_fields("tasks", source))
    _refuse_repeated(rows, "text", same)
    _refuse_repeated_options(rows, same)
    _refuse_without_split(rows)
    return rows


def _persona_rows(source: Source, same: SameText, seed: int, tasks: Rows) -> Rows:
    rows = read_rows(source, needed_fields("personas", source), source.statements)
    _refuse_repeated(rows, "text", same)
    if source.names != "column":
        give_names(rows, source.names, seed, [task["text"] for task in tasks.rows])
    if source.names != "none":
        _refuse_repeated(rows, "name", same)
    _refuse_without_split(rows)
    return rows


def _example_of(row: Row) -> WrittenTask:
    """An example for who writes tasks; one that says no kind is taken for specific."""
    values = row.values
    return WrittenTask(row["text"], values.get("kind", "specific"), values.get("domain", "life"))


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
            "origin": source.origin,
            "options": list(row.options) or None,
        }
        for task_id, row in sorted(by_id.items())
    ]
    return make_table("tasks", records, rows)


def _persona_table(source: Source, rows: Rows, seed: int) -> Table:
    by_id = {persona_of(row, source).persona_id: row for row in rows.rows}
    split_of = _splits(source, rows, by_id, seed)
    records = [
        {
            "split": split_of.get(persona_id),
            "persona_id": persona_id,
            "name": row.values.get("name"),
            "text": row["text"],
            "source": RECORDED,
            "statements": list(row.statements) or None,
            "third_person": source.third_person or None,
            "origin": source.origin,
        }
        for persona_id, row in sorted(by_id.items())
    ]
    return make_table("personas", records, rows)


def persona_of(row: Row, source: Source) -> Persona:
    """A person as a row has it."""
    name, text = row.values.get("name", ""), row["text"]
    return Persona(text_id(name, text), name, text, row.statements, source.third_person)


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


def _refuse_repeated_options(rows: Rows, same: SameText) -> None:
    again: set[int] = set()
    for row in rows.rows:
        for first, later in repeated_texts(row.options, same):
            message = f"has the option {row.options[first]!r} again, as {row.options[later]!r}"
            rows.refuse(row, OPTIONS, Fault("repeated_option", f"{message}; remove one"))
            again.add(row.number)
            break
    rows.keep([row for row in rows.rows if row.number not in again])


def _refuse_names_in_tasks(personas: Rows, tasks: Rows) -> None:
    named: set[int] = set()
    names = [person.values.get("name", "") for person in personas.rows]
    texts = [task["text"] for task in tasks.rows]
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
