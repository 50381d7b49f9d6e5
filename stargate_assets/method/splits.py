"""Which rows are in which split: drawn by id, so that the order of a file changes nothing."""

from collections.abc import Iterable, Mapping

from stargate_assets.method.keys import derive_seed
from stargate_assets.method.plan import SPLITS, TEST_SPLIT, TRAIN_SPLITS

TEST_SHARE = 1 / 11
"""The paper's 50 of 550 tasks and 10 of 110 personas; the rest is halved."""


def split_sizes(rows: int) -> dict[str, int]:
    """Split sizes in the paper's proportions."""
    test = max(1, round(rows * TEST_SHARE))
    train_a = (rows - test + 1) // len(TRAIN_SPLITS)
    return {"train_a": train_a, "train_b": rows - test - train_a, TEST_SPLIT: test}


def draw(ids: Iterable[str], count: int, *key: str | int) -> list[str]:
    """`count` of the ids, or all if there are fewer, in an order that depends on `key` and the ids
    alone.
    """
    return sorted(ids, key=lambda row: (derive_seed(*key, row), row))[:count]


def draw_splits(ids: Iterable[str], sizes: Mapping[str, int], seed: int) -> dict[str, str]:
    """id -> split for as many rows as `sizes` says; the ids that are left over are not in it."""
    drawn = iter(draw(ids, sum(sizes.values()), seed, "split"))
    return {row: split for split in SPLITS for row in [next(drawn) for _ in range(sizes[split])]}
