"""What siblings teach, with values by hand."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.advantages import Lesson, find_advantages, weigh_better
from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.selection import Candidate

PAIRS = [Pair(Task(f"t{n}", "What now?"), Persona("p", "Ana", "I bake.")) for n in (1, 2)]


def candidates(*values: float, pair: int = 0) -> list[Candidate]:
    talked = Conversation(PAIRS[pair], 0, ("What do you do?",), ("I bake.",))
    return [Candidate(replace(talked, sample=n), value, value) for n, value in enumerate(values)]


def weights(lessons: list[Lesson]) -> list[float]:
    return [lesson.weight for lesson in lessons]


def test_an_advantage_is_the_value_less_the_mean_of_the_siblings() -> None:
    values = candidates(-10, -13, -16)
    assert weights(find_advantages(values, standardise=False)) == pytest.approx([4.5, 0, -4.5][::2])
    spread = math.sqrt(6)
    standardised = find_advantages(values, standardise=True)
    assert weights(standardised) == pytest.approx([4.5 / spread, -4.5 / spread])


def test_who_has_no_other_sibling_teaches_nothing() -> None:
    alone, alike = candidates(-3), candidates(-3, -3, math.nan, pair=1)
    assert find_advantages([*alone, *alike], standardise=True) == []
    compared = find_advantages([*candidates(1, 3), *candidates(0, 8, pair=1)], standardise=False)
    assert weights(compared) == [-2, 2, -8, 8]


def test_the_better_weigh_by_how_much() -> None:
    lessons = find_advantages(candidates(0, 1, 2, -9), standardise=False)
    better = weigh_better(lessons, temperature=2.0)
    assert [lesson.conversation.sample for lesson in better] == [0, 1, 2]
    ratios = [weight / better[0].weight for weight in weights(better)]
    assert ratios == pytest.approx([1, math.exp(4 / 3 / 2), math.exp(8 / 3 / 2)])


@given(
    st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8),
    st.booleans(),
    st.floats(0.01, 100),
)
def test_advantages_of_a_pair_balance(
    values: list[float], standardise: bool, temperature: float
) -> None:
    lessons = find_advantages(candidates(*values), standardise=standardise)
    found = weights(lessons)
    assert sum(found) == pytest.approx(0, abs=1e-6 * max(map(abs, [*found, 1.0])))
    better = weigh_better(lessons, temperature)
    assert len(better) == sum(weight > 0 for weight in found)
    assert sum(weights(better)) == pytest.approx(len(better))
