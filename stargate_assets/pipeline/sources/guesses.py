"""What a file seems to be, where nobody has said it: for `stargate init`, which states what it
takes a file for.
"""

from collections.abc import Sequence
from itertools import islice

from stargate_assets.config.data_set import DataError, Source
from stargate_assets.pipeline.sources.files import SourceFile
from stargate_assets.pipeline.sources.grids import (
    DELIMITERS,
    csv_cells,
    open_workbook,
    sheet_cells,
)
from stargate_assets.pipeline.sources.records import marked_encoding

_TEXT = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
_ENCODINGS = [f"cp125{number}" for number in range(7)] + [
    *("koi8_r", "utf_16_le", "utf_16_be", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr"),
]
"""Those that spreadsheets and editors of today still write."""
_LOOKED_AT = 50
"""Rows of a file that decide on its delimiter."""


def guess_form(file: SourceFile, source: Source, columns: Sequence[str]) -> dict[str, str]:
    """The fields of a source (`encoding`, `delimiter`, `sheet`) that a file with these columns
    needs beside what is stated; empty where it is what it would be taken for anyway.
    """
    found: dict[str, str] = {}
    if file.suffix in _TEXT and "encoding" not in source.model_fields_set:
        found |= _guess_encoding(file)
    if file.suffix in (".csv", ".tsv") and "delimiter" not in source.model_fields_set:
        encoding = marked_encoding(file.data) or found.get("encoding") or source.encoding
        text = file.data.decode(encoding, "replace").removeprefix("\ufeff")
        found |= _guess_delimiter(text, "\t" if file.suffix == ".tsv" else ",", columns)
    if file.suffix == ".xlsx" and source.sheet is None:
        found |= _guess_sheet(file, columns)
    return found


def _guess_encoding(file: SourceFile) -> dict[str, str]:
    encoding = marked_encoding(file.data) or "utf-8"
    try:
        file.data.decode(encoding)
    except UnicodeDecodeError:
        if encoding == "utf-16" or _is_mostly_utf8(file.data):
            return {}  # reading says where it is broken
    else:
        return {}
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        return {}
    matches = list(from_bytes(file.data, cp_isolation=_ENCODINGS))
    if not matches:
        return {}
    best = matches[0]  # where it is as good, the encoding that is most common by far
    western = (m for m in matches if m.encoding == "cp1252" and m.chaos <= best.chaos)
    return {"encoding": next(western, best).encoding}


def _is_mostly_utf8(data: bytes) -> bool:
    """Whether most of what is not ASCII is UTF-8: then a few bytes are broken, and no other
    encoding is meant.
    """
    text = data.decode("utf-8", "surrogateescape")
    broken = sum("\udc80" <= letter <= "\udcff" for letter in text)
    return broken < sum(letter > "\x7f" for letter in text) / 2


def _guess_delimiter(text: str, default: str, columns: Sequence[str]) -> dict[str, str]:
    """The delimiter under which the header has most of the columns that are needed, and then most
    columns; the default unless another is better.
    """
    rated: list[tuple[int, int, bool, str]] = []
    for delimiter in DELIMITERS:
        rows = [row.cells for row in islice(csv_cells(text, delimiter), _LOOKED_AT) if row.cells]
        if not rows:
            return {}
        header = [name.strip() for name in rows[0]]
        alike = sum(len(cells) == len(header) for cells in rows)
        needed = sum(name in header for name in columns)
        count = len(header) if alike > len(rows) / 2 else 0
        rated.append((needed, count, delimiter == default, delimiter))
    best = max(rated)[-1]
    return {} if best == default else {"delimiter": best}


def _guess_sheet(file: SourceFile, columns: Sequence[str]) -> dict[str, str]:
    """The first sheet whose header has the columns that are needed, if there are several."""
    workbook = open_workbook(file)
    names: list[str] = workbook.sheet_names
    if len(names) == 1:
        return {}
    for name in names:
        header = next((row.cells for row in sheet_cells(workbook, name) if any(row.cells)), [])
        if set(columns) <= {cell.strip() for cell in header}:
            return {"sheet": name}
    raise DataError(
        f"{file.name} has no sheet with the columns {', '.join(columns)}; name them with --column, "
        f"or a sheet with --format. There are: {', '.join(names)}."
    )
