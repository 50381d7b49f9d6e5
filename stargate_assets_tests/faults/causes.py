"""How faults are caused: real signals, full and read-only disks, locks that others hold."""

import importlib
import os
import select
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path
from signal import Signals
from typing import Any
from unittest.mock import patch

from stargate_assets.definitions.project import Project
from stargate_assets.models.pool import COMPLETIONS
from stargate_assets.pipeline.assets.training import CHECKPOINTS
from stargate_assets.storage import warehouse
from stargate_assets.storage.duckdb_file import Patience, open_duckdb
from stargate_assets_tests.faults.phases import DATA_SET, Phase
from stargate_assets_tests.faults.scripted_training import STRIKES_WITH

Cause = Callable[[Project, Phase], AbstractContextManager[None]]
"""Within it, the fault happens to whoever makes the phase of the project."""
FILLER = Path("filler")
PATIENCE_SECONDS = 0.2
SECONDS_TO_MEET = 120
SECONDS_OF_A_DAY = 86_400
MEETING = list[Event]()
"""Set when a run waits, and when it may go on."""
HOLD = """
import sys, duckdb
held = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def at_moment(project: Project, phase: Phase, action: Callable[[], None]) -> Iterator[None]:
    """Within it, `action` happens once, in the middle of the phase."""
    waiting = [action]

    def strike() -> None:
        if waiting:
            waiting.pop()()

    def on_progress(doing: str, done: int, total: int) -> None:
        if doing.startswith(phase.calls) and 0 < done < total:
            strike()

    if phase.calls:
        project.models.on_progress = on_progress
        yield
        return
    place, _, name = phase.at.rpartition(".")
    module = importlib.import_module(place)
    real = getattr(module, name)

    def struck(*args, **kwargs):
        strike()
        return real(*args, **kwargs)

    setattr(module, name, struck)
    try:
        yield
    finally:
        setattr(module, name, real)


@contextmanager
def send(number: Signals, project: Project, phase: Phase) -> Iterator[None]:
    """The process is sent a signal; while it waits for a training, by the training."""
    if phase.name == "train":
        os.environ[STRIKES_WITH] = str(number.value)
        try:
            yield
        finally:
            del os.environ[STRIKES_WITH]
    else:
        with at_moment(project, phase, lambda: os.kill(os.getpid(), number)):
            yield


@contextmanager
def fill_disk(project: Project, phase: Phase) -> Iterator[None]:
    """Nothing is left of the file system in the middle of the phase."""

    def fill() -> None:
        with FILLER.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"\0" * 4096):
                pass

    try:
        with at_moment(project, phase, fill):
            yield
    finally:
        FILLER.unlink(missing_ok=True)


@contextmanager
def read_only_disk(project: Project, phase: Phase) -> Iterator[None]:
    """The file system, which is mounted one directory up, cannot be written."""
    del project, phase
    await_orphans()
    remount("ro")
    try:
        yield
    finally:
        remount("rw")


def await_orphans() -> None:
    """Wait for what a killed run has left and what ends by itself: a file system on which a process
    still writes cannot become read-only.
    """
    here = f"{Path.cwd().parent}/"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str((process / "fd/1").readlink()).startswith(here):
                select.select([os.pidfd_open(int(process.name))], [], [], SECONDS_TO_MEET)


def remount(option: str) -> None:
    subprocess.run(["/bin/mount", "-o", f"remount,{option}", str(Path.cwd().parent)], check=True)


@contextmanager
def locked_by(kind: str, project: Project, phase: Phase) -> Iterator[None]:
    """Another process has opened the warehouse, to `read` or to `write`, and keeps it."""
    del phase
    command = [sys.executable, "-c", HOLD, str(project.warehouse.path), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        with patch.object(warehouse, "open_duckdb", _open_hastily):
            yield
        holder.stdin.close()


def _open_hastily(path: Path, patience: Patience, *, read_only: bool) -> Any:
    return open_duckdb(path, replace(patience, seconds=PATIENCE_SECONDS), read_only=read_only)


@contextmanager
def beside_another_run(project: Project, phase: Phase) -> Iterator[None]:
    """The run waits in the middle of the phase until somebody else has tried to run too."""

    def wait() -> None:
        reached, go_on = MEETING
        reached.set()
        assert go_on.wait(SECONDS_TO_MEET)

    with at_moment(project, phase, wait):
        yield


@contextmanager
def stale_upstream(project: Project, phase: Phase) -> Iterator[None]:
    """A table that the phase has read is rewritten meanwhile, and made again afterwards."""
    where = {"split": "train_a"}
    version = project.warehouse.materializations(DATA_SET)["tasks", "train_a"].version
    rows = project.warehouse.read(DATA_SET, "tasks", [where])

    def write(other: str) -> None:
        project.warehouse.write(DATA_SET, "tasks", where, rows, other)

    try:
        with at_moment(project, phase, lambda: write("rewritten")):
            yield
    finally:
        write(version)


@contextmanager
def clock_set_back(project: Project, phase: Phase) -> Iterator[None]:
    """Every file, and every run that Dagster remembers, is of tomorrow."""
    del project, phase
    for file in Path().rglob("*"):
        later = file.stat().st_mtime + SECONDS_OF_A_DAY
        os.utime(file, (later, later))
    for file in Path("warehouse/dagster/storage").rglob("runs.db"):
        with closing(sqlite3.connect(file)) as runs:
            runs.execute(
                "UPDATE runs SET start_time = start_time + ?, end_time = end_time + ?",
                [SECONDS_OF_A_DAY, SECONDS_OF_A_DAY],
            )
            runs.commit()
    yield


@contextmanager
def no_store(project: Project, phase: Phase) -> Iterator[None]:
    """The completion store is damaged, and brought back afterwards."""
    file = project.warehouse.path.with_name(COMPLETIONS)
    content = file.read_bytes()
    file.write_bytes(os.urandom(len(content)))
    try:
        yield
    finally:
        file.write_bytes(content)


@contextmanager
def damaged_checkpoint(project: Project, phase: Phase) -> Iterator[None]:
    """A byte of the policy's weights is another, and is put right afterwards."""
    del phase
    (file,) = (project.models.directory / CHECKPOINTS).rglob("*.safetensors")
    content = file.read_bytes()
    file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    try:
        yield
    finally:
        file.write_bytes(content)
