from collections.abc import Sequence

import pytest

from stargate_assets.method.answer_metrics import (
    ANSWER_METRICS,
    ANSWERS_THAT_ASK,
    HEARD_FACTS,
    HEARD_FACTS_BY_CHANCE,
    HEARD_FACTS_NATS,
    UNHEARD_FACTS,
    UNHEARD_FACTS_BY_CHANCE,
    Answered,
    AnswerMetric,
    answer_values,
)
from stargate_assets.method.conversation import Conversation, Persona
from stargate_assets.method.heard import Heard, Statement
from stargate_assets_tests.method.people import pair, talk

INEKE = pair(name="Ineke", persona="I repair church organs in Groningen.").persona
JUN = pair(name="Jun", persona="I left Osaka to grow tea.").persona
PEOPLE = [INEKE, JUN]


def conversation(persona: Persona, answer: str = "I am busy.") -> Conversation:
    return talk(("What do you do?", answer), of=pair(name=persona.name, persona=persona.text))


def values(
    text: str,
    said: str = "I am busy.",
    people: list[Persona] = PEOPLE,
    heard: Sequence[Heard] = (),
) -> dict[str, float]:
    """By metric, of one answer to Ineke."""
    talked = conversation(INEKE, said)
    found = answer_values([(talked, text, heard)], people, seed=0)
    return {metric: of[talked.pair.key] for metric, of in found.items()}


@pytest.mark.parametrize(
    ("text", "asks", "unheard", "by_chance"),
    [
        ("Rest well.", 0, 0, 0),
        ("Rest well. Where do you live?", 1, 0, 0),
        ("Rest in Groningen.", 0, 1, 0),
        ("Rest in Osaka, would you?", 1, 0, 1),
    ],
)
def test_what_an_answer_shows(text: str, asks: float, unheard: float, by_chance: float) -> None:
    assert values(text) == {
        ANSWERS_THAT_ASK: asks,
        UNHEARD_FACTS: unheard,
        UNHEARD_FACTS_BY_CHANCE: by_chance,
    }


def test_what_was_said_is_not_unheard() -> None:
    assert values("Rest in Groningen.", "I work in Groningen.")[UNHEARD_FACTS] == 0


def heard(used: bool | None, by_chance: bool | None, drop: float) -> Heard:
    terms = frozenset[str]() if used is None else frozenset({"organ"})
    statement = Statement(0, 0, "I repair organs.")
    return Heard(statement, terms, used, by_chance, -9.0, -9.0 - drop, 5)


def test_heard_facts_are_a_share_of_the_statements_that_can_be_told() -> None:
    stated = [heard(True, False, 2.0), heard(False, None, -0.5), heard(None, None, 1.5)]
    found = values("Rest.", heard=stated)
    assert found[HEARD_FACTS] == 0.5
    assert found[HEARD_FACTS_BY_CHANCE] == 0
    assert found[HEARD_FACTS_NATS] == 1.0


def test_statements_without_words_of_their_own_count_in_nats_alone() -> None:
    found = values("Rest.", heard=[heard(None, None, 1.5)])
    assert found[HEARD_FACTS_NATS] == 1.5
    assert not {HEARD_FACTS, HEARD_FACTS_BY_CHANCE} & set(found)


def test_with_one_person_alone_there_is_nobody_to_compare_with_by_chance() -> None:
    assert set(values("Rest.", people=[INEKE])) == {ANSWERS_THAT_ASK, UNHEARD_FACTS}


def test_each_pair_has_its_value() -> None:
    talks = {persona.name: conversation(persona) for persona in PEOPLE}
    answers = [(talks["Ineke"], "Rest?", ()), (talks["Jun"], "Rest.", ())]
    asks = answer_values(answers, PEOPLE, seed=0)[ANSWERS_THAT_ASK]
    assert asks == {talks["Ineke"].pair.key: 1.0, talks["Jun"].pair.key: 0.0}


def test_a_new_metric_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def calls_by_name(answered: Answered) -> float | None:
        return float(answered.conversation.pair.persona.name in answered.text)

    monkeypatch.setitem(ANSWER_METRICS, "calls_by_name", AnswerMetric("by name", calls_by_name))
    assert values("Rest, Ineke.")["calls_by_name"] == 1.0
    assert values("Rest.")["calls_by_name"] == 0.0
