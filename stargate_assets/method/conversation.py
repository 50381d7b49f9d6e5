"""Conversations about a task, as neutral transcripts; `prompts.py` makes of them what each role
sees.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stargate_assets.method.keys import derive_seed

QUESTION_MARKS = ("?", "？", "؟")
_CLOSERS = "\"'”’»)]*_ \n"


@dataclass(frozen=True, slots=True)
class Persona:
    persona_id: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Task:
    task_id: str
    text: str
    kind: str | None = None
    """general if the best answer hardly depends on who asks."""


@dataclass(frozen=True, slots=True)
class Pair:
    task: Task
    persona: Persona

    @property
    def key(self) -> tuple[str, str]:
        """(task_id, persona_id)"""
        return self.task.task_id, self.persona.persona_id


@dataclass(frozen=True, slots=True)
class Conversation:
    """`questions[t]` is what the questioner said in turn t, question or not, and `answers[t]` the
    reply.
    """

    pair: Pair
    sample: int
    roleplayer: str = ""
    """The name of who answers, from the experiment."""
    questions: tuple[str, ...] = ()
    truncated: tuple[bool, ...] = ()
    """Whether the questioner ran into its token limit, by turn."""
    answers: tuple[str, ...] = ()
    refused: bool = False
    """Whether a content filter stopped the last turn. What it kept back is empty, and nothing is
    said after it.
    """

    def with_question(self, question: str, truncated: bool) -> "Conversation":
        """The conversation with one more turn of the questioner."""
        return replace(
            self, questions=(*self.questions, question), truncated=(*self.truncated, truncated)
        )

    def with_answer(self, answer: str | None) -> "Conversation":
        """The conversation with one more reply; None if a content filter refused the turn."""
        return replace(self, answers=(*self.answers, answer or ""), refused=answer is None)


def another_persona(persona: Persona, people: Sequence[Persona], *key: str | int) -> Persona | None:
    """Draw another of the people than this persona, by key; None if there is none."""
    others = [other for other in people if other.persona_id != persona.persona_id]
    others.sort(key=lambda other: other.persona_id)
    return random.Random(derive_seed(*key)).choice(others) if others else None


def is_question(utterance: str) -> bool:
    """Whether an utterance ends by asking."""
    return utterance.rstrip(_CLOSERS).endswith(QUESTION_MARKS)


def question_rate(questions: tuple[str, ...]) -> float:
    """The share of a conversation's questioner turns that are questions; 0 without a turn."""
    return sum(map(is_question, questions)) / max(1, len(questions))
