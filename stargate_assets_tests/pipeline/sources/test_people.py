"""Personas as they are published: without names, in the third person, as lists of statements."""

import json
import random
from pathlib import Path

import pytest

from stargate_assets.config.data_set import DataError, DataSet, Source, validate_data_set
from stargate_assets.config.presets import PRESETS, split_preset
from stargate_assets.method.text import without_marks
from stargate_assets.pipeline.assets.rows import personas_from_rows
from stargate_assets.pipeline.assets.versions import data_versions
from stargate_assets.pipeline.sources.tables import read_tables

TASKS = "".join(json.dumps({"text": f"What of {n * n}, Robin Bakker?"}) + "\n" for n in range(6))


def people(directory: Path, rows: list[dict[str, object]], **stated: object) -> DataSet:
    (directory / "tasks.jsonl").write_text(TASKS)
    (directory / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    personas = {"file": "people.jsonl", **stated}
    return validate_data_set(
        "d", {"tasks": {"file": "tasks.jsonl"}, "personas": personas}, directory
    )


def names(data_set: DataSet) -> dict[str, str]:
    read = read_tables(data_set).personas
    assert read
    return dict(read.frame.select("text", "name").iter_rows())


def test_drawn_names_are_of_the_text_s_script_unlike_and_independent_of_order(
    tmp_path: Path,
) -> None:
    texts = [f"I own {n} boats." for n in range(2000)] + [
        "我有一条船。",
        "У меня лодка.",
        "나는 배가 있다.",
    ]
    drawn = names(people(tmp_path, [{"text": text} for text in texts], names="drawn"))
    assert len({without_marks(name) for name in drawn.values()}) == len(texts)
    assert drawn["我有一条船。"].isalpha() and not drawn["我有一条船。"].isascii()
    assert drawn["У меня лодка."][0] in "СЖВШНМПЮЛРТГАеУ"
    assert drawn["나는 배가 있다."][0] in "김이박최정강조윤장임한오서신권황안송류홍"
    assert "Robin Bakker" not in drawn.values()  # whom the tasks name
    random.Random(0).shuffle(texts)
    assert names(people(tmp_path, [{"text": text} for text in texts], names="drawn")) == drawn
    few = names(people(tmp_path, [{"text": text} for text in texts[:50]], names="drawn"))
    assert sum(few[text] == drawn[text] for text in few) > 30  # taken ones apart


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("I bake. My name is Zoë O'Hara and I sail.", "Zoë O'Hara"),
        ("Name: Ana\nI bake.", "Ana"),
        ("Mary Alberti, a retired teacher, sails.", "Mary Alberti"),
        ("Ole Dahl is a baker.", "Ole Dahl"),
        ("A Political Analyst is tired.", None),
        ("I am Dutch.", None),
        ("The Hague is home.", None),
    ],
)
def test_a_name_is_found_or_the_row_is_refused(tmp_path: Path, text: str, name: str | None) -> None:
    others: list[dict[str, object]] = [
        {"text": f"My name is {n}. I bake."} for n in ("Bo", "Cy", "Di")
    ]
    data_set = people(tmp_path, [{"text": text}, *others], names="found", skip_bad=True)
    read = read_tables(data_set).personas
    assert read
    assert names(data_set).get(text) == name
    assert read.left_out == ({} if name else {"no_name": 1})
    if name is None:
        with pytest.raises(
            DataError, match="line 1, column 'text': no name can be found in it; st"
        ):
            read_tables(people(tmp_path, [{"text": text}, *others], names="found"))


def test_people_without_names_are_a_version_of_their_own(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": f"I own {n} boats."} for n in range(4)]
    data_set = people(tmp_path, rows, names="none")
    read = read_tables(data_set).personas
    assert read
    assert read.frame["name"].to_list() == [None] * 4
    assert {person.name for person in personas_from_rows(read.frame)} == {""}
    drawn = people(tmp_path, rows, names="drawn")
    assert data_versions(data_set)["personas"] != data_versions(drawn)["personas"]


@pytest.mark.parametrize(
    ("row", "stated"),
    [
        ({"text": ["I sail. Often.", " I bake", "I sail. Often."]}, {}),
        ({"text": "I sail. Often.\n\nI bake"}, {"statements": "lines"}),
        ({"text": '["I sail. Often.", "I bake"]'}, {"statements": "json"}),
        ({"a": "I sail. Often.", "b": "I bake", "c": None}, {"columns": {"text": ["a", "b", "c"]}}),
    ],
)
def test_lists_of_statements_stay_lists(
    tmp_path: Path, row: dict[str, object], stated: dict[str, object]
) -> None:
    rows = [row, *({k: v and f"I own boat {n}." for k, v in row.items()} for n in range(3))]
    if stated.get("statements") == "json":
        rows[1:] = [{"text": json.dumps([f"I own boat {n}."])} for n in range(3)]
    data_set = people(tmp_path, rows, names="none", **stated)
    read = read_tables(data_set).personas
    assert read
    found = {person.stated: person for person in personas_from_rows(read.frame)}
    ours = found["I sail. Often.", "I bake"]
    assert ours.statements == ["I sail. Often.", "I bake"]
    assert ours.text == "I sail. Often.\nI bake"


def test_what_is_no_list_of_statements_is_refused(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": ["I sail.", 7]}, {"text": []}, {"text": "I bake."}]
    with pytest.raises(DataError) as caught:
        read_tables(people(tmp_path, rows, names="none", statements="json"))
    first, *said = str(caught.value).splitlines()
    assert first.startswith("3 faults")
    assert "has among its statements what is no text, 7; correct it" in said[0]
    assert "must be text; add it" in said[1]
    assert "is no list in JSON (Expecting value); correct it" in said[2]


FILES = {
    "alpaca": ("a.json", [{"instruction": f"Sort {n}.", "input": "b, a", "o": ""} for n in "abc"]),
    "hh-rlhf": ("a.jsonl", [{"chosen": f"\n\nHuman: Why {n}?\n\nAssistant: So."} for n in "abc"]),
    "synthetic-persona-chat": (
        "a.csv", [{"user 1 personas": f"I like {n}.\nI sail.", "user 2 personas": f"I own {n}."}
                  for n in "abc"],
    ),
    "personahub": ("a.jsonl", [{"persona": f"A baker of {n}"} for n in "abc"]),
    "nemotron-personas": ("a.jsonl", [
        {"persona": f"Ana {n.upper()}li, a baker, sails.", "cultural_background": "Ana bakes.",
         "skills_and_expertise": "Ana kneads.", "hobbies_and_interests": "Ana sails.",
         "career_goals_and_ambitions": "Ana rests."} for n in "abc"]),
    "prism": ("a.jsonl", [{"self_description": f"I like {n}."} for n in "abc"]),
}  # fmt: skip
TEXTS = {
    "alpaca": "Sort a.\n\nb, a",
    "hh-rlhf": "Why a?",
    "synthetic-persona-chat": "I like a.\nI sail.",
    "personahub": "A baker of a",
    "nemotron-personas": "Ana Ali, a baker, sails.\nAna bakes.\nAna kneads.\nAna sails.\n"
    "Ana rests.",
    "prism": "I like a.",
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_reads_its_published_files(tmp_path: Path, name: str) -> None:
    file, rows = FILES[name]
    lines = [json.dumps(row) for row in rows]
    text = "\n".join(lines) if file.endswith("jsonl") else f"[{','.join(lines)}]"
    if file.endswith("csv"):
        quoted = [
            '"{}"'.format('","'.join(row)) for row in (list(rows[0]), *(r.values() for r in rows))
        ]
        text = "\n".join(quoted)
    (tmp_path / file).write_text(text)
    preset, place = split_preset(f"{name}:{file}", PRESETS[name].table)
    assert preset
    (tmp_path / "tasks.csv").write_text("text\nSo?\nWhy?\nHow?\n")
    (tmp_path / "people.csv").write_text("name,text\nBo,I own 1.\nCy,I own 2.\nDi,I own 3.\n")
    plain = {"tasks": {"file": "tasks.csv"}, "personas": {"file": "people.csv"}}
    stated = plain | {preset.table: {"file": place, **preset.stated}}
    read = read_tables(validate_data_set("d", stated, tmp_path))
    table = getattr(read, preset.table)
    assert TEXTS[name] in table.frame["text"].to_list()
    assert table.left_out == {}
    assert set(table.frame["origin"]) == {f"{preset.title} ({preset.repository}), {preset.license}"}
    if preset.table == "personas":
        assert table.frame["name"].null_count() == 0


def test_a_preset_is_told_from_a_file_and_is_of_one_table() -> None:
    assert split_preset("https://a/b.csv", "tasks") == (None, "https://a/b.csv")
    assert split_preset("C:file.csv", "tasks") == (None, "C:file.csv")
    with pytest.raises(DataError, match="prism has personas, not tasks; give it as --personas"):
        split_preset("prism:survey.jsonl", "tasks")


def test_columns_that_hold_a_text_each_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("one\nSo?\n")
    source = Source.model_validate({"file": tmp_path / "a.csv", "unpivot": ["one", "two"]})
    with pytest.raises(DataError, match="has no column 'two', but one"):
        read_tables(DataSet(tasks=source, personas=source))
