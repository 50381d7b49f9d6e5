"""Trackio: where its own variables say, TRACKIO_DIR, TRACKIO_SPACE_ID and the rest."""

from importlib import import_module
from pathlib import Path
from typing import Any

from stargate_assets.reporting.trackers.tracker import TrackedRun


class TrackioTracker:
    """An experiment is a project, a policy a run of it. Runs have no other id than their name."""

    def __init__(self) -> None:
        self.trackio: Any = import_module("trackio")

    def send(self, run: TrackedRun) -> None:
        begun = self.trackio.init(
            project=run.experiment,
            name=f"{run.name}, {run.key}",
            config=dict(run.facts),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        for (_, step), values in run.values_by_step().items():
            begun.log(values, step=step)
        begun.finish()


def open_tracker(directory: Path) -> TrackioTracker:
    del directory
    return TrackioTracker()
