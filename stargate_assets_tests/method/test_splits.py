from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.splits import draw, draw_splits, split_sizes

SIZES = {"train_a": 3, "train_b": 2, "test": 1}
IDS = st.lists(st.text(min_size=1, max_size=4), min_size=6, max_size=20, unique=True)


@pytest.mark.parametrize(
    ("rows", "sizes"), [(550, (250, 250, 50)), (110, (50, 50, 10)), (3, (1, 1, 1)), (4, (2, 1, 1))]
)
def test_splits_have_the_proportions_of_the_paper(rows: int, sizes: tuple[int, ...]) -> None:
    assert tuple(split_sizes(rows).values()) == sizes


@given(IDS, st.randoms())
def test_the_order_of_the_rows_changes_nothing(ids: list[str], random: object) -> None:
    shuffled = list(ids)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert draw_splits(shuffled, SIZES, 0) == draw_splits(ids, SIZES, 0)
    assert draw(shuffled, 4, "limit") == draw(ids, 4, "limit")


@given(IDS)
def test_every_split_has_its_size_and_nothing_twice(ids: list[str]) -> None:
    drawn = draw_splits(ids, SIZES, 7)
    assert Counter(drawn.values()) == SIZES
    assert set(drawn) <= set(ids)


def test_another_seed_draws_otherwise() -> None:
    ids = [str(number) for number in range(50)]
    assert draw_splits(ids, SIZES, 0) != draw_splits(ids, SIZES, 1)
