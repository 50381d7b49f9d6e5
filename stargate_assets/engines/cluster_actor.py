"""A replica: a process of Ray's that holds an engine. What it and the driver say to each other is
here; `cluster.py` is the driver's side.
"""

import os
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal

from stargate_assets.engines.engine import Checkpoint, Engine, Opening, open_engine
from stargate_assets.engines.object_store import StoredFiles, make_directory, write_files
from stargate_assets.method.language_model import ChatRequest, Completion, Score, ScoreRequest

Call = Literal["chat", "score"]
GATHERING_SECONDS = 0.1
"""How long a result waits for others, to be handed over with them."""


@dataclass(frozen=True, slots=True)
class Files:
    """A checkpoint's files in Ray's object store."""

    sha256: str
    files: StoredFiles


@dataclass(frozen=True, slots=True)
class Chunk:
    """Requests that a replica is asked together, of the base model or of an adapter. `number` is
    never used again.
    """

    number: int
    call: Call
    requests: Sequence[ChatRequest] | Sequence[ScoreRequest]
    adapter: Files | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What has come since the last one: results by the number of their chunk and their index in it;
    and the chunks that are not done.
    """

    results: Sequence[tuple[int, int, Completion | Score]]
    held: frozenset[int]


@dataclass(frozen=True, slots=True)
class EngineOnNode:
    """How a replica opens its engine: as `opening` says, but for the weights, which are either a
    checkpoint's files or where `find_model` finds them on the node.
    """

    module: str
    opening: Opening
    weights: Files | None = None
    find_model: Callable[[], str] | None = None
    threads: int | None = None
    """Those of a replica on CPU; None leaves it to Ray."""


class Replica:
    """The actor. The engine works in a thread of its own; `exchange` hands chunks over to it and
    takes results from it. A replica that Ray has started again knows nothing of what was before.
    """

    def __init__(self, on_node: EngineOnNode):
        if on_node.threads is not None:  # read when torch is imported
            os.environ["OMP_NUM_THREADS"] = str(on_node.threads)
        self.on_node, self.wanted = on_node, frozenset[int]()
        self.directory = make_directory("replica-")
        self.engine_thread = ThreadPoolExecutor(1, "engine")
        self.held: dict[int, Future[None]] = {}
        self.arrived: SimpleQueue[tuple[int, int, Completion | Score] | int] = SimpleQueue()
        """Results, and numbers of chunks of which there will be no more."""
        self.ended: set[int] = set()
        self.opened: Engine | None = None

    def open(self) -> tuple[str, int]:
        """Open the engine; the node's name and this process's number. Raises what the engine
        raises.
        """
        self.engine_thread.submit(self._engine).result()
        return socket.gethostname(), os.getpid()

    def exchange(self, chunks: Sequence[Chunk], wanted: frozenset[int], seconds: float) -> Reply:
        """Take chunks, drop those that are no longer wanted, and wait for results, but no longer
        than that. Raises what the engine has raised, after its last results.
        """
        self.wanted = wanted
        failed = {number: self.held.pop(number) for number in self.ended}
        self.ended.clear()
        for number in wanted & failed.keys():
            failed[number].result()
        for chunk in chunks:
            self.held[chunk.number] = self.engine_thread.submit(self._ask, chunk)
        results = self._take(seconds)
        for number in [n for n in self.ended if self.held[n].exception() is None]:
            self.ended.remove(number)
            del self.held[number]
        return Reply([one for one in results if one[0] in wanted], frozenset(self.held))

    def close(self) -> None:
        """Free what the engine holds, and delete the files that were brought."""
        self.wanted = frozenset()
        if self.opened is not None:
            self.engine_thread.submit(self.opened.close).result()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _take(self, seconds: float) -> list[tuple[int, int, Completion | Score]]:
        """Results: after a wait for the first, those that come soon after it, so that there are not
        as many replies as results. Nobody waits once there is no more to come.
        """
        results: list[tuple[int, int, Completion | Score]] = []
        end = time.monotonic() + seconds
        with suppress(Empty):
            while self.ended != self.held.keys():
                one = self.arrived.get(timeout=max(0.0, end - time.monotonic()))
                if isinstance(one, int):
                    self.ended.add(one)
                else:
                    results.append(one)
                    end = min(end, time.monotonic() + GATHERING_SECONDS)
        return results

    def _ask(self, chunk: Chunk) -> None:
        try:
            if chunk.number not in self.wanted:
                return
            engine, adapter = self._engine(), chunk.adapter
            engine.use(Checkpoint(self._bring(adapter), adapter.sha256) if adapter else None)
            with closing(getattr(engine, chunk.call)(chunk.requests)) as results:
                for index, result in results:
                    self.arrived.put((chunk.number, index, result))
                    if chunk.number not in self.wanted:
                        return
        finally:
            self.arrived.put(chunk.number)

    def _engine(self) -> Engine:
        if self.opened is None:
            on_node = self.on_node
            opening = replace(on_node.opening, logs=self.directory)
            if on_node.weights is not None:
                opening = replace(opening, path=str(self._bring(on_node.weights)))
            elif on_node.find_model is not None:
                opening = replace(opening, path=on_node.find_model())
            self.opened = open_engine(on_node.module, opening)
        return self.opened

    def _bring(self, files: Files) -> Path:
        """The directory on this node with a checkpoint's files, which are brought once."""
        directory = self.directory / files.sha256
        if not directory.exists():
            aside = directory.with_suffix(".partial")
            write_files(files.files, aside)
            aside.rename(directory)
        return directory
