"""How far a training has got, saved while it goes on: one that was killed goes on from there, and
ends with the weights that it would have had.

Trainer saves weights, moments and random states in `checkpoint-STEP`; what it leaves out is added
here, in a file that is written last, so that a checkpoint which has it is whole.
"""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

SEAL = "star_gate.json"


@dataclass(frozen=True, slots=True)
class Saved:
    """A stage that was begun: where its last checkpoint is, the losses of the stages `before` it
    and its own up to there, the order of the examples in the epoch that was begun (None: at the end
    of one), and what the model preferred before the stage, where that is compared with.
    """

    path: Path
    before: Sequence[list[float]]
    losses: Sequence[float]
    order: Sequence[int] | None
    reference: Sequence[float] | None


@dataclass(frozen=True, slots=True)
class Saves:
    """How often a stage saves where it is; the losses of the stages before it; and what it goes on
    from, if it was begun.
    """

    seconds: float
    before: Sequence[list[float]]
    goes_on: Saved | None


def find_saved(directories: Sequence[Path]) -> Saved | None:
    """The last stage that was begun and saved; `directories` are those of the stages, in order."""
    for directory in reversed(directories):
        seals = sorted(directory.glob(f"checkpoint-*/{SEAL}"), key=lambda s: _step(s.parent))
        if seals:
            path = seals[-1].parent
            history = json.loads((path / "trainer_state.json").read_text())["log_history"]
            losses = [float(entry["loss"]) for entry in history if "loss" in entry]
            return Saved(path, losses=losses, **json.loads(seals[-1].read_text()))
    return None


class Saving(TrainerCallback):
    """Has Trainer save when it is time, and adds what Trainer leaves out. All processes save when
    the first one says so.
    """

    def __init__(self, trainer: Any, saves: Saves):
        self.trainer, self.saves, self.last = trainer, saves, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        due = time.monotonic() - self.last >= self.saves.seconds
        control.should_save = (
            broadcast_object_list([due])[0] and state.global_step < state.max_steps
        )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.last = time.monotonic()
        if not args.should_save:
            return
        directory = Path(args.output_dir)
        path = directory / f"checkpoint-{state.global_step}"
        is_within_epoch = state.global_step % (state.max_steps // state.num_train_epochs)
        reference = self.trainer.reference
        missing = {
            "before": self.saves.before,
            "order": self.trainer.batches.order if is_within_epoch else None,
            "reference": None if reference is None else reference.tolist(),
        }
        (path / f".{SEAL}").write_text(json.dumps(missing))
        (path / f".{SEAL}").rename(path / SEAL)
        for older in directory.glob("checkpoint-*"):
            if older != path:
                shutil.rmtree(older)


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
