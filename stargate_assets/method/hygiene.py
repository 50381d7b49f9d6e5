"""What may not be in a data set, as pure functions: for the files that are read, for what a model
writes, and for the tables in the warehouse.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stargate_assets.method.text import SAME_TEXT, SameText, mentions

MOST_CHARACTERS = {"text": 8000, "task": 8000, "name": 80, "persona": 80, "domain": 80}
"""By field. What is longer is no task or persona but a file whose quotes or columns went wrong."""
LONE_SURROGATE = "lone_surrogate"
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffd]")
"""Control characters but for tab and line ends, lone surrogates, and the replacement mark."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a value cannot be used: `reason` is what is counted, `message` goes on from "the value"
    and says what to do.
    """

    reason: str
    message: str


def without_control_characters(text: str) -> str:
    """A text that can be stored and shown anywhere: the replacement mark in place of each control
    character and half of a surrogate pair.
    """
    return _FORBIDDEN.sub("\ufffd", text)


def fault(field: str, text: str) -> Fault | None:
    """The first thing that is wrong with a value; None if nothing is."""
    if found := _FORBIDDEN.search(text):
        letter, where = found.group(), f"as its character {found.start() + 1}"
        if letter == "\ufffd":
            what = f"has a replacement mark {where}, the trace of a wrong decoding; restore it"
            return Fault("replacement_mark", what)
        if letter >= "\ud800":
            return Fault(LONE_SURROGATE, f"has half of a surrogate pair {where}; replace it")
        code = f"U+{ord(letter):04X}"
        return Fault("control_character", f"has the control character {code} {where}; remove it")
    if not text.strip():
        return Fault("empty", "must be text; add it")
    most = MOST_CHARACTERS.get(field)
    if most is not None and len(text) > most:
        return Fault("too_long", f"has {len(text)} characters, {most} at most; shorten it")
    return None


def repeated_texts(texts: Sequence[str], same: SameText = "marks") -> Iterator[tuple[int, int]]:
    """(first, later) of texts that are the same but for case, spaces, Unicode form and the marks
    that cannot change what they say; or that have the `same` words.
    """
    first: dict[str, int] = {}
    for index, text in enumerate(texts):
        earlier = first.setdefault(SAME_TEXT[same](text), index)
        if earlier != index:
            yield earlier, index


def names_in_tasks(names: Sequence[str], tasks: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(name, task) where a persona's name stands in a task: the questioner would hear of two
    people.
    """
    everything = "\n".join(tasks)
    for number, name in enumerate(names):
        if not name or name not in everything:  # mostly, and faster than looking at each task
            continue
        for index, task in enumerate(tasks):
            if mentions(task, name):
                yield number, index
