"""What the training program is told, and what it reports: plain JSON on both sides."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue

from stargate_assets.config.digest import digest_fields, digest_text
from stargate_assets.config.machine import Cluster
from stargate_assets.config.training import Training
from stargate_assets.method.errors import StargateError
from stargate_assets.method.examples import Dialogue, Kind
from stargate_assets.method.language_model import Message
from stargate_assets.method.preferences import Preference

SPEC_VERSION = "1"
"""Raised when the same spec trains something else than before."""
FIELDS_WITHOUT_EFFECT = {
    *("model", "start", "output", "processes", "device", "gradient_checkpointing"),
    *("save_minutes", "cluster"),
}
"""Fields that change a result by rounding at most; `identity` says what `model` is, and
`start_sha256` what `start`.
"""
FIRST_FIELDS = ("identity", "revision", "bf16", "seed", "dialogues", "preferences")
FIRST_OF_DIALOGUE = {"__all__": {"kind", "messages"}}
FIRST_KNOBS = {
    "method", "learning_rate", "schedule", "warmup_share", "epochs", "batch_size",
    "device_batch_size", "lora_rank", "lora_alpha", "labels", "max_grad_norm", "loss", "dpo_beta",
}  # fmt: skip
"""What the first digests were made of: never more than this, so that they are still found."""


class TrainingError(StargateError):
    """Training cannot start or must stop. Nothing is published then."""


class Turn(BaseModel):
    role: str
    content: str


class SpecDialogue(BaseModel):
    kind: Kind
    messages: tuple[Turn, ...]
    weight: float = 1.0
    sampled: tuple[float, ...] | None = None
    base: tuple[float, ...] | None = None


class SpecPreference(BaseModel):
    """Two questions after one dialogue."""

    prompt: tuple[Turn, ...]
    chosen: Turn
    rejected: Turn


class TrainingSpec(BaseModel):
    """`output` is a directory to be made; the caller seals and publishes it. There are `dialogues`
    where the loss fine-tunes, and `preferences` where it compares.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    identity: str
    """Which weights `model` are, wherever they lie."""
    revision: str | None
    start: str | None = None
    """The checkpoint of the policy that is trained on; None for the base model."""
    start_sha256: str | None = None
    device: str
    """cpu, cuda, or one of several as cuda:1."""
    bf16: bool
    seed: int
    training: Training
    dialogues: tuple[SpecDialogue, ...]
    preferences: tuple[SpecPreference, ...] = ()
    output: Path
    processes: int = 1
    """Each has a device of its own."""
    cluster: Cluster | None = None
    """Where the processes are, if not on this machine."""
    gradient_checkpointing: bool = False
    save_minutes: float = 10.0
    """How often it saves where it is, in `saved`."""
    chat_template_kwargs: dict[str, JsonValue] = {}
    """What the chat template is told besides the messages."""

    @property
    def digest(self) -> str:
        """A digest of everything that determines the result."""
        return digest_text(SPEC_VERSION, digest_fields(self, exclude=FIELDS_WITHOUT_EFFECT))

    @property
    def saved(self) -> Path:
        """Where this training, and no other, saves how far it has got."""
        return self.output.with_name(f"{self.output.name}.{self.digest[:16]}")

    @property
    def digests(self) -> tuple[str, str]:
        """The digest, and the one that checkpoints carry that were trained before defaults were
        left out of it.
        """
        fields = dict.fromkeys(FIRST_FIELDS, True)
        fields |= {"training": FIRST_KNOBS, "dialogues": FIRST_OF_DIALOGUE}
        content = self.model_dump_json(include=fields)
        return self.digest, hashlib.sha256(f"{SPEC_VERSION} {content}".encode()).hexdigest()

    def decode_dialogues(self) -> list[Dialogue]:
        return [
            Dialogue(d.kind, tuple(map(_message, d.messages)), d.weight, d.sampled, d.base)
            for d in self.dialogues
        ]

    def decode_preferences(self) -> list[tuple[Dialogue, Dialogue]]:
        """What was chosen and what was rejected. Of an `answer` dialogue the last turn alone is
        learnt.
        """
        found: list[tuple[Dialogue, Dialogue]] = []
        for p in self.preferences:
            prompt = tuple(map(_message, p.prompt))
            chosen, rejected = (
                Dialogue("answer", (*prompt, _message(turn))) for turn in (p.chosen, p.rejected)
            )
            found.append((chosen, rejected))
        return found


class TrainingResult(BaseModel):
    """Of what was learnt, and the loss of every step: nats a labelled token of the examples, nats a
    pair of the preferences.
    """

    question_examples: int
    answer_examples: int
    preference_pairs: int
    steps: int
    losses: list[float]
    preference_losses: list[float]


def encode_dialogues(dialogues: Sequence[Dialogue]) -> tuple[SpecDialogue, ...]:
    return tuple(
        SpecDialogue(
            kind=d.kind,
            messages=_turns(d.messages),
            weight=d.weight,
            sampled=d.sampled,
            base=d.base,
        )
        for d in dialogues
    )


def encode_preferences(preferences: Iterable[Preference]) -> tuple[SpecPreference, ...]:
    return tuple(
        SpecPreference(prompt=_turns(p.prompt), chosen=_turn(p.chosen), rejected=_turn(p.rejected))
        for p in preferences
    )


def _turn(message: Message) -> Turn:
    return Turn(role=message.role, content=message.content)


def _turns(messages: Sequence[Message]) -> tuple[Turn, ...]:
    return tuple(map(_turn, messages))


def _message(turn: Turn) -> Message:
    return Message(turn.role, turn.content)  # pyright: ignore[reportArgumentType]
