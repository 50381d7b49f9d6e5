"""How a command ends: with one sentence, and a trace where it can be found."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from signal import Signals

import click
import duckdb
import pytest
from click.testing import CliRunner

from stargate_assets.cli.main import Commands
from stargate_assets.method.errors import StargateError
from stargate_assets_tests.conftest import ENVIRONMENT, ROOT


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ended(act: Callable[[], object]) -> tuple[int, str]:
    command = click.Command("act", callback=act)
    result = CliRunner().invoke(Commands("any", commands=[command]), ["act"])
    return result.exit_code, result.output


@pytest.mark.parametrize(("number", "code"), [(Signals.SIGINT, 130), (Signals.SIGTERM, 143)])
def test_a_signal_says_what_is_kept(number: Signals, code: int) -> None:
    found, said = ended(lambda: os.kill(os.getpid(), number))
    assert found == code
    assert said == (
        f"Ended by {number.name}. Every table that was written and every answer of a model is "
        "kept; the same command goes on from there.\n"
    )


def test_a_library_that_makes_an_error_of_a_signal_says_the_same() -> None:
    def query() -> None:
        try:
            os.kill(os.getpid(), Signals.SIGINT)
        except KeyboardInterrupt as interrupt:
            raise duckdb.InterruptException("INTERRUPT Error: Interrupted!") from interrupt

    code, said = ended(query)
    assert code == 130
    assert said.startswith("Ended by SIGINT. ")


def test_what_the_user_has_said_wrongly_needs_no_trace() -> None:
    def refuse() -> None:
        raise StargateError("There is no such thing.")

    assert ended(refuse) == (1, "Error: There is no such thing.\n")
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (StargateError("It is damaged."), "Error: It is damaged.\nThe trace is in"),
        (KeyError("x"), "Error: An unexpected KeyError: 'x'. The trace is in"),
    ],
)
def test_a_trace_goes_to_a_file_that_is_named(error: Exception, sentence: str) -> None:
    def break_down() -> None:
        raise error from OSError("the disk fell out")

    Path("warehouse").mkdir()
    code, said = ended(break_down)
    assert code == 1
    assert said.startswith(f"{sentence} warehouse/logs/failures.log")
    assert "Traceback" not in said
    assert "the disk fell out" in Path("warehouse/logs/failures.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(Signals.SIGINT, 130), (Signals.SIGTERM, 143)])
def test_the_command_itself_leaves_no_library_s_report(number: Signals, code: int) -> None:
    shutil.copy(ROOT / "dagster.yaml", Path.cwd())
    command = [sys.executable, "-c", "from stargate_assets.cli.main import entry; entry()"]
    with subprocess.Popen(
        [*command, "run", "everyday_mini"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "everyday_mini: train_a\n"
        run.send_signal(number)
        _, said = run.communicate()
    assert run.returncode == code
    assert said.startswith(f"Ended by {number.name}. ")
    assert said.count("\n") == 1
