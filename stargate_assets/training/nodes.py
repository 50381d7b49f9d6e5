"""Training by workers on a Ray cluster, one for each device, wherever the cluster has room.

Plain actors that join one process group of torch's. Examples, what was saved, and a model that lies
in a directory go to them through the object store; what they save and publish comes back, so no
disk is shared. When one dies, all end, and new ones go on from the last step that was saved.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from stargate_assets.config.machine import Cluster
from stargate_assets.engines.object_store import StoredFiles, put_files, write_files
from stargate_assets.engines.ray_connection import CONNECTION
from stargate_assets.method.errors import StargateError
from stargate_assets.training.launch import check_batch
from stargate_assets.training.saved import (
    GATHERED_MOMENTS,
    GATHERED_WEIGHTS,
    find_saved,
    remove_older,
)
from stargate_assets.training.spec import TrainingError, TrainingResult, TrainingSpec
from stargate_assets.training.worker import (
    Event,
    Loss,
    Place,
    SavedShare,
    Trained,
    TrainingWorker,
)

ATTEMPTS = 3
"""On end that get no further."""
ANSWER_SECONDS = 60.0
"""Ray knows within half of it that a node is gone."""
OnLoss = Callable[[int, int, float], None]


class _WorkerLostError(Exception):
    """A worker has died. The message names it."""


@dataclass(slots=True)
class _Worker:
    """`rank` is its number in the process group."""

    handle: Any
    place: Place
    rank: int = 0


def train_on_nodes(
    spec: TrainingSpec, cluster: Cluster, on_loss: OnLoss, on_lost: Callable[[str], None]
) -> TrainingResult:
    """Train into `spec.output` of this machine, and keep in `spec.saved` how far it has got.
    `on_lost` is told of each attempt that ended with a worker. Raises TrainingError, and where
    there is no cluster EngineError.
    """
    check_batch(spec, "cluster.training_workers")
    CONNECTION.join(cluster)
    try:
        last, losses = _saved_step(spec), 0
        while True:
            try:
                return _attempt(spec, cluster, on_loss)
            except _WorkerLostError as lost:
                before, last = last, _saved_step(spec)
                losses = 1 if last > before else losses + 1
                if losses == ATTEMPTS:
                    raise TrainingError(
                        f"{lost}, and workers of this training ended {ATTEMPTS} times on end "
                        "without getting further, as they do where memory is short; lower "
                        "training.device_batch_size, or state gradient_checkpointing in "
                        "machine.yaml, and run again: what was saved is kept."
                    ) from lost
                begin = f"goes on from step {last}" if last else "begins anew"
                on_lost(f"{lost}; the training {begin}.")
    finally:
        CONNECTION.leave()


def _saved_step(spec: TrainingSpec) -> int:
    saved = find_saved(spec.saved)
    return saved.step if saved else 0


def _attempt(spec: TrainingSpec, cluster: Cluster, on_loss: OnLoss) -> TrainingResult:
    with _workers(spec, cluster) as workers:
        saves = Saves(spec.saved, len(workers))
        for worker, event in _events(_start(spec, workers), workers):
            match event:
                case Loss(step, steps, loss):
                    on_loss(step, steps, loss)
                case SavedShare():
                    with _reading_from(worker, len(workers)):
                        saves.add(event)
                case Trained(result, files):
                    with _reading_from(worker, len(workers)):
                        write_files(files, spec.output)
                    return result
    raise TrainingError("The first worker of a training ended without a result; run again.")


@contextmanager
def _workers(spec: TrainingSpec, cluster: Cluster) -> Iterator[list[_Worker]]:
    """All of them or none: those of two trainings that each have a half would wait for ever."""
    import ray
    from ray.exceptions import RayError
    from ray.util import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    gpus = 1 if spec.device.startswith("cuda") else 0
    room = placement_group([{"CPU": 1, "GPU": gpus}] * spec.processes, strategy="PACK")
    handles: list[Any] = []
    try:
        if not room.wait(cluster.wait_seconds):
            raise TrainingError(
                f"The cluster had no room for {spec.processes} workers of a training, each with a "
                f"core{' and a GPU' if gpus else ''}, for {cluster.wait_seconds:g} seconds; see "
                "`ray status`, lower cluster.training_workers or raise cluster.wait_seconds in "
                "machine.yaml, and run again."
            )
        actor: Any = ray.remote(TrainingWorker).options(
            num_cpus=1,
            num_gpus=gpus,
            max_concurrency=2,  # a worker that trains says that it is there
            scheduling_strategy=PlacementGroupSchedulingStrategy(room),
        )
        handles = [actor.remote() for _ in range(spec.processes)]
        try:
            places = ray.get([handle.place.remote() for handle in handles])
        except RayError as error:
            raise _explain_start(error) from error
        workers = [_Worker(*one) for one in zip(handles, places, strict=True)]
        workers.sort(key=lambda worker: worker.place.node)  # neighbours have numbers on end
        for rank, worker in enumerate(workers):
            worker.rank = rank
        yield workers
        ray.wait([h.close.remote() for h in handles], num_returns=len(handles), timeout=10)
    finally:
        for handle in handles:
            ray.kill(handle)
        remove_placement_group(room)


def _start(spec: TrainingSpec, workers: list[_Worker]) -> dict[Any, _Worker]:
    """Have all train; the events of each, as Ray's generator."""
    import ray

    first, brought = workers[0].place, dict[tuple[str, str], Any]()
    for name in ("model", "start"):
        path = getattr(spec, name)
        if path is None or not Path(path).is_dir():
            continue
        files = put_files(Path(path))
        for node, worker in {worker.place.node: worker for worker in workers}.items():
            brought[node, name] = worker.handle.bring.remote(name, files)
    saved = _put_saved(spec)
    started = dict[Any, _Worker]()
    for worker in workers:
        environment = {
            "MASTER_ADDR": first.address,
            "MASTER_PORT": str(first.port),
            "WORLD_SIZE": str(len(workers)),
            "RANK": str(worker.rank),
            "LOCAL_RANK": "0",  # Ray shows a worker its own GPU alone
            "LOCAL_WORLD_SIZE": "1",
        }
        with _reading_from(worker, len(workers)):
            node = worker.place.node
            here = spec.model_copy(
                update={name: ray.get(path) for (at, name), path in brought.items() if at == node}
            )
        share = files_for(worker.rank, saved) if saved else None
        train = worker.handle.train.options(num_returns="streaming")
        started[train.remote(here, environment, share)] = worker
    return started


def _put_saved(spec: TrainingSpec) -> StoredFiles | None:
    """The last checkpoint, by paths below `spec.saved`."""
    saved = find_saved(spec.saved)
    if saved is None:
        return None
    within = saved.path.relative_to(spec.saved)
    return {str(within / name): file for name, file in put_files(saved.path).items()}


def files_for(rank: int, saved: StoredFiles) -> StoredFiles:
    """What this worker reads of it."""
    for_first = {GATHERED_WEIGHTS, GATHERED_MOMENTS}
    return {n: f for n, f in saved.items() if rank == 0 or Path(n).name not in for_first}


def _events(started: dict[Any, _Worker], workers: list[_Worker]) -> Iterator[tuple[_Worker, Event]]:
    """What workers report. Raises what one of them has raised, unless one has died, for want of
    which others fail.
    """
    import ray
    from ray.exceptions import RayTaskError

    while started:
        ready, _ = ray.wait(list(started), num_returns=1)
        for stream in cast("list[Any]", ready):
            worker = started[stream]
            with _reading_from(worker, len(workers)):
                try:
                    event = cast("Event", ray.get(next(stream)))
                except StopIteration:
                    del started[stream]
                    continue
                except RayTaskError as error:
                    if isinstance(error.cause, StargateError):
                        raise error.cause from error
                    _find_lost(workers)
                    said = (str(error.cause).strip().splitlines() or [""])[0]
                    raise TrainingError(
                        f"Worker {worker.rank} of {len(workers)} on {worker.place} failed in "
                        f"training ({type(error.cause).__name__}: {said})."
                    ) from error
            yield worker, event


def _find_lost(workers: list[_Worker]) -> None:
    """Raises _WorkerLostError if a worker has died, or does not answer."""
    import ray

    answers = [(worker, worker.handle.place.remote()) for worker in workers]
    for worker, answer in answers:
        with _reading_from(worker, len(workers)):
            ray.get(answer, timeout=ANSWER_SECONDS)


@contextmanager
def _reading_from(worker: _Worker, workers: int) -> Iterator[None]:
    """Within it, whatever Ray says of a process or node that is gone is a _WorkerLostError."""
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayTaskError:
        raise
    except RayError as error:
        raise _WorkerLostError(
            f"Worker {worker.rank} of {workers} on {worker.place} has ended in training"
        ) from error


def _explain_start(error: Exception) -> Exception:
    """A worker that could not be made at all, or one that died before it said where it is."""
    if not getattr(error, "actor_init_failed", False):
        return _WorkerLostError("A worker has ended before it began to train")
    said = (str(error).strip().splitlines() or [""])[-1]
    return TrainingError(
        f"A worker of the training could not be started ({said}); every node needs this version of "
        "stargate-assets and of what it runs on."
    )


@dataclass(slots=True)
class Saves:
    """What workers save, in a directory of this machine. A step counts when all of them have handed
    over what they saved of it.
    """

    directory: Path
    workers: int
    came: dict[Path, int] = field(default_factory=dict[Path, int])

    def add(self, share: SavedShare) -> None:
        final = self.directory / share.path
        aside = final.with_name(f".{final.name}")
        if share.path not in self.came:
            shutil.rmtree(aside, ignore_errors=True)  # of an attempt that was lost
        write_files(share.files, aside)
        self.came[share.path] = self.came.get(share.path, 0) + 1
        if self.came[share.path] == self.workers:
            shutil.rmtree(final, ignore_errors=True)
            aside.rename(final)
            remove_older(final)
