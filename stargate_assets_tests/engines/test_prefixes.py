from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.engines.prefixes import (
    Node,
    PrefixPlan,
    Tokens,
    plan_prefixes,
)
from stargate_assets.method.tokens import shared_length

SEQUENCES = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=9).map(tuple)).map(sorted)
CASES = SEQUENCES.flatmap(
    lambda sequences: st.tuples(
        st.just(sequences),
        st.tuples(*(st.integers(0, len(s)) for s in sequences)),
        st.integers(1, 4),
    )
)
Case = tuple[list[Tokens], tuple[int, ...], int]


def depth_of(plan: PrefixPlan, path: list[int]) -> int:
    return plan.nodes[path[-1]].end if path else 0


def test_a_shared_system_message_is_computed_once_and_a_shared_dialogue_on_top_of_it() -> None:
    sequences = [(1, 2, 3, 4, 5), (1, 2, 3, 4, 6), (1, 2, 7), (8, 9)]
    plan = plan_prefixes(sequences, [5, 5, 3, 2], minimum=2)
    assert plan.nodes == (Node(None, 0, 0, 2), Node(0, 0, 2, 4))
    assert plan.parents == (1, 1, 0, None)
    assert plan.path(0) == [0, 1]
    assert plan.path(3) == []


@given(CASES)
def test_a_path_spells_the_sequence_s_own_prefix_without_gaps(case: Case) -> None:
    sequences, limits, minimum = case
    plan = plan_prefixes(sequences, limits, minimum)
    for leaf, sequence in enumerate(sequences):
        spelt: Tokens = ()
        for node in (plan.nodes[i] for i in plan.path(leaf)):
            assert node.start == len(spelt)
            spelt += sequences[node.leaf][node.start : node.end]
        assert spelt == sequence[: len(spelt)]
        assert len(spelt) <= limits[leaf]


@given(CASES)
def test_every_node_is_long_enough_shared_and_stands_after_its_parent(case: Case) -> None:
    sequences, limits, minimum = case
    plan = plan_prefixes(sequences, limits, minimum)
    users = Counter(node for leaf in range(len(sequences)) for node in plan.path(leaf))
    for index, node in enumerate(plan.nodes):
        assert node.end - node.start >= minimum
        assert users[index] >= 2
        assert node.parent is None or node.parent < index


@given(CASES)
def test_neighbours_share_all_but_less_than_the_minimum_of_what_they_could(case: Case) -> None:
    sequences, limits, minimum = case
    plan = plan_prefixes(sequences, limits, minimum)
    for i in range(len(sequences) - 1):
        could = min(shared_length(sequences[i], sequences[i + 1]), limits[i], limits[i + 1])
        both = zip(plan.path(i), plan.path(i + 1), strict=False)
        shared = [one for one, other in both if one == other]
        assert could - minimum < depth_of(plan, shared) <= could
