"""`python -m stargate_assets_tests.faults [WORD...]`: the table of all faults, or of those that
have one of the words in their names.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pytest_httpserver import HTTPServer
from rich.console import Console
from rich.table import Table

from stargate_assets.models.bundled import bundled_model
from stargate_assets_tests.conftest import ROOT, make_tiny_model
from stargate_assets_tests.faults.entries import FAULTS
from stargate_assets_tests.faults.harness import Outcome, run_undisturbed, strike
from stargate_assets_tests.faults.phases import PHASES
from stargate_assets_tests.faults.scope import Scope
from stargate_assets_tests.faults.small import SMALL


def strike_phases(directory: Path, words: Sequence[str] = ()) -> list[Outcome]:
    """Every fault of a run, in every phase that it has, two phases at once."""
    chosen = [fault for fault in FAULTS if _is_meant(fault.name, words)]
    if not chosen:
        return []
    undisturbed = run_undisturbed(directory)
    with ThreadPoolExecutor(2) as pool:
        running = [
            pool.submit(
                strike,
                phase,
                [fault for fault in chosen if phase.name in fault.phases],
                undisturbed[phase.name],
                directory / "struck" / phase.name,
            )
            for phase in PHASES
        ]
        return [outcome for future in running for outcome in future.result()]


def prove_small(directory: Path, words: Sequence[str] = ()) -> list[Outcome]:
    """Every fault that needs no whole run."""
    smollm = bundled_model(ROOT / "warehouse" / "models", lambda *_: None)
    model, outcomes = make_tiny_model(smollm, directory / "tiny"), list[Outcome]()
    with HTTPServer(host="127.0.0.1", threaded=True) as http:
        for (fault, phase), prove in SMALL.items():
            if not _is_meant(fault, words):
                continue
            scope = directory / f"small {len(outcomes)}"
            scope.mkdir()
            try:
                found = prove(Scope(scope, http, model))
                outcomes.append(Outcome(fault, phase, "", found.repeated, found.differ))
            except Exception as error:  # noqa: BLE001 - the table says so
                outcomes.append(Outcome(fault, phase, f"{type(error).__name__}: {error}"))
            shutil.rmtree(scope)
    return outcomes


def _is_meant(fault: str, words: Sequence[str]) -> bool:
    return not words or any(word in fault for word in words)


def format_outcomes(outcomes: Sequence[Outcome]) -> Table:
    """A row for each fault in each phase, faults together."""
    table = Table()
    for heading in ("fault", "phase", "survived", "calls repeated", "rows that differ", "found"):
        table.add_column(heading, overflow="fold")
    for o in sorted(outcomes, key=lambda o: o.fault):
        survived = "yes" if o.survived else "NO"
        table.add_row(o.fault, o.phase, survived, str(o.repeated), str(o.differ), o.found)
    return table


def main(words: Sequence[str]) -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        outcomes = strike_phases(Path(directory), words) + prove_small(Path(directory), words)
    Console(width=110, markup=False).print(format_outcomes(outcomes))
    faults = {o.fault for o in outcomes}
    lost = {o.fault for o in outcomes if not o.survived}
    print(f"{len(faults - lost)} of {len(faults)} faults survived in ", end="")
    print(f"{len(outcomes)} places; {time.monotonic() - started:.0f} s.")
    return bool(lost)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
