"""The audit of a Roleplayer's replies: planted errors, and what a row says, by value."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargate_assets.method.claims import numbers
from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.language_model import Score, ScoreRequest
from stargate_assets.method.roleplay import NOTHING_TO_SAY, WAITING
from stargate_assets.method.roleplayer_audit import (
    LIFT,
    AuditedReply,
    Fault,
    ReplyScores,
    audit_replies,
    audit_reply,
)
from stargate_assets.method.text import sentences
from stargate_assets_tests.method.people import ScriptedModel, pair, talk
from stargate_assets_tests.method.planted_first import FIRST, IRIS
from stargate_assets_tests.method.planted_replies import CLEAN, Person, planted
from stargate_assets_tests.method.planted_second import SECOND

RECALL, FALSE_ALARMS = 0.9, 0.05
PLANTED = {
    Fault.UNSUPPORTED: (20, 16),
    Fault.CONTRADICTS_PERSONA: (15, 12),
    Fault.CONTRADICTS_ITSELF: (7, 6),
    Fault.UNASKED: (8, 6),
    Fault.CARRIES_OUT_TASK: (10, 8),
    Fault.COPIES_PERSONA: (3, 2),
    Fault.SPEAKS_AS_ASSISTANT: (10, 8),
}
"""How many replies with each fault are planted in the first and in the second set."""
STATED = sentences(IRIS.persona.text)


def last_reply(conversation: Conversation, scores: ReplyScores | None = None) -> AuditedReply:
    return audit_reply(conversation, len(conversation.questions) - 1, scores)


@pytest.mark.parametrize(("place", "people"), enumerate((FIRST, SECOND)))
@pytest.mark.parametrize("fault", Fault)
def test_planted_errors_are_found_and_others_are_not(
    fault: Fault, place: int, people: Sequence[Person]
) -> None:
    """By words and numbers alone: the model that scores is not asked."""
    found: Counter[str] = Counter()
    planted_of: Counter[str] = Counter()
    for kind, conversation in planted(people):
        group = "clean" if kind in CLEAN else kind
        planted_of[group] += 1
        found[group] += fault in last_reply(conversation).faults
    assert planted_of[fault] == PLANTED[fault][place]
    assert found[fault] >= RECALL * planted_of[fault]
    assert found["clean"] <= FALSE_ALARMS * planted_of["clean"]


def test_a_row_says_what_a_reply_rests_on_and_what_is_unsupported() -> None:
    told = talk(("Who are you?", "I run a bakery in Porto, and 7 horses."), of=of_iris())
    audited = last_reply(told)
    assert audited.statement == "I run a small pottery studio above a bakery in Porto."
    assert audited.unsupported == ("7", "horses")
    assert audited.faults == (Fault.UNSUPPORTED,)
    assert not audited.verbatim


def test_a_contradiction_names_what_is_contradicted() -> None:
    told = talk(("A?", "I like jazz."), ("B?", "I never like jazz. I eat fish."), of=of_iris())
    audited = last_reply(told)
    assert audited.faults == (
        Fault.UNSUPPORTED, Fault.CONTRADICTS_PERSONA, Fault.CONTRADICTS_ITSELF,
    )  # fmt: skip
    assert audited.statement == "I do not eat fish because it makes me ill."
    assert audited.earlier == "I like jazz."


@pytest.mark.parametrize(("lift", "faults"), [(LIFT, ()), (LIFT - 0.01, (Fault.UNSUPPORTED,))])
def test_other_words_for_what_the_persona_says_are_told_by_the_model(
    lift: float, faults: tuple[Fault, ...]
) -> None:
    told = talk(("Your job?", "Ceramics is my trade."), of=of_iris())
    assert last_reply(told, ReplyScores(-20 + 8 * lift, -20, 8)).faults == faults


def test_a_number_is_never_rescued_by_the_model() -> None:
    told = talk(("Guests?", "There will be 16 guests."), of=of_iris())
    assert last_reply(told, ReplyScores(-1, -90, 8)).faults == (Fault.UNSUPPORTED,)


@settings(deadline=None)
@given(st.lists(st.sampled_from([*STATED, NOTHING_TO_SAY, WAITING]), min_size=1, max_size=2))
def test_a_roleplayer_that_chooses_has_no_fault_and_costs_nothing(said: list[str]) -> None:
    model = ScriptedModel()
    told = talk(("What do you do?", " ".join(said)), ("And then?", NOTHING_TO_SAY), of=of_iris())
    audited = audit_replies(model, [told])
    assert [(a.faults, a.verbatim, a.scores) for a in audited] == [((), True, None)] * 2
    assert model.scored == []


def test_replies_in_other_words_are_scored_with_the_persona_and_without_it() -> None:
    model, of = ScriptedModel(), of_iris()
    told = talk(("Your job?", "Ceramics!"), ("Travel?", STATED[4]), ("Age?", "42"), of=of)
    refused = talk(("Diet?", "No fish."), of=of).with_question("And?", truncated=False)
    audited = audit_replies(model, [told, refused.with_answer(None)])
    assert [(a.reply, a.scores is None) for a in audited] == [
        ("Ceramics!", False), (STATED[4], True), ("42", False), ("No fish.", False),
    ]  # fmt: skip
    (requests,) = model.scored
    assert [(r.messages[0].content, r.continuation) for r in requests[:2]] == [
        (f"{IRIS.persona.text}\n\nYour job?", "Ceramics!"), ("Your job?", "Ceramics!"),
    ]  # fmt: skip
    with_persona, without = model_scores(requests[:2])
    assert audited[0].scores == ReplyScores(
        with_persona.total, without.total, len(without.log_probs)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I am forty-two.", {"42"}),
        ("seven hundred euros, 12 men, 1,500 ants and a 3rd", {"700", "12", "1", "500", "3"}),
        ("one of them, twenty, nineteen, ninety nine", {"20", "19", "99"}),
        ("no number", set()),
    ],
)
def test_numbers_are_read_in_digits_and_in_words(text: str, expected: set[str]) -> None:
    assert numbers(text) == expected


def of_iris() -> Pair:
    return pair(IRIS.task.text, IRIS.persona.name, IRIS.persona.text)


def model_scores(requests: Sequence[ScoreRequest]) -> list[Score]:
    return ScriptedModel().score(requests, "again")
