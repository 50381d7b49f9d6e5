"""What a policy's answers show, pair by pair: a metric of answers is one entry of ANSWER_METRICS.

They are not in the paper. They show whether a policy that has learnt to ask still answers, and
whether its answers use what the user has said, or invent facts about the user.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from stargate_assets.method.conversation import (
    Conversation,
    Persona,
    another_persona,
    is_question,
)
from stargate_assets.method.facts import respondent_texts, unheard_facts
from stargate_assets.method.heard import Heard
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.statistics import PairValues


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to a task and the conversation before it. `people` are the personas of the split;
    `other` is one of them, drawn by key, other than the conversation's: None if there is none.
    `heard` are the statements of the conversation, and what the answer makes of them.
    """

    text: str
    conversation: Conversation
    people: Sequence[Persona]
    other: Persona | None
    heard: Sequence[Heard] = ()


@dataclass(frozen=True, slots=True)
class AnswerMetric:
    """`value` is that of one answer, None if it has none. A share lies in [0, 1], and is estimated
    and shown as one.
    """

    label: str
    value: Callable[[Answered], float | None]
    share: bool = True


ANSWERS_THAT_ASK = "answers_that_ask"
HEARD_FACTS = "heard_facts"
HEARD_FACTS_BY_CHANCE = "heard_facts_by_chance"
HEARD_FACTS_NATS = "heard_facts_nats"
UNHEARD_FACTS = "unheard_facts"
UNHEARD_FACTS_BY_CHANCE = "unheard_facts_by_chance"


def _asks(answered: Answered) -> float:
    return float(is_question(answered.text))


def _uses_heard_facts(answered: Answered) -> float | None:
    return _share(heard.used for heard in answered.heard)


def _uses_heard_facts_by_chance(answered: Answered) -> float | None:
    return _share(heard.used_by_chance for heard in answered.heard)


def _share(uses: Iterable[bool | None]) -> float | None:
    """How many are true of those that can be told; None if none can."""
    told = [used for used in uses if used is not None]
    return fmean(told) if told else None


def _needs_heard_facts(answered: Answered) -> float | None:
    """How much less probable the answer becomes without a statement: the mean, in nats."""
    drops = [heard.drop for heard in answered.heard if heard.drop is not None]
    return fmean(drops) if drops else None


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
    HEARD_FACTS: AnswerMetric("heard facts", _uses_heard_facts),
    HEARD_FACTS_BY_CHANCE: AnswerMetric("heard facts, by chance", _uses_heard_facts_by_chance),
    HEARD_FACTS_NATS: AnswerMetric("heard facts, nats", _needs_heard_facts, share=False),
    UNHEARD_FACTS: AnswerMetric("unheard facts", _states_unheard_facts),
    UNHEARD_FACTS_BY_CHANCE: AnswerMetric("unheard facts, by chance", _states_facts_of_another),
}


def answer_values(
    answers: Sequence[tuple[Conversation, str, Sequence[Heard]]],
    people: Sequence[Persona],
    seed: int,
) -> dict[str, PairValues]:
    """For each metric its value for each pair, from one arm's answers on the test split: for each
    pair a conversation, without a turn where nobody asked, the answer, and what it makes of what
    was heard. `people` are the personas of the split. Pairs without a value are left out, and so
    are metrics without a pair.
    """
    values: dict[str, dict[tuple[str, str], float]] = {}
    for conversation, text, heard in answers:
        pair = conversation.pair
        other = another_persona(pair.persona, people, seed, "facts", TEST_SPLIT, *pair.key)
        answered = Answered(text, conversation, people, other, heard)
        for name, metric in ANSWER_METRICS.items():
            if (value := metric.value(answered)) is not None:
                values.setdefault(name, {})[pair.key] = value
    return {name: values[name] for name in ANSWER_METRICS if name in values}
