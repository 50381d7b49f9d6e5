"""What a sentence of a person claims: its words, its numbers, and whether it denies.

By words, not by meaning. The lists of words are English.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from stargate_assets.method.keys import normalise
from stargate_assets.method.text import words

MOSTLY = 0.5
"""The share of a sentence's words from which they are most of it."""
LETTERS = 3
"""Of the shortest word that says something."""
ALIKE = 5
"""First letters by which two words are forms of one; of shorter words all."""
_ENDING = re.compile(r"(?<=\w{3})(?:ing|ed|es|s|er|ly|e|y)$")

_NEGATION = re.compile(
    r"(?i)\b(?:not|no|never|none|nobody|neither|nor|without|cannot|cant|dont|hates?|hated"
    r"|dislikes?|avoids?|detests?|despises?|loathes?|lacks?|refuses?|unable|hardly|afraid)\b|n['’]t\b"
)
_CLAUSE = re.compile(
    r"(?i)[,;:–—]+|\b(?:and|but|because|although|though|while|since|so|yet|which|who)\b"
)
_COMMON = frozenset(
    words("""
    about above after again ain all almost already also although always and another any
    anyone anything are aren around away back bad because been before being below besides
    best better big both but came can cant come could couldn day days did didn different
    does doesn doing don done dont down during each either else enjoy enough even ever every
    everyone everything far favor favorite favourite feel few find first for from fun gave
    get getting give goes going gone good got great had happy hard has hasn have haven
    having her here hers him his hope how idea interested interesting isn its itself just
    keep kind know last lately least less let like little long look lot lots love made
    mainly make many may maybe mean might mine more most mostly much must myself near need
    needs new next nice nothing now often okay old one only other others our out over own
    part particular people perhaps person place plus prefer pretty probably put quite rather
    really right said same saw say see seem should shouldn since some someone something
    sometimes somewhere soon sort still such sure take tell than that the their them then
    there these they thing think this those though through time times told too took tried
    try two under until use used usual usually very want wanted was wasn way well went were
    what when where whether which while who whole why will wish with within won would wouldn
    yes yet you your
    """)
)
"""Words that say nothing of a person."""
_UNITS = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = words("zero ten twenty thirty forty fifty sixty seventy eighty ninety hundred")
_NUMBERS = {word: 10 * number for number, word in enumerate(_TENS)} | {
    word: number for number, word in enumerate(_UNITS)
}
"""What each numeral is worth."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of a sentence that says one thing: `text` is the whole sentence."""

    text: str
    content: frozenset[str]
    quantities: frozenset[tuple[str, str]]
    denies: bool
    is_whole: bool


def clauses(said: Iterable[str]) -> list[Clause]:
    """The clauses of sentences, in order."""
    return [clause for sentence in said for clause in _clauses_of(sentence)]


@lru_cache(maxsize=4096)
def _clauses_of(sentence: str) -> tuple[Clause, ...]:
    parts = [part for part in _CLAUSE.split(sentence) if words(part)]
    return tuple(
        Clause(
            sentence,
            content_words(part),
            quantities(part),
            len(_NEGATION.findall(part)) % 2 == 1,
            len(parts) == 1,
        )
        for part in parts
    )


@lru_cache(maxsize=4096)
def content_words(text: str) -> frozenset[str]:
    """The words that say something of a person."""
    plain = (re.sub("['’]s$", "", word) for word in words(normalise(text)))
    return frozenset(
        word
        for word in plain
        if len(word) >= LETTERS
        and word.isalpha()
        and word not in _COMMON
        and word not in _NUMBERS
        and not _NEGATION.fullmatch(word)
    )


def numbers(text: str) -> frozenset[str]:
    """The numbers of a text as digits; "one" alone is none."""
    return frozenset(number for number, _ in quantities(text))


def quantities(text: str) -> frozenset[tuple[str, str]]:
    """The numbers of a text, each with the word after it, which is what it counts; "years" of
    somebody's age.
    """
    found: set[tuple[str, str]] = set()
    value: int | None = None
    last = before = ""
    for word in [*words(normalise(text)), ""]:
        of_word = _NUMBERS.get(word)
        if of_word is not None and (value is None or of_word == 100 or 0 < of_word < 10 < value):
            value = (value or 1) * 100 if of_word == 100 else (value or 0) + of_word
            continue
        if value is not None and value != 1:
            last = str(value)
        if last:
            found.add((last, _unit(before, word)))
        last, value = "", of_word
        if word[:1].isdigit():
            last = re.sub(r"(?<=\d)\D+$", "", word)
        elif of_word is None:
            before = word
    return frozenset(found)


def _unit(before: str, after: str) -> str:
    is_age = before in ("am", "i'm", "i’m", "aged") and (after in _COMMON or not after)
    return "years" if is_age else after


def is_known(word: str, known: frozenset[str]) -> bool:
    """Whether a form of the word is among those that are known."""
    return word in known or any(_are_forms(word, other) for other in known)


def _are_forms(one: str, other: str) -> bool:
    """Whether two words are likely forms of one: cook, cooking; family, families."""
    one, other = _stem(one), _stem(other)
    shared = min(len(one), len(other), ALIKE)
    if one[:shared] != other[:shared]:
        return False
    return shared == ALIKE or abs(len(one) - len(other)) <= (1 if shared == LETTERS else 3)


@lru_cache(maxsize=4096)
def _stem(word: str) -> str:
    return _ENDING.sub("", word)


def _overlap(clause: Clause, other: Clause) -> float:
    """The share of a clause's words that another has; of one short word alone, none."""
    if not clause.content or (len(clause.content) == 1 and not clause.is_whole):
        return 0.0
    return sum(is_known(word, other.content) for word in clause.content) / len(clause.content)


def best_match(sentence: str, of_others: Sequence[Clause]) -> str | None:
    """The sentence that shares most words with this one; None if none shares any."""
    rated = [(_overlap(c, other), other.text) for c in clauses([sentence]) for other in of_others]
    best, text = max(rated, default=(0.0, ""), key=lambda found: found[0])
    return text if best > 0 else None


def contradicted(sentence: str, of_others: Sequence[Clause]) -> str | None:
    """A sentence that this one contradicts: most words of a clause are the same, and it denies what
    the other affirms, or has another number. None if the clause agrees with another that is as
    close.
    """
    for clause in clauses([sentence]):
        rated = [(_overlap(clause, other), other) for other in of_others]
        most = max((overlap for overlap, _ in rated), default=0.0)
        if most <= MOSTLY:
            continue
        closest = [other for overlap, other in rated if overlap == most]
        if all(_are_opposed(clause, other) for other in closest):
            return closest[0].text
    return None


def _are_opposed(clause: Clause, other: Clause) -> bool:
    one, two = ({number for number, _ in c.quantities} for c in (clause, other))
    return clause.denies != other.denies or (bool(one and two) and not one & two)


def counted_otherwise(sentence: str, of_others: Sequence[Clause]) -> str | None:
    """A sentence that counts the same as this one, and has only other numbers for it."""
    for number, unit in quantities(sentence):
        same = [
            (counted, other.text)
            for other in of_others
            for counted, of_what in other.quantities
            if unit == of_what or (unit and of_what and _are_forms(unit, of_what))
        ]
        if same and all(counted != number for counted, _ in same):
            return same[0][1]
    return None
