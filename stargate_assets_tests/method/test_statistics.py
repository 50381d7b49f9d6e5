import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.statistics import (
    clustered_mean,
    clustered_share,
    paired_difference,
    t_quantile,
    two_way_clustered,
    wilson,
)

TABLES = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda shape: st.lists(
        st.floats(-400, 0), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]
    ).map(lambda drawn: np.reshape(drawn, shape))
)
SHARES = st.dictionaries(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz")),
    st.sampled_from([0.0, 0.5, 1.0]),
    min_size=1,
)


def by_pair(table: np.ndarray) -> dict[tuple[str, str], float]:
    """A table of tasks by personas as values for pairs."""
    return {(f"t{t}", f"p{p}"): float(value) for (t, p), value in np.ndenumerate(table)}


def naive_width(values: dict[tuple[str, str], float]) -> float:
    """Of the interval that takes every row for an observation of its own."""
    drawn = np.array(list(values.values()))
    return 2 * 1.96 * drawn.std(ddof=1) / np.sqrt(len(drawn))


@pytest.mark.parametrize("shape", [(1, 1), (3, 4)])
def test_constant_data_have_an_interval_of_no_width(shape: tuple[int, int]) -> None:
    estimate = two_way_clustered(by_pair(np.full(shape, -0.7)))
    assert (estimate.low, estimate.mean, estimate.high) == pytest.approx((-0.7, -0.7, -0.7))
    assert estimate.pairs == shape[0] * shape[1]


@given(TABLES)
def test_the_variance_is_the_unbiased_one_of_a_full_table(table: np.ndarray) -> None:
    """As the analysis of variance has it, with no component below zero."""
    tasks, personas = table.shape
    found = clustered_mean(by_pair(table))
    assert found.mean == pytest.approx(table.mean())
    if min(tasks, personas) < 2:
        return
    of_tasks = personas * table.mean(1).var(ddof=1)
    of_personas = tasks * table.mean(0).var(ddof=1)
    additive = table.mean(1, keepdims=True) + table.mean(0, keepdims=True) - table.mean()
    of_pairs = ((table - additive) ** 2).sum() / ((tasks - 1) * (personas - 1))
    expected = max(of_tasks, of_pairs) + max(of_personas, of_pairs) - of_pairs
    assert found.variance == pytest.approx(expected / table.size, rel=1e-6, abs=1e-9)
    assert min(tasks, personas) - 1 <= found.degrees


@given(TABLES)
def test_tasks_and_personas_can_be_told_apart_by_nothing_but_their_names(
    table: np.ndarray,
) -> None:
    one, other = two_way_clustered(by_pair(table)), two_way_clustered(by_pair(table.T))
    assert (one.low, one.mean, one.high) == pytest.approx((other.low, other.mean, other.high))
    backwards = dict(reversed(by_pair(table).items()))
    assert two_way_clustered(backwards) == one


def test_one_task_or_one_persona_says_what_the_other_way_says() -> None:
    """Student's interval of six rows: 0.5 +- 2.571 * 0.5477 / sqrt(6)."""
    values = by_pair(np.array([[0.0, 1.0, 0.0, 1.0, 1.0, 0.0]]))
    estimate = two_way_clustered(values)
    assert (estimate.low, estimate.high) == pytest.approx((-0.0748, 1.0748), abs=1e-4)


def test_independent_rows_have_about_the_naive_interval() -> None:
    table = np.random.default_rng(0).normal(size=(30, 30))
    estimate = two_way_clustered(by_pair(table))
    assert naive_width(by_pair(table)) < estimate.high - estimate.low
    assert estimate.high - estimate.low < 1.6 * naive_width(by_pair(table))


def test_pairs_that_are_missing_do_not_spoil_the_estimate() -> None:
    """Nobody repeats on a diagonal, so it has Student's interval of its three rows."""
    diagonal = {(f"t{i}", f"p{i}"): float(i) for i in range(3)}
    estimate = two_way_clustered(diagonal)
    assert (estimate.low, estimate.mean, estimate.high) == pytest.approx((-1.484, 1, 3.484), 1e-3)


@pytest.mark.parametrize("estimator", [two_way_clustered, clustered_share])
def test_nothing_has_no_estimate(estimator) -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        estimator({})


def test_differences_are_of_the_pairs_that_both_have() -> None:
    values, others = {("a", "p"): 3.0, ("b", "p"): 5.0}, {("b", "p"): 1.0, ("c", "p"): 9.0}
    difference = paired_difference(values, others)
    assert difference is not None
    assert (difference.mean, difference.pairs) == (4.0, 1)
    assert paired_difference(values, {}) is None


def test_a_paired_difference_is_surer_than_two_levels() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(8, 1)) * 5 + rng.normal(size=(8, 4))
    difference = paired_difference(by_pair(base + 1), by_pair(base))
    assert difference is not None
    assert (difference.low, difference.high) == pytest.approx((1.0, 1.0))
    level = two_way_clustered(by_pair(base))
    assert level.high - level.low > 5


@given(SHARES)
def test_the_interval_of_a_share_stays_within_zero_and_one_and_has_a_width(values) -> None:
    estimate = clustered_share(values)
    assert 0 <= estimate.low <= estimate.mean + 1e-12
    assert estimate.mean - 1e-12 <= estimate.high <= 1
    assert estimate.low < estimate.high


@given(SHARES)
def test_a_share_and_its_complement_mirror_each_other(values) -> None:
    one = clustered_share(values)
    other = clustered_share({pair: 1 - value for pair, value in values.items()})
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))


def test_all_wins_are_no_certainty() -> None:
    """Wilson's bound for 32 of 32 at t with 3 degrees of freedom: 32 / (32 + 3.182**2)."""
    estimate = clustered_share(by_pair(np.ones((8, 4))))
    assert (estimate.low, estimate.high) == pytest.approx((0.7596, 1.0), abs=1e-4)


@pytest.mark.parametrize(
    ("wins", "trials", "low", "high"),
    [
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (15, 148, 0.0624, 0.1605),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_s_interval_is_the_published_one(
    wins: int, trials: int, low: float, high: float
) -> None:
    """The examples of Newcombe (1998), table I, method 3."""
    assert wilson(wins / trials, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (1000, 1.962)],
)
def test_student_s_quantiles_are_those_of_the_tables(degrees: int, quantile: float) -> None:
    assert t_quantile(degrees) == pytest.approx(quantile, abs=5e-4)
