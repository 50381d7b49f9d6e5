"""Win rates against the reference, and what qualifies them: the Judge's bias for a place and for
length, and how often its two orders agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from stargate_assets.method.judging import Judgement, Verdict
from stargate_assets.method.statistics import clustered_share, wilson

WORTH = {Verdict.WIN: 1.0, Verdict.TIE: 0.5, Verdict.LOSS: 0.0}


@dataclass(frozen=True, slots=True)
class Judged:
    """A judgement of a pair, by (task_id, persona_id), and the lengths of the two texts."""

    pair: tuple[str, str]
    judgement: Judgement
    words: int
    reference_words: int
    turns: int = 0
    """Questions of the conversation that the response answers."""
    kind: str | None = None
    """Of the task."""


@dataclass(frozen=True, slots=True)
class WinRate:
    """`win_rate` is the mean over scored pairs with ties as half, from `low` to `high` clustered by
    task and persona, from `naive_low` to `naive_high` if every pair were independent; None if no
    pair was scored. `pairs` counts those that were not scored, too. The counts are of judgements,
    so a pair that several have judged counts in them several times.
    """

    pairs: int
    wins: int
    losses: int
    ties: int
    unscored: int
    win_rate: float | None
    low: float | None
    high: float | None
    naive_low: float | None
    naive_high: float | None
    order_consistency: float | None
    """Share of pairs with a verdict in both orders whose verdicts are the same."""
    position_bias: float | None
    """Share of verdicts for what stands first, minus 0.5."""
    longer_wins: float | None
    """Share of decided pairs of unequal length that go to the longer text."""


def win_rate(judged: Sequence[Judged]) -> WinRate:
    """The win rate of judgements; those of the same pair are averaged."""
    verdicts = [verdict for j in judged if (verdict := j.judgement.verdict) is not None]
    worth: dict[tuple[str, str], list[float]] = {}
    for j in judged:
        if j.judgement.verdict is not None:
            worth.setdefault(j.pair, []).append(WORTH[j.judgement.verdict])
    values = {pair: fmean(of_pair) for pair, of_pair in worth.items()}
    estimate = clustered_share(values) if values else None
    naive = wilson(estimate.mean, estimate.pairs) if estimate else None
    return WinRate(
        pairs=len(judged),
        wins=verdicts.count(Verdict.WIN),
        losses=verdicts.count(Verdict.LOSS),
        ties=verdicts.count(Verdict.TIE),
        unscored=len(judged) - len(verdicts),
        win_rate=estimate and estimate.mean,
        low=estimate and estimate.low,
        high=estimate and estimate.high,
        naive_low=naive and naive[0],
        naive_high=naive and naive[1],
        order_consistency=_order_consistency([j.judgement for j in judged]),
        position_bias=_position_bias([j.judgement for j in judged]),
        longer_wins=_longer_wins(judged),
    )


def group_judged(judged: Sequence[Judged]) -> dict[tuple[str, str], list[Judged]]:
    """An arm's judgements by (dimension, value): all, and by number of turns and kind of task,
    kinds only where there are several.
    """
    groups: dict[tuple[str, str], list[Judged]] = {}
    kinds = {j.kind for j in judged}
    for j in judged:
        groups.setdefault(("all", ""), []).append(j)
        if j.turns:
            groups.setdefault(("turns", str(j.turns)), []).append(j)
        if j.kind and len(kinds) > 1:
            groups.setdefault(("kind", j.kind), []).append(j)
    return {group: groups[group] for group in sorted(groups)}


def _order_consistency(judgements: Sequence[Judgement]) -> float | None:
    both = [(j.first, j.second) for j in judgements if j.first and j.second]
    return _share_true([first == second for first, second in both])


def _position_bias(judgements: Sequence[Judgement]) -> float | None:
    """A win in the first order is for what stands first, a win in the second for what stands
    second.
    """
    for_first = [j.first is Verdict.WIN for j in judgements if j.first not in (None, Verdict.TIE)]
    for_first += [
        j.second is Verdict.LOSS for j in judgements if j.second not in (None, Verdict.TIE)
    ]
    share = _share_true(for_first)
    return None if share is None else share - 0.5


def _longer_wins(judged: Sequence[Judged]) -> float | None:
    return _share_true(
        [
            (j.judgement.verdict is Verdict.WIN) == (j.words > j.reference_words)
            for j in judged
            if j.judgement.verdict in (Verdict.WIN, Verdict.LOSS) and j.words != j.reference_words
        ]
    )


def _share_true(found: Sequence[bool]) -> float | None:
    return sum(found) / len(found) if found else None
