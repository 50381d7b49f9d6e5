"""Lets a policy ask about the items of an external evaluation, and measures what that shows."""

from collections.abc import Mapping, Sequence

from stargate_assets.method.conversation import Conversation
from stargate_assets.method.evaluations.kind import Asked, Item, Kind, Outcome
from stargate_assets.method.roleplay import Reply
from stargate_assets.method.simulation import advance, draw_roleplayer


def evaluate(
    kind: Kind, items: Sequence[Item], replies: Mapping[str, Reply], turns: int, asked: Asked
) -> list[Outcome]:
    """The outcome of each item, after one conversation of `turns` turns (K). `replies` has each
    roleplayer's way to reply by its name; an item draws one of them by key.
    """
    conversations = [
        Conversation(
            item.pair, 0, draw_roleplayer(asked.seed, asked.cell, item.pair, 0, list(replies))
        )
        for item in items
    ]
    advance(
        asked.policy,
        replies,
        conversations,
        [1 if item.is_clear else turns for item in items],
        asked.cell,
        asked.seed,
        asked.sampling,
        asked.prompts,
    )
    return kind.measure(items, conversations, asked)
