"""Records, each with its place, so that a complaint can name it; and those of JSON and Parquet."""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from stargate_assets.config.data_set import DataError, Source
from stargate_assets.method.hygiene import Fault
from stargate_assets.pipeline.sources.files import SourceFile


@dataclass(frozen=True, slots=True)
class Record:
    """`place` is a line or a row as a person counts them; `values` are by column. A record that
    cannot be taken apart has a `fault` instead.
    """

    place: str
    values: Mapping[str, object]
    fault: Fault | None = None

    @property
    def left_out(self) -> str | None:
        """Why it is no row: spreadsheets end with blank ones, and a file that was joined of several
        has their headers in it. None if it is one.
        """
        if self.fault is not None:
            return None
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
    """`columns` is None where every record has columns of its own (JSON). Where the text of a file
    is not in its `encoding`, the bytes that are not stand as halves of surrogate pairs.
    """

    name: str
    columns: list[str] | None
    records: Iterator[Record]
    encoding: str | None = None


def json_lines_records(file: SourceFile, source: Source) -> Records:
    def records() -> Iterator[Record]:
        for number, line in enumerate(file.data.split(b"\n"), start=1):
            if line.strip(b"\xef\xbb\xbf \t\r"):
                yield _json_line(f"line {number}", line, source.encoding)

    return Records(file.name, None, records())


def _json_line(place: str, line: bytes, encoding: str) -> Record:
    try:
        value = json.loads(_without_mark(line).decode(encoding))
    except UnicodeDecodeError:
        return Record(place, {}, Fault("wrong_encoding", wrong_encoding(encoding)))
    except (json.JSONDecodeError, RecursionError) as error:
        where = f"{error.msg}, column {error.colno}" if isinstance(error, ValueError) else error
        return Record(place, {}, Fault("not_json", f"not JSON ({where}); correct it"))
    if not isinstance(value, dict):
        message = "not a JSON object; write {...} on each line"
        return Record(place, {}, Fault("not_an_object", message))
    return Record(place, value)


def json_records(file: SourceFile, source: Source) -> Records:
    """One list of objects, on its own or as the only list of an object."""
    try:
        value = json.loads(decode(file, source))
    except json.JSONDecodeError as error:
        place = f"{file.name}, line {error.lineno}, column {error.colno}"
        hint = "correct it"
        if error.msg == "Extra data":
            hint = "name it .jsonl if each line is an object, or correct it"
        raise DataError(f"{place}: not JSON ({error.msg}); {hint}.") from error
    except RecursionError as error:
        raise DataError(f"{file.name} nests JSON too deeply; write it flat.") from error
    if isinstance(value, dict):
        lists = [found for found in value.values() if isinstance(found, list)]
        value = lists[0] if len(lists) == 1 else None
    if not isinstance(value, list):
        raise DataError(f"{file.name} is not a list of JSON objects; write [{{...}}, ...].")

    def records() -> Iterator[Record]:
        for number, item in enumerate(value, start=1):
            if isinstance(item, dict):
                yield Record(f"item {number}", item)
            else:
                message = "not a JSON object; write {...}"
                yield Record(f"item {number}", {}, Fault("not_an_object", message))

    return Records(file.name, None, records())


def parquet_records(file: SourceFile, source: Source) -> Records:
    del source
    try:
        frame = pl.read_parquet(io.BytesIO(file.data))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{file.name} is not a Parquet file ({error}); write it again.") from error
    numbered = enumerate(frame.iter_rows(named=True), start=1)
    return Records(file.name, frame.columns, (Record(f"row {n}", row) for n, row in numbered))


def decode(file: SourceFile, source: Source) -> str:
    """A file's text, which must be in the encoding that is stated, or have a byte order mark."""
    encoding = marked_encoding(file.data) or source.encoding
    try:
        return file.data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = 1 + file.data.count(b"\n", 0, error.start)
        message = wrong_encoding(encoding)
        raise DataError(f"{file.name}, line {line}: {message}.") from error


def marked_encoding(data: bytes) -> str | None:
    """The encoding that a byte order mark states; None without one."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else None


def wrong_encoding(encoding: str) -> str:
    """What is said of bytes that are not text in an encoding."""
    shown = "UTF-8" if encoding.startswith("utf-8") else encoding
    return f"not {shown}; save the file as UTF-8, or state its encoding"


def _without_mark(line: bytes) -> bytes:
    return line.removeprefix(b"\xef\xbb\xbf")
