"""Which model, on which engine: what experiments and data sets state of a role's model."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PositiveInt,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from stargate_assets.config.digest import IN_DIGEST
from stargate_assets.config.engines import ENGINES, EngineEntry

SAID_BY_ENGINES = frozenset(
    {"add_generation_prompt", "chat_template", "continue_final_message", "conversation"}
    | {"date_directives", "documents", "messages", "padding", "max_length", "tokenize", "tools"}
    | {"return_assistant_tokens_mask", "return_dict", "return_tensors", "tokenizer_kwargs"}
    | {"truncation"}
)
"""What a chat template's rendering takes besides, which is no experiment's business."""


LimitField = Literal["max_tokens", "max_completion_tokens"]
OptionalField = Literal["temperature", "top_p", "seed", "response_format"]
BoundedField = Literal["temperature", "top_p", "seed", "max_tokens"]


class Frozen(BaseModel):
    """What a defs.yaml states: nothing else may stand there, and nothing changes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def one_of(entries: Collection[str]) -> AfterValidator:
    """What a name must be that has an entry here, those that are entered later included."""

    def check(name: str) -> str:
        if name not in entries:
            raise ValueError(f"there is no {name!r}; there are: {', '.join(entries)}")
        return name

    return AfterValidator(check)


class ModelSpec(Frozen):
    """Which model, on which engine. Where it runs is the machine's business, not the
    experiment's.
    """

    engine: Annotated[str, one_of(ENGINES)] = Field(
        default="transformers", description=f"One of {', '.join(ENGINES)}."
    )
    model: str = Field(
        description="bundled, a local directory, or a Hugging Face id; what an endpoint calls it."
    )
    revision: str | None = None
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto",
        description="auto is bfloat16 where the device computes in it, else float32.",
    )
    endpoint: str = Field(
        default="OPENAI",
        pattern="^[A-Za-z_][A-Za-z0-9_]*$",
        description="Of engine openai: a label. Addresses and key are in the environment, as "
        "<endpoint>_BASE_URL (several servers: separated by commas) and <endpoint>_API_KEY.",
    )
    limit_field: LimitField | None = Field(
        default="max_tokens",
        description="Of engine openai: the field that limits a completion. Newer models of "
        "OpenAI's take max_completion_tokens, which counts what they think too. null sends none.",
    )
    omit_fields: tuple[OptionalField, ...] = Field(
        default=(), description="Of engine openai: fields that requests are sent without."
    )
    field_bounds: dict[BoundedField, tuple[float, float]] = Field(
        default={},
        description="Of engine openai: the least and the most that a field is sent as, e.g. "
        "{seed: [0, 2147483647]}. A seed outside is folded into them.",
    )
    batch: bool = Field(
        default=False,
        description="Of engine openai, for the Oracle, a persona writer and a Judge that writes: "
        "requests go out in files, which cost less and may take a day. The answers are the same.",
    )
    quantization: str | None = Field(
        default=None, description="Of engine vllm: how the weights are quantised, e.g. fp8."
    )
    max_length: PositiveInt | None = Field(
        default=None,
        description="Of engine vllm: the most tokens of a prompt and its completion; the model's "
        "own limit unless stated.",
    )

    chat_template_kwargs: dict[str, JsonValue] = Field(
        default={},
        description="What the model's chat template is told besides the messages, e.g. "
        "{enable_thinking: false} for Qwen3. An endpoint is sent it only where it is stated.",
    )

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def entry(self) -> EngineEntry:
        """What is known of its engine."""
        return ENGINES[self.engine]

    @property
    def label(self) -> str:
        """What tables and messages call it."""
        return f"{self.model} at {self.endpoint if self.entry.remote else self.engine}"

    @field_validator("chat_template_kwargs")
    @classmethod
    def _in_one_order(cls, stated: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if taken := SAID_BY_ENGINES & stated.keys():
            raise ValueError(f"{min(taken)} is said by the engine; leave it out")
        return dict(sorted(stated.items()))

    @field_validator("omit_fields")
    @classmethod
    def _each_once(cls, stated: tuple[OptionalField, ...]) -> tuple[OptionalField, ...]:
        return tuple(sorted(set(stated)))

    @field_validator("field_bounds")
    @classmethod
    def _least_first(
        cls, stated: dict[BoundedField, tuple[float, float]]
    ) -> dict[BoundedField, tuple[float, float]]:
        for name, (least, most) in stated.items():
            if not least <= most:
                raise ValueError(f"{name}: write [least, most]")
        return dict(sorted(stated.items()))

    @model_validator(mode="after")
    def _has_what_its_engine_knows(self) -> "ModelSpec":
        for name, entry in ENGINES.items():
            for field in entry.fields:
                if name != self.engine and getattr(self, field) is not None:
                    raise ValueError(f"{field} needs engine: {name}")
        for field in ("omit_fields", "field_bounds"):
            if getattr(self, field) and not self.entry.remote:
                raise ValueError(f"{field} needs an engine that asks an endpoint, such as openai")
        if self.batch and not self.entry.remote:
            raise ValueError("batch needs an engine that asks an endpoint, such as openai")
        if self.chat_template_kwargs and not self.entry.weights:
            raise ValueError(
                f"chat_template_kwargs needs a chat template, and engine {self.engine} has none"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_digested(
        self, write: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """How requests travel makes nothing due: in batches, a model says the same."""
        written = write(self)
        if info.context == IN_DIGEST:
            written.pop("batch", None)
        return written


def refuse_batch(role: str, spec: ModelSpec) -> None:
    """Raises ValueError for a role that cannot wait, or is scored."""
    if spec.batch:
        raise ValueError(
            f"batch is for the Oracle, a persona writer and a Judge that writes; leave it out of "
            f"{role}, which is scored or asked turn by turn"
        )


def first_fault(error: ValidationError) -> str:
    """The first field that is wrong, and why."""
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message


def public_label(label: str) -> str:
    """The label of a model, without the directories of this machine."""
    path = Path(label)
    return path.resolve().name if path.is_absolute() or path.is_dir() else label
