"""Other runs of the project: which of them this one waits for, and which forbid it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

from stargate_assets.config.engines import compute_here
from stargate_assets.definitions.project import Project
from stargate_assets.method.errors import StargateError
from stargate_assets.pipeline.assets.grid import GPU_POOL
from stargate_assets.pipeline.dead_runs import release_dead_runs, widen_pool
from stargate_assets.storage.claims import claim, turn


class OtherRunError(StargateError):
    """Another run does what this one would. The message says which."""


def computes_here(project: Project, name: str) -> bool:
    """Whether any model of an experiment or data set computes on this machine or its cluster."""
    specs = [role.model for role in project.data_sets[_data_set(project, name)].writers]
    if experiment := project.experiments.get(name):
        everyone = experiment.all_roleplayers
        specs += [experiment.questioner, *(r.model for r in (*everyone, *experiment.judges))]
    return compute_here(spec.engine for spec in specs)


def _data_set(project: Project, name: str) -> str:
    return project.experiments[name].data_set if name in project.experiments else name


@contextmanager
def room_for_models(project: Project, instance: dg.DagsterInstance) -> Iterator[None]:
    """Within it, the models of this process have room on the machine. Raises OtherRunError."""
    room = project.models.machine.runs_at_once
    widen_pool(instance, room)
    living = release_dead_runs(instance)
    with claim(project.warehouse.path.parent, GPU_POOL, room) as holder:
        if holder is not None:
            raise OtherRunError(
                f"The process {holder} is using the models; wait for it to end, or end it."
            )
        if len(living) >= room:
            run = living[0].dagster_run
            raise OtherRunError(
                f"The run {run.run_id} ({run.job_name}) is using the models; wait for it to end, "
                "or terminate it in the UI (make ui)."
            )
        yield


@contextmanager
def only_run_of(project: Project, name: str) -> Iterator[None]:
    """Within it, this process alone makes an experiment. Raises OtherRunError."""
    with claim(project.warehouse.path.parent, name) as holder:
        if holder is not None:
            raise OtherRunError(
                f"The process {holder} is making {name}; wait for it to end, or end it."
            )
        yield


@contextmanager
def turn_at(project: Project, data_set: str, announce: Callable[[str], None]) -> Iterator[None]:
    """Wait until this process alone makes a data set, which experiments share."""

    def tell(holder: int) -> None:
        announce(f"{data_set}: waiting for the process {holder}, which is making it")

    with turn(project.warehouse.path.parent, data_set, tell):
        yield
