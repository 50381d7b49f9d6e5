"""What was stated, and what answers make of it, by value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.engines.scripted import KNOWN, UNKNOWN
from stargate_assets.method.arms import Arm, Players, Response
from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.heard import (
    Heard,
    Statement,
    Untraced,
    own_terms,
    statements,
    trace_statements,
    untraced,
    without,
)
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.roleplay import NOTHING_TO_SAY, WAITING
from stargate_assets_tests.method.people import ScriptedModel, talk

TASK = Task("t", "How do I rest well?")
INEKE = Pair(TASK, Persona("p0", "Ineke", "I repair organs. I sing alto. My knees hurt."))
JUN = Pair(TASK, Persona("p1", "Jun", "I grow green tea. I sing with friends. I hate flying."))
PEOPLE = [INEKE.persona, JUN.persona]
REPLIES = st.lists(st.sampled_from(["I sing.", "I sail.", "Do you?", "I  SAIL. ", "我唱歌。"]))
TALKS = st.lists(REPLIES.map("".join), max_size=4).map(
    lambda replies: talk(*(("What?", reply) for reply in replies), of=INEKE)
)


def stated(*replies: str) -> list[str]:
    return [s.text for s in statements(talk(*(("What?", reply) for reply in replies)))]


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (["I repair organs. I sing alto!", "My knees hurt."],
         ["I repair organs.", "I sing alto!", "My knees hurt."]),
        ([NOTHING_TO_SAY, WAITING, "...", ""], []),
        (["I'm not sure.", "Well, I don't know what to say.", "Sorry, I'd rather not say that."],
         []),
        (["I am not sure that I can swim.", "I do not know French."],
         ["I am not sure that I can swim.", "I do not know French."]),
        (["I sing. And you?", "i  SING. I sail."], ["I sing.", "I sail."]),
        (["我修管风琴。我唱歌。"], ["我修管风琴。", "我唱歌。"]),
    ],
)  # fmt: skip
def test_statements_neither_ask_nor_decline_and_count_once(
    replies: list[str], expected: list[str]
) -> None:
    assert stated(*replies) == expected


def test_a_statement_has_its_place() -> None:
    talked = talk(("A?", "Do I? I sing."), ("B?", NOTHING_TO_SAY), ("C?", "I sail."))
    assert statements(talked) == [Statement(0, 1, "I sing."), Statement(2, 0, "I sail.")]


@pytest.mark.parametrize(
    ("replies", "said", "left"),
    [
        (["I sing. I sail.\nI swim."], "I sing.", ["I sail.\nI swim."]),
        (["I sing. I sail.\nI swim."], "I sail.", ["I sing. I swim."]),
        (["I sing. I sail.\nI swim."], "I swim.", ["I sing. I sail."]),
        (["I sing.", " I sail. "], "I sing.", [NOTHING_TO_SAY, " I sail. "]),
        (["I sing.", "I  SING. I sail."], "I sing.", [NOTHING_TO_SAY, "I sail."]),
        (["我修管风琴。我唱歌。"], "我修管风琴。", ["我唱歌。"]),
    ],
)
def test_what_is_taken_out_leaves_the_rest_as_it_was(
    replies: list[str], said: str, left: list[str]
) -> None:
    talked = talk(*(("What?", reply) for reply in replies))
    (statement,) = (s for s in statements(talked) if s.text == said)
    shorter = without(talked, statement)
    assert list(shorter.answers) == left
    assert shorter.questions == talked.questions


@given(TALKS)
def test_what_is_taken_out_is_gone_and_nothing_else(talked: Conversation) -> None:
    said = statements(talked)
    for statement in said:
        left = [s.text for s in statements(without(talked, statement))]
        assert len(left) == len(said) - 1
        assert {*left, statement.text} == {s.text for s in said}


@given(TALKS)
def test_no_two_statements_have_a_term_of_their_own_in_common(talked: Conversation) -> None:
    own = [own_terms(talked, s, PEOPLE) for s in statements(talked)]
    assert sum(map(len, own)) == len(frozenset[str]().union(*own))


def test_terms_of_their_own_are_known_from_one_statement_alone() -> None:
    reply = "I repair organs. I sing alto. I rest well in 3 boats. Organs rest in boats."
    talked = talk(("Do you like boats?", reply), of=INEKE)
    own = {s.text: own_terms(talked, s, PEOPLE) for s in statements(talked)}
    assert own == {
        "I repair organs.": {"repair"},  # organs twice
        "I sing alto.": {"alto"},  # Jun sings too
        "I rest well in 3 boats.": {"3"},  # the task's words, and the question's
        "Organs rest in boats.": set(),
    }


def respond(pair: Pair, text: str, arm: Arm = Arm.METHOD, **more: bool) -> Response:
    asked = arm is not Arm.NO_QUESTIONS
    return Response(
        pair, arm, Players(0 if asked else None, 0), 0 if asked else None, 1, text, **more
    )


def trace(
    responses: list[Response], *conversations: Conversation
) -> dict[tuple[str, str], list[Heard]]:
    """By arm and name; the scripted model scores."""
    model = ScriptedModel()
    traced = trace_statements(
        model, responses, {0: conversations}, PEOPLE, "test", seed=0, prompts=SHIPPED
    )
    assert len(model.scored) == 1
    found: dict[tuple[str, str], list[Heard]] = {}
    for response, heard in traced:
        found.setdefault((response.arm, response.pair.persona.name), []).append(heard)
    return found


def test_a_statement_is_used_if_the_answer_has_its_terms_and_needs_it() -> None:
    """The scripted model finds a word more probable that is in the context."""
    ineke = talk(("Who are you?", "I repair organs . My knees hurt ."), of=INEKE)
    jun = talk(("Who are you?", "I grow green tea ."), of=JUN)
    answers = [respond(INEKE, "Let your organs rest"), respond(JUN, "Hurt no green leaf")]
    found = trace(answers, ineke, jun)
    organs, knees = found["method", "Ineke"]
    assert (organs.used, organs.used_by_chance) == (True, False)
    assert (knees.used, knees.used_by_chance) == (False, True)
    assert organs.log_prob == knees.log_prob == 2 * KNOWN + 2 * UNKNOWN  # organs, rest
    assert organs.drop == KNOWN - UNKNOWN
    assert knees.drop == 0
    assert organs.tokens == 4
    (tea,) = found["method", "Jun"]
    assert (tea.terms, tea.used, tea.used_by_chance) == ({"grow", "green"}, True, False)


def test_what_cannot_be_told_is_none() -> None:
    talked = talk(("Do you sing?", "I sing."), of=INEKE)
    (sings,) = trace([respond(INEKE, "Sing.")], talked)["method", "Ineke"]
    assert (sings.terms, sings.used, sings.used_by_chance) == (set(), None, None)
    talked = talk(("What?", "I repair organs."), of=INEKE)
    (alone,) = trace([respond(INEKE, "Sing.")], talked)["method", "Ineke"]
    assert (alone.used, alone.used_by_chance) == (False, None)


def test_the_other_answer_is_of_the_same_arm() -> None:
    talks = talk(("What?", "My knees hurt."), of=INEKE), talk(("What?", "I fly."), of=JUN)
    answers = [
        respond(pair, text, arm)
        for arm, text in ((Arm.METHOD, "Rest."), (Arm.BASE_ANSWERS, "Bend your knees."))
        for pair in (INEKE, JUN)
    ]
    found = trace(answers, *talks)
    assert [h.used_by_chance for h in found["method", "Ineke"]] == [False]
    assert [h.used_by_chance for h in found["base_answers", "Ineke"]] == [True]


@pytest.mark.parametrize(
    ("response", "reply", "reason"),
    [
        (respond(INEKE, "", refused=True), "I sing.", Untraced.REFUSED),
        (respond(INEKE, " \n"), "I sing.", Untraced.EMPTY),
        (respond(INEKE, "Rest.", Arm.NO_QUESTIONS), "I sing.", Untraced.NOBODY_ASKED),
        (respond(INEKE, "Rest."), NOTHING_TO_SAY, Untraced.NOTHING_STATED),
    ],
)
def test_a_response_without_a_statement_has_a_reason(
    response: Response, reply: str, reason: Untraced
) -> None:
    talked = talk(("What?", reply), of=INEKE)
    assert trace([response], talked) == {}
    assert untraced(response, stated=reply == "I sing.") is reason
