"""Objectives of selection: what makes one conversation of a pair better than its siblings.

The paper's is the sum of the gold response's log-probabilities; it names others as future work. A
new objective is a function and an entry in OBJECTIVES.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from stargate_assets.method.conditions import Condition

Candidates = Literal["options", "gold_responses"]
"""What a gold response is chosen among: the options of its task, or everybody's gold responses to
it.
"""


@dataclass(frozen=True, slots=True)
class Scored:
    """What is known of a conversation: the log-probability of the gold response after it, in nats,
    over that many tokens; the log-probability that the objective compares it with, in nats; the
    cost of its questions, in nats; and the log-probability of the gold response normalised over the
    objective's candidates, in nats, and the same in the condition that it is compared with.
    """

    log_prob: float
    tokens: int
    compared_with: float
    cost: float
    choice_log_prob: float = 0.0
    choice_compared_with: float = 0.0


@dataclass(frozen=True, slots=True)
class Objective:
    """How the value of a conversation is computed. `compared_with` is the condition whose
    log-probability it needs beside the conversation's own; the value is then a difference, and a
    margin is measured from zero instead of from the mean of the siblings. `candidates` are what
    the gold response must be chosen among, if the value needs that.
    """

    description: str
    value: Callable[[Scored], float]
    compared_with: Condition | None = None
    candidates: Candidates | None = None


def sum_log_probs(scored: Scored) -> float:
    """log p(gold response | conversation), less the cost, in nats."""
    return scored.log_prob - scored.cost


def mean_log_prob(scored: Scored) -> float:
    """The same for each token of the gold response, in nats a token."""
    return (scored.log_prob - scored.cost) / scored.tokens


def gain_log_prob(scored: Scored) -> float:
    """How much more probable the gold response is than in the compared condition, in nats."""
    return scored.log_prob - scored.compared_with - scored.cost


def choice_log_prob(scored: Scored) -> float:
    """log p(right option | conversation) normalised over the options, less the cost, in nats."""
    return scored.choice_log_prob - scored.cost


def information(scored: Scored) -> float:
    """log p(this person | conversation) - log p(this person | task alone), less the cost, in nats,
    where people are told apart by their gold responses: what the conversation says of who they are.
    Its expectation is the expected information gain of Lindley (1956).
    """
    return scored.choice_log_prob - scored.choice_compared_with - scored.cost


OBJECTIVES = {
    "sum": Objective("the paper's: log p(gold response | conversation)", sum_log_probs),
    "mean": Objective("the same per token", mean_log_prob),
    "gain": Objective(
        "less log p(gold response | task alone)", gain_log_prob, Condition.NEGATIVE_CONTROL
    ),
    "contrast": Objective(
        "less log p(another persona's gold response | the same conversation)",
        gain_log_prob,
        Condition.CONTRAST,
    ),
    "choice": Objective(
        "log p(right option | conversation), normalised over the task's options",
        choice_log_prob,
        candidates="options",
    ),
    "information": Objective(
        "log p(this person's gold response | conversation), normalised over everybody's to the "
        "task, less the same before the conversation",
        information,
        Condition.NEGATIVE_CONTROL,
        candidates="gold_responses",
    ),
}
