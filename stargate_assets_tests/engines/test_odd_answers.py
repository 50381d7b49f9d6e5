"""What is wrong with one request is that request's failure, whatever a server calls it."""

from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from werkzeug import Request, Response

from stargate_assets.method.language_model import Failure, FailureReason
from stargate_assets_tests.servers.faulty_chat_endpoint import (
    KEY,
    Fault,
    FaultServer,
    answer,
    assert_no_secret,
    drop,
    failing,
    no_choices,
    reply,
    requests,
    right,
    saying,
    truncated,
)

BOUND = 1 + 16
"""Tokens of the prompt `a` at most: its byte, and what a template adds."""


def saying_json(content: object) -> Fault:
    return saying(lambda: reply(content))


def finishing(reason: str) -> Fault:
    return saying(lambda: answer("What do", reason))


ODD: dict[str, tuple[Fault, Failure, int]] = {
    "an error in a 200": (
        saying_json({"error": {"message": f"Overloaded, {KEY}."}}),
        Failure(FailureReason.SERVER_ERROR, "Overloaded, ***."),
        3,
    ),
    "a limit in a 200": (
        saying_json({"error": {"message": "Slow down.", "code": 429}}),
        Failure(FailureReason.SERVER_ERROR, "Slow down. [429]"),
        3,
    ),
    "an old error in a 200": (
        saying_json({"object": "error", "message": "The input is too long.", "code": 400}),
        Failure(FailureReason.TOO_LONG, "The input is too long. [400]"),
        1,
    ),
    "no choices": (no_choices, Failure(FailureReason.NO_ANSWER, '{"choices": []}'), 3),
    "cut json": (truncated, Failure(FailureReason.NO_ANSWER, '{"choices": [{"mess'), 3),
    "a lost connection": (
        drop,
        Failure(FailureReason.LOST, "it dropped the connection, or did not speak HTTP"),
        3,
    ),
    "an unknown end": (
        finishing("tea_time"),
        Failure(FailureReason.NO_ANSWER, "finish_reason 'tea_time'"),
        3,
    ),
    "a filter by another name": (
        finishing("PROHIBITED_CONTENT"),
        Failure(FailureReason.CONTENT_FILTER, "finish_reason 'PROHIBITED_CONTENT'"),
        1,
    ),
    "a filter before it starts": (
        lambda request: reply({"code": "data_inspection_failed", "message": "Unfit."}, 400),
        Failure(FailureReason.CONTENT_FILTER, "Unfit. [data_inspection_failed]"),
        1,
    ),
    "a filter that forbids": (
        lambda request: reply({"error": {"message": "Flagged by moderation."}}, 403),
        Failure(FailureReason.CONTENT_FILTER, "Flagged by moderation."),
        1,
    ),
    "a prompt too long": (
        lambda request: reply({"detail": "maximum context length is 12 tokens"}, 422),
        Failure(FailureReason.TOO_LONG, "maximum context length is 12 tokens"),
        1,
    ),
    "what nobody foresaw": (
        lambda request: reply({"error": "I would rather not."}, 400),
        Failure(FailureReason.REJECTED, "I would rather not."),
        1,
    ),
}


def test_one_request_that_fails_is_not_the_run(server: FaultServer, tmp_path: Path) -> None:
    for run in (1, 2):
        server.faults = {name: [fault] * tries for name, (fault, _, tries) in ODD.items()}
        model = replace(server.model(tmp_path), max_failure_share=1.0)
        *odd, fine = model.chat(requests(*ODD, "fine"), "asking")
        assert [fine] == right("fine")
        assert {(c.text, c.finish_reason) for c in odd} == {("", "refused")}
        found = dict(zip(ODD, (c.failure for c in odd), strict=True))
        assert found == {name: failure for name, (_, failure, _) in ODD.items()}
        assert {name: server.times_asked(name) for name in ODD} == {
            name: tries * run for name, (_, _, tries) in ODD.items()
        }
        stored = {row.key: (row.reason, row.runs) for row in model.store.failures()}
        assert sorted(stored.values()) == sorted((f.reason, run) for _, f, _ in ODD.values())
    assert_no_secret(tmp_path)
    again = server.model(tmp_path)
    assert again.chat(requests(*ODD, "fine"), "asking") == right(*ODD, "fine")
    assert not again.store.failures()


def test_a_server_error_at_one_request_among_answers_is_that_request_s(
    server: FaultServer, tmp_path: Path
) -> None:
    others_are_answered = Event()

    def fail_late(request: Request) -> Response:
        others_are_answered.wait(30)
        return failing(500)(request)

    def go_on(request: Request) -> Response:
        del request
        others_are_answered.set()  # whoever sends this request has its last answer
        return answer("b!")

    server.faults = {"bad": [fail_late], "b": [go_on]}
    model = server.model(tmp_path, retries=0, at_once=2)
    bad, *good = model.chat(requests("bad", "a", "b"), "asking")
    assert bad.failure == Failure(FailureReason.SERVER_ERROR, "No, ***.", is_settled=True)
    assert good == right("a", "b")


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, (BOUND, 9, True)),
        ({}, (BOUND, 9, True)),
        ({"prompt_tokens": 3}, (3, 9, True)),
        ({"completion_tokens": 2}, (BOUND, 2, True)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, (BOUND, 9, True)),
        ({"prompt_tokens": -3, "completion_tokens": "two"}, (BOUND, 9, True)),
        ({"prompt_tokens": 3, "completion_tokens": 2}, (3, 2, False)),
    ],
)
def test_tokens_that_nobody_reports_are_counted_here(
    server: FaultServer, usage: object, tokens: tuple[int, int, bool]
) -> None:
    choice = {"message": {"content": "Who?"}, "finish_reason": "stop"}
    server.always = saying_json({"choices": [choice], "usage": usage})
    ((_, found),) = server.engine().chat(requests("a"))
    assert found.text == "Who?"
    assert (found.prompt_tokens, found.completion_tokens, found.estimated) == tokens
