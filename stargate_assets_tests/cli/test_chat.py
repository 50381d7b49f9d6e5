"""A conversation with a policy, through a pipe."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from stargate_assets.cli.chat import Read, start_chat
from stargate_assets.cli.driver import DriverError
from stargate_assets.definitions.project import Project
from stargate_assets.engines.scripted import UTTERANCES
from stargate_assets.method.conversation import is_question
from stargate_assets_tests.conftest import JUDGED

Build = Callable[..., Project]
ANSWER = UTTERANCES[-2]
"""What the scripted engine says greedily."""


def typed(*lines: str) -> Read:
    """A person who types these lines and is gone."""
    left = iter(lines)

    def read(prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return read


def talk(
    project: Project, capsys: pytest.CaptureFixture[str], *lines: str, plays_persona: bool = False
) -> list[str]:
    """What is shown after the offered tasks."""
    start_chat(project, "loop", 0, typed(*lines), plays_persona=plays_persona).hold()
    shown = capsys.readouterr().out.splitlines()
    first = next(n for n, line in enumerate(shown) if line.startswith("  2  "))
    return shown[first + 1 : -1]


def kept(project: Project) -> Sequence[dict[str, object]]:
    return project.warehouse.query("FROM loop.chats ORDER BY held_at").to_dicts()


def test_a_policy_asks_and_answers_and_the_conversation_is_kept(
    scripted_project: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    project = scripted_project(**JUDGED)
    replies = ("I bake.", "With my brother.")
    shown = talk(project, capsys, "Bea", "Help\x1b me.", *replies, "/keep", "/quit", "unread")
    *asked, answered, told = shown
    assert answered == f"policy 0: {ANSWER}"
    assert told == "Kept: stargate sql 'from loop.chats'"
    said = [line.removeprefix("policy 0: ") for line in asked]
    assert set(said) <= set(UTTERANCES)
    heard = [text for text in said if is_question(text)]
    (row,) = kept(project)
    assert (row["name"], row["iteration"], row["policy"]) == ("Bea", 0, "base")
    assert (row["task"], row["response"], row["truncated"]) == ("Help\x1b me.", ANSWER, False)
    assert (row["questions"], row["answers"]) == (heard, list(replies[: len(heard)]))
    assert (row["persona_id"], row["roleplayer"]) == (None, None)
    assert row["unanswered"] == (None if len(heard) == len(said) else said[-1])


def test_an_answer_is_given_when_it_is_wanted(
    scripted_project: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    project = scripted_project()
    lines = [line for number in range(12) for line in (f"Matter {number}.", "/answer")]
    shown = talk(project, capsys, "", *lines, "/keep")
    asked = [line.removeprefix("policy 0: ") for line in shown if line.startswith("policy 0: ")]
    assert ANSWER in asked
    (row,) = kept(project)
    assert (row["name"], row["questions"], row["answers"]) == ("Ana", [], [])
    assert row["unanswered"] in UTTERANCES


def test_a_roleplayer_replies_as_somebody_of_the_test_split(
    scripted_project: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    project = scripted_project(**JUDGED)
    talk(project, capsys, "1", "/keep", "2", "/keep", "1", "/keep", plays_persona=True)
    rows = kept(project)
    assert {row["name"] for row in rows} == {"Test0", "Test1"}
    tasks = [row["task"] for row in rows]
    assert tasks[0] == tasks[2] != tasks[1]
    assert {row["roleplayer"] for row in rows} == {"any"}
    assert any(row["questions"] for row in rows)
    for row in rows:
        assert set(row["answers"]) <= set(UTTERANCES)  # pyright: ignore[reportArgumentType]
        assert len(row["questions"]) == len(row["answers"])  # pyright: ignore[reportArgumentType]
    assert project.warehouse.query("FROM all_experiments.chats").height == 3
    assert {row.slice for row in project.models.calls().usage} == {"chat"}


def test_what_is_not_understood_is_told(
    scripted_project: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = talk(scripted_project(), capsys, "", "/policy 1", "/policy 0", "/keep", "/help")
    assert shown[0] == ("loop has no policy 1; there are: 0. Train more: stargate run loop.")
    assert shown[1:3] == ["Policy 0.", "There is no answered conversation to keep yet."]
    assert shown[3].startswith("/policy N talks with another")


def test_policies_are_changed_without_loading_the_model_again(
    finished_project: Build, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = finished_project(questioner={"model": str(tiny_model), "dtype": "float32"})
    opened: list[str] = []
    project.models.on_progress = lambda doing, done, total: opened.append(doing) if done else None
    lines = ("", "Help.", "/answer", "/keep", "/policy 1", "Help.", "/answer", "/keep")
    start_chat(project, "loop", 2, typed(*lines), plays_persona=False).hold()
    assert [row["iteration"] for row in kept(project)] == [2, 1]
    assert sum(doing.startswith("loading") for doing in opened) == 1
    second, first = kept(project)
    assert first["policy"] != second["policy"]


def test_a_policy_that_is_not_there_is_told_before_anything(scripted_project: Build) -> None:
    with pytest.raises(DriverError, match="loop has no policy 3; there are: 0"):
        start_chat(scripted_project(), "loop", 3, typed(), plays_persona=False)
