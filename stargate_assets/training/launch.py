"""Training in several processes of this machine, each with a device of its own."""

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stargate_assets.training.spec import TrainingError, TrainingSpec


def single_device_environment(device: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What the environment must say so that a process sees this device alone: Trainer would spread
    one process over all GPUs that it sees.
    """
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return {}
    index = number or "0"
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    return {"CUDA_VISIBLE_DEVICES": visible.split(",")[int(index)] if visible else index}


def launch(spec: TrainingSpec, spec_file: Path) -> None:
    """Run this program once for each device. When one process fails, the others are ended and
    TrainingError says which it was and why.

    torchrun's agent runs in this process: its workers watch this process as it watches its parent.
    """
    import torch
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    _check(spec, torch.cuda.device_count())
    program = ["-m", "stargate_assets.training", str(spec_file)]
    warnings = [f"-W{option}" for option in sys.warnoptions]
    agent = ["--standalone", "--local-addr", "localhost", "--nproc-per-node", str(spec.processes)]
    try:
        run(parse_args([*agent, "--no-python", sys.executable, *warnings, *program]))
    except ChildFailedError as error:
        raise TrainingError(describe_failure(error.failures, spec.processes)) from error


def _check(spec: TrainingSpec, gpus: int) -> None:
    stated = f"training_processes is {spec.processes}"
    if spec.device not in {"cpu", "cuda"}:
        raise TrainingError(f"{stated}, and device: {spec.device} is a single one; say cuda.")
    if spec.device == "cuda" and gpus < spec.processes:
        raise TrainingError(f"{stated}, and torch sees {gpus} GPUs; say {gpus} at most.")
    check_batch(spec, "training_processes")


def check_batch(spec: TrainingSpec, field: str) -> None:
    """Raises TrainingError if this field of machine.yaml asks for devices without an example."""
    size = spec.training.batch_size
    if size < spec.processes:
        raise TrainingError(
            f"{field} is {spec.processes}, and training.batch_size is {size}: there would be "
            f"devices without an example; say {size} at most."
        )


def describe_failure(failures: Mapping[int, Any], processes: int) -> str:
    """What failed first. The agent ends the rest by SIGTERM, or they miss the one that is gone."""

    def order(rank: int) -> tuple[bool, int]:
        failure = failures[rank]
        file = Path(failure.error_file)
        ended = failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM
        return not ended, file.stat().st_mtime_ns if file.exists() else sys.maxsize

    rank = min(failures, key=order)
    failure = failures[rank]
    told = failure.message["message"] if isinstance(failure.message, dict) else ""
    kind, _, sentence = told.partition(": ")
    if kind == TrainingError.__name__:
        return sentence
    if told:
        why = f"{kind}: {sentence.splitlines()[0]}" if sentence else kind
        return f"Process {rank} of {processes} failed in training, as its traceback says: {why}"
    how = failure.signal_name() if failure.exitcode < 0 else f"exit code {failure.exitcode}"
    return (
        f"Process {rank} of {processes} was ended in training ({how}); the machine may have run "
        "out of memory."
    )
