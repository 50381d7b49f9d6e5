"""The conversations that are learnt from: the best of each pair's siblings (Algorithm 1, line
4).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """`log_prob` of the gold response after this conversation, in nats."""

    task_id: str
    persona_id: str
    sample: int
    log_prob: float
    eligible: bool


def select_best(candidates: Iterable[Candidate], top: int) -> list[tuple[int, Candidate]]:
    """(rank, candidate) of the `top` eligible candidates of each pair, best first, rank from 1.

    Ties go to the lower sample. A log-probability that is not finite never wins: NaN would win an
    argmax.
    """
    by_pair: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        if candidate.eligible and math.isfinite(candidate.log_prob):
            by_pair.setdefault((candidate.task_id, candidate.persona_id), []).append(candidate)
    return [
        (rank, candidate)
        for pair in sorted(by_pair)
        for rank, candidate in enumerate(
            sorted(by_pair[pair], key=lambda c: (-c.log_prob, c.sample))[:top], start=1
        )
    ]
