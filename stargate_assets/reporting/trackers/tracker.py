"""What every tracker implements, and what it is told. `config/trackers.py` says how to add one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Protocol

from stargate_assets.config.trackers import TRACKERS
from stargate_assets.method.errors import StargateError

KEY = "stargate.key"
"""What trackers without ids of the caller's keep a run's key as."""


class TrackerError(StargateError):
    """A tracker cannot be used. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a curve. `step` is an optimiser step of metrics that begin with `training/`, and
    the policy's index of those that begin with `test/`.
    """

    metric: str
    step: int
    value: float

    @property
    def kind(self) -> str:
        """What the metric begins with."""
        return self.metric.partition("/")[0]


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A policy of an experiment, which is one run of a tracker. Whoever has the same `key` goes on
    with the same run. `facts` say what the policy was made from.
    """

    key: str
    experiment: str
    name: str
    facts: Mapping[str, str | int | float]
    points: Sequence[Point]

    def values_by_step(self) -> dict[tuple[str, int], dict[str, float]]:
        """The values by kind of metric and step, in order."""
        place = attrgetter("kind", "step")
        ordered = sorted(self.points, key=place)
        return {at: {p.metric: p.value for p in of} for at, of in groupby(ordered, place)}


class Tracker(Protocol):
    """Where runs are shown. May raise whatever its library does."""

    def send(self, run: TrackedRun) -> None:
        """Begin a run or go on with it: add the points, and replace the facts."""
        ...


def open_tracker(name: str, directory: Path) -> Tracker:
    """Open a tracker; what it writes on this machine goes into the directory. Raises TrackerError
    if its library is not installed.
    """
    try:
        return import_module(TRACKERS[name]).open_tracker(directory)
    except ModuleNotFoundError as error:
        raise TrackerError(
            f"machine.yaml names the tracker {name}, and its library is not installed here "
            f"({error.name}); install it: pip install 'stargate-assets[{name}]'."
        ) from error
