"""One way to digest what is stated: by everything that differs from the defaults, so that a knob
that is new changes no digest.

A default that changes would change no digest either: a test holds the defaults to what they are.
"""

import hashlib
from collections.abc import Collection

from pydantic import BaseModel

LENGTH = 16
"""Hexadecimal digits of a digest."""
IN_DIGEST = "in a digest"
"""The context in which a model is serialised to be digested: it leaves out what no result depends
on.
"""


def digest_fields(stated: BaseModel, exclude: Collection[str] = ()) -> str:
    """Digest the fields of a model that have not their default, but those of `exclude`."""
    written = stated.model_dump_json(exclude=set(exclude), exclude_defaults=True, context=IN_DIGEST)
    return digest_text(written)


def digest_text(*parts: str) -> str:
    """Digest texts, in order."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:LENGTH]
