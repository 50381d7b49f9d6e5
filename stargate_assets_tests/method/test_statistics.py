import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargate_assets.method.statistics import two_way_cluster_bootstrap

VALUES = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: st.lists(
        st.floats(-400, 0), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]
    ).map(lambda drawn: by_pair(np.reshape(drawn, shape)))
)


def by_pair(table: np.ndarray) -> dict[tuple[str, str], float]:
    """A table of tasks by personas as values for pairs."""
    return {(f"t{t}", f"p{p}"): float(value) for (t, p), value in np.ndenumerate(table)}


def naive_width(values: dict[tuple[str, str], float]) -> float:
    """Of the interval that takes every row for an observation of its own (fault 5)."""
    drawn = np.array(list(values.values()))
    return 2 * 1.96 * drawn.std(ddof=1) / np.sqrt(len(drawn))


@pytest.mark.parametrize("shape", [(1, 1), (3, 4)])
def test_constant_data_have_an_interval_of_no_width(shape: tuple[int, int]) -> None:
    estimate = two_way_cluster_bootstrap(by_pair(np.full(shape, -0.7)), seed=0)
    assert (estimate.low, estimate.mean, estimate.high) == pytest.approx((-0.7, -0.7, -0.7))
    assert estimate.pairs == shape[0] * shape[1]


@settings(deadline=None, max_examples=40)
@given(VALUES)
def test_the_interval_covers_the_mean_and_stays_within_the_data(values) -> None:
    estimate = two_way_cluster_bootstrap(values, seed=0)
    slack = 1e-9
    assert estimate.mean == pytest.approx(np.mean(list(values.values())))
    assert estimate.low - slack <= estimate.mean <= estimate.high + slack
    assert min(values.values()) - slack <= estimate.low
    assert estimate.high <= max(values.values()) + slack


@pytest.mark.parametrize("axis", ["tasks", "personas"])
def test_fault_5_rows_that_repeat_a_task_or_a_persona_are_no_fresh_evidence(axis: str) -> None:
    """All variance lies between six clusters of fifty equal rows each."""
    table = np.repeat([[0.0, 1.0, 0.0, 1.0, 1.0, 0.0]], 50, axis=0)
    values = by_pair(table if axis == "personas" else table.T)
    estimate = two_way_cluster_bootstrap(values, seed=0)
    assert estimate.high - estimate.low > 3 * naive_width(values)


def test_independent_rows_have_about_the_naive_interval() -> None:
    table = np.random.default_rng(0).normal(size=(30, 30))
    estimate = two_way_cluster_bootstrap(by_pair(table), seed=0)
    assert estimate.high - estimate.low < 2.5 * naive_width(by_pair(table))


def test_the_interval_is_a_function_of_seed_and_values_whatever_their_order() -> None:
    values = by_pair(np.random.default_rng(1).normal(size=(7, 9)))
    backwards = dict(reversed(values.items()))
    estimate = two_way_cluster_bootstrap(values, seed=3)
    assert two_way_cluster_bootstrap(backwards, seed=3) == estimate
    assert two_way_cluster_bootstrap(values, seed=4) != estimate


def test_pairs_that_are_missing_do_not_spoil_the_estimate() -> None:
    """A draw without any pair is left out: a diagonal often has one."""
    diagonal = {(f"t{i}", f"p{i}"): float(i) for i in range(3)}
    estimate = two_way_cluster_bootstrap(diagonal, seed=0)
    assert 0 <= estimate.low < estimate.mean == 1.0 < estimate.high <= 2


def test_nothing_has_no_estimate() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        two_way_cluster_bootstrap({}, seed=0)
