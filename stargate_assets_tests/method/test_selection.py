import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.selection import Candidate, select_best, value_of

CANDIDATES = st.lists(
    st.builds(
        Candidate,
        task_id=st.sampled_from("ab"),
        persona_id=st.sampled_from("xy"),
        sample=st.integers(0, 9),
        value=st.floats(-9, 0).map(round) | st.sampled_from([math.nan, math.inf, -math.inf]),
        eligible=st.booleans(),
    ),
    unique_by=lambda c: (c.task_id, c.persona_id, c.sample),
    max_size=24,
)
TOPS = st.integers(1, 4)


def candidate(sample: int, value: float, eligible: bool = True) -> Candidate:
    return Candidate("a", "x", sample, value, eligible)


def pair_of(c: Candidate) -> tuple[str, str]:
    return c.task_id, c.persona_id


@given(CANDIDATES, TOPS, st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(candidates, top, random) -> None:
    shuffled = random.sample(candidates, len(candidates))
    assert select_best(shuffled, top) == select_best(candidates, top)


def test_the_most_probable_gold_responses_win_best_first() -> None:
    candidates = [candidate(0, -3.0), candidate(1, -1.0), candidate(2, -2.0)]
    assert select_best(candidates, 2) == [(1, candidates[1]), (2, candidates[2])]


def test_ties_go_to_the_lower_sample() -> None:
    tied = [candidate(sample, -1.0) for sample in (7, 2, 5)]
    assert [c.sample for _, c in select_best(tied, 3)] == [2, 5, 7]


@pytest.mark.parametrize(
    "winner_of_an_argmax",
    [candidate(0, math.nan), candidate(0, math.inf), candidate(0, 0.0, False)],
)
def test_fault_8_what_is_not_finite_or_not_eligible_never_wins(
    winner_of_an_argmax: Candidate,
) -> None:
    assert select_best([winner_of_an_argmax, candidate(1, -400.0)], 1) == [
        (1, candidate(1, -400.0))
    ]
    assert select_best([winner_of_an_argmax], 1) == []


@given(CANDIDATES, TOPS)
def test_fault_8_whoever_is_not_selected_is_unfit_or_outranked(candidates, top) -> None:
    selected = [c for _, c in select_best(candidates, top)]
    places = Counter(map(pair_of, selected))
    for c in candidates:
        better = [s for s in selected if pair_of(s) == pair_of(c) and s.value >= c.value]
        fit = c.eligible and math.isfinite(c.value)
        assert (c in selected) or not fit or len(better) == top
        assert not (c in selected and not fit)
    assert all(count <= top for count in places.values())


@given(CANDIDATES, TOPS)
def test_ranks_count_from_one_within_each_pair_in_the_order_of_pairs(candidates, top) -> None:
    best = select_best(candidates, top)
    by_pair: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for rank, c in best:
        by_pair.setdefault(pair_of(c), []).append((rank, -c.value))
    assert [pair_of(c) for _, c in best] == sorted(pair_of(c) for _, c in best)
    for ranked in by_pair.values():
        assert [rank for rank, _ in ranked] == list(range(1, len(ranked) + 1))
        assert ranked == sorted(ranked)


@given(CANDIDATES, TOPS)
def test_a_pair_s_winners_do_not_depend_on_other_pairs(candidates, top) -> None:
    everything = select_best(candidates, top)
    alone = select_best([c for c in candidates if pair_of(c) == ("a", "x")], top)
    assert alone == [ranked for ranked in everything if pair_of(ranked[1]) == ("a", "x")]


def test_a_worse_sibling_changes_nothing() -> None:
    best = candidate(4, -1.0)
    assert select_best([best, replace(best, sample=5, value=-1.5)], 1) == [(1, best)]


def test_values_of_the_objectives() -> None:
    assert value_of("sum", -30.0, 10) == -30.0
    assert value_of("mean", -30.0, 10) == -3.0
    assert value_of("gain", -30.0, 10, compared_with=-32.0) == 2.0
    assert value_of("contrast", -30.0, 10, compared_with=-25.0) == -5.0
    assert value_of("sum", -30.0, 10, cost=1.5) == -31.5
    assert value_of("mean", -30.0, 10, cost=5.0) == -3.5


def test_a_margin_is_from_the_mean_of_the_pair_or_from_zero() -> None:
    candidates = [candidate(0, -3.0), candidate(1, -1.0), candidate(2, -2.0)]  # their mean is -2
    assert [c.sample for _, c in select_best(candidates, 3, 0.0)] == [1, 2]
    assert [c.sample for _, c in select_best(candidates, 3, 0.5)] == [1]
    assert select_best(candidates, 3, 1.5) == []
    assert select_best(candidates, 3, 0.0, absolute=True) == []
    assert [c.sample for _, c in select_best(candidates, 3, -1.0, absolute=True)] == [1]


def test_an_only_child_is_its_pair_s_mean() -> None:
    assert select_best([candidate(0, -9.0)], 1, 0.0) == [(1, candidate(0, -9.0))]


@given(CANDIDATES, TOPS, st.floats(-5, 5))
def test_a_margin_only_leaves_out(candidates, top, margin) -> None:
    assert set(select_best(candidates, top, margin)) <= set(select_best(candidates, top))
