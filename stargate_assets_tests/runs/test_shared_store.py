"""The whole loop with its completions in PostgreSQL."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stargate_assets.cli.driver import run_experiment
from stargate_assets.definitions.project import Project
from stargate_assets.models.pool import COMPLETIONS
from stargate_assets.storage.postgres import COMPLETIONS_URL
from stargate_assets_tests.conftest import JUDGED, Finished

TABLES = ("conversations", "gold_log_probs", "responses", "judgements", "win_rates", "report")


@pytest.mark.slow
def test_the_tables_are_those_of_a_run_with_a_file(
    scripted_project: Callable[..., Project],
    finished: Finished,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(COMPLETIONS_URL, postgres_url)
    project = scripted_project(**JUDGED)
    run_experiment(project, "loop", None, print)
    assert not Path("warehouse", COMPLETIONS).exists()
    assert project.models.usage.made == finished.made
    asked = {(row.slice, row.role, row.kind): row.calls for row in project.models.usage_rows()}
    assert asked == {(row.slice, row.role, row.kind): row.calls for row in finished.asked}
    ours = {table: project.warehouse.query(f'from "loop".{table} order by all') for table in TABLES}

    monkeypatch.chdir(finished.directory)
    theirs = scripted_project(**JUDGED).warehouse
    for table, rows in ours.items():
        assert rows.equals(theirs.query(f'from "loop".{table} order by all')), table

    monkeypatch.chdir(project.warehouse.path.parent.parent)
    again = scripted_project(**JUDGED)
    run_experiment(again, "loop", "0|test", print)
    assert again.models.usage.made == 0
