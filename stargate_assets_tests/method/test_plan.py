import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.plan import (
    SPLITS,
    Step,
    is_training_cell,
    parent_cell,
    planned_steps,
    ready_steps,
    reference_step,
    training_split,
)
from stargate_assets.method.simulation import Cell

CELLS = [Cell(iteration, split) for iteration in range(5) for split in SPLITS]


def names(steps: list[Step]) -> list[str]:
    return [f"{step.cell.key} {step.purpose}" for step in steps]


def test_each_policy_is_evaluated_then_trained_from_on_alternating_splits() -> None:
    assert names(planned_steps(3)) == [
        "0|test evaluate",
        "0|train_a train",
        "1|test evaluate",
        "1|train_b train",
        "2|test evaluate",
        "2|train_a train",
        "3|test evaluate",
    ]


def test_without_iterations_the_base_model_is_evaluated() -> None:
    assert names(planned_steps(0)) == ["0|test evaluate"]


def test_training_splits_alternate() -> None:
    assert [training_split(i) for i in range(4)] == ["train_a", "train_b", "train_a", "train_b"]


def test_the_training_cells_are_those_that_the_plan_trains_in() -> None:
    trained = {step.cell for step in planned_steps(5) if step.purpose == "train"}
    assert {cell for cell in CELLS if is_training_cell(cell)} == trained


@pytest.mark.parametrize(
    ("cell", "parent"),
    [
        (Cell(0, "test"), None),
        (Cell(0, "train_b"), None),
        (Cell(1, "test"), Cell(0, "train_a")),
        (Cell(2, "train_a"), Cell(1, "train_b")),
        (Cell(2, "train_b"), Cell(1, "train_b")),
    ],
)
def test_a_cell_s_policy_comes_from_the_training_cell_before_it(
    cell: Cell, parent: Cell | None
) -> None:
    assert parent_cell(cell) == parent


@given(st.integers(0, 5), st.data())
def test_one_ready_step_at_a_time_finishes_the_plan_and_never_runs_a_child_first(
    iterations: int, data: st.DataObject
) -> None:
    done: list[Step] = []
    while ready := ready_steps(iterations, done):
        step = data.draw(st.sampled_from(ready))
        parent = parent_cell(step.cell)
        assert step not in done
        assert parent is None or Step(parent, "train") in done
        assert reference_step(step) in (None, *done)
        done.append(step)
    assert sorted(names(done)) == sorted(names(planned_steps(iterations)))


@given(st.integers(0, 4), st.sets(st.sampled_from(planned_steps(4))))
def test_ready_are_the_missing_steps_whose_policy_and_reference_are_there(
    iterations: int, done: set[Step]
) -> None:
    ready = ready_steps(iterations, done)
    for step in planned_steps(iterations):
        parent = parent_cell(step.cell)
        trained = parent is None or Step(parent, "train") in done
        comparable = reference_step(step) in (None, *done)
        assert (step in ready) == (step not in done and trained and comparable)
    assert ready == [step for step in planned_steps(iterations) if step in ready]


def test_policies_are_compared_with_the_base_model_on_the_same_split() -> None:
    assert reference_step(Step(Cell(2, "test"), "evaluate")) == Step(Cell(0, "test"), "evaluate")
    assert reference_step(Step(Cell(0, "test"), "evaluate")) is None
    assert reference_step(Step(Cell(2, "train_a"), "train")) is None


def test_an_evaluated_cell_is_nobody_s_parent() -> None:
    """A cell off the plan may be evaluated on training data; that trains no policy."""
    assert names(ready_steps(1, [Step(Cell(0, "train_a"), "evaluate")])) == [
        "0|test evaluate",
        "0|train_a train",
    ]
