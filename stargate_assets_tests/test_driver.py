"""The whole loop with the scripted engine: real Dagster, real DuckDB, real training of a tiny model."""

from collections.abc import Callable

import pytest

from stargate_assets.definitions import Project
from stargate_assets.driver import cell_states, run_experiment

Build = Callable[..., Project]


def test_the_loop_runs_resumes_and_knows_when_it_is_done(scripted_project: Build) -> None:
    project = scripted_project()
    announced: list[str] = []
    report = run_experiment(project, "loop", None, announced.append)
    assert report["iteration"].unique().sort().to_list() == [0, 1, 2]
    assert {state.state for state in cell_states(project, "loop")} == {"done"}
    assert project.models.usage.made > 0

    again = scripted_project()
    announced.clear()
    assert run_experiment(again, "loop", None, announced.append).equals(report)
    assert announced == []
    assert again.models.usage.made == 0
