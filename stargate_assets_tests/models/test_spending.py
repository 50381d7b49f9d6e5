"""A run with a limit on an endpoint that has a price."""

from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from stargate_assets.cli.driver import run_data_set
from stargate_assets.config.machine import Machine, Price
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.models.stored import SpendingError
from stargate_assets_tests.conftest import mini_data_set
from stargate_assets_tests.servers.faulty_chat_endpoint import FaultServer, served

PRICE = Price.model_validate(
    {"endpoint": "SHOP", "model": "judge-1", "prompt": 30, "completion": 60, "as_of": "2024-01-01"}
)
ORACLE = {"model": {"engine": "openai", "endpoint": "SHOP", "model": "judge-1"}}


@pytest.fixture
def server(http: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    http.clear()
    server = served(http)
    http.expect_request("/tokenize", "POST").respond_with_data("", 404)  # it is no vLLM server
    monkeypatch.setenv("SHOP_BASE_URL", server.url)
    return server


def project(files: Path, max_dollars: float) -> Project:
    data_set = mini_data_set(files, gold_responses=None, oracle=ORACLE)
    machine = Machine(prices=(PRICE,), max_dollars=max_dollars)
    return assemble({"mini": data_set}, {}, Path("warehouse"), machine)


@pytest.mark.slow
def test_a_run_stops_at_its_limit_and_the_next_one_goes_on(mini: Path, server: FaultServer) -> None:
    limited = project(mini, 0.05)  # room for one answer of 512 tokens, as it might be
    with pytest.raises(SpendingError, match=r"more \(--max-dollars, or max_dollars in machine"):
        run_data_set(limited, "mini", print)
    paid = limited.models.usage.dollars
    answered = server.answered.total()
    assert 0 < paid <= 0.05
    assert 0 < answered == limited.models.store().count() < 12
    dollars = "select sum(dollars) as dollars, sum(calls) as calls from warehouse.usage"
    assert limited.warehouse.query(dollars).row(0) == (pytest.approx(paid), answered)

    richer = project(mini, 1.0)
    assert run_data_set(richer, "mini", print)["gold_responses"].sum() == 12
    assert server.answered.total() == 12
    assert richer.models.usage.made == 12 - answered
    assert richer.warehouse.query(dollars)["calls"].item() == 12
