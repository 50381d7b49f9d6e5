import polars as pl
import pytest

from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.checks import count_result, leak_result, schema_result
from stargate_assets.pipeline.assets.rows import conversation_rows

TEXT = "I keep four hundred sheep on a windy hill. I cannot eat cheese at all."
PAIR = Pair(Task("t", "What should I cook?"), Persona("p", "Ana", TEXT))
TASKS = pl.DataFrame(
    {"split": ["test"], "task_id": ["t"], "text": [PAIR.task.text], "kind": [None]}
)
PERSONAS = pl.DataFrame({"split": ["test"], "persona_id": ["p"], "name": ["Ana"], "text": [TEXT]})


def frame(*conversations: Conversation) -> pl.DataFrame:
    return conversation_rows(Cell(0, "test"), "base", conversations)


def test_persona_text_that_was_said_is_no_leak() -> None:
    said = Conversation(PAIR, 0).asked("What do you keep?", truncated=False).answered(TEXT)
    result = leak_result(TASKS, PERSONAS, frame(said))
    assert result.passed
    assert result.metadata["conversations with a leak"].value == 0


def test_words_that_only_meet_where_two_messages_meet_are_no_leak() -> None:
    pair = Pair(PAIR.task, Persona("p", "Ana", "That is me. My pension covers all of it."))
    talked = Conversation(pair, 0).asked("What about me?", truncated=False)
    talked = talked.answered("My pension covers all of it.")
    assert leak_result(
        TASKS, PERSONAS.with_columns(text=pl.lit(pair.persona.text)), frame(talked)
    ).passed


def test_persona_text_in_a_prompt_is_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A template that shows the persona to the questioner is what the check is there to find."""
    from stargate_assets.method.prompts import positive_control_messages
    from stargate_assets.pipeline.assets import checks

    monkeypatch.setattr(
        checks,
        "questioner_messages",
        lambda conversation: positive_control_messages(conversation.pair),
    )
    silent = Conversation(PAIR, 0).asked("What?", truncated=False).answered("I am not sure.")
    assert not checks.leak_result(TASKS, PERSONAS, frame(silent)).passed


def test_rows_are_counted() -> None:
    assert count_result(3, 3).passed
    assert not count_result(2, 3).passed


def test_a_frame_that_breaks_its_schema_is_found() -> None:
    asked = Conversation(PAIR, 0).asked("What do you keep?", truncated=False).answered("Sheep.")
    good = frame(asked)
    assert schema_result("conversations", good).passed
    assert not schema_result("conversations", pl.concat([good, good])).passed
    assert not schema_result("conversations", good.with_columns(question_rate=pl.lit(2.0))).passed
