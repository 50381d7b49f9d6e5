"""`stargate init`: a defs.yaml for a user's own files, written once they have been read whole."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

import stargate_assets.defs
from stargate_assets.data_set import DATA_TABLES, DataError, validated_data_set
from stargate_assets.method.plan import SPLITS
from stargate_assets.method.text import NEAR_DUPLICATE, near_duplicates, script
from stargate_assets.sources.tables import read_tables
from stargate_assets.storage.warehouse import RESERVED_SCHEMAS

DEFS = Path(stargate_assets.defs.__file__).parent
PROJECT = DEFS.parent.parent


@dataclass(frozen=True, slots=True)
class Scaffold:
    """The defs.yaml that was written, and a line for each thing that was found."""

    path: Path
    findings: list[str]


def scaffold_data_set(
    name: str,
    files: Mapping[str, Path],
    columns: Sequence[tuple[str, str, str]],
    oracle: str | None,
    seed: int,
) -> Scaffold:
    """Read `files` (by table), and only then write `DEFS/NAME/defs.yaml`.

    `columns` are (table, field, column). Raises DataError, with nothing written, for a name that
    cannot be or is taken, and for what is wrong in a file.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in RESERVED_SCHEMAS:
        raise DataError(
            f"{name!r} cannot name a data set; use small letters, digits and _, and none of "
            f"{', '.join(RESERVED_SCHEMAS)}."
        )
    path = DEFS / name / "defs.yaml"
    if path.exists():
        raise DataError(f"{path} is there already; choose another name, or delete its folder.")
    stated: dict[str, Any] = {"seed": seed} if seed else {}
    for table, file in files.items():
        stated[table] = {"file": _shown(file, path.parent)}
    for table, field, column in columns:
        if table not in files:
            raise DataError(f"There is no file of {table} for the column {column!r}; give one.")
        stated[table].setdefault("columns", {})[field] = column
    if oracle is not None:
        stated["oracle"] = {"model": {"model": oracle}}
    data_set = validated_data_set(name, stated, path.parent)
    tables = read_tables(data_set)
    findings: list[str] = []
    for table in DATA_TABLES:
        read = getattr(tables, table)
        if read is not None:
            findings += _findings(table, read.frame, read.left_out)
    content = {
        "type": "stargate_assets.components.DataSetComponent",
        "attributes": {"name": name, "data_set": stated},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return Scaffold(path, findings)


def _shown(file: Path, folder: Path) -> str:
    """How a defs.yaml names a file: from its own folder inside the project, else absolutely."""
    absolute = file.absolute()
    inside = absolute.is_relative_to(PROJECT) and folder.is_relative_to(PROJECT)
    return os.path.relpath(absolute, folder) if inside else str(absolute)


def _findings(table: str, rows: pl.DataFrame, left_out: Mapping[str, int]) -> list[str]:
    sizes = ", ".join(f"{split} {rows.filter(split=split).height}" for split in SPLITS)
    lengths = rows["text"].str.len_chars()
    scripts = Counter(script(text) or "none" for text in rows["text"])
    lines = [
        f"{table}: {rows.height} rows: {sizes}",
        f"  characters: {lengths.min()} to {lengths.max()}, median {lengths.median():.0f}",
        f"  scripts: {_counts(scripts)}",
    ]
    for column in ("domain", "kind"):
        values = rows[column].drop_nulls() if column in rows.columns else []
        if len(values):
            lines.append(f"  {column}: {_counts(Counter(values))}")
    if left_out:
        lines.append(f"  left out: {_counts(left_out)}")
    if table != "gold_responses":
        alike = near_duplicates(rows["text"].to_list())
        lines.append(f"  near-duplicates (similarity {NEAR_DUPLICATE} and more): {len(alike)}")
        lines += [f"    {rows['text'][i]!r} and {rows['text'][j]!r}" for i, j, _ in alike[:3]]
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
