"""What runs next: the one place that knows the order of the grid."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from stargate_assets.method.simulation import Cell

TRAIN_SPLITS = ("train_a", "train_b")
TEST_SPLIT = "test"
SPLITS = (*TRAIN_SPLITS, TEST_SPLIT)
Purpose = Literal["train", "evaluate"]


@dataclass(frozen=True, slots=True)
class Step:
    """A planned cell and what it is run for."""

    cell: Cell
    purpose: Purpose


def training_split(iteration: int) -> str:
    """s(i): the splits alternate, so that no policy is trained on data that its own questions were
    tuned to.
    """
    return TRAIN_SPLITS[iteration % len(TRAIN_SPLITS)]


def is_training_cell(cell: Cell) -> bool:
    """Whether a checkpoint of this cell becomes the next policy."""
    return cell.split == training_split(cell.iteration)


def planned_steps(iterations: int) -> list[Step]:
    """All planned cells in the order in which one process would run them: policy i is evaluated as
    soon as it exists, then trained from.
    """
    steps: list[Step] = []
    for iteration in range(iterations + 1):
        steps.append(Step(Cell(iteration, TEST_SPLIT), "evaluate"))
        if iteration < iterations:
            steps.append(Step(Cell(iteration, training_split(iteration)), "train"))
    return steps


def parent_cell(cell: Cell) -> Cell | None:
    """The cell whose checkpoint is this cell's policy; None for the base model."""
    if cell.iteration == 0:
        return None
    return Cell(cell.iteration - 1, training_split(cell.iteration - 1))


def reference_step(step: Step) -> Step | None:
    """The step whose responses an evaluated cell is compared with; None where it needs none."""
    if step.purpose == "train" or step.cell.iteration == 0:
        return None
    return Step(Cell(0, step.cell.split), "evaluate")


def ready_steps(iterations: int, done: Collection[Step]) -> list[Step]:
    """The planned steps that are not done, and whose policy and reference are there."""

    def needs(step: Step) -> list[Step]:
        parent, reference = parent_cell(step.cell), reference_step(step)
        policy = Step(parent, "train") if parent else None
        return [needed for needed in (policy, reference) if needed is not None]

    return [
        step
        for step in planned_steps(iterations)
        if step not in done and all(needed in done for needed in needs(step))
    ]
