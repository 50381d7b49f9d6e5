"""What the training program is told, and what it reports: plain JSON on both sides."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from stargate_assets.errors import StargateError
from stargate_assets.experiment import Training
from stargate_assets.language_model import Message
from stargate_assets.method.examples import Dialogue, Kind


class TrainingError(StargateError):
    """Training cannot start or must stop. Nothing is published then."""


class Turn(BaseModel):
    role: str
    content: str


class SpecDialogue(BaseModel):
    kind: Kind
    messages: tuple[Turn, ...]


class TrainingSpec(BaseModel):
    """`output` is a directory to be made; the caller seals and publishes it."""

    model_config = ConfigDict(extra="forbid")

    model: str
    revision: str | None
    device: str
    """cpu, cuda, or one of several as cuda:1."""
    bf16: bool
    seed: int
    training: Training
    dialogues: tuple[SpecDialogue, ...]
    output: Path
    processes: int = 1
    """Each has a device of its own."""
    gradient_checkpointing: bool = False

    def decoded(self) -> list[Dialogue]:
        return [
            Dialogue(d.kind, tuple(Message(t.role, t.content) for t in d.messages))  # pyright: ignore[reportArgumentType]
            for d in self.dialogues
        ]


class TrainingResult(BaseModel):
    question_examples: int
    answer_examples: int
    steps: int
    first_loss: float
    last_loss: float


def encoded(dialogues: Sequence[Dialogue]) -> tuple[SpecDialogue, ...]:
    return tuple(
        SpecDialogue(
            kind=d.kind,
            messages=tuple(Turn(role=m.role, content=m.content) for m in d.messages),
        )
        for d in dialogues
    )
