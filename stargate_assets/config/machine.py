"""What runs where, and what it may cost: `machine.yaml` in the project's directory. Nothing here
changes what an experiment means.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from stargate_assets.config.model_spec import Frozen, ModelSpec, first_fault, one_of
from stargate_assets.config.trackers import TRACKERS
from stargate_assets.method.errors import DeclarationError

MACHINE_FILE = Path("machine.yaml")
"""Relative, like `warehouse/`."""


class MachineError(DeclarationError):
    """machine.yaml says something that cannot be. The message names the field."""


class Price(Frozen):
    """What a model behind an endpoint costs, in dollars for a million tokens."""

    endpoint: str = "OPENAI"
    model: str
    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)
    batch: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The share of these prices that a request in a batch costs, e.g. 0.5.",
    )
    as_of: date = Field(description="When this was the price.")

    @property
    def label(self) -> str:
        """The label of the model that it is of."""
        return ModelSpec(engine="openai", endpoint=self.endpoint, model=self.model).label

    @property
    def in_batches(self) -> "Price":
        """What the model costs in batches; no more than otherwise, where that is not stated."""
        share = 1.0 if self.batch is None else self.batch
        return self.model_copy(
            update={"prompt": self.prompt * share, "completion": self.completion * share}
        )

    def dollars(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6

    def dollars_of_scores(self, context_tokens: int, scored_tokens: int, calls: int = 1) -> float:
        """What is scored is a part of the prompt, and a call writes one token."""
        return self.dollars(context_tokens + scored_tokens, calls)


FREE = Price(model="on this machine", prompt=0, completion=0, as_of=date.min)
"""No provider sends a bill; what electricity and hardware cost is not counted."""


class Cluster(Frozen):
    """Where models of local engines are held by replicas, in processes of Ray's."""

    address: str = Field(
        min_length=1,
        description="auto (the cluster that Ray finds from here), local (this machine alone; Ray "
        "is started and ended with the run), or an address, such as ray://head:10001.",
    )
    replicas: PositiveInt | None = Field(
        default=None,
        description="Of each model. Unless stated, as many as the cluster has GPUs for with "
        "models_in_memory models; without GPUs, as many as it has nodes.",
    )
    replicas_of: dict[str, PositiveInt] = Field(
        default={},
        description="Of models that have another number, by what tables call them, e.g. "
        "{bundled at transformers: 2}.",
    )
    runs_at_once: PositiveInt = Field(
        default=1,
        description="Runs that may have models at the same time, each in replicas of its own; "
        "they share the GPUs evenly unless replicas says otherwise.",
    )
    gpus: PositiveFloat | None = Field(
        default=None,
        description="Of a replica, e.g. 0.5 where two share one. Unless stated, tensor_parallel of "
        "them with engine vllm, one with others, and none on device cpu.",
    )
    training_workers: PositiveInt | None = Field(
        default=None,
        description="Devices of the cluster over which training is spread, a worker for each. "
        "Unless stated, training is on the machine that drives.",
    )
    wait_seconds: PositiveFloat = Field(
        default=600.0,
        description="A run stops after so long without any replica, or without room for all "
        "workers of a training.",
    )

    @field_validator("gpus")
    @classmethod
    def _whole_above_one(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError("more than one GPU is a whole number of them")
        return gpus

    @model_validator(mode="after")
    def _trains_elsewhere(self) -> Self:
        if self.training_workers is not None and self.address == "local":
            raise ValueError(
                "training_workers is of a cluster of several machines; on this one alone state "
                "training_processes"
            )
        return self

    @model_validator(mode="after")
    def _has_room_for_each_run(self) -> Self:
        if self.runs_at_once > 1 and self.training_workers is None:
            raise ValueError(
                "runs_at_once is of a cluster that trains too; state training_workers, of each "
                "run, because this machine trains for one run at a time"
            )
        return self

    def count_replicas(self, spec: ModelSpec, most: int) -> int:
        """How many replicas this model has; `most` fit."""
        return self.replicas_of.get(spec.label, self.replicas or most)


class Machine(Frozen):
    """The defaults suit two cores as well as one GPU."""

    device: str = Field(default="auto", description="auto, cpu, or a torch device such as cuda:1.")
    models_in_memory: PositiveInt = 2
    decode_rows: PositiveInt = Field(
        default=64, description="Of engine transformers: completions that grow together."
    )
    prefill_tokens: PositiveInt = Field(
        default=2048, description="Of engine transformers: prompt tokens computed together."
    )
    requests_at_once: PositiveInt = Field(
        default=64, description="Of engine openai: requests under way at an endpoint."
    )
    answer_seconds: PositiveFloat = Field(
        default=300.0,
        description="Of engine openai: how long an endpoint may be silent before a request is sent "
        "again.",
    )
    tensor_parallel: PositiveInt = Field(
        default=1, description="Of engine vllm: devices over which a model is spread."
    )
    gpu_memory_share: float = Field(
        default=0.4,
        gt=0,
        le=1,
        description="Of engine vllm: what one model takes of a GPU; models_in_memory of them "
        "must fit.",
    )
    cpu_cache_gib: PositiveInt = Field(
        default=2, description="Of engine vllm: the key-value cache of a model on CPU."
    )
    cluster: Cluster | None = None
    training_processes: PositiveInt = Field(
        default=1, description="Devices over which training is spread, a process for each."
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Training computes activations twice and keeps few: less memory, more time.",
    )
    training_save_minutes: PositiveFloat = Field(
        default=10.0,
        description="How often a training saves where it is; one that was killed goes on from "
        "there.",
    )
    max_dollars: PositiveFloat | None = Field(
        default=None, description="A run stops before the call that could cost more than this."
    )
    max_failure_share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="A run stops where more than this share of the requests that are asked "
        "together have no answer. Fewer than ten never stop it.",
    )
    trackers: tuple[Annotated[str, one_of(TRACKERS)], ...] = Field(
        default=(), description=f"Where policies are shown too: {', '.join(TRACKERS)}."
    )
    prices: tuple[Price, ...] = ()

    @model_validator(mode="after")
    def _trains_in_one_place(self) -> Self:
        if self.training_workers is not None and self.training_processes > 1:
            raise ValueError(
                "training_processes is of this machine, and cluster.training_workers of a cluster; "
                "state one of them"
            )
        return self

    @property
    def runs_at_once(self) -> int:
        """Runs that may have models at the same time."""
        return self.cluster.runs_at_once if self.cluster else 1

    @property
    def training_workers(self) -> int | None:
        """On a cluster; None where training is on this machine."""
        return self.cluster and self.cluster.training_workers

    @field_validator("prices")
    @classmethod
    def _distinct(cls, prices: tuple[Price, ...]) -> tuple[Price, ...]:
        labels = [price.label for price in prices]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"there are two of {label}; keep the newer one")
        return prices

    def price(self, spec: ModelSpec) -> Price | None:
        """FREE for what runs on this machine; None if nobody stated what an endpoint's model
        costs.
        """
        if not spec.entry.remote:
            return FREE
        price = {price.label: price for price in self.prices}.get(spec.label)
        return price.in_batches if price is not None and spec.batch else price


def load_machine(path: Path = MACHINE_FILE) -> Machine:
    """What the file states; the defaults if there is none. Raises MachineError."""
    if not path.exists():
        return Machine()
    try:
        stated: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Machine.model_validate(stated or {})
    except yaml.YAMLError as error:
        raise MachineError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        raise MachineError(f"{path} is not valid: {first_fault(error)}; correct it.") from error
