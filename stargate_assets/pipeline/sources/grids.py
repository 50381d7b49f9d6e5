"""Records of files that are grids of cells: CSV and Excel."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stargate_assets.config.data_set import DataError, Source
from stargate_assets.method.hygiene import Fault
from stargate_assets.pipeline.sources.files import SourceFile
from stargate_assets.pipeline.sources.records import (
    Record,
    Records,
    decode,
    marked_encoding,
    wrong_encoding,
)

DELIMITERS = (",", ";", "\t", "|")
"""What stands between the columns of a CSV file."""
OPEN_QUOTE = "open_quote"
"""The fault of a quote that nothing closes: how many rows are behind it cannot be told."""
_STATED_DELIMITER = re.compile(r"sep=(.)\r?\n")
"""How Excel states it in a first line."""
_UNDECODED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of a row, and where it stands; or why they cannot be told apart."""

    place: str
    cells: list[str]
    fault: Fault | None = None


def csv_records(file: SourceFile, source: Source) -> Records:
    """The records of a CSV file, without an encoding or a delimiter that nobody has stated."""
    text, encoding = _text(file, source)
    rows = csv_cells(text, source.delimiter or ("\t" if file.suffix == ".tsv" else ","))
    first = next(rows, None)
    header = _header(file.name, first)
    if encoding and _UNDECODED.search("".join(header)):
        raise DataError(f"{file.name}, line 1: {wrong_encoding(encoding)}.")
    others = [d for d in DELIMITERS if d in header[0]] if len(header) == 1 else []
    if others:
        raise DataError(
            f"{file.name}, line 1: no commas between the columns; save it as CSV with commas, or "
            f"state delimiter: {others[0]!r}."
        )
    return _records(file.name, header, rows, encoding)


def csv_cells(text: str, delimiter: str) -> Iterator[Cells]:
    """The rows of a text; of a quote that nothing closes on, there is one row with a fault."""
    stated = _STATED_DELIMITER.match(text)
    skipped = 0
    if stated:
        delimiter, text, skipped = stated[1], text[stated.end() :], 1
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # hygiene says what is too long
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        place = f"line {reader.line_num + 1 + skipped}"
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = OPEN_QUOTE if str(error) == "unexpected end of data" else "not_csv"
            yield Cells(place, [], Fault(reason, f"not CSV ({error}); correct the quotes"))
            continue
        if fields:
            yield Cells(place, fields)


def xlsx_records(file: SourceFile, source: Source) -> Records:
    """The records of a sheet: of the one that is stated, or of the only one."""
    workbook = open_workbook(file)
    names: list[str] = workbook.sheet_names
    if source.sheet is None and len(names) > 1:
        raise DataError(
            f"{file.name} has {len(names)} sheets; state which one is meant under sheet: "
            f"{', '.join(names)}."
        )
    if source.sheet is not None and source.sheet not in names:
        raise DataError(
            f"{file.name} has no sheet {source.sheet!r}; there are: {', '.join(names)}."
        )
    rows = sheet_cells(workbook, source.sheet or names[0])
    said = (row for row in rows if _without_empty_end(row.cells))
    return _records(file.name, _header(file.name, next(said, None)), said, None)


def open_workbook(file: SourceFile) -> Any:
    """An Excel file. Raises DataError if it is none, or if nothing here can read it."""
    try:
        import fastexcel
    except ImportError as error:
        raise DataError(
            f"{file.name} needs the package fastexcel; install the extra: "
            "pip install 'stargate-assets[files]', or save it as CSV."
        ) from error
    try:
        return fastexcel.read_excel(file.data)
    except fastexcel.FastExcelError as error:
        first_line = str(error).splitlines()[0]
        raise DataError(
            f"{file.name} is not an Excel file ({first_line}); save it again."
        ) from error


def sheet_cells(workbook: Any, sheet: str) -> Iterator[Cells]:
    """The rows of a sheet, each cell as its text."""
    frame = workbook.load_sheet(sheet, header_row=None, skip_rows=0, dtypes="string").to_polars()
    for number, row in enumerate(frame.iter_rows(), start=1):
        yield Cells(f"row {number}", ["" if cell is None else cell for cell in row])


def _text(file: SourceFile, source: Source) -> tuple[str, str | None]:
    """A file's text, and its encoding if some of it is not in it."""
    encoding = marked_encoding(file.data) or source.encoding
    try:
        return file.data.decode(encoding).removeprefix("\ufeff"), None
    except UnicodeDecodeError:
        if not encoding.startswith("utf-8"):
            return decode(file, source), None
    return file.data.decode(encoding, "surrogateescape"), encoding


def _header(name: str, first: Cells | None) -> list[str]:
    """The columns, as far as the last that has a name."""
    if first is not None and first.fault:
        raise DataError(f"{name}, {first.place}: {first.fault.message}.")
    header = _without_empty_end([cell.strip() for cell in first.cells]) if first else []
    if first is None or not header:
        raise DataError(f"{name} has no rows; add a header and rows.")
    twice = [column for column in header if column and header.count(column) > 1]
    if twice:
        raise DataError(f"{name}, {first.place}: two columns are called {twice[0]!r}; rename one.")
    return header


def _records(name: str, header: list[str], rows: Iterator[Cells], encoding: str | None) -> Records:
    def records() -> Iterator[Record]:
        for row in rows:
            fault = row.fault or _miscounted(row.cells, header)
            if fault is not None:
                yield Record(row.place, {}, fault)
                continue
            names = [value.strip(" \ufeff") for value in row.cells[: len(header)]]
            if names != header and sorted(names) == sorted(header):
                raise DataError(
                    f"{name}, {row.place}: the header again, with its columns in another order; "
                    "save what follows as a file of its own, and state both."
                )
            values = zip(header, row.cells, strict=False)
            yield Record(row.place, {name: value for name, value in values if name})

    return Records(name, [column for column in header if column], records(), encoding)


def _miscounted(cells: list[str], header: list[str]) -> Fault | None:
    """The fault of a row that says something and has not the header's number of cells; empty ones
    at its end do not count.
    """
    said = len(_without_empty_end(cells))
    if not said or said <= len(header) <= len(cells):
        return None
    count = max(said, min(len(cells), len(header)))
    return Fault(
        "wrong_number_of_fields",
        f"{count} fields where the header has {len(header)}; correct the commas, or put the text "
        "in double quotes",
    )


def _without_empty_end(fields: list[str]) -> list[str]:
    """The fields of a row up to the last that says something: spreadsheets write empty columns."""
    said = [number for number, value in enumerate(fields, start=1) if value.strip()]
    return fields[: said[-1]] if said else []
