"""Files as people have them, each with what is to be read in it, or with all that is wrong."""

import gzip
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import polars as pl
import pyarrow as pa

TEXTS = ("How do I brew tea?", "Où dîner, ce soir?", "What fits -20 °C?")
PLAIN = 'text\nHow do I brew tea?\n"Où dîner, ce soir?"\nWhat fits -20 °C?\n'
RUSSIAN = ("Как мне лучше спать по ночам?", "Что приготовить гостям на ужин?")
JAPANESE = ("今夜の夕食に何を作ればいいですか", "どうすればもっとよく眠れますか")


@dataclass(frozen=True)
class Ugly:
    """`form` is what `stargate init` finds out about a file, `texts` what is read, `left_out` what
    is no row, and `faults` what is wrong with each of the other rows.
    """

    file: str
    data: bytes
    texts: Sequence[str] = TEXTS
    form: Mapping[str, str] = field(default_factory=dict[str, str])
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    faults: Sequence[str] = ()


def csv(text: str, encoding: str = "utf-8") -> bytes:
    return text.encode(encoding)


def jsonl(*values: object) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)


def parquet(rows: Sequence[Mapping[str, object]]) -> bytes:
    target = io.BytesIO()
    pl.DataFrame(rows).write_parquet(target)
    return target.getvalue()


def zst(data: bytes) -> bytes:
    target = pa.BufferOutputStream()
    with pa.CompressedOutputStream(target, "zstd") as stream:
        stream.write(data)
    return target.getvalue().to_pybytes()


def xlsx(**sheets: Sequence[Sequence[str | float]]) -> bytes:
    """The fewest parts that make an Excel file; underscores in a sheet's name become spaces."""
    names = [name.replace("_", " ") for name in sheets]
    numbers = range(1, len(names) + 1)
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        f'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override '
        f'PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        + "".join(
            f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>'
            for n, name in zip(numbers, names, strict=True)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        + "".join(
            f'<Relationship Id="r{n}" Type="{office}/worksheet" Target="worksheets/s{n}.xml"/>'
            for n in numbers
        )
        + "</Relationships>",
    }
    for n, rows in zip(numbers, sheets.values(), strict=True):
        cells = "".join(
            f'<row r="{r}">{"".join(_cell(c, r, value) for c, value in enumerate(row))}</row>'
            for r, row in enumerate(rows, start=1)
        )
        parts[f"xl/worksheets/s{n}.xml"] = (
            f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>'
        )
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as packed:
        for name, content in parts.items():
            packed.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{content}')
    return target.getvalue()


def _cell(column: int, row: int, value: str | float) -> str:
    place = f"{chr(ord('A') + column)}{row}"
    if isinstance(value, str):
        text = f"<is><t>{escape(value)}</t></is>"
        return f'<c r="{place}" t="inlineStr">{text}</c>' if value else ""
    return f'<c r="{place}"><v>{value}</v></c>'


ROWS = [{"text": text} for text in TEXTS]
GRID = [["text", "year"], *([text, 2024] for text in TEXTS)]
UGLY = {
    "a byte order mark": Ugly("a.csv", csv(PLAIN, "utf-8-sig")),
    "UTF-16, as Excel's Unicode text": Ugly(
        "a.csv", csv(PLAIN.replace(",", "\t"), "utf-16").replace(b"\t\0", b",\0")
    ),
    "UTF-16 with tabs": Ugly(
        "a.csv", csv("text\tn\n" + "".join(f"{t}\t1\n" for t in TEXTS), "utf-16"),
        form={"delimiter": "\t"},
    ),
    "semicolons": Ugly(
        "a.csv", csv("text;n\n" + "".join(f"{t};1\n" for t in TEXTS)), form={"delimiter": ";"}
    ),
    "semicolons and Windows letters": Ugly(
        "a.csv", csv("text;n\n" + "".join(f"{t};1\n" for t in TEXTS), "cp1252"),
        form={"delimiter": ";", "encoding": "cp1252"},
    ),
    "Windows letters": Ugly("a.csv", csv(PLAIN, "cp1252"), form={"encoding": "cp1252"}),
    "Cyrillic of Windows": Ugly(
        "a.csv", csv("text\n" + "\n".join(RUSSIAN), "cp1251"), RUSSIAN, {"encoding": "cp1251"}
    ),
    "Japanese of Windows": Ugly(
        "a.csv", csv("text\n" + "\n".join(JAPANESE), "shift_jis"), JAPANESE,
        {"encoding": "shift_jis"},
    ),
    "tabs": Ugly(
        "a.tsv", csv("n\ttext\n" + "".join(f"1\t{t}\n" for t in TEXTS))
    ),
    "tabs in a .csv": Ugly(
        "a.csv", csv("n\ttext\n" + "".join(f"1\t{t}\n" for t in TEXTS)), form={"delimiter": "\t"}
    ),
    "bars": Ugly(
        "a.csv", csv("n|text\n" + "".join(f"1|{t}\n" for t in TEXTS)), form={"delimiter": "|"}
    ),
    "a first line that states the delimiter": Ugly(
        "a.csv", csv("sep=;\r\nn;text\r\n" + "".join(f"1;{t}\r\n" for t in TEXTS))
    ),
    "line ends of an old Mac": Ugly("a.csv", csv(PLAIN.replace("\n", "\r"))),
    "empty columns behind": Ugly(
        "a.csv", csv(PLAIN.replace("\n", ",,\n"))
    ),
    "rows of commas": Ugly("a.csv", csv(PLAIN + ",,,\n,,,\n"), left_out={"blank_row": 2}),
    "a header in the middle": Ugly(
        "a.csv", csv(PLAIN + "text\n"), left_out={"repeated_header": 1}
    ),
    "a column without a name": Ugly(
        "a.csv", csv("," + PLAIN.replace("\n", "\n1,").removesuffix("1,"))
    ),
    "a huge field that nobody reads": Ugly(
        "a.csv", csv("notes," + PLAIN.replace("\n", f"\n{'n' * 200_000},").rstrip("n,"))
    ),
    "packed by gzip": Ugly("a.csv.gz", gzip.compress(csv(PLAIN))),
    "packed by zstd": Ugly("a.jsonl.zst", zst(jsonl(*ROWS))),
    "packed, in capitals": Ugly("A.JSONL.GZ", gzip.compress(jsonl(*ROWS))),
    "Parquet, packed too": Ugly("a.parquet.gz", gzip.compress(parquet(ROWS))),
    "a list in JSON": Ugly("a.json", json.dumps(ROWS).encode()),
    "a list in an object": Ugly("a.json", json.dumps({"version": 1, "data": ROWS}).encode()),
    "JSON lines with Windows ends and blank lines": Ugly(
        "a.ndjson", b"\xef\xbb\xbf" + jsonl(*ROWS).replace(b"\n", b"\r\n\r\n")
    ),
    "an Excel file": Ugly("a.xlsx", xlsx(tasks=GRID)),
    "an Excel file that begins with blank rows": Ugly("a.xlsx", xlsx(tasks=[[], [], *GRID, []])),
    "an Excel file with a page of notes first": Ugly(
        "a.xlsx", xlsx(read_me=[["Version", 3]], my_tasks=GRID), form={"sheet": "my tasks"}
    ),
    "broken bytes here and there": Ugly(
        "a.csv", csv(PLAIN).replace(b"\xc3\xb9", b"\xf9") + b"caf\xe9?\n", TEXTS[:1] + TEXTS[2:],
        faults=["line 3, column 'text': not UTF-8", "line 5, column 'text': not UTF-8"],
    ),
    "commas without quotes": Ugly(
        "a.csv", csv("text,n\nTea, or so?,1\n" + "".join(f'"{t}",1\n' for t in TEXTS) + "So?\n"),
        faults=["line 2: 3 fields where the header has 2", "line 6: 1 fields where the header"],
    ),
    "quotes that are not doubled": Ugly(
        "a.csv", csv(PLAIN + '"Is "he" in?"\nyes?\n'), (*TEXTS, "yes?"),
        faults=["line 5: not CSV (',' expected after '\"'); correct the quotes"],
    ),
    "a quote that nothing closes": Ugly(
        "a.csv", csv(PLAIN + '"Is it so?\nOr so?\n'), faults=["line 5: not CSV (unexpected end"]
    ),
    "control and replacement characters": Ugly(
        "a.csv", csv(PLAIN + "a\x07b?\ncaf\ufffd?\n"),
        faults=["line 5, column 'text': has the control", "line 6, column 'text': has a replac"],
    ),
    "JSON lines with everything wrong": Ugly(
        "a.jsonl",
        jsonl(*ROWS) + b'{"text": "So?",}\n["So?"]\n' + jsonl({"text": 7}, {"txt": "So?"})
        + b'{"text": "\xe9?"}\n' + jsonl({"text": " "}),
        left_out={"blank_row": 1},
        faults=["line 4: not JSON (", "line 5: not a JSON object", "line 6, column 'text': must be",
                "line 7, column 'text': must be text", "line 8: not UTF-8"],
    ),
    "items of JSON that are no objects": Ugly(
        "a.json", json.dumps([*ROWS, "So?", None, {"text": ["a"]}]).encode(),
        faults=["item 4: not a JSON object", "item 5: not a JSON", "item 6, column 'text': must"],
    ),
}  # fmt: skip
"""Files of which rows can be read."""
HOPELESS = {
    "nothing": ("a.csv", b"", "has no rows; add a header and rows"),
    "no .csv but a page": ("a.csv", b"<html>\n<body>\n", "has no column 'text', but <html>; ren"),
    "columns in another order below": (
        "a.csv", b"text,n\nSo?,1\nn,text\n2,Why?\n", "line 3: the header again, with its columns",
    ),
    "two columns of one name": ("a.csv", b"text,text\na,b\n", "two columns are called 'text'"),
    "half a gzip file": ("a.csv.gz", gzip.compress(csv(PLAIN))[:40], "cannot be unpacked"),
    "half a zstd file": ("a.csv.zst", zst(csv(PLAIN * 9))[:30], "cannot be unpacked"),
    "no gzip file": ("a.csv.gz", b"text\nSo?\n", "cannot be unpacked"),
    "no Parquet file": ("a.parquet", b"PAR1", "is not a Parquet file"),
    "no Excel file": ("a.xlsx", b"text\nSo?\n", "is not an Excel file"),
    "JSON lines called .json": ("a.json", jsonl(*ROWS), "name it .jsonl if each line is an object"),
    "JSON with a comma too many": ("a.json", b'[\n{"text": "a"},\n]', "line 3, column 1: not JSON"),
    "a number in JSON": ("a.json", b"7", "is not a list of JSON objects"),
    "a document": ("a.docx", b"PK", "ends with none of .csv, .tsv"),
}  # fmt: skip
"""Files of which nothing can be read, and what is said."""
