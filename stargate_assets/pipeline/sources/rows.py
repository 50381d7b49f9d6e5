"""From records to rows: the columns that we need, as text that can be used."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from stargate_assets.config.data_set import TRANSCRIPT_GROUP, DataError, Source
from stargate_assets.method.hygiene import Fault, fault
from stargate_assets.method.plan import SPLITS
from stargate_assets.pipeline.sources.hub import read_hub
from stargate_assets.pipeline.sources.records import Record, Records, read_file

KINDS = ("specific", "general")
"""Whether the best answer to a task depends on who asks."""
_CHOICES = {"split": SPLITS, "kind": KINDS}
_OPTIONAL = ("split", "domain", "kind")


@dataclass(frozen=True, slots=True)
class Row:
    """`file` is what its records are called, a file or a data set of the Hub, and `place` its
    record's.
    """

    file: str
    place: str
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values[column]

    def __str__(self) -> str:
        return f"{self.file}, {self.place}"

    def seen_from(self, other: "Row") -> str:
        """Where it stands, without its file if the other row is of the same."""
        return self.place if other.file == self.file else str(self)


@dataclass(slots=True)
class Rows:
    """The usable rows of a source, and how many were left out for which reason."""

    name: str
    mendable: bool
    """Whether the user can correct the rows: in a file of theirs, not in a data set of the Hub."""
    columns: dict[str, str]
    rows: list[Row] = field(default_factory=list[Row])
    left_out: Counter[str] = field(default_factory=Counter[str])

    def refuse(self, row: Row, column: str, found: Fault) -> None:
        """Raise DataError for a row that can be mended; count one that cannot."""
        if self.mendable:
            self.complain(row, column, found.message)
        self.left_out[found.reason] += 1

    def complain(self, row: Row, column: str, message: str) -> NoReturn:
        shown = self.columns.get(column, column)
        raise DataError(f"{row}, column {shown!r}: {message}.")

    def keep(self, kept: Sequence[Row]) -> None:
        self.rows = list(kept)


def read_rows(source: Source, needed: Sequence[str]) -> Rows:
    """The rows with their `needed` columns and those of `split`, `domain` and `kind` that are
    there.
    """
    parts = [read_hub(source.hub)] if source.hub else [read_file(file) for file in source.file]
    rows = Rows(", ".join(part.name for part in parts), source.hub is None, source.columns)
    fields = (*needed, *_OPTIONAL)
    unknown = [name for name in source.columns if name not in fields]
    if unknown:
        raise DataError(
            f"{rows.name}: {unknown[0]!r} under columns is no field; there are: "
            f"{', '.join(fields)}."
        )
    pattern = re.compile(source.transcript, re.DOTALL) if source.transcript else None
    for part in parts:
        _check_header(part, source, needed)
        for record in part.records:
            if record.left_out:
                rows.left_out[record.left_out] += 1
                continue
            row = _row(rows, part.name, record, needed, pattern)
            if row is not None:
                rows.rows.append(row)
    if not rows.rows:
        raise DataError(f"{rows.name} has no rows{_format_counts(rows.left_out)}; add some.")
    return rows


def _check_header(found: Records, source: Source, needed: Sequence[str]) -> None:
    asked = [source.columns.get(name, name) for name in needed] + list(source.columns.values())
    missing = [column for column in asked if column not in (found.columns or asked)]
    if missing:
        raise DataError(
            f"{found.name} has no column {missing[0]!r}, but {', '.join(found.columns or [])}; "
            "rename one, or name it under columns."
        )


def _row(
    rows: Rows, file: str, record: Record, needed: Sequence[str], pattern: re.Pattern[str] | None
) -> Row | None:
    row = Row(file, record.place, {})
    for name in (*needed, *_OPTIONAL):
        value = record.values.get(rows.columns.get(name, name))
        if name not in needed and value in (None, ""):
            continue
        found = _kept(value, pattern) if name == TRANSCRIPT_GROUP else value
        wrong = found if isinstance(found, Fault) else _fault(name, found)
        if wrong is not None:
            return rows.refuse(row, name, wrong)
        row.values[name] = str(found).strip()
    return row


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
