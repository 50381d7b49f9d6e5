"""The conversations that are learnt from: the best of each pair's siblings (Algorithm 1, line 4).

The paper's objective is the sum of the gold response's log-probabilities. The others, the costs and
the margin are not in the paper, which names other objectives as future work.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

Objective = Literal["sum", "mean", "gain", "contrast"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """`value` is what the objective makes of a conversation, less its costs, in nats (of objective
    mean: nats a token).
    """

    task_id: str
    persona_id: str
    sample: int
    value: float
    eligible: bool


def value_of(
    objective: Objective,
    log_prob: float,
    tokens: int,
    *,
    compared_with: float = 0.0,
    cost: float = 0.0,
) -> float:
    """The value of a conversation after which the gold response of that many tokens has this
    log-probability. `compared_with` is the log-probability that gain and contrast subtract.
    """
    if objective == "mean":
        return (log_prob - cost) / tokens
    return log_prob - compared_with - cost


def select_best(
    candidates: Iterable[Candidate],
    top: int,
    margin: float | None = None,
    *,
    absolute: bool = False,
) -> list[tuple[int, Candidate]]:
    """(rank, candidate) of the `top` eligible candidates of each pair, best first, rank from 1.

    With a `margin`, those that are not that far above zero (`absolute`), or above the mean of their
    pair's eligible candidates, are left out. Ties go to the lower sample. A value that is not
    finite never wins: NaN would win an argmax.
    """
    by_pair: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        if candidate.eligible and math.isfinite(candidate.value):
            by_pair.setdefault((candidate.task_id, candidate.persona_id), []).append(candidate)
    best: list[tuple[int, Candidate]] = []
    for pair in sorted(by_pair):
        ranked = sorted(by_pair[pair], key=lambda c: (-c.value, c.sample))
        above = 0.0 if absolute else fmean(c.value for c in ranked)
        kept = [c for c in ranked[:top] if margin is None or c.value - above >= margin]
        best += enumerate(kept, start=1)
    return best
