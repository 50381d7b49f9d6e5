"""LoRA adapters merged into copies of the weights they touch, so that switching is a change of
pointers.

Unmerged, a rank-16 adapter adds two small products to each of a model's linear layers at every
decoding step; merging in place and subtracting again would leave rounding errors in the base.
"""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer

from stargate_assets.method.language_model import EngineError


class AdaptedWeights:
    def __init__(self, model: Any):
        self.model = model
        self.current: Path | None = None
        self.merged: dict[Path, dict[str, torch.Tensor]] = {}
        self.base: dict[str, torch.Tensor] = {}

    def use(self, adapter: Path | None) -> None:
        """Switch to the base model (None) or to an adapter directory written by PEFT."""
        if adapter == self.current:
            return
        self._assign(self.base)
        if adapter is not None:
            if adapter not in self.merged:
                self.merged = {adapter: self._load(adapter)}  # one adapter's copies at a time
            self.base = {name: self._parameter(name).data for name in self.merged[adapter]}
            self._assign(self.merged[adapter])
        self.current = adapter

    def _parameter(self, name: str) -> torch.nn.Parameter:
        return self.model.get_parameter(name)

    def _assign(self, weights: dict[str, torch.Tensor]) -> None:
        for name, weight in weights.items():
            self._parameter(name).data = weight

    @torch.inference_mode(False)
    @torch.no_grad()
    def _load(self, adapter: Path) -> dict[str, torch.Tensor]:
        try:
            wrapped: Any = PeftModel.from_pretrained(self.model, str(adapter))
        except (OSError, ValueError, KeyError) as error:
            why = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            raise EngineError(
                f"The adapter {adapter} could not be loaded ({why}); materialise the checkpoint "
                "again."
            ) from error
        merged: dict[str, torch.Tensor] = {}
        prefix = "base_model.model."
        layers: list[tuple[str, Any]] = [
            (name, module)
            for name, module in wrapped.named_modules()
            if isinstance(module, LoraLayer)
        ]
        for name, module in layers:
            weight: torch.Tensor = module.get_base_layer().weight
            delta = module.get_delta_weight("default")
            key = f"{name.removeprefix(prefix)}.weight"
            merged[key] = (weight.float() + delta.float()).to(weight.dtype)
        wrapped.unload()
        return merged
