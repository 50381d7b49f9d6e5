from dataclasses import astuple
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.agreement import BothVerdicts, judges_agree
from stargate_assets.method.judging import Verdict

WIN, LOSS, TIE = Verdict.WIN, Verdict.LOSS, Verdict.TIE


def spread(counts: dict[BothVerdicts, int]) -> dict[tuple[str, str], list[BothVerdicts]]:
    """Each comparison is a pair of its own task and persona."""
    every = [both for both, count in counts.items() for _ in range(count)]
    return {(f"t{i}", f"p{i}"): [both] for i, both in enumerate(every)}


def test_kappa_is_cohen_s() -> None:
    """Worked by hand: both agree in 35 of 50; by chance 0.5 x 0.6 + 0.5 x 0.4 = 0.5."""
    counts = {(WIN, WIN): 20, (WIN, LOSS): 5, (LOSS, WIN): 10, (LOSS, LOSS): 15}
    found = judges_agree(spread(counts))
    assert found is not None
    assert found.agreement == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    # Fleiss, Cohen and Everitt (1969) have a standard error of 0.1270 for this table.
    assert found.kappa_low is not None and found.kappa_high is not None
    assert (found.kappa_high - found.kappa_low) / 2 / 2.0096 == pytest.approx(0.127, abs=0.008)


def test_ties_are_verdicts_of_their_own() -> None:
    found = judges_agree(spread({(WIN, WIN): 1, (LOSS, LOSS): 1, (TIE, TIE): 1, (TIE, WIN): 1}))
    assert found is not None
    assert found.agreement == 0.75
    assert found.kappa == pytest.approx((0.75 - 0.3125) / (1 - 0.3125))


def test_comparisons_of_a_pair_are_averaged() -> None:
    found = judges_agree({("t", "p"): [(WIN, WIN)] * 8, ("u", "q"): [(LOSS, WIN)]})
    assert found is not None
    assert found.agreement == 0.5
    assert found.kappa == pytest.approx(0)


def test_judges_that_say_the_same_have_an_interval_and_those_that_say_one_thing_no_kappa() -> None:
    same = judges_agree(spread({(WIN, WIN): 8, (LOSS, LOSS): 8}))
    assert same is not None
    assert same.kappa is not None and same.kappa_low is not None
    assert same.kappa == same.kappa_high == 1
    assert 0.4 < same.kappa_low < 0.9
    constant = judges_agree(spread({(WIN, WIN): 8}))
    assert constant is not None
    assert (constant.agreement, constant.kappa, constant.kappa_low) == (1, None, None)
    assert judges_agree({}) is None


COMPARISONS = st.lists(
    st.tuples(
        st.integers(0, 3), st.integers(0, 3), st.sampled_from(Verdict), st.sampled_from(Verdict)
    ),
    min_size=1,
)


@given(COMPARISONS)
def test_agreement_has_no_first_judge_and_lies_in_its_interval(
    comparisons: list[tuple[int, int, Verdict, Verdict]],
) -> None:
    verdicts: dict[tuple[str, str], list[BothVerdicts]] = {}
    for task, persona, one, other in comparisons:
        verdicts.setdefault((f"t{task}", f"p{persona}"), []).append((one, other))
    found = judges_agree(verdicts)
    swapped = judges_agree({k: [(b, a) for a, b in both] for k, both in verdicts.items()})
    assert found is not None and swapped is not None
    assert in_order(0, found.agreement_low, found.agreement, found.agreement_high, 1)
    assert swapped.agreement == found.agreement
    assert (swapped.kappa is None) == (found.kappa is None)
    if found.kappa is not None:
        assert found.kappa_low is not None and found.kappa_high is not None
        assert in_order(found.kappa_low, found.kappa, found.kappa_high, 1)
        assert astuple(swapped) == pytest.approx(astuple(found))


def in_order(*values: float) -> bool:
    """Whether each is at least the one before it, to rounding."""
    return all(one <= other + 1e-9 for one, other in pairwise(values))


def test_the_interval_covers_the_truth_where_tasks_and_personas_matter() -> None:
    """Two Judges that see the same leaning of task, persona and pair, each with noise of its
    own.
    """
    rng = np.random.default_rng(0)

    def table(tasks: int, personas: int) -> dict[tuple[str, str], list[BothVerdicts]]:
        shape = (tasks, personas)
        leaning = (
            rng.normal(size=(tasks, 1)) + rng.normal(size=(1, personas)) + rng.normal(size=shape)
        )
        one, other = (leaning + rng.normal(size=shape) > 0 for _ in range(2))
        return {
            (f"t{t}", f"p{p}"): [(WIN if one[t, p] else LOSS, WIN if other[t, p] else LOSS)]
            for t in range(tasks)
            for p in range(personas)
        }

    truth = 2 / np.pi * np.arcsin(3 / 4)  # of two signs that have three parts in four in common
    covered = 0
    for _ in range(100):
        found = judges_agree(table(12, 6))
        assert found is not None and found.kappa_low is not None and found.kappa_high is not None
        covered += found.kappa_low <= truth <= found.kappa_high
    assert covered >= 89
