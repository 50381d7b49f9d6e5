"""The engine for endpoints against a real server on loopback that fails in every known way."""

import os
import signal
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from stargate_assets.engines.endpoints import Endpoint
from stargate_assets.method.language_model import (
    ChatRequest,
    EngineError,
    Failure,
    FailureReason,
    Message,
    Sampling,
)
from stargate_assets.models.stored import StoredModel
from stargate_assets_tests.conftest import ROOT
from stargate_assets_tests.servers.faulty_chat_endpoint import (
    KEY,
    Fault,
    FaultServer,
    answer,
    assert_no_secret,
    drop,
    failing,
    no_choices,
    no_http,
    promise_more,
    reply,
    requests,
    right,
    saying,
    served,
    truncated,
)

PROMPTS = [f"question {i}" for i in range(12)]
REFUSED = {
    "in the middle": saying(lambda: answer("I will tell you how to", "content_filter")),
    "by the model": saying(lambda: answer(None, refusal="I am sorry.")),
    "before it starts": failing(400, "content_filter"),
}


def ask(model: StoredModel, *prompts: str) -> str:
    """The error of a call that fails, as it would be printed, with all that led to it."""
    with pytest.raises(EngineError) as caught:
        model.chat(requests(*prompts), "asking")
    return "".join(traceback.format_exception(caught.value))


def test_what_passes_is_retried_and_every_answer_is_asked_for_once(
    server: FaultServer, tmp_path: Path
) -> None:
    passing: dict[str, Fault] = {
        "rate": failing(429, "rate_limit_exceeded", retry_after="1"),
        "error": failing(500),
        "overload": failing(503),
        "hang": server.hang,
        "drop": drop,
        "drop in the middle": promise_more,
        "no http": no_http,
        "cut json": truncated,
        "no choices": no_choices,
        "no content": saying(lambda: answer(None)),
        "called a tool": saying(lambda: answer(None, "tool_calls")),
    }
    server.faults = {name: [fault] for name, fault in passing.items()}
    prompts = [*PROMPTS, *passing]
    model = server.model(tmp_path, read_seconds=2)
    assert model.chat(requests(*prompts), "asking") == right(*prompts)
    assert server.answered == dict.fromkeys(prompts, 1)
    assert len(server.asked) == len(prompts) + len(passing)
    first, second = [when for prompt, when in server.asked if prompt == "rate"]
    assert second - first >= 1, "Retry-After was not waited for"
    assert model.usage.made == len(prompts)

    again = server.model(tmp_path)
    assert again.chat(requests(*prompts, "more"), "asking") == right(*prompts, "more")
    assert (again.usage.made, again.usage.stored) == (1, len(prompts))
    assert server.answered == dict.fromkeys([*prompts, "more"], 1)
    assert_no_secret(tmp_path)


def test_the_request_says_what_the_method_said(server: FaultServer) -> None:
    messages = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    request = ChatRequest(messages, Sampling(9, 0.5, 0.9), seed=2**63 - 1)
    assert [completion.text for _, completion in server.engine().chat([request])] == ["c!"]
    (body,) = server.bodies
    turns = [{"role": m.role, "content": m.content} for m in messages]
    sampling = {"temperature": 0.5, "top_p": 0.9, "seed": 2**63 - 1, "max_tokens": 9}
    assert body == {"model": "judge-1", "messages": turns, **sampling}


def structured(prompt: str) -> ChatRequest:
    return replace(requests(prompt)[0], structure='{"type": "object"}')


def test_a_structure_is_asked_for(server: FaultServer) -> None:
    assert [c for _, c in server.engine().chat([structured("a")])] == right("a")
    (body,) = server.bodies
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": schema}


def test_a_structure_that_a_server_does_not_take_is_left_out(server: FaultServer) -> None:
    server.faults = {"a": [failing(400, "unsupported_parameter", "response_format")]}
    assert [c for _, c in server.engine().chat([structured("a")])] == right("a")
    first, second = server.bodies
    assert first.pop("response_format")
    assert first == second


def test_a_structure_that_was_refused_is_not_asked_for_again(server: FaultServer) -> None:
    server.faults = {"a": [failing(400, "unsupported_parameter", "response_format")]}
    engine = server.engine(at_once=1)
    for prompts in (("a", "b"), ("c", "d")):
        assert [c for _, c in engine.chat(list(map(structured, prompts)))] == right(*prompts)
    assert [prompt for prompt, _ in server.asked] == ["a", "a", "b", "c", "d"]
    assert ["response_format" in body for body in server.bodies] == [True, *[False] * 4]


def test_what_is_refused_for_another_reason_says_nothing_of_structures(server: FaultServer) -> None:
    engine = server.engine(at_once=1)
    server.faults = {"long": [failing(400, "context_length_exceeded")]}
    ((_, long),) = engine.chat([structured("long")])
    assert long.failure == Failure(FailureReason.TOO_LONG, "No, ***. [context_length_exceeded]")
    assert [c for _, c in engine.chat([structured("b")])] == right("b")
    assert "response_format" in server.bodies[-1]


@pytest.mark.parametrize("text", [None, ""])
def test_a_limit_met_before_the_first_word_is_a_completion(
    server: FaultServer, text: str | None
) -> None:
    server.always = saying(lambda: answer(text, "length"))
    ((_, completion),) = server.engine().chat(requests("think"))
    assert (completion.text, completion.finish_reason) == ("", "length")


ASKS = "What do you do?"
THOUGHT_PART = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}


@pytest.mark.parametrize(
    ("message", "finish", "expected"),
    [
        ({"content": f"<think>\nHm.\n</think>\n\n{ASKS}"}, "stop", (ASKS, "Hm.", "stop")),
        ({"content": f"Hm.\n</think>\n\n{ASKS}"}, "stop", (ASKS, "Hm.", "stop")),
        ({"content": "<think>\nHm."}, "stop", ("", "Hm.", "length")),
        ({"content": "<think>\nHm."}, "length", ("", "Hm.", "length")),
        ({"content": ASKS, "reasoning_content": "Hm."}, "stop", (ASKS, "Hm.", "stop")),
        ({"content": ASKS, "reasoning": "Hm."}, None, (ASKS, "Hm.", "stop")),
        ({"content": None, "reasoning_content": "Hm."}, "stop", ("", "Hm.", "stop")),
        ({"content": "", "reasoning": "Hm."}, "length", ("", "Hm.", "length")),
        (
            {"content": [THOUGHT_PART, {"type": "text", "text": ASKS}]},
            "stop",
            (ASKS, "Hm.", "stop"),
        ),
        (
            {"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": ASKS}]},
            "stop",
            (ASKS, None, "stop"),
        ),
        ({"content": [THOUGHT_PART]}, "length", ("", "Hm.", "length")),
        ({"content": ASKS, "reasoning_content": None}, "stop", (ASKS, None, "stop")),
        ({"content": "analysisHm.assistantfinal" + ASKS}, "stop", (ASKS, "Hm.", "stop")),
    ],
)
def test_a_thought_is_no_text_wherever_a_server_puts_it(
    server: FaultServer,
    tmp_path: Path,
    message: dict[str, Any],
    finish: str | None,
    expected: tuple[str, str | None, str],
) -> None:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}
    server.always = saying(lambda: reply({"choices": [choice]}))
    for _ in range(2):  # the second time from the store
        (found,) = server.model(tmp_path).chat(requests("think"), "asking")
        assert (found.text, found.thought, found.finish_reason) == expected
    assert server.times_asked("think") == 1


def test_what_a_server_fails_at_is_asked_again_and_then_nobody_s_answer(
    server: FaultServer, tmp_path: Path
) -> None:
    failed = saying(lambda: answer("What do", "error"))
    server.faults = {"once": [failed], "always": [failed] * 3}
    once, always, fine = server.model(tmp_path).chat(requests("once", "always", "fine"), "asking")
    assert [once, fine] == right("once", "fine")
    assert (always.text, always.finish_reason) == ("", "refused")
    assert [server.times_asked(prompt) for prompt in ("once", "always", "fine")] == [2, 3, 1]
    assert server.model(tmp_path).chat(requests("always"), "asking") == right("always")


def test_refusals_reach_the_method_without_a_text_and_are_never_stored(
    server: FaultServer, tmp_path: Path
) -> None:
    for run in (1, 2):
        server.faults = {prompt: [fault] for prompt, fault in REFUSED.items()}
        *refused, answered = server.model(tmp_path).chat(requests(*REFUSED, "fine"), "asking")
        assert {(c.text, c.finish_reason) for c in refused} == {("", "refused")}
        assert [answered] == right("fine")
        assert [server.times_asked(prompt) for prompt in REFUSED] == [run] * len(REFUSED)
    model = server.model(tmp_path)
    assert model.store.count() == server.times_asked("fine") == 1
    assert model.chat(requests(*REFUSED, "fine"), "asking") == right(*REFUSED, "fine")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (failing(401, "invalid_api_key"), "set HERE_API_KEY to one that is valid"),
        (failing(403), "does not allow this key to use 'judge-1'"),
        (failing(404, "model_not_found"), "has no model 'judge-1'; correct its name"),
        (failing(429, "insufficient_quota"), "no credit left (No, ***. [insufficient_quota]); add"),
        (failing(402), "has no credit left (No, ***.); add some"),
        (
            saying(lambda: reply({"error": {"message": "No money", "code": 402}})),
            "(No money [402])",
        ),
    ],
)
def test_what_does_not_pass_stops_at_once_and_loses_nothing(
    server: FaultServer, tmp_path: Path, fault: Fault, said: str
) -> None:
    server.answers_left, server.after_the_last = 5, fault
    printed = ask(server.model(tmp_path, at_once=1), *PROMPTS)
    assert said in printed
    assert len(server.asked) == 5 + 1
    assert_no_secret(tmp_path, printed)

    server.answers_left = len(PROMPTS)
    again = server.model(tmp_path)
    assert again.chat(requests(*PROMPTS), "asking") == right(*PROMPTS)
    assert (again.usage.stored, again.usage.made) == (5, len(PROMPTS) - 5)
    assert set(server.answered.values()) == {1}


@pytest.mark.parametrize(
    ("fault", "tries", "said"),
    [
        (failing(429, retry_after_ms="1"), 2, "still limits the rate after all retries (No, ***.)"),
        (failing(500, retry_after_ms="1"), 2, "still fails after all retries (No, ***.)"),
        (drop, 3, "gives no answer"),
    ],
)
def test_what_should_pass_and_never_does_stops_the_run(
    server: FaultServer, tmp_path: Path, fault: Fault, tries: int, said: str
) -> None:
    server.always = fault
    printed = ask(server.model(tmp_path, retries=1, at_once=1), "anybody?")
    assert said in printed
    assert server.times_asked("anybody?") == tries
    assert_no_secret(tmp_path, printed)


def test_a_server_that_says_nothing_is_given_up(server: FaultServer, tmp_path: Path) -> None:
    server.always = server.hang
    printed = ask(server.model(tmp_path, retries=0, read_seconds=0.2), "anybody?")
    assert "gives no answer" in printed


def test_calls_under_way_when_another_fails_are_answered_and_kept(
    server: FaultServer, tmp_path: Path
) -> None:
    def deny_then_let_go(request: Request) -> Response:
        server.over.set()
        return failing(401)(request)

    def answer_late(request: Request) -> Response:
        del request
        server.over.wait(30)
        return answer("late")

    server.faults = {"late": [answer_late], "denied": [deny_then_let_go]}
    ask(server.model(tmp_path, at_once=2), "late", "denied")
    kept = server.model(tmp_path).chat(requests("late"), "asking")
    assert kept[0].text == "late"
    assert server.times_asked("late") == 1


def test_several_servers_share_the_requests(server: FaultServer, http: HTTPServer) -> None:
    other = served(http, "/other/v1")
    both = Endpoint("HERE", (server.url, other.url), KEY)
    engine = replace(server.engine(), endpoint=both)
    found = [completion for _, completion in sorted(engine.chat(requests(*PROMPTS)))]
    assert found == right(*PROMPTS)
    assert min(len(server.asked), len(other.asked)) >= len(PROMPTS) // 3
    assert not server.answered & other.answered


def test_an_interrupt_keeps_what_is_answered_and_does_not_wait(
    server: FaultServer, tmp_path: Path
) -> None:
    stored = Event()

    def on_progress(doing: str, done: int, total: int) -> None:
        if done == 5:
            stored.set()

    def interrupt(request: Request) -> Response:
        stored.wait(30)
        os.kill(os.getpid(), signal.SIGINT)
        return server.hang(request)

    server.answers_left, server.after_the_last = 5, interrupt
    model = replace(server.model(tmp_path, at_once=1), on_progress=on_progress)
    # A shell has what it starts in the background ignore this signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            model.chat(requests(*PROMPTS), "asking")
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(server.asked) == 5 + 1
    assert model.store.count() == 5


KILLED = """
import os, signal, sys
from pathlib import Path
from stargate_assets_tests.servers.faulty_chat_endpoint import FaultServer, requests
from dataclasses import replace

def on_progress(doing, done, total):
    if done == 20:
        os.kill(os.getpid(), signal.SIGKILL)

model = FaultServer(sys.argv[1]).model(Path(sys.argv[2]), at_once=8)
model = replace(model, on_progress=on_progress)
model.chat(requests(*(f"question {i}" for i in range(40))), "asking")
"""


def test_a_killed_run_pays_no_answer_twice(server: FaultServer, tmp_path: Path) -> None:
    """The server answers 20 calls and lets the next ones wait: of those nobody had an answer."""
    server.answers_left = 20
    command = [sys.executable, "-c", KILLED, server.url, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run(command, env=environment, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert server.model(tmp_path).store.count() == 20

    server.answers_left = 40
    prompts = [f"question {i}" for i in range(40)]
    again = server.model(tmp_path)
    assert again.chat(requests(*prompts), "asking") == right(*prompts)
    assert again.usage.made == 20
    assert server.answered == dict.fromkeys(prompts, 1)
