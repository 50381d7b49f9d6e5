"""One budget for all runs that share a completion store."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargate_assets.method.language_model import Completion
from stargate_assets.storage.budget import Budget
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.writer import Writer
from stargate_assets_tests.conftest import USE, temporary_store

ANSWER = Completion("Who?", "stop", 3, 4)


@pytest.fixture
def runs(store: CompletionStore) -> Iterator[tuple[Writer, Writer]]:
    with (
        store.writer("model", USE, "the model") as one,
        store.writer("model", replace(USE, slice="other"), "the model") as other,
    ):
        yield one, other


def test_what_one_run_has_reserved_no_other_can_spend(
    store: CompletionStore, runs: tuple[Writer, Writer]
) -> None:
    one, other = runs
    assert store.budget() is one.reserve({"a": 4.0}) is None
    one.write("without a budget", ANSWER, 0.5, 99.0)
    store.set_budget(10)
    assert one.reserve({"a": 4.0, "b": 4.0, "c": 4.0}) == (2, Budget(10, 0, 0))
    assert other.reserve({"d": 4.0}) == (0, Budget(10, 0, 8))
    one.write("a", ANSWER, 0.5, 1.0)
    assert store.budget() == Budget(10, 1, 4)
    assert other.reserve({"d": 4.0, "e": 2.0}) == (1, Budget(10, 1, 4))
    one.release()
    assert store.budget() == Budget(10, 1, 4)
    assert other.reserve({"d": 4.0, "e": 2.0}) == (2, Budget(10, 1, 0))
    other.write("d", ANSWER, 0.5, 4.0)
    other.write("e", ANSWER, 0.5, 0.0)
    assert store.budget() == Budget(10, 5, 0)


def test_a_budget_counts_from_when_it_was_set(
    store: CompletionStore, runs: tuple[Writer, Writer]
) -> None:
    store.set_budget(10)
    one, other = runs
    assert one.reserve({"a": 4.0, "b": 4.0}) == (2, Budget(10, 0, 0))
    one.write("a", ANSWER, 0.5, 3.0)
    store.set_budget(5)
    assert other.reserve({"c": 2.0}) == (0, Budget(5, 0, 4))  # b may still be paid
    one.write("b", ANSWER, 0.5, 3.0)
    assert store.budget() == Budget(5, 3, 0)
    store.set_budget(None)
    assert (store.budget(), other.reserve({"c": 2.0})) == (None, None)


Step = tuple[int, Mapping[str, tuple[float, float]]]
"""Which of two runs asks, and of each of its calls what it may cost and which share of it does."""
STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.dictionaries(
            st.text("abc", min_size=1, max_size=2),
            st.tuples(st.floats(0.01, 5), st.floats(0, 1)),
            min_size=1,
            max_size=4,
        ),
    ),
    max_size=8,
)


@settings(max_examples=20, deadline=None)
@given(STEPS, st.floats(0.01, 20))
def test_nothing_is_paid_beyond_the_budget(steps: list[Step], dollars: float) -> None:
    """Whatever the runs ask in turn, each reserving anew while the other's calls are under way."""
    with temporary_store() as store, ExitStack() as stack:
        store.set_budget(dollars)
        writers = [stack.enter_context(store.writer("model", USE, "m")) for _ in range(2)]
        under_way: list[dict[str, float]] = [{}, {}]
        for who, calls in steps:
            for key, paid in under_way[who].items():
                writers[who].write(key, ANSWER, 0.5, paid)
            found = writers[who].reserve({key: most for key, (most, _) in calls.items()})
            assert found is not None
            sent = list(calls.items())[: found[0]]
            under_way[who] = {key: most * share for key, (most, share) in sent}
            budget = store.budget()
            assert budget is not None
            assert budget.paid + budget.reserved <= dollars * (1 + 1e-12)
