"""From records to rows: the columns that we need, as text that can be used."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import polars as pl

from stargate_assets.config.data_set import TRANSCRIPT_GROUP, DataError, Source, Statements
from stargate_assets.method.hygiene import LONE_SURROGATE, Fault, fault
from stargate_assets.method.plan import SPLITS
from stargate_assets.pipeline.sources.files import read_files
from stargate_assets.pipeline.sources.grids import OPEN_QUOTE
from stargate_assets.pipeline.sources.hub import read_hub
from stargate_assets.pipeline.sources.readers import read_records
from stargate_assets.pipeline.sources.records import Records, wrong_encoding

KINDS = ("specific", "general")
"""Whether the best answer to a task depends on who asks."""
SHOWN = 20
"""Faults of files that are told."""
_CHOICES = {"split": SPLITS, "kind": KINDS}
_OPTIONAL = ("split", "domain", "kind")
OPTIONS = "options"
"""The field of a task's options, a list."""


@dataclass(slots=True)
class Row:
    """`file` is what its records are called, a file or a data set of the Hub, `place` its record's,
    and `number` counts the records of a source.
    """

    file: str
    place: str
    number: int
    values: dict[str, str]
    statements: tuple[str, ...] = ()
    """What the text states, where it is a list."""
    options: tuple[str, ...] = ()
    """What may be answered."""

    def __getitem__(self, column: str) -> str:
        return self.values[column]

    def __str__(self) -> str:
        return f"{self.file}, {self.place}"

    def seen_from(self, other: "Row") -> str:
        """Where it stands, without its file if the other row is of the same."""
        return self.place if other.file == self.file else str(self)


@dataclass(slots=True)
class Rows:
    """The usable rows of a source, how many were left out for which reason, and the faults of a
    file, each with the number of its record.
    """

    name: str
    skips_bad: bool
    """Whether rows with faults are left out: where the user cannot mend them, or says so."""
    columns: Mapping[str, str | tuple[str, ...]]
    rows: list[Row] = field(default_factory=list[Row])
    left_out: Counter[str] = field(default_factory=Counter[str])
    faults: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def refuse(self, row: Row, column: str | None, found: Fault) -> None:
        """Count a row that is left out, or note its fault."""
        if self.skips_bad and found.reason != OPEN_QUOTE:
            self.left_out[found.reason] += 1
            return
        stated = None if column is None else self.columns.get(column, column)
        shown = "" if stated is None else f", column {', '.join(_columns(stated))!r}"
        self.faults.append((row.number, f"{row}{shown}: {found.message}."))

    def keep(self, kept: Sequence[Row]) -> None:
        self.rows = list(kept)


def _columns(stated: str | tuple[str, ...]) -> tuple[str, ...]:
    return (stated,) if isinstance(stated, str) else stated


def raise_faults(*tables: Rows) -> None:
    """Raise DataError for the faults of files: all of them, as far as a person reads."""
    faults = [fault for rows in tables for _, fault in sorted(rows.faults)]
    if not faults:
        return
    if len(faults) == 1:
        raise DataError(faults[0])
    names = ", ".join(rows.name for rows in tables if rows.faults)
    more = f"\n  and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    shown = "".join(f"\n  {fault}" for fault in faults[:SHOWN])
    raise DataError(
        f"{len(faults)} faults in {names}; correct them, or leave their rows out with skip_bad: "
        f"true (stargate init --skip-bad):{shown}{more}"
    )


def read_rows(source: Source, needed: Sequence[str], statements: Statements | None = None) -> Rows:
    """The rows with their `needed` columns and those of `split`, `domain` and `kind` that are
    there. `statements` is how a text is a list of these, None if it is just a text.
    """
    if source.hub:
        parts = iter([read_hub(source.hub)])
    else:
        parts = (read_records(file, source) for file in read_files(source))
    rows = Rows("", source.hub is not None or source.skip_bad, source.columns)
    fields = (*needed, *_OPTIONAL)
    unknown = [name for name in source.columns if name not in fields]
    if unknown:
        raise DataError(
            f"{unknown[0]!r} under columns is no field; there are: {', '.join(fields)}."
        )
    pattern = re.compile(source.transcript, re.DOTALL) if source.transcript else None
    numbers = count(1)
    for part in parts:
        rows.name = f"{rows.name}, {part.name}" if rows.name else part.name
        _check_header(part, source, needed)
        for record in part.records:
            if record.left_out:
                rows.left_out[record.left_out] += 1
                continue
            if record.fault is not None:
                rows.refuse(Row(part.name, record.place, next(numbers), {}), None, record.fault)
                continue
            for values in _unpivoted(record.values, source):
                row = Row(part.name, record.place, next(numbers), {})
                if _fill_in(row, rows, part, values, needed, pattern, statements):
                    rows.rows.append(row)
    if not rows.rows and not rows.faults:
        raise DataError(f"{rows.name} has no rows{_format_counts(rows.left_out)}; add some.")
    return rows


def _check_header(found: Records, source: Source, needed: Sequence[str]) -> None:
    named = [source.columns.get(name, name) for name in needed if not _is_unpivoted(source, name)]
    stated = (*named, *source.columns.values(), source.unpivot)
    asked = [column for columns in stated for column in _columns(columns)]
    missing = [column for column in asked if column not in (found.columns or asked)]
    if missing:
        raise DataError(
            f"{found.name} has no column {missing[0]!r}, but {', '.join(found.columns or [])}; "
            "rename one, or name it under columns."
        )


def _fill_in(
    row: Row,
    rows: Rows,
    part: Records,
    values: Mapping[str, object],
    needed: Sequence[str],
    pattern: re.Pattern[str] | None,
    statements: Statements | None,
) -> bool:
    """Give a row its values; False if it was refused."""
    for name in (*needed, *_OPTIONAL):
        value = _value(values, rows.columns.get(name, name))
        if name not in needed and value in (None, ""):
            continue
        if name == OPTIONS:
            listed = _listed(value, "json", "options") or ()
            if isinstance(listed, tuple):
                row.options, listed = listed, _options_fault(listed)
            if listed is not None:
                rows.refuse(row, name, listed)
                return False
            continue
        found = _kept(value, pattern) if name == TRANSCRIPT_GROUP else value
        if name == TRANSCRIPT_GROUP and statements is not None:
            listed = _listed(found, statements)
            if isinstance(listed, tuple):
                row.statements, found = listed, "\n".join(listed)
            elif listed is not None:
                found = listed
        elif isinstance(found, list) and isinstance(rows.columns.get(name), tuple):
            found = "\n\n".join(map(str, found))
        wrong = found if isinstance(found, Fault) else _fault(name, found)
        if wrong is not None:
            if part.encoding and wrong.reason == LONE_SURROGATE:
                wrong = Fault("wrong_encoding", wrong_encoding(part.encoding))
            rows.refuse(row, name, wrong)
            return False
        row.values[name] = str(found).strip()
    return True


def _is_unpivoted(source: Source, name: str) -> bool:
    return name == TRANSCRIPT_GROUP and bool(source.unpivot)


def _unpivoted(values: Mapping[str, object], source: Source) -> Iterator[Mapping[str, object]]:
    """A record once for each of the columns that hold a text."""
    if not source.unpivot:
        yield values
    for column in source.unpivot:
        yield {**values, TRANSCRIPT_GROUP: values.get(column)}


def _value(values: Mapping[str, object], stated: str | tuple[str, ...]) -> object:
    """What stands in a column, or the list of what is said in several."""
    if isinstance(stated, str):
        return values.get(stated)
    return [value for column in stated if (value := values.get(column)) not in (None, "")]


def _listed(
    value: object, statements: Statements, items: str = "statements"
) -> tuple[str, ...] | Fault | None:
    """The statements, or other items, of a text that is a list of them; None if it is none."""
    if isinstance(value, str):
        if statements == "sentences":
            return None
        try:
            value = value.splitlines() if statements == "lines" else json.loads(value)
        except json.JSONDecodeError as error:
            return Fault("not_json", f"is no list in JSON ({error.msg}); correct it")
    if isinstance(value, pl.Series):
        value = value.to_list()
    if not isinstance(value, list):
        return Fault("not_a_list", f"must be a list of {items}; correct it") if value else None
    said = [item.strip() if isinstance(item, str) else item for item in value]
    wrong = [item for item in said if not isinstance(item, str)]
    if wrong:
        what = f"has among its {items} what is no text, {wrong[0]!r}; correct it"
        return Fault("not_a_list", what)
    return tuple(dict.fromkeys(item for item in said if isinstance(item, str) and item))


def _options_fault(options: Sequence[str]) -> Fault | None:
    """What is wrong with the options of a task."""
    if len(options) < 2:
        return Fault("too_few_options", "needs two options at least that differ; add them")
    return next((wrong for option in options if (wrong := fault("text", option))), None)


def _kept(value: object, pattern: re.Pattern[str] | None) -> object | Fault:
    """What a transcript's pattern keeps of a text."""
    if pattern is None or not isinstance(value, str):
        return value
    match = pattern.search(value)
    if match is None:
        message = "does not match the transcript pattern; correct one of them"
        return Fault("no_transcript", message)
    return match[TRANSCRIPT_GROUP]


def _fault(name: str, value: object) -> Fault | None:
    if not isinstance(value, str):
        return Fault("empty", "must be text; add it")
    choices = _CHOICES.get(name)
    if choices is not None and value not in choices:
        return Fault(f"unknown_{name}", f"{value!r} is not one of {', '.join(choices)}; correct it")
    return fault(name, value)


def _format_counts(left_out: Counter[str]) -> str:
    counts = ", ".join(f"{reason} {count}" for reason, count in sorted(left_out.items()))
    return f" that can be used ({counts})" if counts else ""
