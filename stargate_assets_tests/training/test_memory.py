"""What training keeps in memory, as computed and as measured."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch.autograd.graph import saved_tensors_hooks

from stargate_assets.training.memory import full_training_bytes, lora_training_bytes
from stargate_assets.training.trainer import train
from stargate_assets_tests.conftest import ENVIRONMENT
from stargate_assets_tests.training.measured import kept_bytes
from stargate_assets_tests.training.test_trainer import spec

VOCABULARY = 49152


def parameters(file: Path) -> int:
    with safe_open(file, "pt") as tensors:
        return sum(tensors.get_tensor(name).numel() for name in tensors.keys())  # noqa: SIM118


@pytest.mark.parametrize("bf16", [False, True])
def test_of_lora(tiny_model: Path, tmp_path: Path, bf16: bool) -> None:
    kept = kept_bytes(spec(tiny_model, tmp_path / "out").model_copy(update={"bf16": bf16}))
    frozen = parameters(tiny_model / "model.safetensors")
    adapter = parameters(tmp_path / "out" / "adapter_model.safetensors")
    assert kept == pytest.approx(lora_training_bytes(frozen, adapter, bf16), rel=0.001)


def test_of_full_fine_tuning(tiny_model: Path, tmp_path: Path) -> None:
    whole = parameters(tiny_model / "model.safetensors")
    kept = kept_bytes(spec(tiny_model, tmp_path / "out", method="full"))
    assert kept == pytest.approx(full_training_bytes(whole, 1), rel=0.001)


@pytest.mark.slow
def test_of_full_fine_tuning_on_two_devices(tiny_model: Path, tmp_path: Path) -> None:
    shared = spec(tiny_model, tmp_path / "out", method="full").model_copy(update={"processes": 2})
    file = tmp_path / "spec.json"
    file.write_text(shared.model_dump_json())
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = ["-m", "stargate_assets_tests.training.measured", str(file)]
    command = [sys.executable, "-m", *launcher, *program]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=ENVIRONMENT)
    whole = parameters(tiny_model / "model.safetensors")
    assert json.loads(done.stdout) == pytest.approx(full_training_bytes(whole, 2), rel=0.001)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_gradient_checkpointing_keeps_less_and_changes_nothing(
    tiny_model: Path, tmp_path: Path, method: str
) -> None:
    saved, losses = dict[bool, int](), dict[bool, list[float]]()
    for recomputed in (False, True):
        stated = spec(tiny_model, tmp_path / str(recomputed), method=method)

        def save(tensor: torch.Tensor, recomputed: bool = recomputed) -> torch.Tensor:
            if VOCABULARY not in tensor.shape:  # the head's are saved either way
                saved[recomputed] = saved.get(recomputed, 0) + tensor.nbytes
            return tensor

        def keep(*loss: Any, recomputed: bool = recomputed) -> None:
            losses.setdefault(recomputed, []).append(loss[2])

        with saved_tensors_hooks(save, lambda tensor: tensor):
            train(stated.model_copy(update={"gradient_checkpointing": recomputed}), keep)
    assert saved[True] < saved[False] / 2
    assert losses[True] == pytest.approx(losses[False], abs=1e-5)
