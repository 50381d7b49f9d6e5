"""From files to tables: what is read, what is refused, and that order changes nothing."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargate_assets.config.data_set import DATA_TABLES, DataError, DataSet, validate_data_set
from stargate_assets.config.prompts import PromptError, read_prompts
from stargate_assets.pipeline.sources.tables import content_version, read_tables, reader
from stargate_assets_tests.conftest import mini_data_set, write_data_set

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


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def from_csv(directory: Path, **changes: object) -> DataSet:
    """A data set of the files tasks.csv and personas.csv."""
    stated = {"tasks": {"file": "tasks.csv"}, "personas": {"file": "personas.csv"}}
    return validate_data_set("mine", stated | changes, directory)


def some_csv(directory: Path, tasks: int = 22, personas: int = 11) -> Path:
    write_csv(
        directory / "tasks.csv", [["text"], *([f"What of {i * i}, {i}?"] for i in range(tasks))]
    )
    people = [[f"Person{i}", f"I own boat {i}.\nI like «{i}»."] for i in range(personas)]
    write_csv(directory / "personas.csv", [["name", "text"], *people])
    return directory


def splits(frame: pl.DataFrame) -> dict[str, int]:
    return dict(sorted(frame["split"].drop_nulls().value_counts().iter_rows()))


def test_rows_have_ids_that_do_not_depend_on_their_order(data: Path) -> None:
    before = read_tables(mini_data_set(data))
    for file in data.glob("*.jsonl"):
        file.write_text("\n\n".join(reversed(file.read_text().splitlines())))  # and blank lines
    after = read_tables(mini_data_set(data))
    for table in DATA_TABLES:
        assert getattr(after, table).frame.equals(getattr(before, table).frame), table


@settings(deadline=None, max_examples=25)
@given(order=st.randoms(use_true_random=False))
def test_any_permutation_of_the_files_gives_the_same_tables(
    tmp_path_factory: pytest.TempPathFactory, order: object
) -> None:
    directory = some_csv(tmp_path_factory.mktemp("permuted"))
    limited = {"tasks": {"file": "tasks.csv", "limit": 15}}
    before = read_tables(from_csv(directory, **limited))
    for name in ("tasks.csv", "personas.csv"):
        with (directory / name).open(newline="") as file:
            header, *rows = csv.reader(file)
        order.shuffle(rows)  # type: ignore[attr-defined]
        write_csv(directory / name, [header, *rows])
    after = read_tables(from_csv(directory, **limited))
    assert after.tasks.frame.equals(before.tasks.frame)
    assert after.personas and before.personas
    assert after.personas.frame.equals(before.personas.frame)


def test_splits_are_drawn_in_the_proportions_of_the_paper(tmp_path: Path) -> None:
    read = read_tables(from_csv(some_csv(tmp_path)))
    assert splits(read.tasks.frame) == {"test": 2, "train_a": 10, "train_b": 10}
    assert read.personas
    assert splits(read.personas.frame) == {"test": 1, "train_a": 5, "train_b": 5}
    assert read.personas.frame["text"][0].count("\n") == 1  # a quoted line end stays


def test_sizes_and_limits_leave_rows_out_and_count_them(tmp_path: Path) -> None:
    sizes = {"train_a": 4, "train_b": 3, "test": 2}
    tasks = {"file": "tasks.csv", "sizes": sizes, "limit": 12}
    read = read_tables(from_csv(some_csv(tmp_path), tasks=tasks))
    assert splits(read.tasks.frame) == sizes
    assert read.tasks.left_out == {"not_drawn": 13}
    another = read_tables(from_csv(tmp_path, tasks=tasks, seed=1))
    assert set(another.tasks.of("test")["text"]) != set(read.tasks.of("test")["text"])


def test_rows_with_splits_of_their_own_stay_there_and_are_drawn_within(data: Path) -> None:
    sizes = {"train_a": 1, "train_b": 1, "test": 2}
    tasks = {"file": "tasks.jsonl", "sizes": sizes}
    read = read_tables(mini_data_set(data, tasks=tasks, gold_responses=None, oracle=None))
    assert splits(read.tasks.frame) == sizes
    for split, text in read.tasks.frame.drop_nulls("split").select("split", "text").iter_rows():
        assert text.endswith(f"of {split}?")


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    some_csv(tmp_path)
    write_csv(tmp_path / "tasks.csv", [["query", "area"], *([f"Q{i}?", "food"] for i in range(9))])
    columns = {"text": "query", "domain": "area"}
    read = read_tables(from_csv(tmp_path, tasks={"file": "tasks.csv", "columns": columns}))
    assert set(read.tasks.frame["domain"]) == {"food"}
    assert set(read.tasks.frame["kind"]) == {None}


def test_a_table_may_lie_in_several_files(tmp_path: Path) -> None:
    some_csv(tmp_path)
    general = [["text", "kind"], ["How is glass made?", "general"]]
    write_csv(tmp_path / "general.csv", general)
    files = {"file": ["tasks.csv", "general.csv"]}
    alone = read_tables(from_csv(tmp_path)).tasks.frame
    together = read_tables(from_csv(tmp_path, tasks=files)).tasks.frame
    assert together.height == alone.height + 1
    assert together.filter(kind="general")["text"].to_list() == ["How is glass made?"]
    write_csv(tmp_path / "general.csv", [*general, [alone["text"][0], "general"]])
    twice = r"general.csv, line 3, column 'text': is the same as in .*tasks.csv, line \d+; remove"
    with pytest.raises(DataError, match=twice):
        read_tables(from_csv(tmp_path, tasks=files))


@pytest.mark.parametrize(
    ("content", "left_out"),
    [
        ("text\nA?\nB?\nC?\ntext\nD?\n", {"repeated_header": 1}),
        ("text,domain,,\nA?,x,,\nB?,,,\nC?,x,,\nD?,x\n", {}),
        ("text,domain\nA?,x\n,\nB?,x\n  ,\t\nC?,,,,\nD?,\n,\n,,,,\n", {"blank_row": 4}),
        ("text,domain\nA?,x\nB?,x\n\ufeff text ,domain,\nC?,x\nD?,x\n", {"repeated_header": 1}),
        (",text, domain\n0,A?,x\n1,B?,x\n2,C?,x\n3,D?,x\n,,\n", {"blank_row": 1}),
        ("notes,text\n" + "n" * 200_000 + ",A?\n,B?\n,C?\n,D?\n", {}),
    ],
)
def test_what_spreadsheets_and_joined_files_leave_is_no_row_and_counted(
    tmp_path: Path, content: str, left_out: dict[str, int]
) -> None:
    some_csv(tmp_path)
    (tmp_path / "tasks.csv").write_text(content, encoding="utf-8", newline="")
    read = read_tables(from_csv(tmp_path)).tasks
    assert sorted(read.frame["text"]) == ["A?", "B?", "C?", "D?"]
    assert set(read.frame["domain"]) <= {"x", None}
    assert read.left_out == left_out


def test_blank_rows_and_headers_are_no_rows_in_other_formats(tmp_path: Path) -> None:
    some_csv(tmp_path)
    texts = ["A?", "text", "B?", None, "C?", " "]
    counted = {"blank_row": 2, "repeated_header": 1}
    pl.DataFrame({"text": texts, "domain": None}).write_parquet(tmp_path / "tasks.parquet")
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "tasks.jsonl").write_text(lines)
    for file in ("tasks.parquet", "tasks.jsonl"):
        read = read_tables(from_csv(tmp_path, tasks={"file": file})).tasks
        assert sorted(read.frame["text"]) == ["A?", "B?", "C?"]
        assert read.left_out == counted


def test_texts_that_differ_in_a_sign_are_two_tasks(tmp_path: Path) -> None:
    some_csv(tmp_path)
    texts = ["How do I learn C?", "How do I learn C#?", "Is 20 warm?", "Is -20 warm?"]
    write_csv(tmp_path / "tasks.csv", [["text"], *([text] for text in texts)])
    assert sorted(read_tables(from_csv(tmp_path)).tasks.frame["text"]) == sorted(texts)


def test_the_rule_of_the_same_text_can_be_loosened(tmp_path: Path) -> None:
    some_csv(tmp_path)
    write_csv(tmp_path / "tasks.csv", [["text"], ["C?"], ["C#?"], ["Go?"], ["Zig?"]])
    assert read_tables(from_csv(tmp_path)).tasks.frame.height == 4
    with pytest.raises(DataError, match=r"line 3, column 'text': is the same as in line 2"):
        read_tables(from_csv(tmp_path, same_text="words"))


def test_parquet_is_read_and_a_row_in_it_is_named(tmp_path: Path) -> None:
    some_csv(tmp_path)
    texts: list[str | None] = [f"Q{i}?" for i in range(5)]
    pl.DataFrame({"text": texts}).write_parquet(tmp_path / "tasks.parquet")
    tasks = {"file": "tasks.parquet"}
    assert read_tables(from_csv(tmp_path, tasks=tasks)).tasks.frame.height == 5
    domains = ["home"] * 6
    frame = pl.DataFrame({"text": [*texts, None], "domain": domains})
    frame.write_parquet(tmp_path / "tasks.parquet")
    with pytest.raises(DataError, match=r"tasks.parquet, row 6, column 'text': must be text"):
        read_tables(from_csv(tmp_path, tasks=tasks))
    (tmp_path / "tasks.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match="is not a Parquet file"):
        read_tables(from_csv(tmp_path, tasks=tasks))


@pytest.mark.parametrize(
    ("file", "number", "line", "complaint"),
    [
        ("tasks", 2, "{oops", ": not JSON .*; correct it"),
        ("tasks", 3, '["train_a", "What?"]', ": not a JSON object; write"),
        ("tasks", 4, {"split": "train_b"}, ", column 'text': must be text; add it"),
        ("tasks", 4, {"text": "What?"}, ", column 'split': must be text, because other rows"),
        ("tasks", 1, {"split": "train_a", "text": " \n"}, ", column 'text': must be text"),
        ("tasks", 5, {"split": "test", "text": "a\x0bb"}, ", column 'text': .* U\\+000B"),
        ("tasks", 5, {"split": "test", "text": "So?", "kind": "x"}, ", column 'kind': 'x' is not"),
        ("tasks", 7, {"split": "test", "text": "what should I do about MATTER 0 of train_a"},
         ", column 'text': is the same as in line 1; remove one"),
        ("tasks", 7, {"split": "test", "text": "Is TestA here? Or Test0?"},
         "PERSONAS, line 5, column 'name': 'Test0' stands in the task of .*tasks.jsonl, line 7"),
        ("personas", 5, {"split": "test", "text": "I sail."}, ", column 'name': must be text"),
        ("personas", 6, {"split": "dev", "name": "Zoe", "text": "I sail."},
         ", column 'split': 'dev' is not one of train_a, train_b, test"),
        ("personas", 7, {"split": "test", "name": "TRAINA0", "text": "I sail."},
         ", column 'name': is the same as in line 1"),
        ("gold_responses", 1, {"task": "What?", "persona": "Test0", "text": 7},
         ", column 'text': must be text; add it"),
        ("gold_responses", 2, {"task": "What?", "persona": "Test0", "text": "So."},
         ", column 'task': 'What.' is no task of this data set; use one as it stands there"),
        ("gold_responses", 4, {"task": "What should I do about matter 0 of test?",
         "persona": "Nobody", "text": "So."}, ", column 'persona': 'Nobody' is no name of a"),
        ("gold_responses", 13, {"task": "what should I do about MATTER 0 of test",
         "persona": "test0", "text": "So."}, ", column 'text': is a second gold response for the"),
        ("tasks", 2, b'{"split": "train_a", "text": "Caf\xe9?"}', ": not UTF-8; save the file as"),
        ("tasks", 2, '{"split": "train_a", "text": "\\ud83d?"}', ", column 'text': .*surrogate"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_with_its_file_column_and_what_to_do(
    data: Path, file: str, number: int, line: Line, complaint: str
) -> None:
    path = data / f"{file}.jsonl"
    change(path, number, line)
    where = (
        complaint.replace("PERSONAS", "personas.jsonl")
        if complaint.startswith("PERSONAS")
        else rf"{path.name}, line {number}{complaint}"
    )
    with pytest.raises(DataError, match=where):
        read_tables(mini_data_set(data))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", r"tasks.csv has no rows; add a header and rows"),
        ("text\n", r"tasks.csv has no rows; add some"),
        ("query\nWhat?\n", r"tasks.csv has no column 'text', but query; rename one, or name it"),
        ("text;kind\na;b\n", "tasks.csv, line 1: no commas between the columns"),
        ("text,text\na,b\n", "tasks.csv, line 1: two columns are called 'text'; rename one"),
        ("text,kind\n\nA?\n", "tasks.csv, line 3: 1 fields where the header has 2"),
        ("text,,\nA?, and B?,,\n", "tasks.csv, line 2: 2 fields where the header has 1"),
        ("text,kind\nA?,\nkind,text\n", "line 3: the header again, with its columns in another"),
        ('text\n"A\nB?"\n"C?\nD', r"tasks.csv, line 4: not CSV \(.*\); correct the quotes"),
        ('text\n"A\nB?"\n\x1b[1m?\n', "tasks.csv, line 4, column 'text': .* U\\+001B"),
        ("text\nA?\nB?\n", "tasks.csv has 2 usable rows for splits of .*; add rows, or state"),
    ],
)
def test_a_bad_csv_is_named_too(tmp_path: Path, content: str, complaint: str) -> None:
    some_csv(tmp_path)
    (tmp_path / "tasks.csv").write_text(content, newline="")
    with pytest.raises(DataError, match=complaint):
        read_tables(from_csv(tmp_path))


@pytest.mark.parametrize(
    ("tasks", "complaint"),
    [
        (
            {"file": "tasks.csv", "columns": {"prompt": "text"}},
            "'prompt' under columns is no field",
        ),
        ({"file": "tasks.csv", "columns": {"text": "query"}}, "has no column 'query', but text"),
        ({"file": "tasks.csv", "transcript": "Human: (?P<text>.*)"}, "line 2, .* transcript"),
        ({"file": "tasks.csv", "sizes": {"train_a": 30, "train_b": 1, "test": 1}}, "22 usable"),
        ({"file": "tasks.csv", "encoding": "klingon"}, "'klingon' is no encoding that Python kn"),
        ({"file": "none.csv"}, "none.csv is not there; add it"),
    ],
)
def test_what_is_stated_wrongly_is_named(
    tmp_path: Path, tasks: dict[str, object], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        read_tables(from_csv(some_csv(tmp_path), tasks=tasks))


def test_too_few_rows_of_a_split_are_named(data: Path) -> None:
    tasks = {"file": "tasks.jsonl", "sizes": {"train_a": 3, "train_b": 1, "test": 1}}
    with pytest.raises(DataError, match="2 usable rows of the split train_a where sizes ask for 3"):
        read_tables(mini_data_set(data, tasks=tasks))


def test_a_pair_without_a_gold_response_is_named_unless_there_is_an_oracle(data: Path) -> None:
    path = data / "gold_responses.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    complaint = r"no gold response of 'Test1' for the task '.* matter 1 of test\?'; add one, or"
    with pytest.raises(DataError, match=complaint):
        read_tables(mini_data_set(data))
    oracle = {"model": {"engine": "scripted", "model": "oracle"}}
    read = read_tables(mini_data_set(data, oracle=oracle))
    assert read.gold_responses
    assert read.gold_responses.frame.height == 11


def test_gold_responses_of_pairs_in_no_split_are_counted(data: Path) -> None:
    crossing = {"task": "What should I do about matter 0 of test?", "persona": "TrainA0"}
    change(data / "gold_responses.jsonl", 13, {**crossing, "text": "So."})
    read = read_tables(mini_data_set(data))
    assert read.gold_responses
    assert read.gold_responses.frame.height == 12
    assert read.gold_responses.left_out == {"pair_of_no_split": 1}


@pytest.mark.parametrize("separator", ["\u2028", "\u0085"])
def test_only_a_line_feed_ends_a_line(data: Path, separator: str) -> None:
    """JSON may hold the other Unicode line ends as they are, and text from the web has them."""
    text = f"One way{separator}or another?"
    record = {"split": "train_a", "text": text}
    change(data / "tasks.jsonl", 7, json.dumps(record, ensure_ascii=False))
    read = read_tables(mini_data_set(data, gold_responses=None))
    assert text in read.tasks.frame["text"].to_list()


def test_other_files_are_another_version_and_another_place_is_not(data: Path) -> None:
    before = content_version(mini_data_set(data))
    elsewhere = write_data_set(data.parent / "elsewhere")
    assert content_version(mini_data_set(elsewhere)) == before
    assert content_version(mini_data_set(data, seed=1)) != before
    change(data / "gold_responses.jsonl", 1, {"task": "other"})
    assert content_version(mini_data_set(data)) != before


def test_files_that_change_after_loading_are_not_read_under_the_old_version(data: Path) -> None:
    read = reader("mini", mini_data_set(data))
    change(data / "tasks.jsonl", 7, {"split": "test", "text": "Anything else?"})
    with pytest.raises(DataError, match=r"files of mini have changed .*; reload them"):
        read()


@pytest.mark.parametrize(
    ("stated", "complaint"),
    [
        ({"personas": {"file": "p.csv"}}, "needs either tasks or a task_writer"),
        (
            {"tasks": {}, "personas": {"file": "p.csv"}},
            "tasks: needs either a file, a url or a hub",
        ),
        ({"tasks": {"file": "t.csv"}}, "needs either personas or a persona_writer"),
        ({"tasks": {"file": "t.csv", "sise": 3}}, "tasks.sise: Extra inputs"),
        ({"tasks": {"file": "t.csv", "transcript": "("}}, "tasks.transcript: is not a regular"),
        (
            {"tasks": {"file": "t.csv", "transcript": "Human"}},
            r"tasks.transcript: needs a group \(\?P<text>",
        ),
        ({"tasks": {"file": "t.csv", "limit": 0}}, "tasks.limit: Input should be greater than 0"),
    ],
)
def test_a_wrong_field_is_named(stated: dict[str, object], complaint: str) -> None:
    with pytest.raises(DataError, match=f"data set d is not valid: {complaint}.*defs.yaml"):
        validate_data_set("d", stated, Path("/nowhere"))


def test_files_start_from_the_folder_of_the_defs_yaml(data: Path) -> None:
    stated = {"tasks": {"file": "../mini/tasks.jsonl"}, "personas": {"file": "personas.jsonl"}}
    read = validate_data_set("d", stated, data)
    assert read.tasks.file == (data / "tasks.jsonl",)


def test_a_path_leaves_the_project_only_if_it_is_absolute(data: Path) -> None:
    outside, folder = data / "tasks.jsonl", data / "defs" / "d"
    folder.mkdir(parents=True)
    (data / "defs" / "dagster.yaml").touch()
    stated = {"tasks": {"file": "../../tasks.jsonl"}, "personas": {"file": "../personas.jsonl"}}
    with pytest.raises(DataError, match=r"tasks.jsonl, which is outside of the project; move it"):
        validate_data_set("d", stated, folder)
    read = validate_data_set("d", stated | {"tasks": {"file": str(outside)}}, folder)
    assert read.tasks.file == (outside,)
    with pytest.raises(PromptError, match=r"x\.j2, which is outside of the project; move it"):
        read_prompts({"prompts": {"oracle": "../../x.j2"}}, folder / "defs.yaml")
