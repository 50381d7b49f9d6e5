"""Live vLLM servers on loopback. As a program this module serves as `vllm serve` does, and ends,
with all that it started, when its parent does.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2

from stargate_assets.engines.child_process import watch_parent
from stargate_assets.engines.vllm import Resources, environment
from stargate_assets.engines.vllm_messages import Lora, Start
from stargate_assets.engines.vllm_server import end_group, engine_arguments

NAME = "smollm"
"""What the servers call the model."""
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SECONDS_TO_START, SECONDS_TO_END = 300.0, 20.0


@dataclass(frozen=True)
class LiveServer:
    url: str
    """Without /v1."""
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> None:
        """Until it answers; if it does not, an error with the end of its log."""
        give_up = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < give_up and self.process.poll() is None:
            with suppress(httpx2.TransportError):
                httpx2.get(f"{self.url}/health").raise_for_status()
                return
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.5)
        raise AssertionError(f"vLLM does not serve: {self.log.read_text()[-3000:]}")

    def answered(self) -> int:
        """How many requests it has completed."""
        lines = httpx2.get(f"{self.url}/metrics").text.splitlines()
        counts = [line for line in lines if line.startswith("vllm:request_success_total{")]
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in counts))


@contextmanager
def live_server(model: Path, core: int, log: Path) -> Iterator[LiveServer]:
    """A server in a process group of its own, computing in fp32 on one core; not yet ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, *arguments(str(model), port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **environment(os.environ, Resources()),
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
                "VLLM_CPU_OMP_THREADS_BIND": str(core),
            },
            cwd=Path(__file__).parent.parent.parent,
            start_new_session=True,
        )
    try:
        yield LiveServer(f"http://127.0.0.1:{port}", process, log)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)
        with suppress(ProcessLookupError):  # nothing is left of the group
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def arguments(model: str, port: int) -> list[str]:
    """What the vLLM engine starts vLLM with, as `vllm serve` takes it."""
    start = Start(
        model=model,
        revision=None,
        dtype="float32",
        quantization=None,
        max_length=2048,
        stop_ids=(),
        lora=Lora(rank=16, modules=LAYERS),
        tensor_parallel=1,
        gpu_memory_share=0.4,
        cpu_cache_gib=1,
    )
    flags = ["--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port)]
    for name, value in engine_arguments(start, on_cpu=True).items():
        flag = name.replace("_", "-")
        if name in ("skip_tokenizer_init", "disable_log_stats") or value is None:
            continue
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags += [f"--{flag}", *map(str, value if isinstance(value, list) else [value])]
    return flags


@contextmanager
def live_servers(model: Path, logs: Path) -> Iterator[tuple[LiveServer, LiveServer]]:
    """Two of them, which start at the same time and share the cores."""
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(
                live_server(model, cores[i % len(cores)], logs / f"vllm_serve_{i}.log")
            )
            for i in range(2)
        )
        one.wait()
        other.wait()
        yield one, other


if __name__ == "__main__":
    # What `vllm serve` runs: that command does not find its own version in the package vllm-cpu.
    from vllm.entrypoints.launchers.api_server.entry import main

    watch_parent(end_group)
    main()
