"""The composition root: resources, and everything that the folders under `defs/` declare."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

import stargate_assets.defs
from stargate_assets.components import (
    DataSetComponent,
    ExperimentComponent,
    data_set_definitions,
    experiment_definitions,
)
from stargate_assets.data_set import DataSet
from stargate_assets.dead_runs import dead_runs_sensor, release_dead_runs
from stargate_assets.errors import StargateError
from stargate_assets.experiment import Experiment, ExperimentError, ModelSpec
from stargate_assets.jobs import data_version, missing_splits
from stargate_assets.machine import Machine, load_machine
from stargate_assets.model_pool import ModelPool
from stargate_assets.storage.io_manager import WarehouseIOManager
from stargate_assets.storage.warehouse import RESERVED_SCHEMAS, Warehouse

WAREHOUSE = Path("warehouse")
"""Relative, like the paths in dagster.yaml: a project is the directory that its commands are run
from.
"""

warnings.filterwarnings("ignore", category=dg.PreviewWarning)  # partitioned checks
warnings.filterwarnings("ignore", category=dg.BetaWarning)  # data versions of outputs


class ProjectError(StargateError):
    """What is declared under defs/ does not fit together. The message names what."""


DEFAULT_MACHINE = Machine()
Change = Callable[[str, Experiment], Experiment]


@dataclass(frozen=True)
class Project:
    """What the declared components come to, with the resources that they run on."""

    warehouse: Warehouse
    models: ModelPool
    data_sets: dict[str, DataSet] = field(default_factory=dict)
    experiments: dict[str, Experiment] = field(default_factory=dict)
    definitions: dg.Definitions = field(default_factory=dg.Definitions)

    def missing_splits(self, data_set: str, splits: Iterable[str]) -> list[str]:
        """Which of a data set's splits are not there as its sources are now."""
        graph = self.definitions.get_repository_def().asset_graph
        current, tables = data_version(graph, data_set), self.data_sets[data_set].tables
        return missing_splits(self.warehouse, data_set, tables, splits, current)


def unchanged(name: str, experiment: Experiment) -> Experiment:
    del name
    return experiment


def load_project(
    change: Change = unchanged, root: Path = WAREHOUSE, machine: Machine | None = None
) -> Project:
    """Everything under `defs/`, each experiment as `change` wants it; the machine is that of
    machine.yaml unless another is given.
    """
    tree = dg.ComponentTree.from_module(stargate_assets.defs, Path(__file__).parent.parent)
    components = tree.get_all_components(DataSetComponent)
    data_sets = {component.name: component.validated() for component in components}
    stated = tree.get_all_components(ExperimentComponent)
    experiments = {
        component.name: change(component.name, component.validated()) for component in stated
    }
    check_names([component.name for component in (*components, *stated)])
    return assemble(data_sets, experiments, root, machine or load_machine())


def check_names(names: Sequence[str]) -> None:
    """Each data set and experiment has a schema of its own in DuckDB, or this is a ProjectError."""
    for name in names:
        if names.count(name) > 1 or name in RESERVED_SCHEMAS:
            raise ProjectError(
                f"The name {name!r} is taken; give each data set and experiment under defs/ a name "
                "of its own."
            )


def oracle_of(data_set: DataSet) -> ModelSpec | None:
    """The model that writes a data set's gold responses, if one does."""
    return data_set.oracle.model if data_set.oracle else None


def assemble(
    data_sets: dict[str, DataSet],
    experiments: dict[str, Experiment],
    root: Path,
    machine: Machine = DEFAULT_MACHINE,
    pipes: dg.PipesSubprocessClient | None = None,
) -> Project:
    """A project from its parts, with its warehouse in the directory `root`."""
    usable = sorted(name for name, data_set in data_sets.items() if data_set.has_gold_responses)
    for name, experiment in experiments.items():
        if experiment.data_set not in usable:
            fault = (
                "has no gold responses" if experiment.data_set in data_sets else "is not declared"
            )
            raise ExperimentError(
                f"The experiment {name} names the data set {experiment.data_set!r}, which {fault}; "
                f"there are: {', '.join(usable)}."
            )
    warehouse, models = Warehouse(root / "stargate.duckdb"), ModelPool(root, machine)

    @dg.resource(description="The models; a run that needs them first frees what the dead hold.")
    def models_of_a_run(context: dg.InitResourceContext) -> ModelPool:
        if context.instance is not None:
            release_dead_runs(context.instance)
        return models

    return Project(
        warehouse,
        models,
        data_sets,
        experiments,
        dg.Definitions.merge(
            *(data_set_definitions(name, d) for name, d in data_sets.items()),
            *(
                experiment_definitions(name, e, oracle_of(data_sets[e.data_set]))
                for name, e in experiments.items()
            ),
            dg.Definitions(
                resources={
                    "io_manager": WarehouseIOManager(warehouse, models.store),
                    "warehouse": warehouse,
                    "models": models_of_a_run,
                    "pipes": pipes or dg.PipesSubprocessClient(),
                },
                sensors=[dead_runs_sensor],
                executor=dg.in_process_executor,
            ),
        ),
    )


defs = load_project().definitions
