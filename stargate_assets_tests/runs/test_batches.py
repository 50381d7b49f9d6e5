"""A data set whose Oracle, and a cell whose Judge, are asked in batches."""

from pathlib import Path

import polars as pl
import pytest
from pytest_httpserver import HTTPServer

from stargate_assets.cli.driver import launcher
from stargate_assets.config.machine import Machine, Price
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.pipeline.jobs import data_job_name, job_name
from stargate_assets_tests.conftest import (
    SCRIPTED,
    mini_data_set,
    project_files,
    scripted_experiment,
)
from stargate_assets_tests.servers.batch_endpoint import PRICE, TOKENS, serve_batches
from stargate_assets_tests.servers.faulty_chat_endpoint import served

TABLES = ('"mini".gold_responses', '"loop".judgements', '"loop".win_rates')


def answer(prompt: str) -> str:
    """An Oracle's, or a Judge's verdict: any, but always the same."""
    return f"You have no money, so it is this.\nVerdict: {'AB'[sum(prompt.encode()) % 2]}"


def make_cell(directory: Path, monkeypatch: pytest.MonkeyPatch, *, batch: bool) -> Project:
    directory.mkdir()
    monkeypatch.chdir(directory)
    spec = {"engine": "openai", "endpoint": "SHOP", "model": "m", "batch": batch}
    price = Price.model_validate(PRICE.model_dump() | {"endpoint": "SHOP"})
    stated = {"roleplayers": [{"model": SCRIPTED}], "judge": {"model": spec, "name": "oak"}}
    project = assemble(
        {
            "mini": mini_data_set(
                project_files(directory), gold_responses=None, oracle={"model": spec}
            )
        },
        {"loop": scripted_experiment(Path("any"), **stated)},
        Path("warehouse"),
        Machine(prices=(price,)),
    )
    with launcher(project, models=True) as launch:
        launch(data_job_name("mini"), "test")
        launch(job_name("loop", "evaluate"), "0|test")
    return project


def rows(project: Project) -> list[pl.DataFrame]:
    return [project.warehouse.query(f"from {table} order by all") for table in TABLES]


@pytest.mark.slow
def test_the_rows_are_those_without_batches_at_half_the_price(
    http: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.clear()
    plain, server = served(http), serve_batches(http)
    plain.say = server.say = answer
    monkeypatch.setenv("SHOP_BASE_URL", server.url)
    expected = make_cell(tmp_path / "plain", monkeypatch, batch=False)
    tables, versions = rows(expected), expected.warehouse.materializations("loop")
    full = expected.models.usage.dollars

    project = make_cell(tmp_path / "batched", monkeypatch, batch=True)
    assert all(ours.equals(theirs) for ours, theirs in zip(rows(project), tables, strict=True))
    assert tables[1]["verdict"].drop_nulls().len() > 0
    ours = project.warehouse.materializations("loop")
    assert {key: found.version for key, found in ours.items()} == {
        key: found.version for key, found in versions.items()
    }
    assert server.billed.total() == plain.answered.total() == 8
    dollars = server.billed.total() * TOKENS * PRICE.completion / 1e6
    assert full == pytest.approx(dollars)
    assert project.models.usage.dollars == pytest.approx(dollars / 2)
    logs = [path.read_bytes() for path in Path("warehouse/dagster").rglob("*") if path.is_file()]
    assert any(b"requests go out in batch batch-0" in log for log in logs)
