"""Ids and seeds: everything random is derived from the key of the row that it is for."""

import hashlib
import unicodedata

SEED_BITS = 63


def normalise(text: str) -> str:
    """Unicode NFC, one space between words, case folded: what makes two texts the same text."""
    folded = unicodedata.normalize("NFD", text).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split())


def text_id(*texts: str) -> str:
    """A short id of normalised text, 16 hexadecimal digits."""
    return _digest("\x1f".join(normalise(text) for text in texts))[:16]


def derive_seed(*key: str | int) -> int:
    """A seed in [0, 2**63) from a key such as (seed, "question", iteration, split, task_id,
    ...).
    """
    return int(_digest("\x1f".join(f"{type(part).__name__}:{part}" for part in key)), 16) >> 1


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=(SEED_BITS + 1) // 8).hexdigest()
