"""What `stargate evaluate` does: external evaluations alone, of the policies that are there."""

from stargate_assets.cli.driver import (
    Announce,
    DriverError,
    evaluate_policies,
    find_experiment,
    launcher,
)
from stargate_assets.cli.other_runs import computes_here, only_run_of
from stargate_assets.definitions.project import Project
from stargate_assets.pipeline.assets.report_page import experiment_tables
from stargate_assets.pipeline.assets.versions import done_steps, report_is_due
from stargate_assets.pipeline.jobs import report_job_name
from stargate_assets.reporting.tables import ExperimentTables


def run_evaluations(project: Project, name: str, announce: Announce) -> ExperimentTables:
    """Run every policy that is there on the external evaluations that the experiment names, and
    nothing else but the report where there is one; returns the experiment's tables.
    """
    experiment = find_experiment(project, name)
    if not experiment.evaluations:
        there = ", ".join(sorted(project.evaluation_sets)) or "none"
        raise DriverError(
            f"The experiment {name} names no evaluation; say --on which, of those that are "
            f"declared: {there}."
        )
    with (
        launcher(project, models=computes_here(project, name)) as launch,
        only_run_of(project, name),
    ):
        evaluate_policies(project, name, launch, announce)
        done = done_steps(project.warehouse, name, experiment)
        evaluated = any(step.purpose == "evaluate" for step in done)
        if evaluated and report_is_due(project.warehouse, name):
            launch(report_job_name(name), None)
    return experiment_tables(project.warehouse, name, experiment)
