"""Records of a CSV, JSON lines or Parquet file, each with its place, so that a complaint can name
it.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stargate_assets.config.data_set import DataError


@dataclass(frozen=True, slots=True)
class Record:
    """`place` is a line or a row as a person counts them; `values` are by column."""

    place: str
    values: Mapping[str, object]

    @property
    def left_out(self) -> str | None:
        """Why it is no row: spreadsheets end with blank ones, and a file that was joined of several
        has their headers in it. None if it is one.
        """
        said = {
            column.strip(): str(value).strip(" \ufeff")
            for column, value in self.values.items()
            if value is not None and str(value).strip()
        }
        if not said:
            return "blank_row"
        return "repeated_header" if all(map(str.__eq__, said.values(), said)) else None


@dataclass(frozen=True, slots=True)
class Records:
    """`columns` is None where every record has columns of its own (JSON lines)."""

    name: str
    columns: list[str] | None
    records: Iterator[Record]


def read_file(path: Path) -> Records:
    """The file's records, by its ending. Raises DataError, at the latest when they are iterated."""
    reader = _READERS.get(path.suffix.casefold())
    if reader is None:
        raise DataError(f"{path} ends with none of {', '.join(_READERS)}; save it as one of them.")
    if not path.is_file():
        raise DataError(f"{path} is not there; add it.")
    return reader(path)


def _json_lines(path: Path) -> Records:
    def records() -> Iterator[Record]:
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
            if not line.strip():
                continue
            place = f"line {number}"
            try:
                value = json.loads(_decode(path, line, number))
            except json.JSONDecodeError as error:
                raise DataError(f"{path}, {place}: not JSON ({error.msg}); correct it.") from error
            if not isinstance(value, dict):
                raise DataError(f"{path}, {place}: not a JSON object; write {{...}} on each line.")
            yield Record(place, value)

    return Records(str(path), None, records())


def _csv(path: Path) -> Records:
    text = _decode(path, path.read_bytes(), 1)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # hygiene says what is too long
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)

    def rows() -> Iterator[tuple[int, list[str]]]:
        """(line that the row begins on, its fields)"""
        line = 1
        try:
            for fields in reader:
                if fields:
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{path}, line {line}: not CSV ({error}); correct the quotes."
            ) from error

    found = rows()
    header = _without_empty_end([name.strip() for name in next(found, (1, []))[1]])
    if not header:
        raise DataError(f"{path} has no rows; add a header and rows.")
    if len(header) == 1 and re.search(r"[;\t]", header[0]):
        raise DataError(
            f"{path}, line 1: no commas between the columns; save it as CSV with commas."
        )
    columns = [name for name in header if name]
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise DataError(f"{path}, line 1: two columns are called {twice[0]!r}; rename one.")

    def records() -> Iterator[Record]:
        for line, fields in found:
            said = len(_without_empty_end(fields))
            if said and not said <= len(header) <= len(fields):
                count = max(said, min(len(fields), len(header)))
                raise DataError(
                    f"{path}, line {line}: {count} fields where the header has {len(header)}; "
                    "correct the commas, or put the text in double quotes."
                )
            names = [value.strip(" \ufeff") for value in fields[: len(header)]]
            if names != header and sorted(names) == sorted(header):
                raise DataError(
                    f"{path}, line {line}: the header again, with its columns in another order; "
                    "save what follows as a file of its own, and state both."
                )
            values = zip(header, fields, strict=False)
            yield Record(f"line {line}", {name: value for name, value in values if name})

    return Records(str(path), columns, records())


def _without_empty_end(fields: list[str]) -> list[str]:
    """The fields of a row up to the last that says something: spreadsheets write empty columns."""
    said = [number for number, value in enumerate(fields, start=1) if value.strip()]
    return fields[: said[-1]] if said else []


def _parquet(path: Path) -> Records:
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is not a Parquet file ({error}); write it again.") from error
    numbered = enumerate(frame.iter_rows(named=True), start=1)
    return Records(str(path), frame.columns, (Record(f"row {n}", row) for n, row in numbered))


def _decode(path: Path, data: bytes, first_line: int) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        raise DataError(f"{path}, line {line}: not UTF-8; save the file as UTF-8.") from error


_READERS: dict[str, Callable[[Path], Records]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
