"""Sentences, words, and when two texts are the same or nearly so."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from stargate_assets.method.keys import normalise

NEAR_DUPLICATE = 0.5
"""Jaccard similarity of two texts' shingles from which they are near-duplicates."""
SHINGLE = 5
"""Characters in a row; characters rather than words, so that every script can be compared."""

_SENTENCE_END = re.compile(r"([.!?。！？؟][\"'”’»)\]]*)\s+|\n+|([。！？][\"'”’»)\]]*)")
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Burmese, Khmer, Kana and Han, which write words without spaces between them."""


def sentences(text: str) -> list[str]:
    marked = _SENTENCE_END.sub(r"\1\2\n", text)
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


def words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def is_unspaced(word: str) -> bool:
    """Whether a word is of a script that writes no spaces between words, and so may be several."""
    return _UNSPACED.search(word) is not None


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    """The runs of `length` consecutive words inside a sentence."""
    return {
        tuple(found[i : i + length])
        for found in map(words, sentences(text))
        for i in range(len(found) - length + 1)
    }


def without_punctuation(text: str) -> str:
    """A text, normalised, without its punctuation; a text of nothing but punctuation keeps it. Two
    texts of a data set may not be the same in this form.
    """
    kept = "".join(
        " " if unicodedata.category(letter).startswith("P") else letter
        for letter in normalise(text)
    )
    return " ".join(kept.split()) or normalise(text)


def mentions(text: str, name: str) -> bool:
    """Whether a name stands in a text as a word of its own, in the same case; where words are
    written without spaces, anywhere.
    """
    return re.search(_as_a_word(name), text) is not None


def readdress(text: str, name: str, to: str) -> str:
    """Replace a person's name in a text by another name: the whole name, or its first word by the
    other's first word.
    """
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
    """The runs of SHINGLE characters of a text without punctuation; a shorter text is its only
    run.
    """
    plain = without_punctuation(text)
    return frozenset(plain[i : i + SHINGLE] for i in range(max(1, len(plain) - SHINGLE + 1)))


def similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard similarity of two sets of shingles, in [0, 1]."""
    return len(one & other) / len(one | other)


def near_duplicates(texts: Sequence[str]) -> list[tuple[int, int, float]]:
    """(i, j, similarity) with i < j of all near-duplicates, in order.

    Exact, and not all pairs: two sets of that similarity share one of their rarest shingles
    (prefix filter), so only texts that do are compared.
    """
    sets = [shingles(text) for text in texts]
    frequency: dict[str, int] = {}
    for of_text in sets:
        for shingle in of_text:
            frequency[shingle] = frequency.get(shingle, 0) + 1
    holders: dict[str, list[int]] = {}
    found: list[tuple[int, int, float]] = []
    for j, of_text in enumerate(sets):
        rarest = sorted(of_text, key=lambda shingle: (frequency[shingle], shingle))
        prefix = rarest[: int(len(rarest) * (1 - NEAR_DUPLICATE)) + 1]
        for i in sorted({i for shingle in prefix for i in holders.get(shingle, ())}):
            alike = similarity(sets[i], of_text)
            if alike >= NEAR_DUPLICATE:
                found.append((i, j, alike))
        for shingle in prefix:
            holders.setdefault(shingle, []).append(j)
    return sorted(found)
