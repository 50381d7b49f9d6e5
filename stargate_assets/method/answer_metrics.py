"""What a policy's answers show, pair by pair: a metric of answers is one entry of ANSWER_METRICS.

They are not in the paper. They show whether a policy that has learnt to ask still answers, and
whether its answers invent facts about the user.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stargate_assets.method.conversation import (
    Conversation,
    Persona,
    another_persona,
    is_question,
)
from stargate_assets.method.facts import respondent_texts, unheard_facts
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.statistics import PairValues


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to a task and the conversation before it. `people` are the personas of the split;
    `other` is one of them, drawn by key, other than the conversation's: None if there is none.
    """

    text: str
    conversation: Conversation
    people: Sequence[Persona]
    other: Persona | None


@dataclass(frozen=True, slots=True)
class AnswerMetric:
    """`value` is that of one answer, None if it has none. A share lies in [0, 1], and is estimated
    and shown as one.
    """

    label: str
    value: Callable[[Answered], float | None]
    share: bool = True


ANSWERS_THAT_ASK = "answers_that_ask"
UNHEARD_FACTS = "unheard_facts"
UNHEARD_FACTS_BY_CHANCE = "unheard_facts_by_chance"


def _asks(answered: Answered) -> float:
    return float(is_question(answered.text))


def _states_unheard_facts(answered: Answered) -> float:
    return _states_facts_of(answered.conversation.pair.persona, answered)


def _states_facts_of_another(answered: Answered) -> float | None:
    return None if answered.other is None else _states_facts_of(answered.other, answered)


def _states_facts_of(persona: Persona, answered: Answered) -> float:
    """1 if an answer states a fact of a persona that was not said before it, otherwise 0."""
    heard = respondent_texts(answered.conversation)
    return float(bool(unheard_facts(answered.text, persona, heard, answered.people)))


ANSWER_METRICS: dict[str, AnswerMetric] = {
    ANSWERS_THAT_ASK: AnswerMetric("answers that ask", _asks),
    UNHEARD_FACTS: AnswerMetric("unheard facts", _states_unheard_facts),
    UNHEARD_FACTS_BY_CHANCE: AnswerMetric("unheard facts, by chance", _states_facts_of_another),
}


def answer_values(
    answers: Sequence[tuple[Conversation, str]], people: Sequence[Persona], seed: int
) -> dict[str, PairValues]:
    """For each metric its value for each pair, from one policy's answers on the test split: an
    answer after a conversation for each pair. `people` are the personas of the split. Pairs without
    a value are left out, and so are metrics without a pair.
    """
    values: dict[str, dict[tuple[str, str], float]] = {}
    for conversation, text in answers:
        pair = conversation.pair
        other = another_persona(pair.persona, people, seed, "facts", TEST_SPLIT, *pair.key)
        answered = Answered(text, conversation, people, other)
        for name, metric in ANSWER_METRICS.items():
            if (value := metric.value(answered)) is not None:
                values.setdefault(name, {})[pair.key] = value
    return {name: values[name] for name in ANSWER_METRICS if name in values}
