"""Replies with an error of a known kind, and replies without one, as conversations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stargate_assets.method.conversation import Conversation, Pair, Persona, Task

CLEAN = ("verbatim", "in other words", "declines")
"""Ways to reply without an error."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, what they ask for, and for each kind of reply (question, reply) or, where something
    was said before, (question, earlier reply, question, reply).
    """

    persona: Persona
    task: Task
    replies: Mapping[str, Sequence[tuple[str, ...]]]


def planted(people: Sequence[Person]) -> list[tuple[str, Conversation]]:
    """Each kind of reply with a conversation that ends by one."""
    found: list[tuple[str, Conversation]] = []
    for person in people:
        pair = Pair(person.task, person.persona)
        for kind, replies in person.replies.items():
            for turns in replies:
                number = len(found)
                asked, said = turns[::2], turns[1::2]
                cut = (False,) * len(asked)
                found.append((kind, Conversation(pair, number, "scripted", asked, cut, said)))
    return found
