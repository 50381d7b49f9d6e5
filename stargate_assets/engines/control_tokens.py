"""Control tokens in what people and models wrote: there they are text, as every other word.

A chat template writes control tokens and messages into one string, so a `<|im_end|>` in a message
would end its turn. Before rendering, such words are hidden behind placeholders, which templates
take for letters; each is then tokenised for itself, as text.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

_OPEN, _CLOSE = "\ue0fe", "\ue0ff"
"""Of the private use area, so that no template strips or splits them."""
_HIDDEN = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
_NEUTRAL = ("\n", "0", "a")
"""What a piece of a text is tokenised after, because some tokenizers put a space before a text's
start: the first of these that does not grow together with it.
"""


class ControlTokens:
    """The words that a tokenizer reads as control tokens: its special tokens, and what its chat
    template writes of its other added ones, such as `<think>`.
    """

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        template = str(tokenizer.chat_template)
        added = tokenizer.added_tokens_decoder.items()
        self.special: dict[int, str] = {
            i: token.content for i, token in added if token.special
        } | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
        written = {t.content for _, t in added if t.content.strip() and t.content in template}
        words = sorted({*self.special.values(), *written} - {""}, key=len, reverse=True)
        self.words: Sequence[str] = (*words, _OPEN)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self.words)))

    def hide(self, text: str) -> str:
        """A text with placeholders for its control tokens."""
        return self._pattern.sub(lambda word: self._placeholder(word[0]), text)

    def ids(self, text: str) -> tuple[int, ...]:
        """The tokens of a text in which control tokens that are text have been hidden."""
        return self._ids(text, inside=False)

    def ids_after(self, text: str) -> tuple[int, ...]:
        """The tokens of such a text where it follows another."""
        return self._ids(text, inside=True)

    def _ids(self, text: str, inside: bool) -> tuple[int, ...]:
        found: list[int] = []
        for number, part in enumerate(_HIDDEN.split(text)):
            later = inside or bool(found)
            if number % 2:
                found += self._literal(self.words[int(part)], later)
            elif part:
                found += self._continue(self._read, part) if later else self._read(part)
        return tuple(found)

    def _placeholder(self, word: str) -> str:
        return f"{_OPEN}{self.words.index(word)}{_CLOSE}"

    def _literal(self, word: str, inside: bool) -> Iterable[int]:
        """A control token's letters."""
        ids = self._continue(self._read_text, word) if inside else self._read_text(word)
        if len(ids) > 1 or len(word) < 2:
            return ids
        # An added token that is not special is found in any text, unless it comes in pieces.
        first = self._continue(self._read_text, word[0]) if inside else self._read_text(word[0])
        return (*first, *self._continue(self._read_text, word[1:]))

    def _read(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _read_text(self, text: str) -> tuple[int, ...]:
        read = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return tuple(read.input_ids)

    def _continue(self, read: Callable[[str], tuple[int, ...]], text: str) -> tuple[int, ...]:
        """The tokens of a text that follows another."""
        for neutral in _NEUTRAL:
            before, whole = read(neutral), read(neutral + text)
            if whole[: len(before)] == before:
                return whole[len(before) :]
        return read(text)
