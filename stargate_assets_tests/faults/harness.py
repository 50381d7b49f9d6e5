"""Runs a phase of the experiment under each fault, again without, and compares what is in the
warehouse with what an undisturbed run has written.
"""

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import click
import duckdb

from stargate_assets.cli.driver import launcher
from stargate_assets.cli.main import Commands
from stargate_assets.models.pool import COMPLETIONS
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.sqlite import SqliteFile
from stargate_assets_tests.faults import causes
from stargate_assets_tests.faults.causes import Cause
from stargate_assets_tests.faults.phases import (
    PHASES,
    Phase,
    launched,
    phased_project,
    write_project,
)

SPACE = "size=96m"
"""Of the file system that a phase is run on, where one can be mounted."""
VOLATILE = {"written_at", "seconds"}
"""Columns that measure time."""
BESIDE_ANOTHER_RUN = "two runs at once"
_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(["stargate_assets_tests.faults.preloaded"])


@dataclass(frozen=True)
class Fault:
    """Something that happens while a phase is run, and how that run ends: with an exit code (that
    of a signal is negative) and with words, if it does not survive by itself.
    """

    name: str
    phases: tuple[str, ...]
    cause: Cause
    exit_code: int = 0
    says: str = ""
    mounts: bool = False
    """Whether it needs a file system of its own."""


@dataclass(frozen=True)
class Outcome:
    """Of one fault in one phase. `found` is what is wrong with how the run ended."""

    fault: str
    phase: str
    found: str
    repeated: int = 0
    differ: int = 0

    @property
    def survived(self) -> bool:
        return not (self.found or self.repeated or self.differ)


Rows = Mapping[str, Counter[tuple[Any, ...]]]
"""How often each row is in each table."""


def read_rows(directory: Path) -> Rows:
    """Everything that is in the warehouse but what measures time."""
    found: dict[str, Counter[tuple[Any, ...]]] = {}
    file = str(directory / "warehouse" / "stargate.duckdb")
    with duckdb.connect(file, read_only=True) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name, list(column_name ORDER BY ordinal_position) FROM "
            "information_schema.columns JOIN information_schema.tables USING (table_schema, "
            "table_name) WHERE table_type = 'BASE TABLE' GROUP BY ALL"
        ).fetchall()
        for schema, table, columns in tables:
            kept = ", ".join(f'"{column}"' for column in columns if column not in VOLATILE)
            rows = connection.execute(f'SELECT {kept} FROM "{schema}"."{table}"').fetchall()
            found[f"{schema}.{table}"] = Counter(json.dumps(row, default=str) for row in rows)
    return found


def count_differences(one: Rows, other: Rows) -> int:
    """Rows that only one of them has."""
    return sum(
        ((one.get(table, Counter()) - other.get(table, Counter())).total())
        + ((other.get(table, Counter()) - one.get(table, Counter())).total())
        for table in {*one, *other} - {"warehouse.usage"}
    )


def count_calls(directory: Path) -> int:
    """Answers of models that were ever stored and counted."""
    return sum(
        row.calls
        for row in CompletionStore(SqliteFile(directory / "warehouse" / COMPLETIONS)).usage()
    )


def make(phase: Phase, cause: Cause | None = None) -> None:
    """Run a phase in the current directory, as `stargate` would, and leave."""

    @click.command()
    def run() -> None:
        project = phased_project()
        with (
            cause(project, phase) if cause else nullcontext(),
            launcher(project, models=True) as launch,
        ):
            launch(*launched(phase))

    Commands("faults", commands=[run]).main(["run"])


def _make_in_child(directory: Path, phase: Phase, fault: Fault | None, meeting: Any) -> None:
    os.chdir(directory)
    said = os.open(_said(directory), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, sys.stdout.fileno())
    os.dup2(said, sys.stderr.fileno())
    causes.MEETING = meeting
    make(phase, fault.cause if fault else None)


def _said(directory: Path) -> Path:
    """Where the words of a project's run go: not on its file system, which may be read-only."""
    return directory.parent.with_suffix(".said")


def start(
    directory: Path, phase: Phase, fault: Fault | None = None, meeting: Any = ()
) -> ForkServerProcess:
    process = _fork.Process(target=_make_in_child, args=(directory, phase, fault, meeting))
    process.start()
    return process


def ended(directory: Path, process: ForkServerProcess) -> tuple[int | None, str]:
    """The exit code, and what was said."""
    process.join()
    return process.exitcode, _said(directory).read_text(errors="replace")


def run_undisturbed(directory: Path) -> dict[str, tuple[Path, Rows, int]]:
    """Run every phase; for each, a copy of the directory before it, and rows and calls after it."""
    whole = directory / "undisturbed" / "project"
    whole.mkdir(parents=True)
    write_project(whole)
    found: dict[str, tuple[Path, Rows, int]] = {}
    for phase in PHASES:
        before = directory / "before" / phase.name
        if phase.forgets:
            shutil.rmtree(whole / phase.forgets)
        if phase.struck:
            shutil.copytree(whole, before)
        code, said = ended(whole, start(whole, phase))
        assert code == 0, said
        found[phase.name] = before, read_rows(whole), count_calls(whole)
    return found


@contextmanager
def own_file_system(directory: Path) -> Iterator[bool]:
    """A small file system at `directory`, where this user may mount one."""
    directory.mkdir(parents=True)
    command = ["/bin/mount", "-t", "tmpfs", "-o", SPACE, "tmpfs", str(directory)]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["/bin/umount", "--lazy", str(directory)], check=True)


def strike(
    phase: Phase, faults: Sequence[Fault], undisturbed: tuple[Path, Rows, int], directory: Path
) -> list[Outcome]:
    """Run a phase under each fault that ends it, one after another, then without any; and under
    each fault that it survives by itself, from its beginning.
    """
    ending = [fault for fault in faults if fault.exit_code != 0]
    chains = [ending, *([fault] for fault in faults if fault.exit_code == 0)]
    return [
        outcome
        for number, chain in enumerate(chains)
        if chain
        for outcome in _strike_in_turn(phase, chain, undisturbed, directory / str(number))
    ]


def _strike_in_turn(
    phase: Phase, faults: Sequence[Fault], undisturbed: tuple[Path, Rows, int], directory: Path
) -> list[Outcome]:
    before, rows, calls = undisturbed
    outcomes: list[Outcome] = []
    with own_file_system(directory) as mounted:
        work = directory / "project"
        shutil.copytree(before, work)
        for fault in faults:
            if fault.mounts and not mounted:
                found = "needs root, to mount a file system"
            else:
                found = _strike_once(work, phase, fault)
            outcomes.append(Outcome(fault.name, phase.name, found))
        if faults[-1].exit_code != 0:
            code, said = ended(work, start(work, phase))
            if code != 0:
                last = Outcome("none, afterwards", phase.name, " ".join(said.split())[-300:])
                outcomes.append(last)
        differ = count_differences(read_rows(work), rows)
        repeated = count_calls(work) - calls
    return [replace(outcome, repeated=repeated, differ=differ) for outcome in outcomes]


def _strike_once(work: Path, phase: Phase, fault: Fault) -> str:
    meeting = (_fork.Event(), _fork.Event())
    process = start(work, phase, fault, meeting)
    if fault.name == BESIDE_ANOTHER_RUN:
        reached, go_on = meeting
        if not reached.wait(causes.SECONDS_TO_MEET):
            return "it never came to the moment"
        refused = ended(work, start(work, phase))
        go_on.set()
        if refused[0] != 1 or not re.search(fault.says, refused[1]):
            return f"the second run: {refused[0]} {refused[1]}"
    code, said = ended(work, process)
    one_line = " ".join(said.split())
    if code != fault.exit_code:
        return f"exit code {code}: {one_line[-300:]}"
    if "Traceback" in said or "nanobind" in said:
        return f"a trace: {one_line[-300:]}"
    if fault.exit_code > 0 and not re.search(fault.says, one_line):
        return f"says: {one_line[-300:]}"
    return ""
