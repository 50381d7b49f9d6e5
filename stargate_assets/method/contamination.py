"""Whether an evaluation has the texts that a policy was trained on."""

from collections.abc import Sequence

from stargate_assets.method.text import near_duplicates

Overlap = tuple[str, str, float]
"""A text that is trained on, a text of an evaluation, and their similarity in [NEAR_DUPLICATE,
1].
"""


def overlaps(trained: Sequence[str], evaluated: Sequence[str]) -> list[Overlap]:
    """The texts of an evaluation that are near-duplicates of a text that is trained on."""
    texts, first = (*trained, *evaluated), len(trained)
    return [(texts[i], texts[j], alike) for i, j, alike in near_duplicates(texts) if i < first <= j]
