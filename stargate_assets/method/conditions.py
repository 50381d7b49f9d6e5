"""The conditions under which the base model scores a gold response: the four of section 5, and what
other objectives of selection compare with.
"""

from enum import StrEnum


class Condition(StrEnum):
    NEGATIVE_CONTROL = "negative_control"
    EXPERIMENTAL = "experimental"
    RANDOM = "random"
    POSITIVE_CONTROL = "positive_control"
    CONTRAST = "contrast"
    """Another persona's gold response for the same task, after this conversation."""


CONTROLS = (Condition.NEGATIVE_CONTROL, Condition.POSITIVE_CONTROL)
"""Conditions without a conversation, which depend on no policy: scored once a pair."""
TESTED = tuple(condition for condition in Condition if condition is not Condition.CONTRAST)
"""The conditions of the held-out split."""
