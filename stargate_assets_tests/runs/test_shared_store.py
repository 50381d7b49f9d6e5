"""A cell made with its completions in PostgreSQL."""

from pathlib import Path

import polars as pl
import pytest

from stargate_assets.cli.driver import launcher
from stargate_assets.definitions.project import Project
from stargate_assets.models.pool import COMPLETIONS
from stargate_assets.pipeline.jobs import data_job_name, job_name
from stargate_assets.storage.postgres import COMPLETIONS_URL
from stargate_assets_tests.conftest import JUDGED, loop, project_files

TABLES = ("conversations", "gold_log_probs", "responses", "judgements", "win_rates")


def make_cell(directory: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    directory.mkdir()
    monkeypatch.chdir(directory)
    project = loop(project_files(directory), model, **JUDGED)
    with launcher(project, models=True) as launch:
        launch(data_job_name("mini"), "test")
        launch(job_name("loop", "evaluate"), "0|test")
    return project


def rows(project: Project) -> list[pl.DataFrame]:
    return [project.warehouse.query(f'from "loop".{table} order by all') for table in TABLES]


@pytest.mark.slow
def test_the_tables_are_those_of_a_file_and_another_machine_asks_nothing(
    tiny_model: Path, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_cell(tmp_path / "file", tiny_model, monkeypatch)
    tables, made = rows(expected), expected.models.usage.made
    monkeypatch.setenv(COMPLETIONS_URL, postgres_url)
    for machine, asked in (("one", made), ("another", 0)):
        project = make_cell(tmp_path / machine, tiny_model, monkeypatch)
        assert project.models.usage.made == asked
        assert not Path("warehouse", COMPLETIONS).exists()
        assert all(ours.equals(theirs) for ours, theirs in zip(rows(project), tables, strict=True))
        calls = sum(row.calls for row in project.models.calls().usage)
        assert calls == made == project.warehouse.query("from warehouse.usage")["calls"].sum()
