"""Tells trackers what is in the warehouse and what they have not been told yet.

The warehouse is what counts: whatever a tracker missed, because it was down or was entered later,
it is told of the next time. What it was told stands in a file beside the warehouse.
"""

import json
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from filelock import FileLock

from stargate_assets.config.digest import digest_text
from stargate_assets.config.experiment import Experiment
from stargate_assets.models.traces import missing_library
from stargate_assets.pipeline.tracked_runs import CODE, TRACKED, tracked_runs
from stargate_assets.reporting.trackers.tracker import (
    TrackedRun,
    Tracker,
    TrackerError,
    open_tracker,
)
from stargate_assets.storage.warehouse import Warehouse

TOLD_FILE = "trackers.json"
FACTS = "facts"
SECONDS = 120.0
"""How long a run waits for a tracker."""
_CREDENTIALS = re.compile(r"//[^/\s@]*@")
Told = dict[str, str]
"""A digest of what a run's tracker was told, by metric, and of the facts."""
Say = Callable[[str], None]


def ignore(sentence: str) -> None:
    del sentence


@dataclass
class Tracking:
    """The trackers of a machine while a process runs. One that has failed is left alone until the
    next process.
    """

    warehouse: Warehouse
    experiments: Mapping[str, Experiment]
    names: Sequence[str]
    seconds: float = SECONDS
    announce: Say = ignore
    """Of who watches the run."""
    _begun: bool = False
    _opened: dict[str, Tracker] = field(default_factory=dict[str, Tracker])
    _failed: set[str] = field(default_factory=set[str])

    def begin(self, experiment: str, announce: Say) -> None:
        """A run begins, and `announce` is told what goes wrong, before anything is made."""
        self.announce = announce
        if not self._begun and (missing := missing_library(os.environ)):
            announce(missing)
        self._begun = True
        self.tell(experiment, announce)

    def notice(self, schema: str, table: str, say: Say) -> None:
        """A slice of a table was written; trackers are told if that concerns them."""
        if schema in self.experiments and table in TRACKED:
            self.tell(schema, say)

    def tell(self, experiment: str, say: Say) -> None:
        """Tell every tracker of an experiment. Never ends a run: what goes wrong is said in one
        sentence, once, here and to who watches the run.
        """
        for name in self.names:
            if name in self._failed:
                continue
            try:
                self._tell_one(name, experiment)
            except Exception as error:  # noqa: BLE001 - a tracker's library may raise anything
                self._failed.add(name)
                for tell in dict.fromkeys((say, self.announce)):
                    tell(_sentence(name, error))

    def _tell_one(self, name: str, experiment: str) -> None:
        directory = self.warehouse.path.parent
        directory.mkdir(parents=True, exist_ok=True)
        if name not in self._opened:
            self._opened[name] = open_tracker(name, directory)
        file = directory / TOLD_FILE
        with FileLock(file.with_suffix(".lock"), timeout=self.seconds):
            runs = tracked_runs(self.warehouse, experiment, self.experiments[experiment])
            told = _read(file)
            for run in runs:
                before = told.get(name, {}).get(run.key, {})
                now = digest_run(run)
                if now == before:
                    continue
                points = [p for p in run.points if now[p.metric] != before.get(p.metric)]
                self._send(name, replace(run, points=points))
                told.setdefault(name, {})[run.key] = before | now
                _write(file, told)

    def _send(self, name: str, run: TrackedRun) -> None:
        """Wait for the tracker, but no longer than a run can."""
        raised: list[Exception] = []

        def send() -> None:
            try:
                self._opened[name].send(run)
            except Exception as error:  # noqa: BLE001 - raised again below
                raised.append(error)

        sending = threading.Thread(target=send, daemon=True)
        sending.start()
        sending.join(self.seconds)
        if sending.is_alive():
            raise TimeoutError(f"no answer in {self.seconds:.0f} seconds")
        if raised:
            raise raised[0]


def digest_run(run: TrackedRun) -> Told:
    """A digest of each metric's points, and of the facts but for those of the code, which are of
    the time when the others were told.
    """
    ordered = sorted(run.points, key=attrgetter("metric"))
    by_metric = groupby(ordered, attrgetter("metric"))
    points = {name: digest_text(*(f"{p.step} {p.value!r}" for p in of)) for name, of in by_metric}
    facts = {name: fact for name, fact in run.facts.items() if name not in CODE}
    return {FACTS: digest_text(json.dumps(facts, sort_keys=True)), **points}


def _sentence(name: str, error: Exception) -> str:
    if isinstance(error, TrackerError):
        return f"{error} The run goes on without it."
    said = _CREDENTIALS.sub("//", " ".join(str(error).split()))[:300]
    return (
        f"The tracker {name} was not told of everything ({type(error).__name__}: {said}); the run "
        "goes on without it, and the next one tells it what is missing."
    )


def _read(file: Path) -> dict[str, dict[str, Told]]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _write(file: Path, told: Mapping[str, Mapping[str, Told]]) -> None:
    aside = file.with_suffix(".partial")
    aside.write_text(json.dumps(told, indent=1, sort_keys=True), encoding="utf-8")
    aside.replace(file)
