"""The policies of an experiment by number, for the commands that use one."""

from contextlib import suppress
from dataclasses import dataclass

from stargate_assets.cli.driver import DriverError, find_experiment
from stargate_assets.definitions.project import Project
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.method.arms import BASE
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.versions import MissingPolicyError, policy_checkpoint


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of an experiment; `checkpoint` is None for the base model."""

    number: int
    checkpoint: Checkpoint | None


def find_policy(project: Project, name: str, number: int | None = None) -> Policy:
    """A policy of an experiment, the latest that was trained unless its number is stated. Raises
    DriverError for one that is not there.
    """
    experiment = find_experiment(project, name)
    there: dict[int, Checkpoint | None] = {BASE: None}
    for iteration in range(1, max(experiment.iterations, number or 0) + 1):
        with suppress(MissingPolicyError):
            cell = Cell(iteration, TEST_SPLIT)
            there[iteration] = policy_checkpoint(project.warehouse, name, cell)
    wanted = max(there) if number is None else number
    if wanted not in there:
        known = ", ".join(map(str, there))
        raise DriverError(
            f"{name} has no policy {wanted}; there are: {known}. Train more: stargate run {name}."
        )
    return Policy(wanted, there[wanted])
