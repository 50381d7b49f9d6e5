"""Saves of weights and moments that are shared out over processes (FSDP): gathered by the first of
them, which alone writes and reads them.
"""

from pathlib import Path
from typing import Any, cast

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from transformers import Trainer

from stargate_assets.training.saved import GATHERED_MOMENTS, GATHERED_WEIGHTS

SCHEDULER = "scheduler.pt"
_GATHERED = StateDictOptions(full_state_dict=True, cpu_offload=True)
_SHARED_OUT = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


def is_shared_out(model: Any) -> bool:
    return getattr(model.config, "distributed_config", None) is not None


def gather_weights(model: Any) -> dict[str, Any]:
    """The whole model's, in the first process; every process calls this."""
    return get_model_state_dict(model, options=_GATHERED)


class GatheringTrainer(Trainer):
    """A Trainer whose saves are as those of one process where weights are shared out."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if not is_shared_out(self.model):
            return super().save_model(output_dir, _internal_call)
        return self._write(gather_weights(self.model), cast("str", output_dir), GATHERED_WEIGHTS)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not is_shared_out(self.model):
            return super()._save_optimizer_and_scheduler(output_dir)
        model, adam, scheduler = self._parts()
        moments = get_optimizer_state_dict(model, adam, options=_GATHERED)
        self._write(moments, output_dir, GATHERED_MOMENTS)
        return self._write(scheduler.state_dict(), output_dir, SCHEDULER)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if not is_shared_out(self.model):
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        weights = self._read(resume_from_checkpoint, GATHERED_WEIGHTS)
        set_model_state_dict(cast("Any", self.model), weights, options=_SHARED_OUT)
        return None

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not is_shared_out(self.model):
            return super()._load_optimizer_and_scheduler(checkpoint)
        model, adam, scheduler = self._parts()
        moments = self._read(checkpoint, GATHERED_MOMENTS)
        set_optimizer_state_dict(model, adam, moments, options=_SHARED_OUT)
        return scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER))

    def _parts(self) -> tuple[Any, Any, Any]:
        """Model, optimiser and schedule, without what accelerate wraps them in."""
        return self.model, getattr(self.optimizer, "optimizer", None), self.lr_scheduler

    def _write(self, state: Any, directory: str, name: str) -> None:
        if self.args.should_save:
            Path(directory).mkdir(parents=True, exist_ok=True)
            torch.save(state, Path(directory) / name)

    def _read(self, directory: str, name: str) -> dict[str, Any]:
        """Empty but for the first process."""
        return torch.load(Path(directory) / name, "cpu") if self.args.should_save else {}
