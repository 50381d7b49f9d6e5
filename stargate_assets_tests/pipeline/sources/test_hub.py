"""A data set in the Hub's format, in a local directory: the real `datasets` reads it."""

import json
from pathlib import Path

import pytest

from stargate_assets.config.data_set import DataError, DataSet, validate_data_set
from stargate_assets.pipeline.sources.tables import read_tables

TRANSCRIPT = r"^\s*Human:\s*(?P<text>.+?)\s*Assistant:"
CARD = """---
configs:
- config_name: chats
  data_files:
  - {split: train, path: data/train.jsonl}
---
"""
CHATS = [
    "\n\nHuman: How do I dry herbs?\n\nAssistant: Hang them up.\n\nHuman: For how long?",
    "Human: Which\nshoes? Assistant: Flat ones.",
    "Human: How do I dry HERBS\n\nAssistant: In the oven.",
    "Assistant: Hello.",
    "Human: \x07? Assistant: What?",
    "Human: 今天吃什么？ Assistant: 面条。",
    "Human: Is Kim in? Assistant: No.",
]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    repository = tmp_path / "repository"
    (repository / "data").mkdir(parents=True)
    (repository / "README.md").write_text(CARD)
    lines = "".join(json.dumps({"chosen": chat}) + "\n" for chat in CHATS)
    (repository / "data" / "train.jsonl").write_text(lines)
    people = "".join(
        json.dumps({"name": n, "text": f"I am {n}."}) + "\n" for n in ("Ana", "Bo", "Cy")
    )
    (tmp_path / "personas.jsonl").write_text(people)
    return repository


def data_set(directory: Path, **hub: object) -> DataSet:
    tasks = {
        "hub": {"repository": str(directory), "configuration": "chats"} | hub,
        "columns": {"text": "chosen"},
        "transcript": TRANSCRIPT,
    }
    stated = {"tasks": tasks, "personas": {"file": "personas.jsonl"}}
    return validate_data_set("d", stated, directory.parent)


def test_the_first_human_turn_of_each_transcript_is_a_task(hub: Path) -> None:
    read = read_tables(data_set(hub))
    texts = {"How do I dry herbs?", "Which\nshoes?", "今天吃什么？", "Is Kim in?"}
    assert set(read.tasks.frame["text"]) == texts
    assert read.tasks.left_out == {
        "control_character": 1,
        "no_transcript": 1,
        "repeated": 1,
    }


def test_what_cannot_be_had_is_one_sentence(hub: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read .*; correct its repository, config"):
        read_tables(data_set(hub, split="validation"))
    with pytest.raises(DataError, match="Hub data set '/nowhere' cannot be read"):
        read_tables(data_set(hub, repository="/nowhere"))


def test_a_column_that_is_not_there_is_named(hub: Path) -> None:
    wrong = data_set(hub)
    tasks = wrong.tasks.model_copy(update={"columns": {"text": "prompt"}})
    with pytest.raises(DataError, match="has no column 'prompt', but chosen; rename one, or name"):
        read_tables(wrong.model_copy(update={"tasks": tasks}))
