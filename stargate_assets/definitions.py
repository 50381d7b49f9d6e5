"""The composition root: resources, and everything that the folders under `defs/` declare."""

import warnings
from collections.abc import Callable
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
from stargate_assets.dead_runs import dead_runs_sensor, release_dead_runs
from stargate_assets.experiment import Experiment, ExperimentError
from stargate_assets.model_pool import ModelPool
from stargate_assets.storage.io_manager import WarehouseIOManager
from stargate_assets.storage.warehouse import Warehouse

WAREHOUSE = Path("warehouse")
"""Relative, like the paths in dagster.yaml: a project is the directory that its commands are run
from.
"""

warnings.filterwarnings("ignore", category=dg.PreviewWarning)  # partitioned checks
warnings.filterwarnings("ignore", category=dg.BetaWarning)  # data versions of outputs

Change = Callable[[str, Experiment], Experiment]


@dataclass(frozen=True)
class Project:
    """What the declared components come to, with the resources that they run on."""

    warehouse: Warehouse
    models: ModelPool
    experiments: dict[str, Experiment] = field(default_factory=dict)
    definitions: dg.Definitions = field(default_factory=dg.Definitions)


def unchanged(name: str, experiment: Experiment) -> Experiment:
    del name
    return experiment


def load_project(change: Change = unchanged, root: Path = WAREHOUSE) -> Project:
    """Everything under `defs/`, each experiment as `change` wants it."""
    tree = dg.ComponentTree.from_module(stargate_assets.defs, Path(__file__).parent.parent)
    data_sets = tree.get_all_components(DataSetComponent)
    experiments = {
        component.name: change(component.name, component.validated())
        for component in tree.get_all_components(ExperimentComponent)
    }
    names = {component.name for component in data_sets}
    for name, experiment in experiments.items():
        if experiment.data_set not in names:
            raise ExperimentError(
                f"The experiment {name} names the data set {experiment.data_set!r}, which is not "
                f"declared; there are: {', '.join(sorted(names))}."
            )
    return assemble(
        [data_set_definitions(c.name, c.directory) for c in data_sets], experiments, root
    )


def assemble(
    data_sets: list[dg.Definitions],
    experiments: dict[str, Experiment],
    root: Path,
    pipes: dg.PipesSubprocessClient | None = None,
) -> Project:
    """A project from its parts, with its warehouse in the directory `root`."""
    warehouse, models = Warehouse(root / "stargate.duckdb"), ModelPool(root)

    @dg.resource(description="The models; a run that needs them first frees what the dead hold.")
    def models_of_a_run(context: dg.InitResourceContext) -> ModelPool:
        if context.instance is not None:
            release_dead_runs(context.instance)
        return models

    return Project(
        warehouse,
        models,
        experiments,
        dg.Definitions.merge(
            *data_sets,
            *(experiment_definitions(name, e) for name, e in experiments.items()),
            dg.Definitions(
                resources={
                    "io_manager": WarehouseIOManager(warehouse),
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
