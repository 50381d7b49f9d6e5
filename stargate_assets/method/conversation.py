"""Conversations about a task, as neutral transcripts; `prompts.py` makes of them what each role
sees.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from stargate_assets.method.keys import derive_seed
from stargate_assets.method.text import readdress, sentences

QUESTION_MARKS = ("?", "？", "؟")
CLOSERS = "\"'”’»)]*_ \n"


@dataclass(frozen=True, slots=True)
class Persona:
    """`name` is empty for one without. `stated` are its statements where they are known, not found
    by splitting the text.
    """

    persona_id: str
    name: str
    text: str
    stated: tuple[str, ...] = ()
    third_person: bool = False

    @property
    def known_as(self) -> str:
        """What people read in place of a name."""
        return self.name or "(no name)"

    @property
    def statements(self) -> list[str]:
        """What it says of itself, piece by piece."""
        return list(self.stated) or sentences(self.text)


@dataclass(frozen=True, slots=True)
class Task:
    task_id: str
    text: str
    kind: str | None = None
    """general if the best answer hardly depends on who asks."""
    options: tuple[str, ...] = ()
    """Of a task with multiple choice: the gold response of each persona is one of them."""


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

    @property
    def key(self) -> tuple[str, str, int]:
        """(task_id, persona_id, sample)"""
        return *self.pair.key, self.sample

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


def others_responses(
    pairs: Sequence[Pair],
    responses: Mapping[tuple[str, str], str],
    purpose: str,
    split: str,
    seed: int,
) -> dict[Pair, tuple[str, str]]:
    """For each pair with a response, that of another persona to the same task, drawn by key:
    (persona_id, text). It calls the user by this persona's name, so that the name gives nothing
    away. Pairs whose task has no other response are left out.
    """
    found: dict[Pair, tuple[str, str]] = {}
    for of_task in _by_task(pairs, responses):
        people = [pair.persona for pair in of_task]
        for pair in of_task:
            other = another_persona(pair.persona, people, seed, purpose, split, *pair.key)
            if other is not None:
                theirs = responses[pair.task.task_id, other.persona_id]
                text = readdress(theirs, other.name, pair.persona.name)
                found[pair] = (other.persona_id, text)
    return found


def all_others_responses(
    pairs: Iterable[Pair], responses: Mapping[tuple[str, str], str]
) -> dict[Pair, tuple[str, ...]]:
    """For each pair with a response, those of all other personas to the same task that differ from
    its own, each text once. They call the user by this persona's name, as in `others_responses`.
    """
    found: dict[Pair, tuple[str, ...]] = {}
    for of_task in _by_task(sorted(pairs, key=lambda pair: pair.key), responses):
        for pair in of_task:
            name, own = pair.persona.name, responses[pair.key]
            texts = [readdress(responses[o.key], o.persona.name, name) for o in of_task]
            found[pair] = tuple(text for text in dict.fromkeys(texts) if text != own)
    return found


def _by_task(
    pairs: Iterable[Pair], responses: Mapping[tuple[str, str], str]
) -> Iterable[list[Pair]]:
    """The pairs with a response, those of a task together."""
    by_task: dict[str, list[Pair]] = {}
    for pair in pairs:
        if pair.key in responses:
            by_task.setdefault(pair.task.task_id, []).append(pair)
    return by_task.values()


def people_of(pairs: Iterable[Pair]) -> list[Persona]:
    """The personas of pairs, each once."""
    return list({pair.persona.persona_id: pair.persona for pair in pairs}.values())


def is_question(utterance: str) -> bool:
    """Whether an utterance ends by asking."""
    return utterance.rstrip(CLOSERS).endswith(QUESTION_MARKS)


def question_rate(questions: tuple[str, ...]) -> float:
    """The share of a conversation's questioner turns that are questions; 0 without a turn."""
    return sum(map(is_question, questions)) / max(1, len(questions))
