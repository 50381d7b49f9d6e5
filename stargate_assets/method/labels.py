"""Names in tables that people read under other words."""

from enum import StrEnum
from typing import Self


class Labelled(StrEnum):
    """Each member states its name in tables and its label, what people read."""

    label: str

    def __new__(cls, value: str, label: str) -> Self:
        member = str.__new__(cls, value)
        member._value_, member.label = value, label
        return member
