"""Answers that come in pieces, from a real server on loopback."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from stargate_assets.method.language_model import Completion
from stargate_assets_tests.servers.faulty_chat_endpoint import (
    FaultServer,
    assert_no_secret,
    failing,
    requests,
    right,
    served,
)

_ROOTS = count()


@pytest.fixture
def server(http: HTTPServer) -> FaultServer:
    return served(http, f"/streamed{next(_ROOTS)}/v1")


def events(*events: object, end: bool = True) -> Response:
    """Server-sent events, with a comment between, as some servers send to keep a line open."""

    def written() -> Iterator[str]:
        for event in events:
            yield f": still there\r\n\r\ndata: {json.dumps(event, ensure_ascii=False)}\r\n\r\n"
        if end:
            yield "data: [DONE]\n\n"

    return Response(written(), content_type="text/event-stream; charset=utf-8")


def piece(finish_reason: str | None = None, **delta: str) -> object:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
PIECES = (
    piece(role="assistant", content=""),
    piece(reasoning_content="Who "),
    piece(reasoning_content="asks?"),
    piece(content="What do "),
    piece(content="you eat? 😀"),
    piece("stop"),
)


def in_pieces(request: Request) -> Response:
    body = json.loads(request.get_data())
    assert body["stream"] and body["stream_options"] == {"include_usage": True}
    return events(*PIECES, USAGE)


def broken_off(request: Request) -> Response:
    del request
    return events(*PIECES[:4], end=False)


def test_pieces_make_the_answer_that_would_have_come_whole(
    server: FaultServer, tmp_path: Path
) -> None:
    grown = list[str]()
    server.faults = {"hi": [broken_off, in_pieces]}
    model = replace(server.model(tmp_path), on_text=grown.append)
    said = Completion("What do you eat? 😀", "stop", 3, 2, thought="Who asks?")
    assert model.chat(requests("hi"), "asking") == [said]
    assert [text for text in grown if text] == [
        "What do", "What do", said.text, said.text, said.text,
    ]  # fmt: skip
    assert server.times_asked("hi") == 2  # what broke off is asked again, and stored once
    assert server.model(tmp_path).chat(requests("hi"), "asking") == [said]
    assert server.times_asked("hi") == 2
    assert_no_secret(tmp_path)


def test_what_a_server_does_not_stream_comes_whole(server: FaultServer, tmp_path: Path) -> None:
    server.faults = {"new": [failing(400, param="stream_options")]}
    model = replace(server.model(tmp_path), on_text=lambda text: None)
    assert model.chat(requests("plain"), "asking") == right("plain")
    assert model.chat(requests("new"), "asking") == right("new")
    assert [body.get("stream") for body in server.bodies] == [True, True, None]


def test_tokens_that_no_server_counts_are_estimated(server: FaultServer, tmp_path: Path) -> None:
    server.faults = {"hi": [lambda request: events(*PIECES)]}
    model = replace(server.model(tmp_path), on_text=lambda text: None)
    (said,) = model.chat(requests("hi"), "asking")
    assert (said.estimated, said.completion_tokens) == (True, 9)
    assert model.usage.estimated == 1


def test_an_error_among_the_pieces_is_no_answer(server: FaultServer, tmp_path: Path) -> None:
    error = {"error": {"message": "overloaded", "code": 503}}
    server.faults = {"hi": [lambda request: events(*PIECES[:4], error), in_pieces]}
    model = replace(server.model(tmp_path), on_text=lambda text: None)
    assert model.chat(requests("hi"), "asking")[0].text == "What do you eat? 😀"
    assert server.times_asked("hi") == 2
