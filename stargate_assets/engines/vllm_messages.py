"""What the vLLM engine and the process that holds vLLM say to each other: JSON, one message a line.

Both sides speak of tokens: chat templates, text and its limits are the engine's business.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class WireMessage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Lora(WireMessage):
    """What adapters may be like: of this rank at most, on layers of these names."""

    rank: int
    modules: tuple[str, ...]


class Start(WireMessage):
    """The first command: which model, and what it may take of the machine."""

    kind: Literal["start"] = "start"
    model: str
    revision: str | None
    dtype: str
    quantization: str | None
    max_length: int | None
    stop_ids: tuple[int, ...]
    lora: Lora | None
    """None leaves adapters out."""
    tensor_parallel: int
    gpu_memory_share: float
    cpu_cache_gib: int


class Adapter(WireMessage):
    """A LoRA adapter. vLLM knows it by its number, so each has one of its own."""

    number: int
    path: str


class Generate(WireMessage):
    kind: Literal["generate"] = "generate"
    id: int
    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int


class ScoreTokens(WireMessage):
    """Asks for log p of the tokens from position `start` on, given all before them."""

    kind: Literal["score"] = "score"
    id: int
    tokens: tuple[int, ...]
    start: int


Request = Annotated[Generate | ScoreTokens, Field(discriminator="kind")]


class Work(WireMessage):
    """Requests to run together. What an earlier command left unfinished is dropped."""

    kind: Literal["work"] = "work"
    adapter: Adapter | None
    requests: tuple[Request, ...]


class Ready(WireMessage):
    kind: Literal["ready"] = "ready"
    max_length: int
    """The most tokens that a prompt and its completion may have together."""


class Generated(WireMessage):
    """The token that ended the completion is among its tokens."""

    kind: Literal["generated"] = "generated"
    id: int
    tokens: tuple[int, ...]


class Scored(WireMessage):
    kind: Literal["scored"] = "scored"
    id: int
    log_probs: tuple[float, ...]


class Failed(WireMessage):
    """The last reply: the process ends."""

    kind: Literal["failed"] = "failed"
    reason: str


Command = Annotated[Start | Work, Field(discriminator="kind")]
Reply = Annotated[Ready | Generated | Scored | Failed, Field(discriminator="kind")]
COMMANDS: TypeAdapter[Start | Work] = TypeAdapter(Command)
REPLIES: TypeAdapter[Ready | Generated | Scored | Failed] = TypeAdapter(Reply)


def line(message: WireMessage) -> bytes:
    return message.model_dump_json().encode() + b"\n"
