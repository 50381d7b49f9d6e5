"""Reading a data set's JSON lines: every complaint names file, line and what to do."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from stargate_assets.errors import StargateError
from stargate_assets.method.keys import normalised, text_id
from stargate_assets.method.plan import SPLITS

TASKS, PERSONAS, GOLD_RESPONSES = "tasks.jsonl", "personas.jsonl", "gold_responses.jsonl"
BUNDLED_DATA = Path(__file__).parent / "data"


class DataError(StargateError):
    """A data file cannot be used. The message names file, line and what to do."""


def data_directory(path: str) -> Path:
    """A data set's directory: one that is shipped with the project, or one of the user's."""
    bundled = {directory.name: directory for directory in BUNDLED_DATA.iterdir()}
    directory = bundled.get(path, Path(path))
    if directory.is_dir():
        return directory
    raise DataError(
        f"There is no data set directory {path!r}; give one with {TASKS}, {PERSONAS} and "
        f"{GOLD_RESPONSES}."
    )


def content_version(directory: Path) -> str:
    """A digest of the three files: other files, other tables."""
    digest = hashlib.sha256()
    for name in (TASKS, PERSONAS, GOLD_RESPONSES):
        digest.update((directory / name).read_bytes() if (directory / name).exists() else b"")
    return digest.hexdigest()[:12]


def read_tasks(directory: Path) -> pl.DataFrame:
    """split, task_id, text; all splits."""
    rows = [
        {"split": split, "task_id": text_id(text), "text": text}
        for _, (split, text) in _lines(directory / TASKS, ("split", "text"))
    ]
    return _unique(pl.DataFrame(rows), "task_id", directory / TASKS)


def read_personas(directory: Path) -> pl.DataFrame:
    """split, persona_id, name, text; all splits."""
    rows = [
        {"split": split, "persona_id": text_id(name, text), "name": name, "text": text}
        for _, (split, name, text) in _lines(directory / PERSONAS, ("split", "name", "text"))
    ]
    frame = pl.DataFrame(rows)
    for column in ("name", "text"):
        _unique(frame, column, directory / PERSONAS)
    return frame


def read_gold_responses(directory: Path) -> pl.DataFrame:
    """split, task_id, persona_id, text, source; one row for each pair inside a split, or an error
    that names the pair.
    """
    tasks, personas = read_tasks(directory), read_personas(directory)
    task_split = dict(tasks.select("task_id", "split").iter_rows())
    persona_of = {
        normalised(name): (persona_id, split)
        for split, persona_id, name in personas.select("split", "persona_id", "name").iter_rows()
    }
    path = directory / GOLD_RESPONSES
    texts: dict[tuple[str, str], tuple[str, str]] = {}
    for number, (task, name, text) in _lines(path, ("task", "persona", "text")):
        task_id = text_id(task)
        persona_id, split = persona_of.get(normalised(name), ("", ""))
        if task_split.get(task_id) != split:
            raise DataError(
                f"{path}, line {number}: {name!r} and the task {task!r} are not a pair of one "
                "split; "
                f"use a task and a persona's name as they stand in {TASKS} and {PERSONAS}."
            )
        if (task_id, persona_id) in texts:
            raise DataError(
                f"{path}, line {number}: a second gold response for one pair; remove it."
            )
        texts[task_id, persona_id] = split, text
    pairs = tasks.join(personas, on="split", suffix="_persona")
    for task_id, persona_id, task, name in pairs.select(
        "task_id", "persona_id", "text", "name"
    ).iter_rows():
        if (task_id, persona_id) not in texts:
            raise DataError(f"{path}: no gold response of {name!r} for the task {task!r}; add one.")
    return pl.DataFrame(
        [
            {"split": s, "task_id": t, "persona_id": p, "text": text, "source": "recorded"}
            for (t, p), (s, text) in texts.items()
        ]
    )


def _lines(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """(line number, values of `columns`) of each line; all must be non-empty text, and a split must
    be known.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there; add it.")
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {number}: not UTF-8; save the file as UTF-8.") from error
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, line {number}: not JSON ({error.msg}); correct it."
            ) from error
        values: list[str] = []
        for column in columns:
            value = record.get(column) if isinstance(record, dict) else None
            if not isinstance(value, str) or not value.strip() or not _encodable(value):
                raise DataError(f"{path}, line {number}: {column!r} must be text; add it.")
            if column == "split" and value not in SPLITS:
                raise DataError(
                    f"{path}, line {number}: split {value!r} is not one of {', '.join(SPLITS)}."
                )
            values.append(value.strip())
        yield number, values


def _encodable(text: str) -> bool:
    """Whether no half of a surrogate pair stands alone in it."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _unique(frame: pl.DataFrame, column: str, path: Path) -> pl.DataFrame:
    if frame.is_empty():
        raise DataError(f"{path} has no rows; add some.")
    same = pl.Series([normalised(value) for value in frame[column]])
    repeated = frame.filter(same.is_duplicated())
    if repeated.height:
        value = repeated.row(0, named=True).get("text")
        raise DataError(f"{path}: the {column} of {value!r} stands more than once; remove one.")
    return frame
