"""Preference pairs: what was kept against what was not, as a trainer that compares two completions
of one prompt reads it (not in the paper, which drops what it does not select).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from stargate_assets.method.conversation import Conversation
from stargate_assets.method.language_model import Message
from stargate_assets.method.prompts import Prompts


@dataclass(frozen=True, slots=True)
class Preference:
    """Two questions after one dialogue. `turn` counts from 0."""

    prompt: tuple[Message, ...]
    chosen: Message
    rejected: Message
    turn: int


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """`preference` is None where no question may be compared."""

    kept: Conversation
    rejected: Conversation
    preference: Preference | None


def comparisons(
    kept: Iterable[Conversation], rejected: Iterable[Conversation], prompts: Prompts
) -> Iterator[PreferencePair]:
    """Each rejected conversation against every kept one of its pair."""
    by_pair: dict[tuple[str, str], list[Conversation]] = {}
    for conversation in kept:
        by_pair.setdefault(conversation.pair.key, []).append(conversation)
    for other in rejected:
        for better in by_pair.get(other.pair.key, ()):
            yield PreferencePair(better, other, preference(better, other, prompts))


def preference(kept: Conversation, rejected: Conversation, prompts: Prompts) -> Preference | None:
    """The first turn in which two conversations of a pair ask differently after the same dialogue;
    None if there is none, or if nothing was said there.

    Later turns follow different replies and have no common prompt. So neither completion holds a
    word of the user's, and none is trained on.
    """
    for turn, (better, worse) in enumerate(zip(kept.questions, rejected.questions, strict=False)):
        if better != worse:
            if not better.strip() or not worse.strip():
                return None
            before = replace(kept, questions=kept.questions[:turn], answers=kept.answers[:turn])
            return Preference(
                prompts.questioner_messages(before),
                Message("assistant", better),
                Message("assistant", worse),
                turn,
            )
        if kept.answers[turn] != rejected.answers[turn]:
            return None
    return None
