"""The metrics of the table `report`: what people call them, and how their numbers are read."""

from stargate_assets.method.scoring import Condition
from stargate_assets.reporting.words import nats, percent, points, signed

QUESTION_RATE = "question_rate"
ANSWERS_THAT_ASK = "answers_that_ask"
UNHEARD_FACTS = "unheard_facts"
UNHEARD_FACTS_BY_CHANCE = "unheard_facts_by_chance"

OF_CONVERSATIONS = {
    QUESTION_RATE: "question rate",
    Condition.EXPERIMENTAL: "Q-experimental",
    Condition.RANDOM: "Q-random",
    Condition.NEGATIVE_CONTROL: "negative control",
    Condition.POSITIVE_CONTROL: "positive control",
}
OF_ANSWERS = {
    ANSWERS_THAT_ASK: "answers that ask",
    UNHEARD_FACTS: "unheard facts",
    UNHEARD_FACTS_BY_CHANCE: "unheard facts, by chance",
}
METRICS = OF_CONVERSATIONS | OF_ANSWERS
SHARES = frozenset({QUESTION_RATE, *OF_ANSWERS})
"""In [0, 1]; the other metrics are sums of log-probabilities, in nats."""
EXPLAINED = (
    "Q-experimental, Q-random and the controls are log p(gold response) under the base model, in "
    "nats: after the policy's conversation with this person, after one about the same task with "
    "somebody else, after the task alone, and after persona and task. An answer has unheard facts "
    "if it states something of the persona that was not said; by chance is the same with somebody "
    "else's persona."
)


def level(metric: str, value: float) -> str:
    """A mean, as people read it."""
    return percent(value) if metric in SHARES else nats(value)


def change(metric: str, value: float) -> str:
    """A difference; of shares in percentage points."""
    return points(value) if metric in SHARES else signed(value)
