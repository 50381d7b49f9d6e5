import polars as pl

from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.checks import (
    check_count,
    check_headroom,
    check_leaks,
    check_schema,
)
from stargate_assets.pipeline.assets.rows import conversation_rows
from stargate_assets_tests.method.people import talk

TEXT = "I keep four hundred sheep on a windy hill. I cannot eat cheese at all."
PAIR = Pair(Task("t", "What should I cook?"), Persona("p", "Ana", TEXT))


def test_persona_text_that_was_said_is_no_leak() -> None:
    said = talk(("What do you keep?", TEXT), of=PAIR)
    result = check_leaks([said], SHIPPED)
    assert result.passed
    assert result.metadata["conversations with a leak"].value == 0


def test_words_that_only_meet_where_two_messages_meet_are_no_leak() -> None:
    pair = Pair(PAIR.task, Persona("p", "Ana", "That is me. My pension covers all of it."))
    talked = Conversation(pair, 0).with_question("What about me?", truncated=False)
    assert check_leaks([talked.with_answer("My pension covers all of it.")], SHIPPED).passed


def test_persona_text_in_a_prompt_is_a_leak() -> None:
    """A prompt that shows the persona to the questioner is what the check is there to find."""
    silent = talk(("What?", "I am not sure."), of=PAIR)
    told = SHIPPED.replace("questioner", f"Ask. {TEXT}")
    assert not check_leaks([silent], told).passed


def test_rows_are_counted() -> None:
    assert check_count(3, 3).passed
    assert not check_count(2, 3).passed


def test_a_frame_that_breaks_its_schema_is_found() -> None:
    asked = (
        Conversation(PAIR, 0)
        .with_question("What do you keep?", truncated=False)
        .with_answer("Sheep.")
    )
    good = conversation_rows(Cell(0, "test"), "base", [asked])
    assert check_schema("conversations", good).passed
    assert not check_schema("conversations", pl.concat([good, good])).passed
    assert not check_schema("conversations", good.with_columns(question_rate=pl.lit(2.0))).passed


def controls(negative: float, positive: float) -> pl.DataFrame:
    """Of one pair whose gold response has ten tokens, beside one pair of which a control is too
    long for the model, and a conversation.
    """
    rows = [
        ("p", "negative_control", negative),
        ("p", "positive_control", positive),
        ("p", "experimental", -1.0),
        ("q", "negative_control", -1000.0),
    ]
    return pl.DataFrame(
        [("t", person, condition, log_prob, 10) for person, condition, log_prob in rows],
        ["task_id", "persona_id", "condition", "log_prob", "tokens"],
        orient="row",
    )


def test_gold_responses_from_which_nothing_can_be_learnt_are_warned_of() -> None:
    plain, literary = check_headroom(controls(-35.0, -20.0)), check_headroom(controls(-45.9, -44.8))
    assert plain.passed and not literary.passed
    assert plain.metadata["gain of the positive control, nats a token"].value == 1.5
    assert plain.metadata["pairs"].value == 1
    assert literary.severity.value == "WARN"
    assert "only 0.11 nats a token" in str(literary.description)
    assert check_headroom(controls(-35.0, -20.0).clear()).passed
