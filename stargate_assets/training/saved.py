"""How far a training has got, as files: one that was killed goes on from there, and ends with the
weights that it would have had.

Trainer saves weights, moments and random states in `checkpoint-STEP` of each stage's directory;
what it leaves out is in a file that is written last, so that a checkpoint which has it is whole.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SEAL = "star_gate.json"
GATHERED_WEIGHTS, GATHERED_MOMENTS = "gathered_weights.pt", "gathered_moments.pt"
"""What is shared out over processes, in files that the first one alone reads."""


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

    @property
    def step(self) -> int:
        """Of the whole training."""
        return sum(map(len, self.before)) + len(self.losses)


def stage_directory(saved: Path, stage: int) -> Path:
    """Where a stage of a training saves."""
    return saved / str(stage)


def find_saved(saved: Path) -> Saved | None:
    """Where the training that saves there has got to; None if it has saved nothing."""
    for directory in sorted(saved.glob("[0-9]*"), key=lambda d: int(d.name), reverse=True):
        seals = sorted(directory.glob(f"checkpoint-*/{SEAL}"), key=lambda s: _step(s.parent))
        if seals:
            path = seals[-1].parent
            history = json.loads((path / "trainer_state.json").read_text())["log_history"]
            losses = [float(entry["loss"]) for entry in history if "loss" in entry]
            return Saved(path, losses=losses, **json.loads(seals[-1].read_text()))
    return None


def remove_older(path: Path) -> None:
    """Of a stage's checkpoints keep this one."""
    for older in path.parent.glob("checkpoint-*"):
        if older != path:
            shutil.rmtree(older)


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
