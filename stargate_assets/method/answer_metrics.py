"""What a policy's answers show, pair by pair. A new metric is a function and an entry in
ANSWER_METRICS; the report then has it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stargate_assets.method.conversation import (
    Conversation,
    Persona,
    is_question,
    somebody_else,
)
from stargate_assets.method.facts import heard_in, unheard_facts
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.statistics import PairValues


@dataclass(frozen=True, slots=True)
class Answered:
    """A policy's answer after a conversation. `people` are the personas of the split, `other` is
    one of them who did not take part; None if there is nobody else.
    """

    text: str
    conversation: Conversation
    people: Sequence[Persona]
    other: Persona | None


@dataclass(frozen=True, slots=True)
class AnswerMetric:
    """`value` is in [0, 1], or None where an answer has none; `label` is what people read."""

    label: str
    value: Callable[[Answered], float | None]


def asks(answered: Answered) -> float:
    """1 for an answer that ends by asking."""
    return float(is_question(answered.text))


def states_unheard_facts(answered: Answered) -> float:
    """1 for an answer with a fact of the persona that nobody has told the policy."""
    return _states_facts_of(answered, answered.conversation.pair.persona)


def states_facts_by_chance(answered: Answered) -> float | None:
    """1 for an answer with a fact of somebody else, which the policy cannot know."""
    return None if answered.other is None else _states_facts_of(answered, answered.other)


def _states_facts_of(answered: Answered, persona: Persona) -> float:
    heard = heard_in(answered.conversation)
    return float(bool(unheard_facts(answered.text, persona, heard, answered.people)))


ANSWER_METRICS = {
    "answers_that_ask": AnswerMetric("answers that ask", asks),
    "unheard_facts": AnswerMetric("unheard facts", states_unheard_facts),
    "unheard_facts_by_chance": AnswerMetric("unheard facts, by chance", states_facts_by_chance),
}


def answer_values(
    answers: Sequence[tuple[Conversation, str]], people: Sequence[Persona], seed: int
) -> dict[str, PairValues]:
    """The value of each metric for each pair, of one policy's answers on the test split."""
    values: dict[str, dict[tuple[str, str], float]] = {}
    for conversation, text in answers:
        pair = conversation.pair
        key = (seed, "facts", TEST_SPLIT, *pair.key)
        other = somebody_else(pair.persona, people, *key)
        answered = Answered(text, conversation, people, other)
        for name, metric in ANSWER_METRICS.items():
            value = metric.value(answered)
            if value is not None:
                values.setdefault(name, {})[pair.key] = value
    return dict(values)
