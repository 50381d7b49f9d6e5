"""LoRA adapters merged into copies of the weights they touch, so that switching is a change of
pointers.

Unmerged, a rank-16 adapter adds two small products to each of a model's linear layers at every
decoding step; merging in place and subtracting again would leave rounding errors in the base.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer, ParamWrapper

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
        swap_weights(self.model, self.base)
        if adapter is not None:
            if adapter not in self.merged:
                self.merged = {adapter: self._load(adapter)}  # one adapter's copies at a time
            self.base = swap_weights(self.model, self.merged[adapter])
        self.current = adapter

    def _load(self, adapter: Path) -> dict[str, torch.Tensor]:
        try:
            with opened_adapter(self.model, adapter) as layers:
                return {layer.name: layer.merged() for layer in layers}
        except (OSError, ValueError, KeyError, AttributeError) as error:
            why = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            raise EngineError(
                f"The adapter {adapter} could not be loaded ({why}); materialise the checkpoint "
                "again."
            ) from error


def swap_weights(model: Any, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give parameters of a model other values; those that they had, which are not copied."""
    before = {name: model.get_parameter(name).data for name in weights}
    for name, weight in weights.items():
        model.get_parameter(name).data = weight
    return before


@dataclass(frozen=True, slots=True)
class AdaptedLayer:
    """A layer of PEFT's: it changes one parameter, a matrix or those of all experts, of a module of
    the model.
    """

    owner: str
    attribute: str
    layer: Any

    @property
    def name(self) -> str:
        """The parameter's name in the model."""
        return f"{self.owner}.{self.attribute}"

    def merged(self) -> torch.Tensor:
        """The parameter as the adapter makes it."""
        weight = getattr(self.layer.get_base_layer(), self.attribute)
        delta = self.layer.get_delta_weight(self.layer.active_adapters[0])
        return (weight.float() + delta.float()).to(weight.dtype)


def adapted_layers(model: Any) -> list[AdaptedLayer]:
    """The layers that an adapter has put into a model. Those of one module are nested."""
    return [
        AdaptedLayer(
            name.replace(".base_layer", ""),
            layer.parameter_name if isinstance(layer, ParamWrapper) else "weight",
            layer,
        )
        for name, layer in model.named_modules()
        if isinstance(layer, LoraLayer)
    ]


@contextmanager
def opened_adapter(model: Any, adapter: Path) -> Iterator[list[AdaptedLayer]]:
    """The layers of an adapter directory written by PEFT; afterwards the model is as it was. Raises
    ValueError where a layer's weights are not in the directory.
    """
    with torch.inference_mode(False), torch.no_grad():
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            wrapped: Any = PeftModel.from_pretrained(model, str(adapter))
        try:
            for warning in warned:  # PEFT would go on with random weights
                if "missing adapter keys" in str(warning.message):
                    raise ValueError(str(warning.message))
            yield adapted_layers(model)
        finally:
            wrapped.unload()
