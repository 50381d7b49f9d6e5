"""Training in several processes: what one trains, and nothing that is left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import torch
from dagster_pipes import (
    DAGSTER_PIPES_CONTEXT_ENV_VAR,
    DAGSTER_PIPES_MESSAGES_ENV_VAR,
    encode_param,
)
from safetensors.torch import load_file
from torch.distributed.elastic.multiprocessing.errors import ErrorHandler, ProcessFailure
from transformers import AutoModelForCausalLM

from stargate_assets.pipeline.assets.training import run_program
from stargate_assets.training.launch import describe_failure, launch, single_device_environment
from stargate_assets.training.spec import TrainingError, TrainingResult, TrainingSpec
from stargate_assets.training.trainer import train
from stargate_assets_tests.conftest import ENVIRONMENT
from stargate_assets_tests.training.test_preferences import comparing
from stargate_assets_tests.training.test_trainer import spec

SECONDS_TO_BE_GONE = 30
OWNER = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
CLIPS_SOME_STEPS = {"lora": 0.5, "full": 2.5}


def in_two(stated: TrainingSpec, directory: Path) -> Path:
    file = directory / "spec.json"
    file.write_text(stated.model_copy(update={"processes": 2}).model_dump_json())
    return file


def run_in_dagster(spec_file: Path) -> TrainingResult:
    results = list[TrainingResult]()

    @dg.asset
    def trained(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        pipes = dg.PipesSubprocessClient(env=ENVIRONMENT)
        results.append(run_program(context, pipes, spec_file))
        return dg.MaterializeResult()

    dg.materialize([trained])
    return results[0]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_processes_train_what_one_does(tiny_model: Path, tmp_path: Path, method: str) -> None:
    """Also where steps are accumulated, and in a last step with one example for two devices; both
    of examples and of pairs.
    """
    stated = {"method": method, "batch_size": 3, "device_batch_size": 1, "loss": "sft_then_dpo"}
    stated |= {"max_grad_norm": CLIPS_SOME_STEPS[method]}
    one, two = (comparing(tiny_model, tmp_path / name, **stated) for name in ("one", "two"))
    expected = train(one, lambda *_: None)
    found = run_in_dagster(in_two(two, tmp_path))
    measured = {"losses", "preference_losses"}
    assert found.model_dump(exclude=measured) == expected.model_dump(exclude=measured)
    assert found.losses == pytest.approx(expected.losses, abs=1e-5)
    assert found.preference_losses == pytest.approx(expected.preference_losses, abs=1e-5)
    files = [{file.name: file for file in side.output.iterdir()} for side in (one, two)]
    assert files[0].keys() == files[1].keys()
    for name in files[0]:
        if not name.endswith(".safetensors"):
            assert files[0][name].read_bytes() == files[1][name].read_bytes()
            continue
        weights = [load_file(side[name]) for side in files]
        assert weights[0].keys() == weights[1].keys()
        for key, tensor in weights[0].items():
            torch.testing.assert_close(weights[1][key], tensor, atol=1e-5, rtol=0)
    if method == "full":
        assert AutoModelForCausalLM.from_pretrained(two.output).dtype == torch.float32


@pytest.mark.slow
def test_what_stops_a_training_is_said_in_one_sentence(tiny_model: Path, tmp_path: Path) -> None:
    bad = spec(tiny_model, tmp_path / "out", learning_rate=1e30, max_grad_norm=1e30)
    with pytest.raises(TrainingError, match=r"^The loss is (nan|inf).*learning_rate\.$"):
        run_in_dagster(in_two(bad, tmp_path))
    assert not bad.output.exists()


@pytest.fixture
def training(tiny_model: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose child trains in two processes, and which has got as far as the first step."""
    file = in_two(spec(tiny_model, tmp_path / "out", epochs=100_000), tmp_path)
    told = {
        DAGSTER_PIPES_CONTEXT_ENV_VAR: encode_param({"data": {"extras": {}}}),
        DAGSTER_PIPES_MESSAGES_ENV_VAR: encode_param({"stdio": "stdout"}),
    }
    command = [sys.executable, "-c", OWNER, sys.executable, "-m", "stargate_assets.training"]
    owner = subprocess.Popen(
        [*command, str(file)], stdout=subprocess.PIPE, env={**ENVIRONMENT, **told}
    )
    assert owner.stdout is not None
    assert any(b"step 1 of" in line for line in owner.stdout)
    started = psutil.Process(owner.pid).children(recursive=True)
    assert len(started) == 3
    yield owner
    for process in started:
        if process.is_running():
            process.kill()
    owner.kill()
    owner.communicate()


@pytest.mark.slow
def test_processes_end_when_who_started_the_training_is_killed(
    training: subprocess.Popen[bytes],
) -> None:
    started = psutil.Process(training.pid).children(recursive=True)
    training.kill()
    _, alive = psutil.wait_procs(started, SECONDS_TO_BE_GONE)
    assert alive == []


@pytest.mark.slow
def test_one_that_is_killed_ends_the_others_and_is_named(training: subprocess.Popen[bytes]) -> None:
    started = psutil.Process(training.pid).children(recursive=True)
    (second,) = [p for p in started if p.environ().get("RANK") == "1"]
    second.kill()
    assert training.stdout is not None
    messages = [json.loads(line) for line in training.stdout if line.startswith(b"{")]
    (error,) = [m["params"]["payload"] for m in messages if m["method"] == "report_custom_message"]
    assert error["error"].startswith("Process 1 of 2 was ended in training (SIGKILL)")
    _, alive = psutil.wait_procs(started, SECONDS_TO_BE_GONE)
    assert alive == []
    assert training.wait(SECONDS_TO_BE_GONE) == 0


def failure(directory: Path, rank: int, exit_code: int, error: Exception | None) -> ProcessFailure:
    file = directory / str(rank)
    if error is not None:
        os.environ["TORCHELASTIC_ERROR_FILE"] = str(file)
        ErrorHandler().record_exception(error)
    return ProcessFailure(rank, 7, exit_code, str(file))


def test_the_first_failure_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "")
    first = failure(tmp_path, 1, 1, RuntimeError("CUDA out of memory. Tried much.\nMore."))
    later = failure(tmp_path, 0, 1, RuntimeError("Connection closed by peer"))
    reason = describe_failure(
        {0: later, 1: first, 2: failure(tmp_path, 2, -signal.SIGTERM, None)}, 3
    )
    assert "Process 1 of 3" in reason
    assert reason.endswith("RuntimeError: CUDA out of memory. Tried much.")


@pytest.mark.parametrize(
    ("stated", "changed", "reason"),
    [
        ({"batch_size": 1}, {}, "batch_size is 1.*say 1 at most"),
        ({}, {"device": "cuda:1"}, "device: cuda:1 is a single one; say cuda"),
        ({"batch_size": 512}, {"device": "cuda", "processes": 512}, r"torch sees \d+ GPUs"),
    ],
)
def test_what_cannot_be_spread_is_refused(
    tmp_path: Path, stated: dict[str, Any], changed: dict[str, Any], reason: str
) -> None:
    several = spec(tmp_path, tmp_path, **stated).model_copy(update={"processes": 2} | changed)
    with pytest.raises(TrainingError, match=rf"^training_processes is \d+.*{reason}"):
        launch(several, tmp_path / "spec.json")


@pytest.mark.parametrize(
    ("device", "visible", "found"),
    [("cuda", None, "0"), ("cuda:1", None, "1"), ("cuda:1", "4,6", "6"), ("cpu", "4,6", None)],
)
def test_one_process_sees_one_gpu(device: str, visible: str | None, found: str | None) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert single_device_environment(device, environment).get("CUDA_VISIBLE_DEVICES") == found
