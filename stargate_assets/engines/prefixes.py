"""Which token prefixes are worth computing once: a radix tree over sorted sequences."""

from collections.abc import Sequence
from dataclasses import dataclass

from stargate_assets.method.tokens import shared_length

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """The tokens `[start, end)` of sequence `leaf`, to be computed on top of node `parent`."""

    parent: int | None
    leaf: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PrefixPlan:
    """`nodes` are shared prefixes, parents first; `parents[i]` is the node that sequence i grows
    from.
    """

    nodes: tuple[Node, ...]
    parents: tuple[int | None, ...]

    def path(self, leaf: int) -> list[int]:
        """The nodes that sequence `leaf` needs, outermost first."""
        path: list[int] = []
        node = self.parents[leaf]
        while node is not None:
            path.append(node)
            node = self.nodes[node].parent
        return path[::-1]


def plan_prefixes(sequences: Sequence[Tokens], limits: Sequence[int], minimum: int) -> PrefixPlan:
    """Find the prefixes that two or more neighbours share.

    `sequences` are sorted, so sequences with a common prefix stand together. No shared prefix of
    sequence i is longer than `limits[i]`, and none adds fewer than `minimum` tokens to its parent.
    """
    nodes: list[Node] = []
    parents: list[int | None] = [None] * len(sequences)
    shared = [0] + [
        min(shared_length(sequences[i - 1], sequences[i]), limits[i - 1], limits[i])
        for i in range(1, len(sequences))
    ]
    pending: list[tuple[int, int, int, int | None]] = [(0, len(sequences), 0, None)]
    while pending:
        first, last, depth, parent = pending.pop()
        start = first
        while start < last:
            stop = start + 1
            while stop < last and shared[stop] >= depth + minimum:
                stop += 1
            if stop - start == 1:
                parents[start] = parent
            else:
                end = min(shared[start + 1 : stop])
                nodes.append(Node(parent, start, depth, end))
                pending.append((start, stop, end, len(nodes) - 1))
            start = stop
    return PrefixPlan(tuple(nodes), tuple(parents))
