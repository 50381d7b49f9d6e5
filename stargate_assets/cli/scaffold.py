"""`stargate init` and `stargate new`: a defs.yaml for a user's own files, or for an experiment like
another, written once what it states has been found valid.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import yaml

from stargate_assets.config.data_set import DATA_TABLES, DataError, Source, validate_data_set
from stargate_assets.config.experiment import ExperimentError
from stargate_assets.config.inheritance import ExperimentDeclaration, resolve_experiment
from stargate_assets.config.presets import split_preset
from stargate_assets.config.prompts import read_prompts
from stargate_assets.definitions import project
from stargate_assets.method.plan import SPLITS
from stargate_assets.method.text import MOST_PAIRS, NEAR_DUPLICATE, near_duplicates, script
from stargate_assets.pipeline.components import (
    DataSetComponent,
    ExperimentComponent,
    check_data_set,
)
from stargate_assets.pipeline.declarations import (
    ABLATIONS,
    Declarations,
    ProjectError,
    check_names,
    load_declarations,
    type_name,
)
from stargate_assets.pipeline.sources.files import download, read_files
from stargate_assets.pipeline.sources.guesses import guess_form
from stargate_assets.pipeline.sources.table import needed_columns
from stargate_assets.pipeline.sources.tables import read_tables
from stargate_assets.storage.warehouse import RESERVED_SCHEMAS

FORM = ("encoding", "delimiter", "sheet")
"""The fields of a source that say how a file is read."""
SHOWN_COUNTS = 12
"""Values whose counts are told, the most frequent ones."""
PROJECT = project.DEFS.parent.parent


@dataclass(frozen=True, slots=True)
class Scaffold:
    """The defs.yaml that was written, and a line for each thing that was found."""

    path: Path
    findings: list[str]


def scaffold_data_set(
    name: str,
    files: Mapping[str, str],
    columns: Sequence[tuple[str, str, str]],
    formats: Sequence[tuple[str, str, str]],
    oracle: str | None,
    seed: int,
    *,
    skip_bad: bool = False,
) -> Scaffold:
    """Read `files` (by table: paths and URLs, after a preset's name if one is meant), and only then
    write `DEFS/NAME/defs.yaml`, with what was found out about their form.

    `columns` are (table, field, column) and `formats` (table, field of a source, value). Raises
    ProjectError for a name that cannot be or is taken, and DataError for what is wrong in a file;
    nothing is written then.
    """
    path, _ = new_file(name, "a data set")
    fields: dict[str, Any] = {"seed": seed} if seed else {}
    for table, file in files.items():
        preset, place = split_preset(file, table)
        fields[table] = _stated_place(place, path.parent) | (preset.stated if preset else {})
        if skip_bad:
            fields[table]["skip_bad"] = True
    for table, field, column in columns:
        _of_table(fields, table, field).setdefault("columns", {})[field] = column
    for table, field, value in formats:
        if field not in FORM:
            raise DataError(f"{field!r} is no field of a format; there are: {', '.join(FORM)}.")
        _of_table(fields, table, field)[field] = value
    if oracle is not None:
        fields["oracle"] = {"model": {"model": oracle}}
    findings = _state_guesses(name, fields, path.parent)
    tables = read_tables(validate_data_set(name, fields, path.parent))
    for table in DATA_TABLES:
        read = getattr(tables, table)
        if read is not None:
            findings += _findings(table, read.frame, read.left_out)
    write_component(path, DataSetComponent, {"name": name, "data_set": fields})
    return Scaffold(path, findings)


def _of_table(fields: dict[str, Any], table: str, field: str) -> dict[str, Any]:
    if table not in fields:
        raise DataError(f"There is no file of {table} for {table}.{field}; give one.")
    return fields[table]


def _stated_place(file: str, folder: Path) -> dict[str, Any]:
    """How a defs.yaml states a file: by its path, or by its URL and what is there now."""
    if "://" in file:
        return {"url": {file: hashlib.sha256(download(file)).hexdigest()}}
    return {"file": path_for_yaml(Path(file), folder)}


def _state_guesses(name: str, fields: dict[str, Any], folder: Path) -> list[str]:
    """Add to the fields what the files seem to be, and say so."""
    said: list[str] = []
    data_set = validate_data_set(name, fields, folder)
    for table in DATA_TABLES:
        source: Source | None = getattr(data_set, table)
        if source is None:
            continue
        for file in read_files(source):
            columns = needed_columns(table, source)
            for field, value in guess_form(file, source, columns).items():
                stated = fields[table].setdefault(field, value)
                if stated != value:
                    raise DataError(
                        f"The files of {table} differ in their {field}: {stated!r}, and {value!r} "
                        f"in {file.name}; save them alike."
                    )
                shown = _first_letters(file.data, value) if field == "encoding" else ""
                said.append(
                    f"{table}: {file.name} seems to have the {field} {value!r}{shown}; if not, say "
                    f"which: --format {table}.{field}=..."
                )
    return said


def _first_letters(data: bytes, encoding: str) -> str:
    """The first line that the encoding makes a difference to, for a person to recognise."""
    lines = data.decode(encoding, "replace").splitlines()
    return next((f", as in {line.strip()[:60]!r}" for line in lines if not line.isascii()), "")


def scaffold_experiment(name: str, like: str, assignments: Sequence[tuple[str, Any]]) -> Path:
    """Write `DEFS/NAME/defs.yaml`: like the experiment `like` but for the `assignments`, pairs of a
    field such as training.epochs and its value.

    Raises ProjectError for a name that cannot be or is taken, and ExperimentError for values that
    do not fit; nothing is written then.
    """
    path, declared = new_file(name, "an experiment")
    fields = _nested_fields(assignments)
    declaration = ExperimentDeclaration(like, read_prompts(fields, path))
    stated = declared.stated | {name: declaration}
    experiment = resolve_experiment(name, stated, declared.data_sets)
    check_data_set(name, experiment, declared.data_sets)
    attributes = {"name": name, "like": like}
    write_component(
        path, ExperimentComponent, attributes | ({"experiment": fields} if fields else {})
    )
    return path


def _nested_fields(assignments: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """`training.epochs` and its value as a mapping in a mapping."""
    fields: dict[str, Any] = {}
    for field, value in assignments:
        *parents, last = field.split(".")
        inner = fields
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise ExperimentError(f"{field} is stated twice; state {parent} or what is in it.")
        if last in inner:
            raise ExperimentError(f"{field} is stated twice; state it once.")
        inner[last] = value
    return fields


def new_file(name: str, what: str) -> tuple[Path, Declarations]:
    """Where the defs.yaml of a new component goes, in a folder of its own; and what is declared
    already.
    """
    reserved = (*RESERVED_SCHEMAS, ABLATIONS)
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in reserved:
        raise ProjectError(
            f"{name!r} cannot name {what}; use small letters, digits and _, and none of "
            f"{', '.join(reserved)}."
        )
    declared = load_declarations(project.DEFS)
    check_names([*declared.locations, name])
    path = project.DEFS / name / "defs.yaml"
    if path.exists():
        raise ProjectError(f"{path} is there already; choose another name.")
    return path, declared


def write_component(path: Path, component: type[dg.Component], attributes: dict[str, Any]) -> None:
    content = {"type": type_name(component), "attributes": attributes}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def path_for_yaml(file: Path, folder: Path) -> str:
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
    for column in ("domain", "kind", "origin"):
        values = rows[column].drop_nulls() if column in rows.columns else []
        if len(values):
            lines.append(f"  {column}: {_counts(Counter(values))}")
    if "statements" in rows.columns and rows["statements"].count():
        counted = rows["statements"].drop_nulls().list.len()
        lines.append(f"  statements: {counted.min()} to {counted.max()}, of {len(counted)} people")
    if "name" in rows.columns:
        lines.append(f"  names: {rows['name'].n_unique()}, as in {rows['name'].head(3).to_list()}")
    if left_out:
        lines.append(f"  left out: {_counts(left_out)}")
    if table != "gold_responses":
        alike = near_duplicates(rows["text"].to_list())
        least = "at least " if len(alike) >= MOST_PAIRS else ""
        lines.append(
            f"  near-duplicates (similarity {NEAR_DUPLICATE} and more): {least}{len(alike)}"
        )
        lines += [f"    {rows['text'][i]!r} and {rows['text'][j]!r}" for i, j, _ in alike[:3]]
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    most = sorted(counts, key=lambda name: (-counts[name], name))[:SHOWN_COUNTS]
    more = f", {len(counts) - len(most)} more" if len(counts) > len(most) else ""
    return ", ".join(f"{name} {counts[name]}" for name in sorted(most)) + more
