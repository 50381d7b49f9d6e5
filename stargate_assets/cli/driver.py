"""Walks an experiment's plan in one process, with warm engines: what `stargate run` does."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import dagster as dg
import polars as pl

from stargate_assets.cli.dagster_errors import one_sentence
from stargate_assets.cli.interrupts import ending_signal
from stargate_assets.cli.other_runs import (
    computes_here,
    only_run_of,
    room_for_models,
    turn_at,
)
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.machine import load_machine
from stargate_assets.definitions.project import WAREHOUSE, Project, load_project
from stargate_assets.method.errors import StargateError
from stargate_assets.method.plan import SPLITS, Step, planned_steps, ready_steps
from stargate_assets.pipeline.assets.evaluation_sets import missing_evaluations
from stargate_assets.pipeline.assets.versions import done_steps, missing_aside, report_is_due
from stargate_assets.pipeline.jobs import (
    aside_job_name,
    data_job_name,
    evaluation_job_name,
    job_name,
    needed_splits,
    report_job_name,
)
from stargate_assets.storage.claims import turn
from stargate_assets.storage.completions import UsageRow
from stargate_assets.storage.duckdb_file import Patience, WarehouseError
from stargate_assets.storage.warehouse import Warehouse

Announce = Callable[[str], None]
Launch = Callable[[str, str | None], None]
"""A job's name and its partition."""
AT_THE_END = Patience(5.0)
"""Of a run that has failed, whose counts the next one can write."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class DriverError(StargateError):
    """The request makes no sense here. The message says what to do."""


def in_family(name: str, prefix: str) -> bool:
    """Whether an experiment is that of the prefix, or one that is named after it."""
    return name == prefix or name.startswith(f"{prefix}_")


def list_family(project: Project, prefix: str) -> list[str]:
    """The experiment that is called as the prefix, then those that are named after it; a
    DriverError if there are none.
    """
    found = sorted(name for name in project.experiments if in_family(name, prefix))
    if not found:
        known = ", ".join(sorted(project.experiments))
        raise DriverError(
            f"No experiment is called {prefix!r} or {prefix}_...; there are: {known}."
        )
    return found


def load(
    name: str,
    *,
    all_of_it: bool = False,
    iterations: int | None = None,
    samples: int | None = None,
    seed: int | None = None,
    max_dollars: float | None = None,
    evaluations: Sequence[str] = (),
    root: Path = WAREHOUSE,
) -> Project:
    """The project, with one experiment, or with all of its family, and the spending limit changed
    as the command line asks.
    """

    def change(declared: str, experiment: Experiment) -> Experiment:
        if declared != name and not (all_of_it and in_family(declared, name)):
            return experiment
        update: dict[str, object] = {}
        if iterations is not None:
            update["iterations"] = iterations
        if seed is not None:
            update["seed"] = seed
        if evaluations:
            named = (*experiment.evaluations, *evaluations)
            update["evaluations"] = tuple(dict.fromkeys(named))
        if samples is not None:
            update["simulation"] = experiment.simulation.model_copy(update={"samples": samples})
        return experiment.model_copy(update=update)

    machine = load_machine()
    if max_dollars is not None:
        machine = machine.model_copy(update={"max_dollars": max_dollars})
    return load_project(change, root, machine)


def find_experiment(project: Project, name: str) -> Experiment:
    """The experiment, or a DriverError that says which there are."""
    if name not in project.experiments:
        known = ", ".join(sorted(project.experiments))
        raise DriverError(f"There is no experiment {name!r}; there are: {known}.")
    return project.experiments[name]


def open_instance() -> dg.DagsterInstance:
    """The instance of dagster.yaml in this directory, which the UI and `dagster asset materialize`
    use too. Of two that make its databases at the same time, neither could open them again.
    """
    if not Path("dagster.yaml").exists():
        raise DriverError("There is no dagster.yaml here; run this from the project's directory.")
    with turn(WAREHOUSE, "dagster"):
        return dg.DagsterInstance.from_config(str(Path.cwd()))


@contextmanager
def launcher(project: Project, *, models: bool) -> Iterator[Launch]:
    """Runs jobs of the project in this process; those whose `models` compute here, only while the
    machine has room for them.
    """
    repository = project.definitions.get_repository_def()
    with ExitStack() as stack:
        with one_sentence(project.warehouse.path.parent):
            instance = stack.enter_context(open_instance())
            if models:
                stack.enter_context(room_for_models(project, instance))
        with project.warehouse.connect(read_only=False):
            pass  # what cannot be written is told of before anything is paid for

        def launch(job: str, partition: str | None) -> None:
            try:
                with one_sentence(project.warehouse.path.parent):
                    repository.get_job(job).execute_in_process(
                        instance=instance, partition_key=partition, run_config=QUIET
                    )
            except BaseException:
                with suppress(WarehouseError):  # counts calls whose table was not written
                    record_usage(project, replace(project.warehouse, patience=AT_THE_END))
                raise
            record_usage(project, project.warehouse)
            if ending_signal() is not None:  # which Dagster has forgotten
                raise KeyboardInterrupt

        yield launch


def record_usage(project: Project, warehouse: Warehouse) -> Sequence[UsageRow]:
    """Bring the warehouse up to what the completion store has counted, and return its usage."""
    warehouse.write_calls(project.models.calls)
    return project.models.calls().usage


def run_data_set(
    project: Project, name: str, announce: Announce, splits: Iterable[str] = SPLITS
) -> pl.DataFrame:
    """Materialise those of the splits that are missing or out of date; returns the rows of each
    table in every split that is there.
    """
    with launcher(project, models=computes_here(project, name)) as launch:
        _fill(project, name, splits, launch, announce)
    there = project.warehouse.materializations(name)
    tables = project.data_sets[name].tables
    made = [s for s in SPLITS if all((table, s) in there for table in tables)]
    return pl.DataFrame(
        [{"split": s, **{table: there[table, s].rows for table in tables}} for s in made]
    )


def run_experiment(
    project: Project, name: str, force: str | None, announce: Announce
) -> pl.DataFrame:
    """Make every planned cell that is missing or out of date, then the report, and return that."""
    forced = _find_forced_step(find_experiment(project, name), force)
    with launcher(project, models=computes_here(project, name)) as launch:
        return walk(project, name, forced, launch, announce)


def run_experiments(
    project: Project, names: Sequence[str], announce: Announce
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The same of several, one after another with the same warm engines; each name with its report
    when it is done.
    """
    here = any(computes_here(project, name) for name in names)
    with launcher(project, models=here) as launch:
        for name in names:
            yield name, walk(project, name, None, launch, announce)


def walk(
    project: Project,
    name: str,
    forced: Step | None,
    launch: Launch,
    announce: Announce,
    only: Mapping[str, Collection[str]] | None = None,
) -> pl.DataFrame:
    """The same while jobs can be launched, and nobody else makes the experiment. `only` are the
    slices that may be made, by schema; all unless stated.
    """
    experiment = find_experiment(project, name)
    splits = needed_splits(experiment)
    if only is not None:
        splits = [split for split in splits if split in only.get(experiment.data_set, ())]
    with only_run_of(project, name):
        project.tracking.begin(name, announce)
        _fill(project, experiment.data_set, splits, launch, announce)
        _make_cells(project, name, forced, launch, announce, only)
        for table, cell in missing_aside(project.warehouse, name, experiment):
            if only is None or cell.key in only[name]:
                launch(aside_job_name(name, table), cell.key)
        evaluate_policies(project, name, launch, announce, only)
        if report_is_due(project.warehouse, name):
            launch(report_job_name(name), None)
        return project.warehouse.read(name, "report", [{}])


def _make_cells(
    project: Project,
    name: str,
    forced: Step | None,
    launch: Launch,
    announce: Announce,
    only: Mapping[str, Collection[str]] | None,
) -> None:
    experiment, step = project.experiments[name], None
    while True:
        done = done_steps(project.warehouse, name, experiment)
        ready = [forced] if forced else ready_steps(experiment.iterations, done)
        if only is not None:
            ready = [step for step in ready if step.cell.key in only[name]]
        if not ready:
            return
        if step is not None and step == ready[0]:
            announce(
                f"{name}: what the cell {step.cell.key} is made from was rewritten while it was "
                "made, so it is made again"
            )
        step, forced = ready[0], None
        announce(f"{name}: cell {step.cell.key} ({step.purpose})")
        launch(job_name(name, step.purpose), step.cell.key)


def evaluate_policies(
    project: Project,
    name: str,
    launch: Launch,
    announce: Announce,
    only: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Run every policy that is there on the external evaluations that the experiment names."""
    warehouse, experiment = project.warehouse, project.experiments[name]
    for cell, _ in missing_evaluations(warehouse, name, experiment, project.evaluation_sets):
        if only is None or cell.key in only[name]:
            announce(f"{name}: cell {cell.key} (external evaluation)")
            launch(evaluation_job_name(name), cell.key)


def _fill(
    project: Project, data_set: str, splits: Iterable[str], launch: Launch, announce: Announce
) -> None:
    """Materialise those of a data set's splits that are missing or out of date."""
    splits = list(splits)
    if not project.missing_splits(data_set, splits):
        return
    with turn_at(project, data_set, announce):
        for split in project.missing_splits(data_set, splits):
            announce(f"{data_set}: {split}")
            launch(data_job_name(data_set), split)


def _find_forced_step(experiment: Experiment, force: str | None) -> Step | None:
    if force is None:
        return None
    steps = {step.cell.key: step for step in planned_steps(experiment.iterations)}
    if force not in steps:
        raise DriverError(f"{force!r} is not a planned cell; there are: {', '.join(steps)}.")
    return steps[force]
