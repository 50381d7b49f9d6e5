"""Which fields a request is sent with, and what becomes of those that a server does not take."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from werkzeug import Request, Response

from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.engines.request_fields import RequestFields
from stargate_assets.method.language_model import (
    ChatRequest,
    FailureReason,
    Message,
    Sampling,
)
from stargate_assets_tests.servers.faulty_chat_endpoint import Fault, FaultServer, answer, reply

REQUEST = ChatRequest((Message("user", "a"),), Sampling(9, 0.5), 2**62 + 5, '{"type": "object"}')
ALL = {"temperature", "top_p", "seed", "max_tokens", "response_format"}


def complaining(is_wrong: Any, error: object, status: int = 400) -> Fault:
    """Takes a request unless its body is wrong."""

    def respond(request: Request) -> Response:
        body = request.get_json()
        return reply(error, status) if is_wrong(body) else answer("Who?")

    return respond


def detail(*loc: str) -> object:
    return {"detail": [{"loc": ["body", *loc], "msg": "not permitted", "input": {"top_p": 1}}]}


def message(text: str, **more: object) -> object:
    return {"error": {"message": text, "code": "unsupported_value", **more}}


@pytest.mark.parametrize(
    ("fault", "left_out", "tries"),
    [
        (complaining(lambda b: "seed" in b, detail("seed"), 422), {"seed"}, 2),
        (
            complaining(lambda b: b.get("temperature", 1) != 1, message("temperature must be 1")),
            {"temperature"},
            2,
        ),
        (
            complaining(
                lambda b: {"temperature", "top_p"} <= b.keys(),
                message("Give me temperature or top_p, not both."),
            ),
            {"top_p"},  # 1, so that nothing is lost
            2,
        ),
        (
            complaining(lambda b: "response_format" in b, message("No, thank you.")),
            {"response_format"},
            2,
        ),
        (
            complaining(
                lambda b: "max_tokens" in b,
                message("Use 'max_completion_tokens' instead.", param="max_tokens"),
            ),
            {"max_tokens"},
            2,
        ),
        (
            complaining(
                lambda b: not {"seed", "top_p"}.isdisjoint(b), message("neither seed nor top_p")
            ),
            {"seed", "top_p"},
            3,
        ),
    ],
)
def test_what_a_server_names_is_left_out_remembered_and_said_once(
    server: FaultServer,
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
    left_out: set[str],
    tries: int,
) -> None:
    server.always = fault
    engine = server.engine(at_once=1)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = [c for _, c in engine.chat([REQUEST, replace(REQUEST, seed=1)])]
            assert [c.text for c in found] == ["Who?"] * 2
    assert len(server.bodies) == tries - 1 + 4
    assert ALL - server.bodies[-1].keys() == left_out
    if "max_tokens" in left_out:
        assert server.bodies[-1]["max_completion_tokens"] == 9
    said = [r.getMessage() for r in caplog.records if r.name.startswith("stargate_assets")]
    assert len(said) == len(left_out)
    assert all("The endpoint HERE does not take" in text for text in said)


@pytest.mark.parametrize("limit", [2**31 - 1, 2**32 - 1])
def test_a_seed_that_is_too_wide_is_folded_and_not_lost(server: FaultServer, limit: int) -> None:
    error = message(f"seed must be less than or equal to {limit}")
    server.always = complaining(lambda body: body.get("seed", 0) > limit, error)
    ((_, found),) = server.engine().chat([REQUEST])
    assert found.text == "Who?"
    assert server.bodies[-1]["seed"] == REQUEST.seed % 2**31


def test_what_does_not_help_is_not_remembered(server: FaultServer) -> None:
    server.always = complaining(lambda body: True, message("seed: I do not like this one"))
    engine = server.engine(at_once=1)
    ((_, found),) = engine.chat([REQUEST])
    assert found.failure is not None
    assert found.failure.reason is FailureReason.REJECTED
    server.always = None
    list(engine.chat([REQUEST]))
    assert server.bodies[-1].keys() >= ALL


def test_a_limit_has_two_names_and_no_third(server: FaultServer) -> None:
    server.always = complaining(lambda body: True, message("max_tokens, max_completion_tokens"))
    ((_, found),) = server.engine().chat([replace(REQUEST, structure=None)])
    assert found.finish_reason == "refused"
    assert len(server.bodies) == 2


def test_an_answer_is_found_again_whatever_was_sent(server: FaultServer, tmp_path: Path) -> None:
    server.always = complaining(lambda body: "seed" in body, detail("seed"), 422)
    first = server.model(tmp_path).chat([REQUEST], "asking")
    asked = len(server.bodies)
    assert server.model(tmp_path).chat([REQUEST], "asking") == first
    assert len(server.bodies) == asked


def test_what_is_stated_is_sent() -> None:
    stated = RequestFields(
        "max_completion_tokens",
        frozenset({"top_p", "response_format"}),
        {"temperature": (0.6, 1.0), "seed": (1, 100), "max_tokens": (1, 4)},
    )
    assert stated.values(REQUEST) == {
        "temperature": 0.6,
        "seed": 1 + REQUEST.seed % 100,
        "max_completion_tokens": 4,
    }
    assert "max_tokens" not in RequestFields(None).values(REQUEST)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"engine": "transformers", "omit_fields": ["seed"]}, "omit_fields needs an engine"),
        ({"field_bounds": {"seed": [0, 5]}, "engine": "scripted"}, "field_bounds needs an engine"),
        ({"field_bounds": {"seed": [5, 0]}}, r"seed: write \[least, most\]"),
        ({"omit_fields": ["model"]}, "omit_fields"),
        ({"engine": "vllm", "batch": True}, "batch needs an engine that asks an endpoint"),
    ],
)
def test_what_cannot_be_stated(stated: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ModelSpec.model_validate({"engine": "openai", "model": "m"} | stated)
