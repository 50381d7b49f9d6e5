"""The metrics of the table `report`: what people call them, and how their numbers are read."""

from stargate_assets.method.answer_metrics import ANSWER_METRICS
from stargate_assets.method.conditions import CONTROLS, TESTED, Condition
from stargate_assets.reporting.words import nats, percent, points, signed

QUESTION_RATE = "question_rate"

OF_CONVERSATIONS: dict[str, str] = {
    QUESTION_RATE: "question rate",
    Condition.EXPERIMENTAL: "Q-experimental",
    Condition.RANDOM: "Q-random",
    Condition.NEGATIVE_CONTROL: "negative control",
    Condition.POSITIVE_CONTROL: "positive control",
}
RIGHT_CHOICE = {condition: f"right_choice_{condition}" for condition in TESTED}
"""The metric of right choices in each condition, where tasks have options."""
OF_CHOICES = {
    metric: f"right choice, {OF_CONVERSATIONS[condition]}"
    for condition, metric in RIGHT_CHOICE.items()
}
OF_NO_POLICY = (*CONTROLS, *(RIGHT_CHOICE[control] for control in CONTROLS))
"""Metrics that depend on no policy."""
CHOICES_EXPLAINED = (
    "A choice is right if the base model finds the right option more probable than each other "
    "option of the task, by the log-probabilities of the whole options."
)
EXPLAINED = (
    "Q-experimental, Q-random and the controls are log p(gold response) under the base model, in "
    "nats: after the policy's conversation with this person, after one about the same task with "
    "somebody else, after the task alone, and after persona and task."
)
ANSWERS_EXPLAINED = (
    "A heard fact is a statement of the person of which the answer has a word or number that was "
    "said nowhere else; by chance, the answer to somebody else with the same task has it. In nats, "
    "it is how much less probable the answer becomes without a statement. An answer has unheard "
    "facts if it states something of the persona that was not said; by chance is the same with "
    "somebody else's persona. Gains are on policy 0, which asks and answers."
)


def answer_metric_labels() -> dict[str, str]:
    """What people call each metric of answers, in their order."""
    return {name: metric.label for name, metric in ANSWER_METRICS.items()}


def metric_labels() -> dict[str, str]:
    """What people call each metric, in the order in which they read them."""
    return OF_CONVERSATIONS | OF_CHOICES | answer_metric_labels()


def is_share(metric: str) -> bool:
    """Whether a metric lies in [0, 1]; the others are sums of log-probabilities, in nats."""
    of_answers = ANSWER_METRICS.get(metric)
    return metric in (QUESTION_RATE, *OF_CHOICES) or (of_answers is not None and of_answers.share)


def format_level(metric: str, value: float) -> str:
    """A mean, as people read it."""
    return percent(value) if is_share(metric) else nats(value)


def format_change(metric: str, value: float) -> str:
    """A difference; of shares in percentage points."""
    return points(value) if is_share(metric) else signed(value)
