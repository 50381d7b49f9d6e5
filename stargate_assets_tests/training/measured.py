"""A training that is measured: `python -m stargate_assets_tests.training.measured SPEC.json`, as
one of several processes. The first one prints what it found.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

from stargate_assets.training.spec import TrainingSpec
from stargate_assets.training.trainer import train


def kept_bytes(spec: TrainingSpec) -> int:
    """Train; what parameters, gradients and Adam's moments take in this process after a step."""
    used, found = set[torch.nn.Module](), list[int]()

    def at_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        parameters = {p for module in used for p in module.parameters(recurse=False)}
        tensors = [
            tensor
            for p in parameters
            for tensor in (p, p.grad, *optimizer.state.get(p, {}).values())
            if torch.is_tensor(tensor)
        ]
        found.append(sum(local(tensor).nbytes for tensor in tensors))
        used.clear()  # what was rehearsed before the first step is gone

    hooks = [
        register_module_forward_pre_hook(lambda module, _: used.add(module)),
        register_optimizer_step_post_hook(at_step),
    ]
    try:
        train(spec, lambda *_: None)
    finally:
        for hook in hooks:
            hook.remove()
    return found[-1]


def local(tensor: Any) -> torch.Tensor:
    """This process's part of a tensor that is shared out."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


if __name__ == "__main__":
    kept = kept_bytes(TrainingSpec.model_validate_json(Path(sys.argv[1]).read_text()))
    if os.environ["RANK"] == "0":
        print(kept)
