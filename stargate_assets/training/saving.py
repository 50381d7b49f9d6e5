"""Saving while a training goes on, by Trainer, and what Trainer leaves out."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from stargate_assets.training.saved import SEAL, Saved, remove_older

OnSaved = Callable[[Path], None]
"""Called in each process with the checkpoint's directory, when that process has written its files
there: the first has written most, the others their random states.
"""


@dataclass(frozen=True, slots=True)
class Saves:
    """How often a stage saves where it is, and who is told; the losses of the stages before it; and
    what it goes on from, if it was begun.
    """

    seconds: float
    on_saved: OnSaved
    before: Sequence[list[float]]
    goes_on: Saved | None


class Saving(TrainerCallback):
    """Has Trainer save when it is time. All processes save when the first one says so."""

    def __init__(self, trainer: Any, saves: Saves):
        self.trainer, self.saves, self.last = trainer, saves, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        due = time.monotonic() - self.last >= self.saves.seconds
        control.should_save = (
            broadcast_object_list([due])[0] and state.global_step < state.max_steps
        )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.last = time.monotonic()
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if args.should_save:
            is_within_epoch = state.global_step % (state.max_steps // state.num_train_epochs)
            reference = self.trainer.reference
            missing = {
                "before": self.saves.before,
                "order": self.trainer.batches.order if is_within_epoch else None,
                "reference": None if reference is None else reference.tolist(),
            }
            (path / f".{SEAL}").write_text(json.dumps(missing))
            (path / f".{SEAL}").rename(path / SEAL)
            remove_older(path)
        self.saves.on_saved(path)
