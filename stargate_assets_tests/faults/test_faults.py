"""Nothing is lost, whatever happens."""

from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from stargate_assets_tests.faults.__main__ import format_outcomes, strike_phases
from stargate_assets_tests.faults.scope import Scope, Survived
from stargate_assets_tests.faults.small import SLOW, SMALL


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(key, marks=[pytest.mark.slow] if key[0] in SLOW else [], id=" ".join(key))
        for key in SMALL
    ],
)
def test_a_fault_that_needs_no_whole_run(
    fault: tuple[str, str], http: HTTPServer, tiny_model: Path, tmp_path: Path
) -> None:
    assert SMALL[fault](Scope(tmp_path, http, tiny_model)) == Survived()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_fault_of_a_run_in_every_phase(tmp_path: Path) -> None:
    outcomes = strike_phases(tmp_path)
    assert len(outcomes) > 60
    lost = [outcome for outcome in outcomes if not outcome.survived]
    assert not lost, format_outcomes(lost)
