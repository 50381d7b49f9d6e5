"""Facts that a response states: by words, not by meaning.

A fact is a number, or a word of four letters or more, that stands in one persona of the split only.
Here are those of the persona that a response states although they were not said; `heard.py` has
those that were said. Another persona's facts, looked for in the same response, say what overlap by
chance alone gives.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from stargate_assets.method.conversation import Conversation, Persona
from stargate_assets.method.keys import normalise
from stargate_assets.method.text import is_unspaced, words

LETTERS = 4
"""Of the shortest word that is a fact; where words are written without spaces, any such run."""
_LIST_NUMBER = re.compile(r"^\s*\d+[.)]\s", re.MULTILINE)


def unheard_facts(
    response: str, persona: Persona, heard: Iterable[str], others: Iterable[Persona]
) -> frozenset[str]:
    """The persona's facts, as stems, that a response states and that are not in the texts `heard`.
    `others` are the split's personas; the persona itself may be among them.
    """
    known = terms(persona.name).union(*map(terms, heard))
    return (stated_terms(response) & terms(persona.text)) - known - others_terms(persona, others)


def stated_terms(response: str) -> frozenset[str]:
    """The stems of a response that can be facts; the numbers of its lists cannot."""
    return terms(_LIST_NUMBER.sub(" ", response))


def others_terms(persona: Persona, people: Iterable[Persona]) -> frozenset[str]:
    """The stems that other people's personas have."""
    others = (other.text for other in people if other.persona_id != persona.persona_id)
    return frozenset[str]().union(*map(terms, others))


def respondent_texts(conversation: Conversation) -> list[str]:
    """What a respondent has read before it answers: the task, the user's name, and what was
    said.
    """
    pair = conversation.pair
    return [pair.task.text, pair.persona.name, *conversation.questions, *conversation.answers]


@lru_cache(maxsize=4096)
def terms(text: str) -> frozenset[str]:
    """The stems of a text that can be facts."""
    found: set[str] = set()
    for word in words(normalise(text)):
        if is_unspaced(word):
            found.update(word[i : i + LETTERS] for i in range(len(word) - LETTERS + 1))
        elif len(word) >= LETTERS or any(letter.isdigit() for letter in word):
            found.add(_stem(word))
    return frozenset(found)


def _stem(word: str) -> str:
    """The same for singular, plural and possessive: party, parties, party's."""
    word = re.sub(r"['’]s$", "", word)
    if not word.endswith(("ss", "us")):
        word = word.removesuffix("s")
    return re.sub("y$", "i", word.removesuffix("e"))
