"""Which engine a spec gets, and what names its results in the completion store."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from stargate_assets.config.experiment import ExperimentError, validate_experiment
from stargate_assets.config.machine import Machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.method.language_model import ChatRequest, EngineError, Message, Sampling
from stargate_assets.models.pool import ModelPool
from stargate_assets_tests.conftest import USE
from stargate_assets_tests.servers.faulty_chat_endpoint import failing, requests, right, served

KEY = "sk-a-very-secret-key"


def spec(**stated: Any) -> ModelSpec:
    return ModelSpec.model_validate({"engine": "openai", "model": "judge-1"} | stated)


def test_an_endpoint_s_model_is_named_by_what_its_results_depend_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_BASE_URL", "http://farm.org/v1")
    monkeypatch.setenv("FARM_API_KEY", KEY)
    pool = ModelPool(tmp_path)
    identity = pool.identity(spec(endpoint="FARM"))
    assert identity == "openai FARM judge-1 None"
    monkeypatch.setenv("FARM_BASE_URL", "http://other.org/v1")
    assert pool.identity(spec(endpoint="FARM", limit_field="max_completion_tokens")) == identity
    others = [
        pool.identity(spec()),
        pool.identity(spec(endpoint="FARM", model="judge-2")),
        pool.identity(spec(endpoint="FARM"), Checkpoint(tmp_path, "0f")),
        pool.identity(spec(endpoint="FARM", chat_template_kwargs={"enable_thinking": False})),
    ]
    assert len({identity, *others}) == 5


def test_the_environment_is_looked_at_when_a_call_is_made(
    http: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.clear()
    server = served(http)
    model = ModelPool(tmp_path, Machine(requests_at_once=1)).open(spec(endpoint="FARM"), USE)
    with pytest.raises(EngineError, match="set FARM_BASE_URL"):
        model.chat(requests("a"), "asking")
    monkeypatch.setenv("FARM_BASE_URL", server.url)
    assert model.chat(requests("a", "b"), "asking") == right("a", "b")
    assert {body["model"] for body in server.bodies} == {"judge-1"}


def test_a_model_that_counts_its_thoughts_gets_its_own_limit(
    http: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.clear()
    server = served(http)
    monkeypatch.setenv("FARM_BASE_URL", server.url)
    limited = spec(endpoint="FARM", limit_field="max_completion_tokens")
    request = ChatRequest((Message("user", "a"),), Sampling(9))
    ModelPool(tmp_path).open(limited, USE).chat([request], "asking")
    (body,) = server.bodies
    assert body["max_completion_tokens"] == 9
    assert "max_tokens" not in body


def test_what_a_template_is_told_goes_out_where_it_is_stated(
    http: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.clear()
    server = served(http)
    monkeypatch.setenv("FARM_BASE_URL", server.url)
    pool, stated = ModelPool(tmp_path), {"enable_thinking": False}
    for told in ({}, {"chat_template_kwargs": stated}):
        pool.open(spec(endpoint="FARM", **told), USE).chat(requests("a"), "asking")
    untold, told = server.bodies
    assert told == {**untold, "chat_template_kwargs": stated}


def test_a_model_that_takes_no_structure_is_remembered_while_the_process_lasts(
    http: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.clear()
    server = served(http)
    server.faults = {"a": [failing(400, "unsupported_parameter", "response_format")]}
    monkeypatch.setenv("FARM_BASE_URL", server.url)
    pool = ModelPool(tmp_path)
    for prompt in ("a", "b"):
        asked = replace(requests(prompt)[0], structure='{"type": "object"}')
        assert pool.open(spec(endpoint="FARM"), USE).chat([asked], "asking") == right(prompt)
    assert [prompt for prompt, _ in server.asked] == ["a", "a", "b"]


def test_a_whole_checkpoint_cannot_be_given_to_an_endpoint(tmp_path: Path) -> None:
    model = ModelPool(tmp_path).open(spec(), USE, Checkpoint(tmp_path, "0f"))
    with pytest.raises(EngineError, match="train with method: lora"):
        model.chat(requests("a"), "asking")


@pytest.mark.parametrize("label", ["", "my farm", "FARM-2", "2FARM", "https://farm.org", "FARM\n"])
def test_an_endpoint_is_a_label_and_not_an_address(label: str) -> None:
    roleplayer = {"model": {"engine": "openai", "model": "judge-1", "endpoint": label}}
    stated = {"data_set": "mini", "questioner": {"model": "any"}, "roleplayers": [roleplayer]}
    with pytest.raises(ExperimentError, match=r"roleplayers\.0\.model\.endpoint"):
        validate_experiment("mine", stated)
