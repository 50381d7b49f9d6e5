"""STaR-GATE's data, roleplayers and reward, as an environment for trainers.

`verifiers` finds its taskset and its environment here; they are loaded when they are asked for, so
that `players` and `grpo` need no verifiers.
"""

from typing import Any

__all__ = ["StarGateEnv", "StarGateTaskset"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stargate_assets.cli.environment.files import taskset

    return getattr(taskset, name)
