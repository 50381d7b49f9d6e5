"""The process that holds vLLM, with a stand-in for vLLM: what is said, and that nothing is left of
it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stargate_assets.engines.vllm_messages import Adapter, Generated, Scored, ScoreTokens, Work
from stargate_assets.engines.vllm_process import VllmProcess
from stargate_assets.method.language_model import EngineError
from stargate_assets_tests.conftest import ENVIRONMENT
from stargate_assets_tests.servers.stub_vllm_process import CRASH, FAULT, TWICE
from stargate_assets_tests.servers.vllm_owner import STAND_IN, START, generate

SECONDS_TO_BE_GONE = 30
ADAPTER = Adapter(number=1, path="a")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[VllmProcess]:
    process = VllmProcess(STAND_IN, START, ENVIRONMENT, tmp_path / "logs" / "vllm.log")
    yield process
    process.close()


def group(pid: int) -> list[psutil.Process]:
    """The processes of the group that `pid` leads."""
    return [p for p in psutil.process_iter() if _leader(p.pid) == pid]


def _leader(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def owner_is_ended_by(number: signal.Signals, *arguments: str) -> None:
    """Start an owner, end it by a signal in the middle of a call, and see its engine's group end
    too.
    """
    command = [sys.executable, "-m", "stargate_assets_tests.servers.vllm_owner", *arguments]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert owner.stdout is not None
    leader = int(owner.stdout.readline())
    processes = group(leader)
    assert leader in [p.pid for p in processes]
    owner.send_signal(number)
    assert owner.wait(SECONDS_TO_BE_GONE) == -number
    _, alive = psutil.wait_procs(processes, SECONDS_TO_BE_GONE)
    assert alive == [] == group(leader)
    assert owner.stdout.read() == b""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_owner(number: signal.Signals, tmp_path: Path) -> None:
    owner_is_ended_by(number, str(tmp_path / "vllm.log"))


def test_closing_ends_the_whole_group(process: VllmProcess) -> None:
    processes = group(process.process.pid)
    assert len(processes) == 2
    process.close()
    _, alive = psutil.wait_procs(processes, SECONDS_TO_BE_GONE)
    assert alive == []
    assert not process.alive


def test_results_come_with_their_request_s_id(process: VllmProcess) -> None:
    score = ScoreTokens(id=8, tokens=(7, 8), start=1)
    done = list(process.run(Work(adapter=ADAPTER, requests=(generate(7, 2, 3), score))))
    assert done == [Generated(id=7, tokens=(3, 2)), Scored(id=8, log_probs=(-1.0,))]
    assert process.max_length == 100


def test_results_of_a_call_that_was_left_are_not_taken_for_another_s(process: VllmProcess) -> None:
    left = process.run(Work(adapter=None, requests=(generate(1, 2, 3), generate(2, TWICE, 4))))
    assert next(left).id == 1
    again = process.run(Work(adapter=None, requests=(generate(3, 5 + 1),)))
    assert list(again) == [Generated(id=3, tokens=(6,))]
    with pytest.raises(AssertionError, match="newer call"):
        next(left)


def test_what_vllm_prints_is_in_the_log_and_not_among_the_results(process: VllmProcess) -> None:
    assert len(list(process.run(Work(adapter=None, requests=(generate(1, 2),))))) == 1
    process.close()
    assert "what vLLM prints" in process.log.read_text()


def test_a_fault_is_one_sentence_with_its_first_line(process: VllmProcess) -> None:
    with pytest.raises(EngineError, match=r"ended \(ValueError: the rank is too high\); .*log"):
        list(process.run(Work(adapter=None, requests=(generate(1, FAULT),))))
    assert not process.alive
    assert "and more" in process.log.read_text()


def test_a_crash_is_told_by_its_signal(process: VllmProcess) -> None:
    processes = group(process.process.pid)
    with pytest.raises(EngineError, match=r"ended \(signal 9\).*lower gpu_memory_share"):
        list(process.run(Work(adapter=None, requests=(generate(1, CRASH),))))
    _, alive = psutil.wait_procs(processes, SECONDS_TO_BE_GONE)
    assert alive == []
