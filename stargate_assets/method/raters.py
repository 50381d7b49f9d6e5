"""People as Judges: which pairs they are shown in which order, and how far they agree.

A person compares the responses of two policies without knowing which wrote which. As in
`judging.py` the verdict is on the response of one, the later policy, against the other's.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stargate_assets.method.agreement import Agreement, BothVerdicts, judges_agree
from stargate_assets.method.conversation import Pair
from stargate_assets.method.judging import Comparison, Judgement, Verdict
from stargate_assets.method.keys import derive_seed
from stargate_assets.method.text import words
from stargate_assets.method.win_rates import Judged, WinRate, win_rate

BLOCK = 4
"""Comparisons after each other of which the response stands first in half, whatever is drawn."""
PairVerdicts = Mapping[tuple[str, str], Verdict]
"""By (task_id, persona_id)."""


@dataclass(frozen=True, slots=True)
class Rating:
    """A rater's verdict on a comparison, in which the response stood first or second."""

    rater: str
    comparison: Comparison
    verdict: Verdict
    response_first: bool


def draw_order(comparisons: Sequence[Comparison], seed: int) -> list[Comparison]:
    """The comparisons in the order in which every rater is shown them: drawn by key, so that who
    stops early has judged a random choice, and the same as the others.
    """
    by_key = {comparison.pair.key: comparison for comparison in comparisons}
    return [by_key[pair.key] for pair in draw_pairs([c.pair for c in comparisons], seed)]


def draw_pairs(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """The pairs in the same order."""
    return sorted(pairs, key=lambda pair: derive_seed(seed, "comparison", *pair.key))


def response_stands_first(place: int, rater: str, seed: int) -> bool:
    """Whether a rater sees the response before the other's in the comparison at a place from 0.
    It is half of each block's, drawn by key.
    """
    block, within = divmod(place, BLOCK)
    sides = [True, False] * (BLOCK // 2)
    random.Random(derive_seed(seed, "side", rater, block)).shuffle(sides)
    return sides[within]


def raters_win_rate(ratings: Sequence[Rating]) -> WinRate:
    """The win rate by people. Several verdicts on a pair are averaged; how much other raters would
    differ is not in the interval.
    """
    return win_rate([_judged(rating) for rating in ratings])


def _judged(rating: Rating) -> Judged:
    comparison, verdict = rating.comparison, rating.verdict
    when_first, when_second = (verdict, None) if rating.response_first else (None, verdict)
    return Judged(
        comparison.pair.key,
        Judgement(verdict, first=when_first, second=when_second),
        len(words(comparison.response or "")),
        len(words(comparison.reference or "")),
    )


def verdicts_of(ratings: Sequence[Rating], rater: str) -> dict[tuple[str, str], Verdict]:
    """What a rater has said, by pair."""
    return {r.comparison.pair.key: r.verdict for r in ratings if r.rater == rater}


def raters_agree(verdicts: Sequence[PairVerdicts], others: PairVerdicts) -> Agreement | None:
    """How far raters, whose verdicts are given one by one, agree with another on the pairs that
    both have judged; None if there are none.
    """
    both: dict[tuple[str, str], list[BothVerdicts]] = {}
    for of_rater in verdicts:
        for pair in of_rater.keys() & others.keys():
            both.setdefault(pair, []).append((of_rater[pair], others[pair]))
    return judges_agree(both)
