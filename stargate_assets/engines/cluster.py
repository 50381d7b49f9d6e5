"""A local engine held by replicas on a Ray cluster, as one engine.

Requests go out in chunks to whichever replica is free, and results are taken as they come. A
replica's death costs what it had not handed over: that is asked again elsewhere, while Ray starts
the replica again where there is room.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from stargate_assets.config.machine import Cluster
from stargate_assets.engines.chunks import Part, plan_parts
from stargate_assets.engines.cluster_actor import Call, Chunk, EngineOnNode, Files, Reply
from stargate_assets.engines.endpoint_errors import KEPT
from stargate_assets.engines.engine import ANSWERS, Checkpoint, Opening
from stargate_assets.engines.object_store import put_files
from stargate_assets.engines.ray_connection import CONNECTION
from stargate_assets.engines.replicas import (
    REPLY_SECONDS,
    KnownReplica,
    Replicas,
    count_fitting,
    count_gpus,
    count_threads,
)
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    Results,
    Score,
    ScoreRequest,
    ignore_progress,
)

CHUNKS_AT_ONCE = 2
"""Of a replica: one that it computes, and one that it finds when that is done."""
Requests = Sequence[ChatRequest] | Sequence[ScoreRequest]


def open_on_cluster(
    module: str,
    opening: Opening,
    weights: Checkpoint | None = None,
    find_model: Callable[[], str] | None = None,
) -> "ClusterEngine":
    """Start the replicas of a model, and wait for the first. Their engines are those of `module`,
    opened as `opening` says; the weights are a fully trained checkpoint's, or are found on each
    node by `find_model`, or by the path. Raises EngineError.
    """
    cluster, path = opening.machine.cluster, Path(opening.path)
    assert cluster is not None
    gpus = count_gpus(cluster, opening)
    on_node = replace(
        opening,
        path=str(path.resolve()) if path.is_dir() else opening.path,
        device=opening.device.partition(":")[0],  # Ray says which of them
        on_progress=ignore_progress,
    )
    CONNECTION.join(cluster)
    try:
        models = opening.machine.models_in_memory * cluster.runs_at_once
        most = count_fitting(CONNECTION.size(), gpus, models)
        size = cluster.count_replicas(opening.spec, most)
        _check_room(opening.spec.label, cluster, size, most)
        replicas = Replicas(
            opening.spec.label,
            cluster,
            size,
            gpus,
            EngineOnNode(
                module,
                on_node,
                None if weights is None else _put(weights),
                find_model,
                count_threads(cluster, opening, size),
            ),
            opening.logs / "cluster.log",
        )
        opening.on_progress(f"opening {replicas.name} on Ray", 0, 1)
        replicas.start()
    except BaseException:
        CONNECTION.leave()
        raise
    opening.on_progress(f"opening {replicas.name} on Ray", 1, 1)
    return ClusterEngine(replicas)


def _check_room(name: str, cluster: Cluster, size: int, most: int) -> None:
    """Raises EngineError where runs would wait for GPUs that others of them have."""
    if cluster.runs_at_once > 1 and size > most:
        raise EngineError(
            f"{cluster.runs_at_once} runs at once with {size} replicas of {name} each need more "
            f"than the cluster has, which is enough for {most}; lower replicas, runs_at_once, gpus "
            "or models_in_memory in machine.yaml."
        )


class ClusterEngine:
    """One base model, and the adapter in use: each chunk says which, so a replica that is new
    needs to be told nothing.
    """

    def __init__(self, replicas: Replicas):
        self.replicas = replicas
        self.adapter: Files | None = None
        self.number = count()

    def use(self, checkpoint: Checkpoint | None) -> None:
        """Ask with this adapter from now on. Its files are read now; nodes need no directory."""
        if checkpoint is None:
            self.adapter = None
        elif self.adapter is None or self.adapter.sha256 != checkpoint.sha256:
            self.adapter = _put(checkpoint)

    def close(self) -> None:
        """End the replicas, and the connection to Ray if no other model needs it."""
        self.replicas.close()
        CONNECTION.leave()

    def chat(self, requests: Sequence[ChatRequest]) -> Results[Completion]:
        """Completions in the order in which they come."""
        return self._ask("chat", requests)

    def score(self, requests: Sequence[ScoreRequest]) -> Results[Score]:
        """Log-probabilities in the order in which they come."""
        return self._ask("score", requests)

    def _ask(self, call: Call, requests: Requests) -> Results[Any]:
        waiting = deque(plan_parts(requests, self.replicas.size))
        left = len(requests)
        try:
            while left:
                self._send(call, requests, waiting)
                for one, reply in self.replicas.wait():
                    for index, result in self._take(one, reply, waiting):
                        left -= 1
                        yield index, result
        finally:
            self._drop()

    def _send(self, call: Call, requests: Requests, waiting: deque[Part]) -> None:
        """Give free replicas a part each, and another one while there are enough for all."""
        free = [one for one in self.replicas.open if one.expected is None]
        chunks: list[list[Chunk]] = [[] for _ in free]
        for at_once in range(1, CHUNKS_AT_ONCE + 1):
            for one, given in zip(free, chunks, strict=True):
                enough = at_once == 1 or len(waiting) > self.replicas.size
                if waiting and enough and len(one.parts) < at_once:
                    part, number = waiting.popleft(), next(self.number)
                    part.requests = dict(enumerate(part.requests.values()))
                    asked: Any = [requests[index] for index in part.requests.values()]
                    one.parts[number] = part
                    given.append(Chunk(number, call, asked, self.adapter))
        for one, given in zip(free, chunks, strict=True):
            if one.parts:
                wanted = frozenset(one.parts)
                one.expected = one.handle.exchange.remote(given, wanted, REPLY_SECONDS)

    def _take(
        self, one: KnownReplica, reply: Reply | None, waiting: deque[Part]
    ) -> Iterator[tuple[int, Any]]:
        """The results of a reply, by the index of their request. What a replica no longer holds and
        has not answered is put back: it has ended, or Ray has started it again without a word.
        """
        for number, place, result in reply.results if reply else ():
            part = one.parts.get(number)
            if part is not None and place in part.requests:
                part.losses = 0
                yield part.requests.pop(place), result
        held = reply.held if reply else frozenset[int]()
        first = min(one.parts, default=None)
        for number in sorted(one.parts.keys() - held, reverse=True):
            part = one.parts.pop(number)
            if part.requests:
                part.losses += number == first  # the others were not begun
                self._check_losses(part)
                waiting.appendleft(part)

    def _check_losses(self, part: Part) -> None:
        """Raises EngineError for requests at which replicas keep ending: they are likely to be
        why.
        """
        if part.losses >= ANSWERS:
            raise EngineError(
                f"Replicas of {self.replicas.name} ended {ANSWERS} times on end at the same "
                f"{len(part.requests)} requests, as they do where memory is short; give a replica "
                "more of it (lower decode_rows, prefill_tokens or gpu_memory_share, or raise gpus "
                f"in machine.yaml), see Ray's logs, and run again: {KEPT}."
            )

    def _drop(self) -> None:
        """Have replicas stop what is under way."""
        from ray.exceptions import RayError

        for one in self.replicas.all:
            if one.parts:
                one.parts.clear()
                with suppress(RayError):
                    one.expected = one.handle.exchange.remote([], frozenset(), 0.0)


def _put(checkpoint: Checkpoint) -> Files:
    return Files(checkpoint.sha256, put_files(checkpoint.path))
