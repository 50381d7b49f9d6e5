"""When a policy asks and when it answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.turn_taking import Turn, heard, next_turn

PAIR = Pair(Task("t", "Help me."), Persona("p", "Ana", ""))
ASKS, STATES = "Who else?", "That sounds nice."


def held(*said: str) -> Conversation:
    """A conversation of questions and replies in turn."""
    conversation = Conversation(PAIR, 0)
    for number, text in enumerate(said):
        if number % 2:
            conversation = conversation.with_answer(text)
        else:
            conversation = conversation.with_question(text, truncated=False)
    return conversation


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((), Turn.ASK),
        ((ASKS,), Turn.REPLY),
        ((STATES,), Turn.ANSWER),
        (("",), Turn.ANSWER),
        ((ASKS, "Nobody."), Turn.ASK),
        ((ASKS, "Nobody.", STATES), Turn.ANSWER),
        ((ASKS, "Nobody.", ASKS), Turn.REPLY),
        ((ASKS, "Nobody.", ASKS, "No."), Turn.ANSWER),
    ],
)
def test_a_policy_asks_twice_and_answers(said: tuple[str, ...], expected: Turn) -> None:
    assert next_turn(held(*said), 2) == expected
    assert next_turn(held(*said), 2, answer_now=True) == Turn.ANSWER


@given(st.lists(st.sampled_from([ASKS, STATES]), max_size=8), st.integers(0, 4))
def test_every_conversation_ends_and_is_heard_whole(turns: list[str], most: int) -> None:
    conversation, left = Conversation(PAIR, 0), iter([*turns, *[STATES] * 9])
    while (turn := next_turn(conversation, most)) != Turn.ANSWER:
        if turn == Turn.ASK:
            conversation = conversation.with_question(next(left), truncated=False)
        else:
            conversation = conversation.with_answer("I see.")
    asked = next((n for n, text in enumerate(turns) if text == STATES), len(turns))
    known = heard(conversation)
    assert known.questions == (ASKS,) * min(asked, most)
    assert len(known.answers) == len(known.questions) == len(known.truncated)
    assert known.answers == conversation.answers
