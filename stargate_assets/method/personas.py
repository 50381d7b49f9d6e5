"""Personas written by a model: few-shot, two examples a prompt, sampled hot (section 4 of the
paper, "Persona Generation").

A persona that breaks a rule is refused and asked for again with another seed and other examples,
a bounded number of times. Its name is what stands behind "Name:", or it is refused. A persona
is at most nine sentences: what a model writes past the ninth is dropped, because every sentence
stands for itself and small models do not know when to stop.
"""

import random
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from stargate_assets.method.conversation import Persona
from stargate_assets.method.hygiene import fault
from stargate_assets.method.keys import derive_seed, text_id
from stargate_assets.method.language_model import ChatRequest, Completion, LanguageModel, Sampling
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.text import (
    NEAR_DUPLICATE,
    first_sentences,
    mentions,
    sentences,
    shingles,
    similarity,
    without_marks,
)

FEWEST_SENTENCES, MOST_SENTENCES = 3, 9
EXAMPLES = 2

_WRITTEN = re.compile(r"\s*Name:[ \t]*(?P<name>[^\n]+)\n(?P<text>.+)", re.DOTALL)
_LABEL = re.compile(r"(?i)\W*(name|person|persona)\b[^\n.]{0,20}:")
_OWN_NAME = re.compile(r"\b[Mm]y name is ([^\W\d_]+)")
_NAME = re.compile(r"[^\W\d_]+(?:[ '’.-]{1,2}[^\W\d_]+){0,2}")


class Refusal(StrEnum):
    """Why a persona that a model wrote was not taken."""

    REFUSED = "refused"
    TRUNCATED = "truncated"
    NO_NAME = "no_name"
    ANOTHER_NAME = "another_name"
    MORE_THAN_ONE_PERSONA = "more_than_one_persona"
    TOO_SHORT = "too_short"
    REPETITIVE = "repetitive"
    NOT_TEXT = "not_text"
    EXAMPLE_COPIED = "example_copied"
    NAME_TAKEN = "name_taken"
    NAME_IN_A_TASK = "name_in_a_task"
    NEAR_DUPLICATE = "near_duplicate"


@dataclass(frozen=True, slots=True)
class GeneratedPersonas:
    """`personas` by split, and (split, number, attempt, reason) of what was refused."""

    personas: Mapping[str, list[Persona]]
    refusals: list[tuple[str, int, int, Refusal]]


@dataclass(slots=True)
class _Taken:
    """What a new persona is compared with."""

    names: set[str] = field(default_factory=set[str])
    texts: list[frozenset[str]] = field(default_factory=list[frozenset[str]])

    def add(self, name: str, text: str) -> None:
        self.names.add(without_marks(name))
        self.texts.append(shingles(text))


def generate_personas(
    model: LanguageModel,
    examples: Sequence[Persona],
    tasks: Sequence[str],
    sizes: Mapping[str, int],
    *,
    seed: int,
    attempts: int,
    sampling: Sampling,
    prompts: Prompts,
) -> GeneratedPersonas:
    """`sizes[split]` personas for each split, fewer where `attempts` were refused.

    All splits at once, because no two of them may share a person. `tasks` are the texts in which no
    name may stand.
    """
    taken = _Taken()
    for example in examples:
        taken.names.add(without_marks(example.name))
    written: dict[tuple[str, int], Persona] = {}
    refusals: list[tuple[str, int, int, Refusal]] = []
    slots = [(split, number) for split, size in sizes.items() for number in range(size)]
    for attempt in range(attempts):
        open_slots = [slot for slot in slots if slot not in written]
        if not open_slots:
            break
        shown = [_examples(examples, seed, *slot, attempt) for slot in open_slots]
        requests = [
            ChatRequest(
                prompts.persona_writer_messages(pair),
                sampling,
                derive_seed(seed, "persona", *slot, attempt),
            )
            for slot, pair in zip(open_slots, shown, strict=True)
        ]
        completions = model.chat(requests, f"writing personas, attempt {attempt + 1}")
        for slot, pair, completion in zip(open_slots, shown, completions, strict=True):
            persona = _accept(completion, pair, taken, tasks)
            if isinstance(persona, Refusal):
                refusals.append((*slot, attempt, persona))
            else:
                written[slot] = persona
                taken.add(persona.name, persona.text)
    return GeneratedPersonas(
        {
            split: [written[slot] for slot in slots if slot in written and slot[0] == split]
            for split in sizes
        },
        refusals,
    )


def _examples(examples: Sequence[Persona], *key: str | int) -> list[Persona]:
    ordered = sorted(examples, key=lambda persona: persona.persona_id)
    return random.Random(derive_seed("examples", *key)).sample(ordered, EXAMPLES)


def _accept(
    completion: Completion, examples: Sequence[Persona], taken: _Taken, tasks: Sequence[str]
) -> Persona | Refusal:
    """The persona of a completion, or the first rule that it breaks."""
    if completion.finish_reason == "refused":
        return Refusal.REFUSED
    broken_off = completion.finish_reason == "length"
    if broken_off and not completion.text:  # a thought took all tokens
        return Refusal.TRUNCATED
    match = _WRITTEN.fullmatch(completion.text)
    name = unicodedata.normalize("NFC", match["name"].strip(" \t*_.")) if match else ""
    if match is None or not _NAME.fullmatch(name) or name[0].islower() or fault("name", name):
        return Refusal.NO_NAME
    kept = first_sentences(match["text"], MOST_SENTENCES, broken_off=broken_off)
    if kept is None:
        return Refusal.TRUNCATED
    said = [" ".join(sentence.split()) for sentence in sentences(kept)]
    text = " ".join(said)
    if len(said) < FEWEST_SENTENCES:
        return Refusal.TOO_SHORT
    if fault("text", text):
        return Refusal.NOT_TEXT
    if any(map(_LABEL.match, said)):
        return Refusal.MORE_THAN_ONE_PERSONA
    if any(own not in name.split() for own in _OWN_NAME.findall(text)):
        return Refusal.ANOTHER_NAME
    if len(set(map(without_marks, said))) < len(said):
        return Refusal.REPETITIVE
    return _unlike_others(name, text, said, examples, taken, tasks)


def _unlike_others(
    name: str,
    text: str,
    said: Sequence[str],
    examples: Sequence[Persona],
    taken: _Taken,
    tasks: Sequence[str],
) -> Persona | Refusal:
    copied = {
        without_marks(sentence) for example in examples for sentence in sentences(example.text)
    }
    if any(without_marks(sentence) in copied for sentence in said):
        return Refusal.EXAMPLE_COPIED
    if without_marks(name) in taken.names:
        return Refusal.NAME_TAKEN
    if any(mentions(task, name) for task in tasks):
        return Refusal.NAME_IN_A_TASK
    own = shingles(text)
    if any(similarity(own, other) >= NEAR_DUPLICATE for other in taken.texts):
        return Refusal.NEAR_DUPLICATE
    return Persona(text_id(name, text), name, text)
