"""The one place that opens models: lazily, as many as fit, each behind the completion store."""

import gc
import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from stargate_assets.config.machine import Machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.engines.chat_tokenizer import template_traits
from stargate_assets.engines.cluster import open_on_cluster
from stargate_assets.engines.engine import Checkpoint, Engine, Opening, open_engine
from stargate_assets.engines.tokenizers import find_tokenizer
from stargate_assets.method.language_model import EngineError, OnProgress, ignore_progress
from stargate_assets.models.bundled import BUNDLED, bundled_model, find_bundled_model
from stargate_assets.models.stored import StoredModel
from stargate_assets.models.traces import call_tracer
from stargate_assets.models.usage import Usage
from stargate_assets.storage.bookkeeping import Calls, count_calls
from stargate_assets.storage.checkpoints import verify
from stargate_assets.storage.completions import CompletionStore, FailureRow, Use
from stargate_assets.storage.database import Database
from stargate_assets.storage.postgres import Postgres
from stargate_assets.storage.sqlite import SqliteFile

COMPLETIONS = "completions.sqlite"


@dataclass(slots=True)
class ModelPool:
    """The Dagster resource. Opened models stay warm across the runs of one process."""

    directory: Path
    machine: Machine = field(default_factory=Machine)
    on_progress: OnProgress = ignore_progress
    usage: Usage = field(default_factory=Usage)
    _engines: dict[tuple[str, str], Engine] = field(default_factory=dict[tuple[str, str], Engine])
    """The open ones, by model and fully trained checkpoint; the last was used last."""

    def open(self, spec: ModelSpec, use: Use, checkpoint: Checkpoint | None = None) -> StoredModel:
        """The model of `spec`, or that model as trained in `checkpoint`, for one use. Weights are
        loaded at the first call.
        """
        return StoredModel(
            identity=self.identity(spec, checkpoint),
            store=self.store(),
            engine=self._opener(spec, checkpoint),
            on_progress=self.on_progress,
            use=use,
            name=spec.label,
            price=self.machine.price(spec),
            max_dollars=self.machine.max_dollars,
            max_failure_share=self.machine.max_failure_share,
            has_limit=spec.limit_field is not None,
            usage=self.usage,
            on_call=call_tracer(spec, use),
        )

    def engine(self, spec: ModelSpec, checkpoint: Checkpoint | None = None) -> Engine:
        """The same model opened, for who serves it and keeps nothing of what it says."""
        return self._opener(spec, checkpoint)()

    def store(self) -> CompletionStore:
        """What was ever answered."""
        return CompletionStore(self.database)

    @property
    def database(self) -> Database:
        """Where the completion store is: in the database that the environment states, or here."""
        return Postgres.stated_in(os.environ) or SqliteFile(self.directory / COMPLETIONS)

    def calls(self) -> Calls:
        """What the store has counted. Makes no store."""
        return count_calls(self.store()) if self.database.is_there() else Calls()

    def failure_rows(self, schemas: Sequence[str]) -> list[FailureRow]:
        """The requests of these experiments and data sets without an answer. Makes no store."""
        found = self.store().failures() if self.database.is_there() else []
        return [row for row in found if row.schema_name in schemas]

    def identity(self, spec: ModelSpec, checkpoint: Checkpoint | None = None) -> str:
        """Everything about a model that a result depends on. What the template of a remote server
        adds to messages cannot be known, so it is not in it, but for what it is told.
        """
        if spec.entry.remote:  # one name may mean two models at two endpoints
            parts = [spec.engine, spec.endpoint, spec.model, str(spec.revision)]
        else:
            parts = [spec.engine, _source(spec), str(spec.revision), self.dtype(spec)]
        parts += [str(getattr(spec, name)) for name in spec.entry.fields]
        if spec.chat_template_kwargs:
            parts.append(json.dumps(spec.chat_template_kwargs))
        parts += self._template_traits(spec)
        if checkpoint is not None:
            parts.append(checkpoint.sha256)
        return " ".join(parts)

    def _template_traits(self, spec: ModelSpec) -> tuple[str, ...]:
        """What the model's chat template adds to messages; found without the model."""
        if not spec.entry.local or spec.model == BUNDLED:  # whose template adds nothing
            return ()
        tokenizer = find_tokenizer(self.path(spec), spec.revision)
        return () if tokenizer is None else template_traits(tokenizer, spec.chat_template_kwargs)

    def path(self, spec: ModelSpec) -> str:
        """What to load: a directory for the bundled model, otherwise what the experiment says."""
        if spec.model == BUNDLED:
            return str(bundled_model(self.directory / "models", self.on_progress))
        return spec.model

    def close(self) -> None:
        """Free every model, before training or at the end."""
        for key in list(self._engines):
            self._free(key)
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()

    def _free(self, key: tuple[str, str]) -> None:
        self._engines.pop(key).close()
        gc.collect()

    def _opener(self, spec: ModelSpec, checkpoint: Checkpoint | None) -> Callable[[], Engine]:
        """Opens the model when it is called; a fully trained checkpoint is a model of its own."""
        whole = checkpoint if checkpoint is not None and not checkpoint.is_adapter else None
        weights = whole if spec.entry.local else None

        def engine() -> Engine:
            if whole is not None and spec.entry.remote:
                raise EngineError(
                    f"The checkpoint {whole.path} is a whole model, which an endpoint cannot be "
                    "given; train with method: lora, or use engine: transformers for the "
                    "questioner."
                )
            if checkpoint is not None:
                verify(checkpoint.path)
            opened = self._open_engine(spec, weights)
            opened.use(None if whole else checkpoint)
            return opened

        return engine

    def _open_engine(self, spec: ModelSpec, weights: Checkpoint | None) -> Engine:
        """The engine that holds this base model, or the weights of this fully trained one."""
        trained = None if weights is None else str(weights.path)
        key, entry = (spec.model_dump_json(), trained or ""), spec.entry
        if key in self._engines:
            self._engines[key] = self._engines.pop(key)
            return self._engines[key]
        if entry.local:
            self._make_room()
        opening = Opening(
            spec,
            trained or (self.path(spec) if entry.local else spec.model),
            None if weights else spec.revision,
            self.dtype(spec),
            self.engine_device() if entry.local else "cpu",
            self.machine,
            self.directory / "logs",
            self.on_progress,
        )
        if self.machine.cluster is None or entry.remote:
            self._engines[key] = open_engine(entry.module, opening)
        else:
            models = (self.directory / "models").resolve()
            bundled = spec.model == BUNDLED and entry.local
            find = partial(find_bundled_model, models) if bundled else None
            self._engines[key] = open_on_cluster(entry.module, opening, weights, find)
        return self._engines[key]

    def _make_room(self) -> None:
        """Free the models that were used longest ago, until another one fits."""
        held = [key for key in self._engines if ModelSpec.model_validate_json(key[0]).entry.local]
        for key in held[: max(0, len(held) - self.machine.models_in_memory + 1)]:
            self._free(key)

    def device(self) -> str:
        """The device of this machine, `auto` resolved. Raises EngineError if it is not there."""
        import torch

        stated, there = self.machine.device, torch.cuda.is_available()
        if stated == "auto":
            return "cuda" if there else "cpu"
        if stated.startswith("cuda") and not there:
            raise EngineError(
                f"machine.yaml says device: {stated}, and torch {torch.__version__} sees no GPU "
                "here; say auto, or install a build of torch for this GPU."
            )
        return stated

    def engine_device(self) -> str:
        """The device that models run on: on a cluster, this machine need not have it."""
        stated = self.machine.device
        return self.device() if self.machine.cluster is None or stated == "auto" else stated

    def dtype(self, spec: ModelSpec) -> str:
        """The type that a model's weights have on this machine, `auto` resolved."""
        if spec.dtype != "auto" or not spec.entry.local:
            return spec.dtype
        import torch

        if self.engine_device().startswith("cuda"):
            elsewhere = not torch.cuda.is_available()
            return "bfloat16" if elsewhere or torch.cuda.is_bf16_supported() else "float32"
        return "bfloat16" if torch.cpu.get_capabilities().get("avx512_bf16") else "float32"


def engine_kind(spec: ModelSpec) -> str:
    """What Dagster shows of the engine that a model runs on."""
    return spec.engine


def _source(spec: ModelSpec) -> str:
    """A model's name, and for a local directory what its files look like now."""
    directory = Path(spec.model)
    if not directory.is_dir():
        return spec.model
    files = sorted(p for p in directory.rglob("*") if p.is_file())
    stats = [(str(p.relative_to(directory)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return f"{directory.resolve()} {hashlib.sha256(repr(stats).encode()).hexdigest()[:16]}"
