"""Where the planned cells of an experiment stand."""

from dataclasses import dataclass

from stargate_assets.cli.driver import find_experiment
from stargate_assets.definitions.project import Project
from stargate_assets.method.plan import Step, planned_steps, ready_steps
from stargate_assets.pipeline.assets.lineage import planned_tables
from stargate_assets.pipeline.assets.versions import done_steps


@dataclass(frozen=True, slots=True)
class CellState:
    """A planned cell: done, next or waiting, and how many rows its tables have."""

    step: Step
    state: str
    rows: dict[str, int]


def list_cell_states(project: Project, name: str) -> list[CellState]:
    """Every planned cell in order."""
    experiment = find_experiment(project, name)
    done = done_steps(project.warehouse, name, experiment)
    ready = ready_steps(experiment.iterations, done)
    there = project.warehouse.materializations(name)
    states: list[CellState] = []
    for step in planned_steps(experiment.iterations):
        rows = {
            table: there[table, step.cell.key].rows
            for table in planned_tables(step.purpose, experiment)
            if (table, step.cell.key) in there
        }
        state = "done" if step in done else "next" if step in ready else "waiting"
        states.append(CellState(step, state, rows))
    return states
