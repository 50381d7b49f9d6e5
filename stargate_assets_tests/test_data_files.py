import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from stargate_assets.data_files import (
    BUNDLED_DATA,
    DataError,
    content_version,
    data_directory,
    read_gold_responses,
    read_personas,
    read_tasks,
)
from stargate_assets.method.keys import normalised
from stargate_assets.method.text import sentences
from stargate_assets_tests.conftest import write_data_set

MINI = BUNDLED_DATA / "everyday_mini"
Line = dict[str, object] | str | bytes


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data_set(tmp_path / "mini")


def change(path: Path, number: int, line: Line) -> None:
    """Replace a line (counted from 1); a number past the end appends."""
    lines = path.read_bytes().splitlines(keepends=True)
    text = json.dumps(line) if isinstance(line, dict) else line
    lines[number - 1 : number] = [(text.encode() if isinstance(text, str) else text) + b"\n"]
    path.write_bytes(b"".join(lines))


def split_sets(frame: pl.DataFrame, column: str) -> list[set[str]]:
    return [
        {normalised(value) for value in part[column]}
        for part in frame.partition_by("split", maintain_order=True)
    ]


def test_the_shipped_data_set_has_its_sizes() -> None:
    tasks, personas = read_tasks(MINI), read_personas(MINI)
    order = ["train_a", "train_b", "test"]
    assert [tasks.filter(split=split).height for split in order] == [10, 10, 8]
    assert [personas.filter(split=split).height for split in order] == [4, 4, 4]
    gold = read_gold_responses(MINI)
    assert [gold.filter(split=split).height for split in order] == [40, 40, 32]


@pytest.mark.parametrize(
    ("read", "column"), [(read_tasks, "text"), (read_personas, "name"), (read_personas, "text")]
)
def test_the_shipped_splits_have_nothing_in_common(
    read: Callable[[Path], pl.DataFrame], column: str
) -> None:
    train_a, train_b, test = split_sets(read(MINI), column)
    assert not (train_a & train_b or train_a & test or train_b & test)


def test_shipped_gold_responses_name_their_person_in_at_most_ten_sentences() -> None:
    gold = read_gold_responses(MINI).join(read_personas(MINI), on="persona_id", suffix="_persona")
    assert gold.height == 112
    for text, name in gold.select("text", "name").iter_rows():
        assert len(sentences(text)) <= 10
        assert name in text


def test_rows_have_ids_that_do_not_depend_on_their_order(data: Path) -> None:
    before = read_gold_responses(data)
    for file in data.glob("*.jsonl"):
        file.write_text("\n\n".join(reversed(file.read_text().splitlines())))  # and blank lines
    key = ["task_id", "persona_id"]
    assert read_gold_responses(data).sort(key).equals(before.sort(key))
    assert set(before["source"]) == {"recorded"}


@pytest.mark.parametrize(
    ("file", "number", "line", "complaint"),
    [
        ("tasks", 2, "{oops", "not JSON .*; correct it"),
        ("tasks", 3, '["train_a", "What?"]', "'split' must be text; add it"),
        ("tasks", 4, {"split": "train_b"}, "'text' must be text; add it"),
        ("tasks", 1, {"split": "train_a", "text": " \n"}, "'text' must be text; add it"),
        ("personas", 5, {"split": "test", "text": "I sail."}, "'name' must be text; add it"),
        ("personas", 6, {"split": "dev", "name": "Zoe", "text": "I sail."},
         "split 'dev' is not one of train_a, train_b, test"),
        ("gold_responses", 1, {"task": "What?", "persona": "Test0", "text": 7},
         "'text' must be text; add it"),
        ("gold_responses", 2, {"task": "What?", "persona": "Test0", "text": "So."},
         "'Test0' and the task 'What.' are not a pair of one split; use"),
        ("gold_responses", 3, {"task": "What should I do about matter 0 of test?",
         "persona": "TrainA0", "text": "So."}, "are not a pair of one split; use"),
        ("gold_responses", 4, {"task": "What should I do about matter 0 of test?",
         "persona": "Nobody", "text": "So."}, "'Nobody' .* are not a pair of one split; use"),
        ("gold_responses", 13, {"task": "what should I do about MATTER 0 of test?",
         "persona": "test0", "text": "So."}, "a second gold response for one pair; remove it"),
        ("tasks", 2, b'{"split": "train_a", "text": "Caf\xe9?"}', "UTF-8"),
        ("tasks", 2, '{"split": "train_a", "text": "\\ud83d?"}', "text"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_with_its_file_and_number_and_what_to_do(
    data: Path, file: str, number: int, line: Line, complaint: str
) -> None:
    path = data / f"{file}.jsonl"
    change(path, number, line)
    with pytest.raises(DataError, match=rf"{path.name}, line {number}: .*{complaint}"):
        read_gold_responses(data)


@pytest.mark.parametrize(
    ("file", "record"),
    [
        ("tasks", {"split": "test", "text": "what should I do about MATTER 0 of train_a?"}),
        ("personas", {"split": "test", "name": "TrainA0", "text": "I sail."}),
        ("personas", {"split": "test", "name": "TRAINA0", "text": "I sail."}),
        ("personas", {"split": "test", "name": "Zoe", "text": "PERSONA"}),
    ],
    ids=["task", "name", "name in capitals", "persona under another name"],
)
def test_what_stands_in_two_splits_is_refused(
    data: Path, file: str, record: dict[str, str]
) -> None:
    path = data / f"{file}.jsonl"
    first = json.loads(path.read_text().splitlines()[0])
    change(path, 7, {k: first["text"] if v == "PERSONA" else v for k, v in record.items()})
    with pytest.raises(DataError, match=rf"{path.name}.* stands more than once; remove one"):
        read_gold_responses(data)


def test_a_pair_without_a_gold_response_is_named(data: Path) -> None:
    path = data / "gold_responses.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    complaint = r"no gold response of 'Test1' for the task '.* matter 1 of test\?'; add one"
    with pytest.raises(DataError, match=complaint):
        read_gold_responses(data)


@pytest.mark.parametrize("file", ["tasks", "personas", "gold_responses"])
def test_a_file_that_is_missing_is_asked_for(data: Path, file: str) -> None:
    (data / f"{file}.jsonl").unlink()
    with pytest.raises(DataError, match=rf"{file}.jsonl is not there; add it"):
        read_gold_responses(data)


def test_an_empty_file_is_not_a_table(data: Path) -> None:
    (data / "tasks.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"tasks.jsonl has no rows; add some"):
        read_tasks(data)


@pytest.mark.parametrize("separator", ["\u2028", "\u0085"])
def test_only_a_line_feed_ends_a_line(data: Path, separator: str) -> None:
    """JSON may hold the other Unicode line ends as they are, and text from the web has them."""
    text = f"One way{separator}or another?"
    record = {"split": "test", "text": text}
    change(data / "tasks.jsonl", 7, json.dumps(record, ensure_ascii=False))
    assert read_tasks(data)["text"].to_list()[-1] == text


def test_other_files_are_another_version(data: Path) -> None:
    before = content_version(data)
    assert content_version(write_data_set(data)) == before
    change(data / "gold_responses.jsonl", 1, {"task": "other"})
    assert content_version(data) != before


def test_a_data_set_is_one_of_ours_by_name_or_a_directory_of_the_user_s(data: Path) -> None:
    assert data_directory("everyday_mini") == MINI
    assert data_directory(str(data)) == data
    with pytest.raises(DataError, match=r"no data set directory 'nowhere'; give one with tasks"):
        data_directory("nowhere")


@pytest.mark.parametrize("path", [".", "../data"])
def test_a_relative_path_starts_from_the_current_directory(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from the package's own directory, where these are directories too."""
    for directory in ("here", "data"):
        write_data_set(tmp_path / directory)
    monkeypatch.chdir(tmp_path / "here")
    assert data_directory(path).resolve() == (tmp_path / "here" / path).resolve()
