"""Tasks with options, and gold responses that are one of them."""

import json
from pathlib import Path

import pytest

from stargate_assets.config.data_set import DataError, check_data_set, validate_data_set
from stargate_assets.config.experiment import ExperimentError
from stargate_assets.method.text import SAME_TEXT
from stargate_assets.pipeline.assets.data_checks import DataSlices, find_other_texts
from stargate_assets.pipeline.assets.rows import pairs_from_rows
from stargate_assets.pipeline.sources.gold import find_option
from stargate_assets.pipeline.sources.tables import content_version, read_tables
from stargate_assets.storage.warehouse import Warehouse
from stargate_assets_tests.conftest import mini_data_set, scripted_experiment, write_options
from stargate_assets_tests.pipeline.sources.test_tables import write_csv

OPTIONS = ("Soup", "rye bread", "2", "B")
WITH_OPTIONS = {"tasks": {"file": "tasks.jsonl", "options": True}}
TEST = {"split": "test"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_options(tmp_path / "mini")


def change_first(data: Path, table: str, **changes: object) -> None:
    """Change the first record of a table."""
    file = data / f"{table}.jsonl"
    line, *others = file.read_text().splitlines()
    file.write_text("\n".join([json.dumps(json.loads(line) | changes), *others]))


@pytest.mark.parametrize(
    ("stated", "right"),
    [
        ("soup ", 0),
        ("RYE  bread.", 1),
        ("2", 2),  # a text before an index
        ("b", 3),  # and before a letter
        ("A", 0),
        ("0", 0),
        ("d", 3),
        ("E", None),
        ("4", None),
        ("-1", None),
        ("²", None),
        ("rye", None),
    ],
)
def test_an_option_is_meant_by_its_text_or_its_letter_or_its_index(
    stated: str, right: int | None
) -> None:
    assert find_option(stated, OPTIONS, SAME_TEXT["marks"]) == right


def test_a_gold_response_becomes_the_option_that_it_states(data: Path) -> None:
    change_first(data, "gold_responses", text="C")
    tables = read_tables(mini_data_set(data, **WITH_OPTIONS))
    assert tables.gold_responses is not None and tables.personas is not None
    assert set(tables.gold_responses.frame["text"]) == {"a bakery", "a home", "money"}
    pairs = pairs_from_rows(tables.tasks.of("test"), tables.personas.of("test"))
    assert {p.task.options for p in pairs} == {("a bakery", "a home", "money")}


def test_options_of_a_csv_are_a_list_in_json_or_several_columns(tmp_path: Path) -> None:
    splits = ("train_a", "train_b", "test")
    tasks = [[s, f"What of {s}?", '["a", "b"]', "c", "d", ""] for s in splits]
    people = [[s, f"Who{i}", f"I sail in {s}."] for i, s in enumerate(splits)]
    gold = [[f"What of {s}?", f"Who{i}", "B"] for i, s in enumerate(splits)]
    head = ["split", "text", "options", "one", "two", "three"]
    write_csv(tmp_path / "tasks.csv", [head, *tasks])
    write_csv(tmp_path / "personas.csv", [["split", "name", "text"], *people])
    write_csv(tmp_path / "gold.csv", [["task", "persona", "text"], *gold])

    def read(**columns: object) -> tuple[set[tuple[str, ...]], set[str]]:
        stated = {
            "tasks": {"file": "tasks.csv", "options": True, "columns": columns},
            "personas": {"file": "personas.csv"},
            "gold_responses": {"file": "gold.csv"},
        }
        tables = read_tables(validate_data_set("d", stated, tmp_path))
        assert tables.gold_responses is not None
        options = tables.tasks.frame["options"].to_list()
        return set(map(tuple, options)), set(tables.gold_responses.frame["text"])

    assert read() == ({("a", "b")}, {"b"})
    assert read(options=["one", "two", "three"]) == ({("c", "d")}, {"d"})


@pytest.mark.parametrize(
    ("table", "changes", "complaint"),
    [
        ("tasks", {"options": "a, b"}, "tasks.jsonl, line 1, column 'options': is no list in JSON"),
        ("tasks", {"options": ["a"]}, "column 'options': needs two options at least that differ"),
        ("tasks", {"options": ["a", "a"]}, "column 'options': needs two options at least"),
        ("tasks", {"options": None}, "column 'options': needs two options at least"),
        ("tasks", {"options": ["a", 1]}, "column 'options': has among its options what is no text"),
        ("tasks", {"options": ["Soup", "soup."]}, "has the option 'Soup' again, as 'soup.'"),
        ("tasks", {"options": ["a", "b\x07"]}, r"column 'options': .*U\+0007"),
        (
            "gold_responses",
            {"text": "tea"},
            "line 1, column 'text': 'tea' is none of the task's options .'a bakery', 'a home', ",
        ),
    ],
)
def test_what_is_wrong_with_options_is_told_with_its_place(
    data: Path, table: str, changes: dict[str, object], complaint: str
) -> None:
    change_first(data, table, **changes)
    with pytest.raises(DataError, match=complaint):
        read_tables(mini_data_set(data, **WITH_OPTIONS))


def test_a_column_of_options_is_read_where_it_is_stated(data: Path) -> None:
    plain = mini_data_set(data)
    assert read_tables(plain).tasks.frame["options"].null_count() == 6
    stated = mini_data_set(data, **WITH_OPTIONS)
    assert content_version(stated) != content_version(plain)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"gold_responses": None}, "need recorded gold_responses"),
        ({"oracle": {"model": {"model": "any"}}}, "and no oracle"),
        ({"personas": {"file": "personas.jsonl", "options": True}}, "state them under tasks"),
    ],
)
def test_who_says_which_option_is_right_is_recorded(
    data: Path, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        mini_data_set(data, **(WITH_OPTIONS | changes))


def test_the_objective_choice_needs_options(data: Path) -> None:
    chosen = scripted_experiment(data, selection={"objective": "choice"})
    without = {"mini": mini_data_set(data)}
    with pytest.raises(ExperimentError, match=r"mine selects by .* choice, .* state options: true"):
        check_data_set("mine", chosen, without)
    check_data_set("mine", scripted_experiment(data), without)
    check_data_set("mine", chosen, {"mini": mini_data_set(data, **WITH_OPTIONS)})


def test_a_gold_response_that_is_no_option_is_found_in_the_warehouse(
    data: Path, tmp_path: Path
) -> None:
    warehouse = Warehouse(tmp_path / "stargate.duckdb")
    tables = read_tables(mini_data_set(data, **WITH_OPTIONS))
    assert tables.gold_responses is not None
    gold = tables.gold_responses.of("test")
    warehouse.write("mini", "tasks", TEST, tables.tasks.of("test"), "v")
    warehouse.write("mini", "gold_responses", TEST, gold, "v")
    slices = DataSlices(warehouse, "mini", "test")
    assert find_other_texts(slices) == []
    changed = gold.with_columns(text=gold["text"].str.replace("a bakery", "bakery"))
    warehouse.write("mini", "gold_responses", TEST, changed, "v")
    assert set(find_other_texts(slices)) == {"'bakery'"}
