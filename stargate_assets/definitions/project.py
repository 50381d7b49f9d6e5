"""The composition root: everything that the files under `defs/` declare, with the resources that it
runs on, as a whole and by code location.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import dagster as dg

import stargate_assets.defs
from stargate_assets.config.data_set import DataSet, check_data_set
from stargate_assets.config.evaluation_set import EvaluationSet, check_evaluations
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.machine import Machine, load_machine
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.assets.versions import data_versions, missing_splits
from stargate_assets.pipeline.components import (
    data_set_definitions,
    experiment_definitions,
    external_data_set,
)
from stargate_assets.pipeline.dead_runs import dead_runs_sensor, release_dead_runs, widen_pool
from stargate_assets.pipeline.declarations import MAIN, load_declarations
from stargate_assets.pipeline.tracking import Tracking
from stargate_assets.storage.io_manager import WarehouseIOManager
from stargate_assets.storage.warehouse import Warehouse

WAREHOUSE = Path("warehouse")
"""Relative, like the paths in dagster.yaml: a project is the directory that its commands are run
from.
"""
DEFS = Path(stargate_assets.defs.__file__).parent

warnings.filterwarnings("ignore", category=dg.PreviewWarning)  # partitioned checks
warnings.filterwarnings("ignore", category=dg.BetaWarning)  # data versions of outputs

DEFAULT_MACHINE = Machine()
Change = Callable[[str, Experiment], Experiment]


@dataclass(frozen=True)
class Project:
    """What the declared components come to, with the resources that they run on."""

    warehouse: Warehouse
    models: ModelPool
    data_sets: dict[str, DataSet] = field(default_factory=dict)
    experiments: dict[str, Experiment] = field(default_factory=dict)
    pipes: dg.PipesSubprocessClient | None = None
    locations: Mapping[str, str] = field(default_factory=dict)
    """The code location of each data set and experiment; `MAIN` for those that are not in it."""
    evaluation_sets: Mapping[str, EvaluationSet] = field(default_factory=dict)
    """The external evaluations that experiments may name."""

    @cached_property
    def definitions(self) -> dg.Definitions:
        """All of it in one code location, for runs in this process; built when it is first needed,
        which takes longer than all else.
        """
        return project_definitions(self)

    @cached_property
    def tracking(self) -> Tracking:
        """The trackers that machine.yaml names."""
        return Tracking(self.warehouse, self.experiments, self.models.machine.trackers)

    def of_a_run(self, announce: Callable[[str], None]) -> "Project":
        """The same for a run, which waits for who has the warehouse open, and says so."""
        return replace(self, warehouse=self.warehouse.of_a_run(announce))

    def missing_splits(self, data_set: str, splits: Iterable[str]) -> list[str]:
        """Which of a data set's splits are not there as its sources are now."""
        current = data_versions(self.data_sets[data_set])
        return missing_splits(self.warehouse, data_set, current, splits)


def keep_unchanged(name: str, experiment: Experiment) -> Experiment:
    del name
    return experiment


def load_project(
    change: Change = keep_unchanged,
    root: Path = WAREHOUSE,
    machine: Machine | None = None,
    folder: Path | None = None,
) -> Project:
    """Everything that the files below `folder`, or below `defs/`, declare, each experiment as
    `change` wants it; the machine is that of machine.yaml unless another is given.
    """
    declared = load_declarations(folder or DEFS)
    experiments = {name: change(name, e) for name, e in declared.experiments.items()}
    machine = machine or load_machine()
    sets = declared.evaluation_sets
    project = assemble(declared.data_sets, experiments, root, machine, evaluation_sets=sets)
    return replace(project, locations=declared.locations)


def assemble(
    data_sets: dict[str, DataSet],
    experiments: dict[str, Experiment],
    root: Path,
    machine: Machine = DEFAULT_MACHINE,
    pipes: dg.PipesSubprocessClient | None = None,
    evaluation_sets: Mapping[str, EvaluationSet] = MappingProxyType({}),
) -> Project:
    """A project from its parts, with its warehouse in the directory `root`."""
    for name, experiment in experiments.items():
        check_data_set(name, experiment, data_sets)
        check_evaluations(name, experiment, evaluation_sets)
    warehouse, models = Warehouse(root / "stargate.duckdb"), ModelPool(root, machine)
    return Project(
        warehouse, models, data_sets, experiments, pipes, evaluation_sets=evaluation_sets
    )


def project_definitions(project: Project, location: str | None = None) -> dg.Definitions:
    """All assets, checks, jobs and sensors, or those of one code location, with the resources that
    they share. A data set of another location, if an experiment here needs it, is external.
    """
    data_sets = project.data_sets

    def location_of(name: str) -> str:
        return project.locations.get(name, MAIN)

    def is_here(name: str) -> bool:
        return location in (None, location_of(name))

    experiments = {name: e for name, e in project.experiments.items() if is_here(name)}
    needed = {experiment.data_set for experiment in experiments.values()}
    elsewhere = {name: location_of(name) for name in sorted(needed) if not is_here(name)}
    return dg.Definitions.merge(
        *(data_set_definitions(name, d) for name, d in data_sets.items() if is_here(name)),
        *(external_data_set(name, data_sets[name], other) for name, other in elsewhere.items()),
        *(
            experiment_definitions(
                name,
                e,
                data_sets[e.data_set],
                project.evaluation_sets,
                elsewhere.get(e.data_set),
            )
            for name, e in experiments.items()
        ),
        dg.Definitions(
            resources=_resources(project),
            sensors=[dead_runs_sensor] if location in (None, MAIN) else [],  # it sees all runs
            executor=dg.in_process_executor,
        ),
    )


def _resources(project: Project) -> dict[str, object]:
    warehouse, models = project.warehouse, project.models

    @dg.resource(description="The models; a run that needs them first frees what the dead hold.")
    def models_of_a_run(context: dg.InitResourceContext) -> ModelPool:
        if context.instance is not None:
            widen_pool(context.instance, models.machine.runs_at_once)
            release_dead_runs(context.instance)
        return models

    @dg.resource(description="The DuckDB file; a run waits long for who else has it open.")
    def warehouse_of_a_run(context: dg.InitResourceContext) -> Warehouse:
        if context.run is None or context.log is None:  # of a sensor
            return warehouse
        return warehouse.of_a_run(context.log.warning)

    @dg.io_manager(required_resource_keys={"warehouse"})
    def io_manager(context: dg.InitResourceContext) -> WarehouseIOManager:
        return WarehouseIOManager(
            context.resources.warehouse, models.store, project.tracking.notice
        )

    return {
        "io_manager": io_manager,
        "warehouse": warehouse_of_a_run,
        "models": models_of_a_run,
        "pipes": project.pipes or dg.PipesSubprocessClient(),
    }
