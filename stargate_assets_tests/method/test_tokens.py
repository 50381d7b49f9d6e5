from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.tokens import shared_length

TOKENS = st.lists(st.integers(0, 2), max_size=6)


@given(shared=TOKENS, one=TOKENS, other=TOKENS)
def test_two_sequences_are_alike_up_to_where_they_part(
    shared: list[int], one: list[int], other: list[int]
) -> None:
    """Also where one ends, and whatever kind of sequences they are."""
    length = shared_length([*shared, *one], (*shared, *other))
    assert length == len(shared) + shared_length(one, other)
    assert one[: shared_length(one, other)] == other[: shared_length(one, other)]
    ends: Sequence[list[int]] = [[*shared, 7, *one], [*shared, 8, *other]]
    assert shared_length(*ends) == len(shared) == shared_length(shared, ends[0])
