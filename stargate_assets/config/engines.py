"""The engines that a model can run on: one entry each.

To add one, write a module in `engines/` with a function `open_engine(opening) -> Engine` (both are
in `engines/engine.py`), and enter it here. The module is imported when the engine is first opened,
so what it needs may be heavy, or an extra.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """What must be known of an engine before it is opened.

    `module` has its `open_engine`. `remote`: it asks an endpoint, which has an address, a key and a
    price. `weights`: it has a model's weights and their type. `spread`: it spreads them over the
    devices of the machine's tensor_parallel. `fields` are those of a ModelSpec that no other engine
    knows, all of which a result depends on.
    """

    module: str
    remote: bool = False
    weights: bool = True
    spread: bool = False
    fields: tuple[str, ...] = ()

    @property
    def local(self) -> bool:
        """Whether it holds weights in this machine's memory."""
        return self.weights and not self.remote


ENGINES = {
    "transformers": EngineEntry("stargate_assets.engines.transformers"),
    "vllm": EngineEntry(
        "stargate_assets.engines.vllm", spread=True, fields=("quantization", "max_length")
    ),
    "openai": EngineEntry("stargate_assets.engines.openai", remote=True),
    "scripted": EngineEntry("stargate_assets.engines.scripted", weights=False),
}


def compute_here(engines: Iterable[str]) -> bool:
    """Whether any of these engines computes itself, on this machine or on its cluster, and so needs
    devices that others may use; an endpoint has its own.
    """
    return any(name in ENGINES and not ENGINES[name].remote for name in engines)
