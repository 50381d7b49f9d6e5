"""What the page of blind comparisons sends and is sent."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

Rater = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^\P{C}+$")
]
"""A rater's name: one line that can be seen."""
LONGEST_TEXT = 4000
"""Of a reason, and of what a rater says to a policy."""
Place = Literal["left", "right"]


class Said(BaseModel):
    """A verdict as the page sends it: of what it has shown, by place."""

    rater: Rater
    comparison: str
    prefers: Literal["left", "right", "tie"]
    reason: str = Field(default="", max_length=LONGEST_TEXT)
    seconds: float = Field(ge=0, allow_inf_nan=False)


class Shown(BaseModel):
    """A comparison as the page shows it. `comparison` stands for the pair and for what stands
    where, so that a verdict is of what was seen, whatever has happened meanwhile.
    """

    comparison: str
    task: str
    name: str
    persona: str
    left: str
    right: str


class Progress(BaseModel):
    """Where a rater is, and what is next; None if all is judged."""

    judged: int
    of: int
    shown: Shown | None


class Wish(BaseModel):
    """What a rater wants to talk about: a request of their own, or as the persona that is
    offered.
    """

    rater: Rater
    request: str = Field(default="", max_length=LONGEST_TEXT)


class Reply(BaseModel):
    """A rater's reply to what stands at a place; None wants the answer now."""

    rater: Rater
    comparison: str
    place: Place
    text: str | None = Field(max_length=LONGEST_TEXT)


class Offered(BaseModel):
    """A persona to play, and what to ask for."""

    name: str
    persona: str
    task: str


class Side(BaseModel):
    """A conversation as the page shows it: what was said in turns, the policy first, and `writing`
    what the policy is saying. `ahead` is how many conversations the model is asked for first; None
    where it is not the policy's turn.
    """

    said: list[str]
    writing: str
    ahead: int | None
    response: str | None


class LiveComparison(BaseModel):
    """A comparison that is under way. `comparison` stands for what stands where."""

    comparison: str
    task: str
    name: str
    persona: str
    left: Side
    right: Side


class LiveProgress(BaseModel):
    """How many comparisons a rater has judged; the one under way, or else what is offered next, and
    why the last one came to nothing, if it did.
    """

    judged: int
    shown: LiveComparison | None = None
    offered: Offered | None = None
    lost: str | None = None
