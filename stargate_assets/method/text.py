"""Sentences and words, as far as the method needs them."""

import re

_SENTENCE_END = re.compile(r"([.!?。！？؟][\"'”’»)\]]*)\s+|\n+|([。！？][\"'”’»)\]]*)")
_WORD = re.compile(r"\w+(?:['’]\w+)*")


def sentences(text: str) -> list[str]:
    marked = _SENTENCE_END.sub(r"\1\2\n", text)
    return [part.strip() for part in marked.split("\n") if part.strip()]


def words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    """The runs of `length` consecutive words inside a sentence."""
    return {
        tuple(found[i : i + length])
        for found in map(words, sentences(text))
        for i in range(len(found) - length + 1)
    }
