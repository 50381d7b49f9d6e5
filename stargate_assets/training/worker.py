"""A worker: a process of Ray's that runs the training program's share of one device. What it and
the driver say to each other is here; `nodes.py` is the driver's side.
"""

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from stargate_assets.engines.object_store import (
    StoredFiles,
    make_directory,
    put_files,
    write_files,
)
from stargate_assets.training.spec import TrainingResult, TrainingSpec


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker is: its node, that node's address and a port that is free there."""

    node: str
    address: str
    host: str
    process: int
    port: int

    def __str__(self) -> str:
        return f"{self.host} (process {self.process})"


@dataclass(frozen=True, slots=True)
class Loss:
    """Of a step: what the training program reports of it."""

    step: int
    steps: int
    loss: float


@dataclass(frozen=True, slots=True)
class SavedShare:
    """What one worker has saved of a step, in the directory `path` below the spec's `saved`."""

    path: Path
    files: StoredFiles


@dataclass(frozen=True, slots=True)
class Trained:
    """The end, and what the first worker published in `output`."""

    result: TrainingResult
    files: StoredFiles


Event = Loss | SavedShare | Trained


class TrainingWorker:
    """The actor. The training has a thread of its own, so that events go out while it goes on."""

    def __init__(self) -> None:
        self.directory = make_directory("training-")
        # Bound and not listening: nobody else is given the port until torch listens on it.
        self.reserved = socket.socket()
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reserved.bind(("", 0))

    def place(self) -> Place:
        """Where this is; that it answers says that it has not died."""
        import ray

        context = ray.get_runtime_context()
        address = ray.util.get_node_ip_address()
        port = self.reserved.getsockname()[1]
        return Place(context.get_node_id(), address, socket.gethostname(), os.getpid(), port)

    def bring(self, name: str, files: StoredFiles) -> str:
        """Write files that all workers of this node read, once; where they are."""
        write_files(files, self.directory / name)
        return str(self.directory / name)

    def train(
        self, spec: TrainingSpec, environment: Mapping[str, str], saved: StoredFiles | None
    ) -> Iterator[Event]:
        """Train, and go on from what is `saved`. Of the first worker the losses and the result, and
        of each what it saves. Raises what the training raises.
        """
        os.environ |= environment
        os.environ.setdefault("GLOO_SOCKET_IFNAME", _interface(self.place().address))
        here = spec.model_copy(update={"output": self.directory / "out", "cluster": None})
        if saved is not None:
            write_files(saved, here.saved)
        events = SimpleQueue[Event | None]()
        with ThreadPoolExecutor(1, "training") as thread:
            training = thread.submit(_train, here, events.put, environment["RANK"] == "0")
            training.add_done_callback(lambda _: events.put(None))
            while (event := events.get()) is not None:
                yield event
            training.result()

    def close(self) -> None:
        """Delete the files that were brought or made."""
        shutil.rmtree(self.directory, ignore_errors=True)


def _train(spec: TrainingSpec, report: Callable[[Event], None], first: bool) -> None:
    from transformers.utils.logging import disable_progress_bar

    from stargate_assets.training.trainer import train

    def hand_over(path: Path) -> None:
        """The driver keeps it; this node may be gone when it is needed."""
        report(SavedShare(path.relative_to(spec.saved), put_files(path)))
        shutil.rmtree(path)

    disable_progress_bar()
    on_loss: Callable[..., None] = partial(_report_loss, report) if first else _ignore
    result = train(spec, on_loss, hand_over)
    if first:
        report(Trained(result, put_files(spec.output)))


def _report_loss(report: Callable[[Event], None], step: int, steps: int, loss: float) -> None:
    report(Loss(step, steps, loss))


def _ignore(*_: Any) -> None:
    pass


def _interface(address: str) -> str:
    """The network interface that has this address. Unless told, gloo takes the one of the host's
    name, which is loopback on many machines.
    """
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == address for one in addresses):
            return name
    return ""
