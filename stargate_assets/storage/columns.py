"""Columns that tables share: their types, and what is said of them once."""

from enum import StrEnum

import dataframely as dy

from stargate_assets.method.arms import Arm
from stargate_assets.method.conditions import Condition


def text(description: str) -> dy.String:
    return dy.String(nullable=False, regex=r"\S", description=description)


def one_of(enum: type[StrEnum], description: str) -> dy.String:
    pattern = f"^({'|'.join(enum)})$"
    return dy.String(regex=pattern, nullable=enum is not Condition, description=description)


def arm() -> dy.String:
    arms = "|".join(Arm)
    who = "Who asked and who answered; docs/judging.md lists the arms"
    return dy.String(primary_key=True, regex=f"^({arms})$", description=who)


def count(description: str, least: int = 0) -> dy.Int64:
    return dy.Int64(nullable=False, min=least, description=description)


def nats(description: str, *, nullable: bool = False, most: float | None = None) -> dy.Float64:
    return dy.Float64(nullable=nullable, max=most, description=description)


def share(description: str, low: float = 0) -> dy.Float64:
    return dy.Float64(nullable=True, min=low, max=low + 1, description=description)


SPLIT = "train_a, train_b or test"
ITERATION = "Index of the policy; 0 is the base model"
TASK_ID = "Id of the task, of its normalised text"
PERSONA_ID = "Id of the persona, of its normalised name and text"
SAMPLE = "Number of the conversation among those of its pair, from 0"
SOURCE = "recorded, if it was read from a file or the Hub, or generated, by a model"
