"""Sequences of tokens."""

from collections.abc import Sequence


def shared_length(one: Sequence[object], other: Sequence[object]) -> int:
    """How many items two sequences begin with alike."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    pairs = enumerate(zip(one, other, strict=False))
    return next((position for position, (a, b) in pairs if a != b), length)
