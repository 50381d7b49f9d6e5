"""The replicas of a model as the driver knows them: started, lost, and started again."""

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stargate_assets.config.machine import Cluster
from stargate_assets.engines.chunks import Part
from stargate_assets.engines.cluster_actor import EngineOnNode, Replica, Reply
from stargate_assets.engines.endpoint_errors import KEPT
from stargate_assets.engines.engine import Opening
from stargate_assets.method.errors import StargateError
from stargate_assets.method.language_model import EngineError

REPLY_SECONDS = 1.0
"""A replica that has nothing to say says so after this time, and takes new chunks."""
CLOSING_SECONDS = 10.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class KnownReplica:
    """An actor and what it was asked. `expected` is a reference to what it was last told to do, if
    that is not done; `place` is empty until it is open; `has_ended`: it, or the one before it, has
    ended once.
    """

    handle: Any
    expected: Any
    has_ended: bool = False
    place: str = ""
    process: int = 0
    parts: dict[int, Part] = field(default_factory=dict[int, Part])


@dataclass(slots=True)
class Replicas:
    """`gpus` are those of each; `log` has what an error leaves out."""

    name: str
    cluster: Cluster
    size: int
    gpus: float
    on_node: EngineOnNode
    log: Path
    all: list[KnownReplica] = field(default_factory=list[KnownReplica])
    last_open: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        """Start them, and wait until one is open. Raises EngineError."""
        self.all = [self._start() for _ in range(self.size)]
        try:
            while not self.open:
                list(self.wait())
        except BaseException:
            self.end()
            raise

    @property
    def open(self) -> list[KnownReplica]:
        """Those that can be asked."""
        return [one for one in self.all if one.place]

    def wait(self) -> Iterator[tuple[KnownReplica, Reply | None]]:
        """What the next replica to say something replies, or None if it has ended; nothing after a
        while. Ray starts it again. Raises EngineError.
        """
        import ray
        from ray.exceptions import RayError, RayTaskError

        expecting = {one.expected: one for one in self.all if one.expected is not None}
        ready, _ = ray.wait(list(expecting), num_returns=1, timeout=REPLY_SECONDS)
        for reference in ready:
            one = expecting[reference]
            one.expected = None
            try:
                reply = ray.get(reference)
            except RayTaskError as error:
                raise self._explain(error) from error
            except RayError as error:
                self._lose(one, error)
                yield one, None
            else:
                if isinstance(reply, Reply):
                    yield one, reply
                else:
                    self._greet(one, *reply)
        self._check_patience()

    def close(self) -> None:
        """Free what they hold, and end them."""
        import ray

        closing = [one.handle.close.remote() for one in self.open]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSING_SECONDS)
        self.end()

    def end(self) -> None:
        """End them, whatever they do."""
        import ray

        for one in self.all:
            ray.kill(one.handle)
        self.all.clear()

    def _start(self, has_ended: bool = False) -> KnownReplica:
        import ray

        is_local = self.cluster.address == "local"  # where the driver shares out the cores
        actor: Any = ray.remote(Replica).options(
            num_cpus=0 if is_local else 1,
            num_gpus=self.gpus,
            max_restarts=-1,
            scheduling_strategy="SPREAD",
        )
        handle = actor.remote(self.on_node)
        return KnownReplica(handle, _open(handle), has_ended)

    def _lose(self, one: KnownReplica, error: Exception) -> None:
        """Wait until Ray has started it again, or start another in its place."""
        place, one.place, one.has_ended = one.place, "", True
        if place:
            _log.warning(
                "The replica of %s on %s has ended; %d of %d go on, and what it had not answered "
                "is asked again.",
                *(self.name, place, len(self.open), self.size),
            )
            one.expected = _open(one.handle)
        elif getattr(error, "actor_init_failed", False):
            raise self._explain(error)
        else:
            self.all[self.all.index(one)] = self._start(has_ended=True)

    def _greet(self, one: KnownReplica, host: str, process: int) -> None:
        one.place, one.process = f"{host} (process {process})", process
        if one.has_ended:
            _log.warning(
                "A replica of %s was started again on %s; %d of %d go on.",
                *(self.name, one.place, len(self.open), self.size),
            )

    def _check_patience(self) -> None:
        """Raises EngineError if there has been no replica for too long."""
        now = time.monotonic()
        if self.open:
            self.last_open = now
        elif now - self.last_open > self.cluster.wait_seconds:
            needed = f"{self.gpus:g} GPUs" if self.gpus else "a core"
            raise EngineError(
                f"No replica of {self.name} could be opened for {self.cluster.wait_seconds:g} "
                f"seconds; see with `ray status` whether a node has {needed} free for it, lower "
                "replicas, gpus or models_in_memory in machine.yaml, or raise wait_seconds there, "
                f"and run again: {KEPT}."
            )

    def _explain(self, error: Any) -> StargateError:
        """What an engine has said in a replica; of anything else one sentence, and all of it in the
        log.
        """
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, StargateError):
            return cause
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{error}\n")
        said = str(cause).strip().splitlines() or [""]
        return EngineError(
            f"A replica of {self.name} failed ({type(cause).__name__}: {said[-1]}); {self.log} has "
            "all that it said. Every node needs this version of stargate-assets and of what it "
            f"runs on; mend that, and run again: {KEPT}."
        )


def count_gpus(cluster: Cluster, opening: Opening) -> float:
    """Those of a replica."""
    if not opening.device.startswith("cuda") or not opening.spec.entry.local:
        return 0
    if cluster.gpus is not None:
        return cluster.gpus
    return opening.machine.tensor_parallel if opening.spec.entry.spread else 1


def count_fitting(size: tuple[int, float], gpus: float, models: int) -> int:
    """How many replicas of each of so many models fit a cluster of so many nodes and GPUs, with so
    many GPUs each.
    """
    nodes, there = size
    return max(1, int(there / (gpus * models)) if gpus else nodes)


def count_threads(cluster: Cluster, opening: Opening, replicas: int) -> int | None:
    """A replica's share of this machine's cores, where it computes on them alone."""
    if cluster.address != "local" or opening.device != "cpu":
        return None
    return max(1, len(os.sched_getaffinity(0)) // replicas)


def _open(handle: Any) -> Any:
    """A reference to when it is open, however often Ray must start it until then."""
    return handle.open.options(max_task_retries=-1).remote()
