"""Weights & Biases: where its own variables say, WANDB_PROJECT, WANDB_MODE and the rest."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from stargate_assets.reporting.trackers.tracker import TrackedRun

PROJECT = "stargate"


class WandbTracker:
    """An experiment is a group of runs, a policy a run. Of the machine, the terminal and the code,
    which W&B would collect by itself, it is told nothing.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self.wandb: Any = import_module("wandb")

    def send(self, run: TrackedRun) -> None:
        begun: Any = self.wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            group=run.experiment,
            name=run.name,
            id=run.key,
            resume="allow",
            dir=self.directory,
            reinit="create_new",
            settings=self.wandb.Settings(
                console="off",
                silent=True,
                save_code=False,
                disable_git=True,
                x_disable_meta=True,
                x_disable_stats=True,
            ),
        )
        begun.config.update(dict(run.facts), allow_val_change=True)
        for (kind, step), values in run.values_by_step().items():
            begun.define_metric(f"{kind}/*", step_metric=f"{kind}/step")
            begun.log({**values, f"{kind}/step": step})
        begun.finish()


def open_tracker(directory: Path) -> WandbTracker:
    return WandbTracker(directory)
