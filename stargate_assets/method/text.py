"""Sentences, words, and when two texts are the same or nearly so."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Literal

import numpy as np

from stargate_assets.method.keys import normalise

SameText = Literal["marks", "words"]
"""Whether two texts are the same that differ in marks which cannot change what they say, or also
those that have the same words.
"""
NEAR_DUPLICATE = 0.5
"""Jaccard similarity of two texts' shingles from which they are near-duplicates."""
SHINGLE = 5
"""Characters in a row; characters rather than words, so that every script can be compared."""

COMMON = 500
"""Texts that share a shingle above which it is looked for bit by bit: what is fastest."""
MOST_PAIRS = 10_000
"""Near-duplicates after which no more are looked for: 20,000 texts that differ in a word have 200
million.
"""

_SENTENCE_END = re.compile(r"([.!?。！？؟][\"'”’»)\]]*)\s+|\n+|([。！？][\"'”’»)\]]*)")
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Burmese, Khmer, Kana and Han, which write words without spaces between them."""
_SAYING = frozenset("#%&*@/\\§‰‱′″‴\u066a\u0609\u060a")
"""Punctuation, as Unicode has it, that says something wherever it stands."""
_OPENING = "\"'¿¡…"
"""Marks that stand before a word too, beside opening brackets and quotes."""
_HYPHENS = "\u2010\u2011\u2012\u2013\u2014\u2212"
_TYPED = dict.fromkeys("‘’ʼ", "'") | dict.fromkeys("“”", '"') | dict.fromkeys(_HYPHENS, "-")
"""Apostrophes, quotes, hyphens and minus signs as typesetters have them: as keyboards do."""
_TYPESET = re.compile("[" + "".join(_TYPED) + "]")


def sentences(text: str) -> list[str]:
    marked = _SENTENCE_END.sub(lambda end: f"{end[1] or end[2] or ''}\n", text)
    return [part.strip() for part in marked.split("\n") if part.strip()]


def first_sentences(text: str, most: int, *, broken_off: bool) -> str | None:
    """A text up to the end of its sentence number `most`; None if it was broken off before that
    (the sentence it was broken off in does not count).
    """
    said = sentences(text)
    if broken_off and len(said) <= most:
        return None
    end = 0
    for sentence in said[:most]:
        end = text.index(sentence, end) + len(sentence)
    return text[:end].strip()


def parts(text: str, statements: Sequence[str]) -> list[str]:
    """The statements that stand in a text as they are, each whole, and the sentences between."""
    if not statements:
        return sentences(text)
    longest_first = sorted(statements, key=len, reverse=True)
    pattern = "|".join(rf"(?<!\w){re.escape(said)}(?!\w)\.?" for said in longest_first)
    found: list[str] = []
    for place, piece in enumerate(re.split(f"({pattern})", text)):
        found += [piece] if place % 2 else [s for s in sentences(piece) if words(s)]
    return found


def words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def is_unspaced(word: str) -> bool:
    """Whether a word is of a script that writes no spaces between words, and so may be several."""
    return _UNSPACED.search(word) is not None


@lru_cache(maxsize=1024)
def runs(text: str, length: int) -> frozenset[tuple[str, ...]]:
    """The runs of `length` consecutive words inside a sentence. The texts that many conversations
    share, such as a persona, are read once.
    """
    return frozenset(
        tuple(found[i : i + length])
        for found in map(words, sentences(text))
        for i in range(len(found) - length + 1)
    )


def without_marks(text: str) -> str:
    """A text, normalised, without the marks that cannot change what it says: sentence marks, quotes
    and brackets at the edge of a word, and dashes between spaces. What may be a part of a word or
    number is kept: C#, .NET, -20, 1.5, O-, 5!, (2 + 3)*4. Two texts of a data set may not be the
    same in this form.
    """
    plain = _TYPESET.sub(lambda found: _TYPED[found[0]], normalise(text)).replace("...", "…")
    kept = "".join(
        " " if _is_mark(letter) and _is_at_edge(plain, place) else letter
        for place, letter in enumerate(plain)
    )
    return " ".join(kept.split()) or normalise(text)


def words_alone(text: str) -> str:
    """The words of a text, whatever stands between them; C and C# have the same."""
    return " ".join(words(normalise(text))) or without_marks(text)


SAME_TEXT: dict[SameText, Callable[[str], str]] = {"marks": without_marks, "words": words_alone}
"""What two texts have alike that are taken for the same."""


@cache
def _is_mark(letter: str) -> bool:
    """Whether it is a sentence mark, quote, bracket or dash, of any script."""
    category = unicodedata.category(letter)
    if category == "Po":
        return unicodedata.normalize("NFKC", letter) not in _SAYING
    return category in ("Pd", "Ps", "Pe", "Pi", "Pf")


def _is_at_edge(text: str, place: int) -> bool:
    """Whether the mark at this place of a text stands before a word or after one, and is no part of
    it.
    """
    mark, before, after = text[place], text[place - 1 : place], text[place + 1 : place + 2]
    if mark == "-":
        return before in ("", " ", "-") and after in ("", " ", "-")
    if unicodedata.east_asian_width(mark) in "WF":  # which is written without a space
        return not (before.isdigit() and after.isdigit())
    if before.isdigit() and mark in "!'\"":  # a factorial, feet, inches
        return False
    if unicodedata.category(mark) in ("Ps", "Pi") or mark in _OPENING:
        return _ends_word(before) or _ends_word(after)
    return _ends_word(after)


def _ends_word(letter: str) -> bool:
    return letter in ("", " ") or _is_mark(letter)


def mentions(text: str, name: str) -> bool:
    """Whether a name stands in a text as a word of its own, in the same case; where words are
    written without spaces, anywhere.
    """
    return re.search(_as_a_word(name), text) is not None


def readdress(text: str, name: str, to: str) -> str:
    """Replace a person's name in a text by another name: the whole name, or its first word by the
    other's first word. Where either has no name, nothing is replaced.
    """
    if not (name and to):
        return text
    new = {name.split(maxsplit=1)[0]: to.split(maxsplit=1)[0], name: to}
    return re.sub(
        "|".join(map(_as_a_word, sorted(new, key=len, reverse=True))),
        lambda found: new[found[0]],
        text,
    )


def _as_a_word(name: str) -> str:
    return re.escape(name) if is_unspaced(name) else rf"(?<!\w){re.escape(name)}(?!\w)"


def script(text: str) -> str:
    """The script that most of a text's letters are in, as Unicode calls it: latin, arabic, cjk;
    empty without letters.
    """
    scripts = Counter(
        unicodedata.name(letter, "unknown").split()[0].split("-")[0].casefold()
        for letter in text
        if letter.isalpha()
    )
    return max(scripts, key=lambda name: (scripts[name], name), default="")


def shingles(text: str) -> frozenset[str]:
    """The runs of SHINGLE characters of a text without its marks; a shorter text is its only
    run.
    """
    plain = without_marks(text)
    return frozenset(plain[i : i + SHINGLE] for i in range(max(1, len(plain) - SHINGLE + 1)))


def similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard similarity of two sets of shingles, in [0, 1]."""
    return len(one & other) / len(one | other)


def near_duplicates(texts: Sequence[str]) -> list[tuple[int, int, float]]:
    """(i, j, similarity) with i < j of near-duplicates, in order: all of them, or, if there are
    more than MOST_PAIRS, at least that many.

    Exact, and not all pairs: shingles that many texts share, as a common opening has, are compared
    bit by bit, and only between texts of which these or rarer shingles can be enough.
    """
    sets = [shingles(text) for text in texts]
    least = np.array([len(of_text) for of_text in sets]) * (NEAR_DUPLICATE / (1 + NEAR_DUPLICATE))
    least = (least - 1e-6).astype(np.float32)
    holders: dict[str, list[int]] = {}
    for number, of_text in enumerate(sets):
        for shingle in of_text:
            holders.setdefault(shingle, []).append(number)
    common = [shingle for shingle, of in holders.items() if len(of) > COMMON]
    bits = np.zeros((len(texts), len(common) // 64 + 1), np.uint64)
    for place, shingle in enumerate(common):
        bits[holders[shingle], place // 64] |= np.uint64(1 << place % 64)
    commons = np.bitwise_count(bits).sum(axis=1, dtype=np.float32)
    rare = {s: np.array(of) for s, of in holders.items() if 1 < len(of) <= COMMON}
    found: list[tuple[int, int, float]] = []
    for j, of_text in enumerate(sets):
        lists = [rare[shingle] for shingle in of_text if shingle in rare]
        shared = np.bincount(np.concatenate(lists) if lists else [], minlength=j)[:j]
        # The overlap is a third of both sizes where the similarity is 1/2.
        missing = least[:j] + least[j] - np.minimum(commons[:j], commons[j])
        possible = np.flatnonzero(shared >= missing)
        overlap = shared[possible] + np.bitwise_count(bits[possible] & bits[j]).sum(axis=1)
        for i, of_both in zip(possible, overlap, strict=True):
            alike = int(of_both) / (len(sets[i]) + len(of_text) - int(of_both))
            if alike >= NEAR_DUPLICATE:
                found.append((int(i), j, alike))
        if len(found) >= MOST_PAIRS:
            break
    return sorted(found)
