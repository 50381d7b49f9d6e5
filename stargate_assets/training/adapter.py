"""LoRA on a model, once it is known that what is trained can be opened again."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from stargate_assets.config.training import Training
from stargate_assets.engines.adapters import adapted_layers, opened_adapter, swap_weights
from stargate_assets.engines.head import find_decoder
from stargate_assets.training.spec import TrainingError, TrainingSpec

TOKENS = 8
TOLERANCE = 0.1
"""Of what an adapter changes in a layer's output. Rounding to bf16 is a hundredth of it, and an
adapter that is not applied is all of it.
"""
_FAILURES = (OSError, AssertionError, AttributeError, LookupError, RuntimeError)
_FAILURES += (TypeError, ValueError)
"""What PEFT, or a model in its hands, raises."""


@dataclass(frozen=True, slots=True)
class _Call:
    """What a module was given, and what it returned with its adapter."""

    positional: tuple[Any, ...]
    named: Mapping[str, Any]
    output: torch.Tensor

    def repeat(self, module: Any) -> torch.Tensor:
        return _first(module(*self.positional, **self.named))


def add_adapter(model: Any, spec: TrainingSpec) -> PeftModel:
    """The model with an adapter to be trained. Raises TrainingError, having trained nothing, where
    the engine could not open it.
    """
    try:
        wrong = _rehearse(model, spec.training)
    except torch.OutOfMemoryError:
        raise
    except _FAILURES as error:
        wrong = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if wrong:
        raise TrainingError(
            f"An adapter of {spec.model} could not be opened after its training ({wrong}); set "
            "training.method: full."
        )
    torch.manual_seed(spec.seed)
    return get_peft_model(model, _config(spec.training, init_lora_weights=True))


def _config(training: Training, init_lora_weights: bool) -> LoraConfig:
    return LoraConfig(
        r=training.lora_rank,
        lora_alpha=training.lora_alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        init_lora_weights=init_lora_weights,
    )


@torch.no_grad()
def _rehearse(model: Any, training: Training) -> str:
    """Make a random adapter, save it, open it, and compare what one module of each kind returns
    with the adapter and with its weights merged. What is wrong, or nothing; the model stays as it
    is, and only those modules' weights are copied.
    """
    with tempfile.TemporaryDirectory() as directory:
        made: Any = get_peft_model(model, _config(training, init_lora_weights=False))
        try:
            targets = {layer.name: layer.owner for layer in adapted_layers(model)}
            calls = _calls(model, sorted(set(targets.values())))
            made.save_pretrained(directory)
        finally:
            made.unload()
        with opened_adapter(model, Path(directory)) as layers:
            if lost := sorted(targets.keys() ^ {layer.name for layer in layers}):
                return f"{lost[0]} is lost"
            merged = {layer.name: layer.merged() for layer in layers if layer.owner in calls}
    for owner, call in calls.items():
        module = model.get_submodule(owner)
        plain = call.repeat(module)
        weights = {n: w for n, w in merged.items() if targets[n] == owner}
        base = swap_weights(model, weights)
        opened = call.repeat(module)
        swap_weights(model, base)
        effect, missed = (torch.dist(call.output, other).item() for other in (plain, opened))
        if not missed < TOLERANCE * effect:
            return f"{owner} is not what was trained"
    return ""


def _calls(model: Any, owners: Sequence[str]) -> dict[str, _Call]:
    """The calls of one module of each kind, by name, while the model reads a few tokens."""
    kinds = {re.sub(r"\d+", "", owner): owner for owner in owners}
    calls: dict[str, _Call] = {}
    with ExitStack() as stack:
        for owner in kinds.values():

            def keep(_: Any, positional: Any, named: Any, output: Any, owner: str = owner) -> None:
                given = [part.clone() if torch.is_tensor(part) else part for part in positional]
                calls[owner] = _Call(tuple(given), named, _first(output).clone())

            hooked = model.get_submodule(owner).register_forward_hook(keep, with_kwargs=True)
            stack.callback(hooked.remove)
        tokens = torch.arange(1, TOKENS + 1, device=model.device)[None]
        find_decoder(model)(input_ids=tokens, use_cache=False)
    return calls


def _first(output: Any) -> torch.Tensor:
    """A module's output; of several the first."""
    return (output if torch.is_tensor(output) else output[0]).float()
