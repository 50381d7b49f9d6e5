"""People as Judges: what they are shown, and what their verdicts come to."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.conversation import Pair, Persona, Task
from stargate_assets.method.judging import Comparison, Verdict
from stargate_assets.method.raters import (
    BLOCK,
    Rating,
    draw_order,
    raters_agree,
    raters_win_rate,
    response_stands_first,
    verdicts_of,
)

WIN, LOSS, TIE = Verdict.WIN, Verdict.LOSS, Verdict.TIE
RATERS = st.text(min_size=1, max_size=8)


def comparisons(tasks: int, people: int) -> list[Comparison]:
    return [
        Comparison(Pair(Task(f"t{t}", f"Task {t}"), Persona(f"p{p}", f"P{p}", "")), "a b", "a")
        for t in range(tasks)
        for p in range(people)
    ]


@given(RATERS, st.integers(0, 2**32), st.integers(0, 60))
def test_both_orders_are_balanced_at_any_moment(rater: str, seed: int, places: int) -> None:
    sides = [response_stands_first(place, rater, seed) for place in range(places)]
    first, second = sides.count(True), sides.count(False)
    assert abs(first - second) <= BLOCK / 2
    assert places % BLOCK or first == second
    assert sides == [response_stands_first(place, rater, seed) for place in range(places)]


def test_raters_see_different_orders_and_each_block_may_be_any() -> None:
    sides = {
        rater: [response_stands_first(place, rater, 0) for place in range(40)]
        for rater in ("Ana", "Bea")
    }
    assert sides["Ana"] != sides["Bea"]
    blocks = Counter(
        tuple(response_stands_first(place, f"r{n}", 0) for place in range(BLOCK))
        for n in range(600)
    )
    assert len(blocks) == 6  # two of four
    assert min(blocks.values()) > 60  # a fair draw has fewer in one of a million


@given(st.permutations(comparisons(4, 3)), st.integers(0, 99))
def test_pairs_come_in_an_order_that_the_order_of_rows_does_not_change(
    shuffled: list[Comparison], seed: int
) -> None:
    drawn = draw_order(shuffled, seed)
    assert drawn == draw_order(comparisons(4, 3), seed)
    assert Counter(c.pair.key for c in drawn) == Counter(c.pair.key for c in shuffled)
    assert drawn != draw_order(shuffled, seed + 1)


def test_several_raters_of_a_pair_are_averaged() -> None:
    one, other = comparisons(2, 1)
    found = raters_win_rate(
        [
            Rating("Ana", one, WIN, response_first=True),
            Rating("Bea", one, TIE, response_first=False),
            Rating("Ana", other, LOSS, response_first=False),
        ]
    )
    assert found.win_rate == (0.75 + 0) / 2
    assert (found.pairs, found.wins, found.losses, found.ties) == (3, 1, 1, 1)
    assert found.position_bias == 0.5  # both that are decided are for what stood left
    assert found.longer_wins == 0.5


def test_raters_agree_on_the_pairs_that_both_have_judged() -> None:
    ana = {("t0", "p0"): WIN, ("t1", "p1"): LOSS, ("t2", "p2"): TIE}
    bea = {("t0", "p0"): WIN, ("t1", "p1"): WIN, ("t9", "p9"): LOSS}
    found = raters_agree([ana], bea)
    assert found is not None
    assert found.agreement == 0.5
    both = raters_agree([ana, bea], {("t1", "p1"): WIN})
    assert both is not None
    assert both.agreement == 0.5
    assert raters_agree([ana], {("t7", "p7"): WIN}) is None


def test_intervals_cover_a_planted_preference_and_noise() -> None:
    """Two raters and the Judge hear the truth, the later policy better in 70 % of pairs, and err in
    15 %, 15 % and 30 %; a rater takes what stands left instead in 20 %, of which the balanced order
    makes a coin.
    """
    better, left, errors = 0.7, 0.2, {"Ana": 0.15, "Bea": 0.15, "judge": 0.3}
    draw = random.Random(3)

    def rate(rater: str, place: int, truth: bool) -> tuple[Verdict, bool]:
        first = response_stands_first(place, rater, draw.randrange(10**9))
        wins = truth != (draw.random() < errors[rater])
        if rater != "judge" and draw.random() < left:
            wins = first
        return (WIN if wins else LOSS), first

    def share(rater: str, truth: bool) -> float:
        """How often a rater says that the later policy wins, given the truth."""
        said = 1 - errors[rater] if truth else errors[rater]
        return said if rater == "judge" else (1 - left) * said + left / 2

    def kappa(one: str, other: str) -> float:
        weights = ((True, better), (False, 1 - better))
        same = sum(
            w * (share(one, t) * share(other, t) + (1 - share(one, t)) * (1 - share(other, t)))
            for t, w in weights
        )
        p, q = (sum(w * share(rater, t) for t, w in weights) for rater in (one, other))
        chance = p * q + (1 - p) * (1 - q)
        return (same - chance) / (1 - chance)

    truth_of_rate = sum(w * share("Ana", t) for t, w in ((True, better), (False, 1 - better)))
    covered: Counter[str] = Counter()
    biases: list[float] = []
    runs = 60
    for _ in range(runs):
        ratings: list[Rating] = []
        judge: dict[tuple[str, str], Verdict] = {}
        for place, comparison in enumerate(comparisons(12, 6)):
            truth = draw.random() < better
            ratings += [Rating(r, comparison, *rate(r, place, truth)) for r in ("Ana", "Bea")]
            judge[comparison.pair.key], _ = rate("judge", place, truth)
        found = raters_win_rate(ratings)
        assert found.low is not None and found.high is not None
        assert found.position_bias is not None
        biases.append(found.position_bias)
        covered["win rate"] += found.low <= truth_of_rate <= found.high
        ana, bea = (verdicts_of(ratings, rater) for rater in ("Ana", "Bea"))
        for name, agreement, true in (
            ("raters", raters_agree([ana], bea), kappa("Ana", "Bea")),
            ("judge", raters_agree([ana, bea], judge), kappa("Ana", "judge")),
        ):
            assert agreement is not None
            assert agreement.kappa_low is not None and agreement.kappa_high is not None
            covered[name] += agreement.kappa_low <= true <= agreement.kappa_high
    assert min(covered[name] for name in ("win rate", "raters", "judge")) >= 0.89 * runs, covered
    assert np.mean(biases) == pytest.approx(left / 2, abs=0.02)
