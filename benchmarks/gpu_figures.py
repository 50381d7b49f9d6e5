"""How `gpu.py` measures, and the figures that come of it."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.random_model import Shape
from stargate_assets.config.machine import Machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.engines.engine import Opening

GIB = 2**30


@dataclass(frozen=True)
class Row:
    """A figure, the share of the matmul that it is, and the peak of memory."""

    what: str
    value: float
    unit: str
    share: float | None = None
    peak_gib: float | None = None


class Bench:
    """What is measured with: the model, the device, and the rows so far."""

    def __init__(self, shape: Shape, device: str, directory: Path):
        self.shape, self.device, self.started = shape, device, time.monotonic()
        is_bf16 = device != "cpu" and torch.cuda.is_bf16_supported()
        self.dtype = "bfloat16" if is_bf16 else "float32"
        self.directory, self.model = directory, str(directory / "model")
        self.rows: list[Row] = []
        self.peak_flops = 0.0

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.started:4.0f} s  {text}", file=sys.stderr, flush=True)

    def measure(self, call: Callable[[], Any]) -> tuple[float, float | None, Any]:
        """Seconds, the peak of memory in GiB, and the result."""
        if self.device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        elif Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        started = time.perf_counter()
        result = call()
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - started, peak_memory(self.device), result

    def add(self, what: str, value: float, unit: str, peak: float | None = None) -> None:
        """Note a figure; one in TFLOP/s is a share of the matmul's."""
        share = value * 1e12 / self.peak_flops if unit == "TFLOP/s" and self.peak_flops else None
        self.rows.append(Row(what, value, unit, share, peak))
        self.say(f"{what}: {value:.4g} {unit}")

    def opening(self, name: str) -> Opening:
        fields: dict[str, Any] = {"max_length": 4096} if name == "vllm" else {}
        spec = ModelSpec(engine=name, model=self.model, **fields)
        machine = Machine(decode_rows=64, gpu_memory_share=0.8)
        return Opening(
            spec,
            self.model,
            None,
            self.dtype,
            self.device,
            machine,
            self.directory,
            lambda *_: None,
        )


def peak_memory(device: str) -> float | None:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / GIB
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / GIB


def print_table(rows: Sequence[Row]) -> None:
    for row in rows:
        share = "" if row.share is None else f"{row.share:.0%} of the matmul"
        peak = "" if row.peak_gib is None else f"peak {row.peak_gib:.1f} GiB"
        print(f"{row.what:28} {row.value:12,.4g} {row.unit:10} {share:18} {peak}".rstrip())
