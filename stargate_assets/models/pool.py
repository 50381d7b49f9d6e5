"""The one place that opens models: lazily, as many as fit, each behind the completion store."""

import gc
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from stargate_assets.config.experiment import ModelSpec
from stargate_assets.config.machine import Machine
from stargate_assets.engines.scripted import ScriptedEngine
from stargate_assets.method.language_model import Engine, EngineError, OnProgress
from stargate_assets.models.bundled import BUNDLED, bundled_model
from stargate_assets.models.stored import StoredModel, Usage
from stargate_assets.storage.completions import CompletionStore, Use

if TYPE_CHECKING:
    from stargate_assets.engines.transformers import TransformersEngine
    from stargate_assets.engines.vllm import VllmEngine


COMPLETIONS = "completions.sqlite"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained policy: its directory, and the hash that its manifest seals."""

    path: Path
    sha256: str

    @property
    def is_adapter(self) -> bool:
        return (self.path / "adapter_config.json").exists()


def _silent(doing: str, done: int, total: int) -> None:
    del doing, done, total


@dataclass(slots=True)
class ModelPool:
    """The Dagster resource. Opened models stay warm across the runs of one process."""

    directory: Path
    machine: Machine = field(default_factory=Machine)
    on_progress: OnProgress = _silent
    usage: Usage = field(default_factory=Usage)
    _no_structures: set[tuple[str, str]] = field(default_factory=set)
    _engines: "dict[tuple[str, str], TransformersEngine | VllmEngine]" = field(default_factory=dict)

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
            usage=self.usage,
        )

    def store(self) -> CompletionStore:
        """What was ever answered."""
        return CompletionStore(self.directory / COMPLETIONS)

    def identity(self, spec: ModelSpec, checkpoint: Checkpoint | None = None) -> str:
        """Everything about a model that a result depends on."""
        if spec.engine == "openai":  # one name may mean two models at two endpoints
            parts = [spec.engine, spec.endpoint, spec.model, str(spec.revision)]
        else:
            parts = [spec.engine, _source(spec), str(spec.revision), self.dtype(spec)]
        if spec.engine == "vllm":
            parts += [str(spec.quantization), str(spec.max_length)]
        if checkpoint is not None:
            parts.append(checkpoint.sha256)
        return " ".join(parts)

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
        if spec.engine == "scripted":
            return ScriptedEngine
        if spec.engine == "openai":
            return cache(partial(self._openai, spec, checkpoint))
        adapter = checkpoint.path if checkpoint is not None and checkpoint.is_adapter else None
        full = checkpoint.path if checkpoint is not None and adapter is None else None

        def engine() -> Engine:
            opened = self._opened(spec, str(full) if full else None)
            opened.use(adapter)
            return opened

        return engine

    def _openai(self, spec: ModelSpec, checkpoint: Checkpoint | None) -> Engine:
        from stargate_assets.engines.endpoints import Limits, endpoint
        from stargate_assets.engines.openai import OpenAIEngine

        if checkpoint is not None and not checkpoint.is_adapter:
            raise EngineError(
                f"The checkpoint {checkpoint.path} is a whole model, which an endpoint cannot be "
                "given; train with method: lora, or use engine: transformers for the questioner."
            )
        limits = Limits(self.machine.requests_at_once, read_seconds=self.machine.answer_seconds)
        where = endpoint(spec.endpoint, os.environ)
        opened = OpenAIEngine(spec.model, where, spec.limit_field, limits, self._no_structures)
        return opened.adapted(checkpoint.path, checkpoint.sha256) if checkpoint else opened

    def _opened(self, spec: ModelSpec, full: str | None) -> "TransformersEngine | VllmEngine":
        """The engine that holds this base model, or this fully trained one."""
        key = (spec.model_dump_json(), full or "")
        if key in self._engines:
            self._engines[key] = self._engines.pop(key)  # the last one is the most recently used
            return self._engines[key]
        while len(self._engines) >= self.machine.models_in_memory:
            self._free(next(iter(self._engines)))
        path, revision = full or self.path(spec), None if full else spec.revision
        opener = self._vllm if spec.engine == "vllm" else self._transformers
        self._engines[key] = opener(spec, path, revision)
        return self._engines[key]

    def _transformers(
        self, spec: ModelSpec, path: str, revision: str | None
    ) -> "TransformersEngine":
        from transformers.utils.logging import disable_progress_bar

        from stargate_assets.engines.transformers import Limits, TransformersEngine

        disable_progress_bar()  # ours is on_progress
        limits = Limits(self.machine.decode_rows, self.machine.prefill_tokens)
        self.on_progress(f"loading {Path(path).name}", 0, 1)
        engine = TransformersEngine(path, revision, self.dtype(spec), self.device(), limits)
        self.on_progress(f"loading {Path(path).name}", 1, 1)
        return engine

    def _vllm(self, spec: ModelSpec, path: str, revision: str | None) -> "VllmEngine":
        from stargate_assets.engines.vllm import Model, Room, VllmEngine

        model = Model(path, revision, self.dtype(spec), spec.quantization, spec.max_length)
        room = Room(
            self.device(),
            self.machine.tensor_parallel,
            self.machine.gpu_memory_share,
            self.machine.cpu_cache_gib,
        )
        return VllmEngine(model, room, self.directory / "logs" / "vllm.log", self.on_progress)

    def device(self) -> str:
        """The device that models run on, `auto` resolved."""
        if self.machine.device != "auto":
            return self.machine.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def dtype(self, spec: ModelSpec) -> str:
        """The type that a model's weights have on this machine, `auto` resolved."""
        if spec.dtype != "auto" or spec.engine == "scripted":
            return spec.dtype
        import torch

        if self.device().startswith("cuda"):
            return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
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
