"""Batches at an endpoint: the same answers, each paid once, whatever becomes of a batch."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from stargate_assets.engines import openai_batches
from stargate_assets.engines.batch_files import read_lines, write_files
from stargate_assets.method.language_model import EngineError, FailureReason
from stargate_assets.models.stored import SpendingError
from stargate_assets.storage.budget import Budget
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.database import Database
from stargate_assets.storage.sqlite import SqliteFile
from stargate_assets_tests.servers.batch_endpoint import (
    PRICE,
    TOKENS,
    BatchServer,
    error_line,
    serve_batches,
)
from stargate_assets_tests.servers.faulty_chat_endpoint import (
    Fault,
    assert_no_secret,
    drop,
    failing,
    requests,
    right,
    served,
)

PROMPTS = [f"question {i}" for i in range(12)]
CENTS = TOKENS * PRICE.in_batches.completion / 1e4
"""What each answer costs."""


@pytest.fixture
def server(http: HTTPServer) -> Iterator[BatchServer]:
    http.clear()
    yield serve_batches(http)
    http.check()


@pytest.fixture
def file(tmp_path: Path) -> SqliteFile:
    return SqliteFile(tmp_path / "completions.sqlite")


def dollars(database: Database) -> float:
    """The bill, as the store has it."""
    return sum(row.dollars or 0.0 for row in CompletionStore(database).usage())


def test_the_answers_are_those_without_batches_at_half_the_price(
    http: HTTPServer, server: BatchServer, file: SqliteFile, tmp_path: Path
) -> None:
    plain = served(http)
    asked = [*requests(*PROMPTS), *requests(PROMPTS[0])]
    expected = plain.model(tmp_path / "plain").chat(asked, "asking")
    progress: list[tuple[str, int, int]] = []
    model = server.model(file, on_progress=lambda *said: progress.append(said), name="m")
    assert model.chat(asked, "asking") == expected
    assert list(server.batches) == ["batch-0"]
    lines = [json.loads(line) for line in server.files["file-0"].splitlines()]
    by_prompt = {body["messages"][-1]["content"]: body for body in plain.bodies}
    assert [line["body"] for line in lines] == [by_prompt[prompt] for prompt in PROMPTS]
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert len({line["custom_id"] for line in lines}) == 12
    assert server.billed == dict.fromkeys(PROMPTS, 1)
    assert dollars(file) == pytest.approx(0.30) == 12 * CENTS / 100
    assert model.usage.dollars == pytest.approx(0.30)
    doing = "waiting for batches of m"
    assert progress[-1] == (doing, 12, 12)
    assert ("asking", 12, 12) in progress

    again = server.model(file)
    assert again.chat([*asked, *requests("more")], "asking") == [*expected, *right("more")]
    assert (again.usage.made, server.sent["more"], len(server.batches)) == (1, 1, 2)


def test_requests_are_as_many_files_as_the_provider_wants(
    server: BatchServer, file: SqliteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = partial(write_files, most_requests=5)
    monkeypatch.setattr(openai_batches, "write_files", fewer)
    assert server.model(file).chat(requests(*PROMPTS), "asking") == right(*PROMPTS)
    sizes = [len(server.files[f"file-{number}"].splitlines()) for number in range(3)]
    assert sizes == [5, 5, 2]
    created = [step for step in server.steps if step in ("create", "content")]
    assert created == ["create"] * 3 + ["content"] * 3  # all are under way at once


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1), st.integers(1, 5), st.integers(100, 400))
def test_files_keep_to_both_limits_and_lose_nothing(
    texts: list[str], most_requests: int, most_bytes: int
) -> None:
    bodies = [(str(number), {"text": text}) for number, text in enumerate(texts)]
    files = list(write_files(bodies, most_requests, most_bytes))
    lines = [json.loads(line) for file in files for line in file.content.split(b"\n")[:-1]]
    assert [(line["custom_id"], line["body"]) for line in lines] == bodies
    assert [key for file in files for key in file.keys] == [key for key, _ in bodies]
    assert all(len(file.keys) <= most_requests for file in files)
    assert all(len(f.content) <= most_bytes or len(f.keys) == 1 for f in files)


def test_what_is_no_line_is_left_out() -> None:
    good = b'{"custom_id": "a", "response": {"status_code": 200, "body": "\xe2\x80\xa8"}}'
    lines = list(read_lines(b"\n".join([b"", b"{", b"[1]", good, b'{"custom_id": 1}'])))
    assert [(line.custom_id, line.response and line.response.body) for line in lines] == [
        ("a", "\N{LINE SEPARATOR}")
    ]


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_what_a_batch_leaves_unanswered_is_asked_once_more(
    server: BatchServer, file: SqliteFile, status: str
) -> None:
    server.ends = [status]
    assert server.model(file).chat(requests(*PROMPTS), "asking") == right(*PROMPTS)
    assert server.billed == dict.fromkeys(PROMPTS, 1)
    assert server.sent == dict.fromkeys(PROMPTS[:6], 1) | dict.fromkeys(PROMPTS[6:], 2)
    assert dollars(file) == pytest.approx(0.30)


def test_what_has_no_answer_twice_is_counted_with_its_reason(
    server: BatchServer, file: SqliteFile
) -> None:
    """Of each reason: how often it was sent, and what it costs."""
    server_error = error_line(500, "server_error")
    nonsense = {"response": {"status_code": 200, "body": {"choices": []}}, "error": None}
    unread = {"response": None, "error": {"code": "batch_expired", "message": "No time."}}
    server.lines = {
        "content_filter": [error_line(400, "content_filter")],
        "too_long": [error_line(400, "context_length_exceeded")],
        "rejected": [error_line(400, "odd_request")],
        "server_error": [server_error] * 2,
        "no_answer": [nonsense] * 2,
        "expired": [unread] * 2,
        "passes": [error_line(429, "rate_limit_exceeded")],
    }
    prompts = [*server.lines, "right"]
    model = server.model(file)
    answers = model.chat(requests(*prompts), "asking")
    assert answers[-2:] == right("passes", "right")
    reasons = [answer.failure and answer.failure.reason for answer in answers[:-2]]
    assert reasons == [FailureReason(prompt) for prompt in prompts[:-2]]
    once = ["content_filter", "too_long", "rejected", "right"]
    assert server.sent == dict.fromkeys(prompts, 2) | dict.fromkeys(once, 1)
    stored = CompletionStore(file).failures()
    assert sorted(row.reason for row in stored) == sorted(prompts[:-2])
    # What makes no sense may be billed: it is counted at the most that it can have cost.
    assert dollars(file) > 2 * CENTS / 100
    assert_no_secret(file.path.parent)


def test_a_line_that_is_missing_has_no_answer(server: BatchServer, file: SqliteFile) -> None:
    server.lines = {"a": [None], "b": [None, None]}
    a, b = server.model(file).chat(requests("a", "b"), "asking")
    assert a == right("a")[0]
    assert b.failure is not None and b.failure.reason is FailureReason.NO_ANSWER


def test_a_field_that_is_not_taken_is_left_out_from_then_on(
    server: BatchServer, file: SqliteFile
) -> None:
    prompts = ["a", "b"]
    wrong = [
        error_line(400, "unsupported_parameter", "max_tokens"),
        error_line(400, "unsupported_value", "temperature"),
    ]
    server.lines = {prompt: list(wrong) for prompt in prompts}
    model = server.model(file)
    assert model.chat(requests(*prompts), "asking") == right(*prompts)
    bodies = [json.loads(server.files[f"file-{n}"].splitlines()[0])["body"] for n in range(3)]
    assert "max_tokens" in bodies[0] and "max_completion_tokens" in bodies[1]
    assert "temperature" in bodies[1] and "temperature" not in bodies[2]
    assert dollars(file) == pytest.approx(2 * CENTS / 100)
    assert model.usage.made == 2


def test_a_batch_that_is_refused_stops_the_run_and_stands_in_nobodys_way(
    server: BatchServer, file: SqliteFile
) -> None:
    server.ends = ["failed"]
    with pytest.raises(EngineError, match=r"refuses a batch .*token_limit_exceeded Too many"):
        server.model(file).chat(requests(*PROMPTS), "asking")
    assert server.model(file).chat(requests(*PROMPTS), "asking") == right(*PROMPTS)
    assert server.billed == dict.fromkeys(PROMPTS, 1)


def test_an_endpoint_fault_in_a_line_stops_the_run_after_the_answers(
    server: BatchServer, file: SqliteFile
) -> None:
    server.lines = {PROMPTS[0]: [error_line(404, "model_not_found")]}
    model = server.model(file)
    with pytest.raises(EngineError, match="HERE has no model 'judge-1'"):
        model.chat(requests(*PROMPTS), "asking")
    assert model.store.count() == 11
    assert server.model(file).chat(requests(*PROMPTS), "asking") == right(*PROMPTS)
    assert server.billed == dict.fromkeys(PROMPTS, 1)


@pytest.mark.parametrize("fault", [drop, failing(500), failing(503)])
def test_a_creation_without_an_answer_is_looked_for(
    server: BatchServer, file: SqliteFile, fault: Fault
) -> None:
    """The file's batch is on the second page: three others were created after it."""

    def create_others(step: str, moment: str) -> None:
        if (step, moment) == ("list", "before") and len(server.batches) == 1:
            for number in range(1, 4):
                other = {"id": f"batch-{number}", "input_file_id": "another"}
                server.batches[f"batch-{number}"] = other

    server.on_step = create_others
    server.faults = {("create", "after"): [fault]}
    assert server.model(file).chat(requests(*PROMPTS), "asking") == right(*PROMPTS)
    assert server.steps.count("create") == 1
    assert server.billed == dict.fromkeys(PROMPTS, 1)


def test_a_creation_that_failed_is_made_again(server: BatchServer, file: SqliteFile) -> None:
    server.faults = {("create", "before"): [failing(429), drop]}
    assert server.model(file).chat(requests(*PROMPTS), "asking") == right(*PROMPTS)
    assert server.steps.count("create") == 1
    assert server.steps.count("list") == 2


def test_what_costs_nothing_is_asked_again(server: BatchServer, file: SqliteFile) -> None:
    steps = ("upload", "look", "content")
    server.faults = {(step, "after"): [drop] for step in steps}
    assert server.model(file).chat(requests(*PROMPTS), "asking") == right(*PROMPTS)
    assert server.billed == dict.fromkeys(PROMPTS, 1)
    assert server.steps.count("create") == 1


@pytest.mark.parametrize("calls", [1, 2, 3, 6, 13])
def test_an_interrupted_run_finds_its_batch_again(
    server: BatchServer, file: SqliteFile, calls: int
) -> None:
    """At the first progress nothing is sent; at the next two it waits; then it reads."""
    seen: list[int] = []

    def interrupt(doing: str, done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == calls:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.model(file, on_progress=interrupt).chat(requests(*PROMPTS), "asking")
    prompts = [*PROMPTS, "another"]
    assert server.model(file).chat(requests(*prompts), "asking") == right(*prompts)
    assert server.billed == server.sent == dict.fromkeys(prompts, 1)
    assert dollars(file) == pytest.approx(13 * CENTS / 100)


def test_a_batch_that_the_endpoint_does_not_know_counts_as_lost_and_is_asked_again(
    server: BatchServer, file: SqliteFile
) -> None:
    """It may have been answered and paid, so it is counted at the most that it can have cost."""
    server.faults = {("look", "before"): [failing(404)]}
    assert server.model(file).chat(requests("a"), "asking") == right("a")
    assert server.sent == {"a": 2}
    most = 0.5 * 0.01 * (1 + 16 + 9)
    assert dollars(file) == pytest.approx(CENTS / 100 + most)


def test_a_limit_counts_what_is_under_way(server: BatchServer, file: SqliteFile) -> None:
    """An answer costs 2.5 cents and might cost 16: only 2 can be sent at a time."""
    most = 0.5 * 0.01 * (len("question 0") + 16 + 9)
    model = server.model(file, max_dollars=2.5 * most)
    with pytest.raises(SpendingError, match="allow more"):
        model.chat(requests(*PROMPTS), "asking")
    sizes = [len(server.files[b["input_file_id"]].splitlines()) for b in server.batches.values()]
    assert sizes[0] == 2
    assert 2.5 * most - most < dollars(file) == pytest.approx(server.billed.total() * CENTS / 100)
    assert dollars(file) <= 2.5 * most


def test_the_budget_counts_what_a_killed_run_has_under_way(
    server: BatchServer, database: Database
) -> None:
    """Nobody holds a reservation for it any more, and it is paid all the same."""
    store = CompletionStore(database)
    store.set_budget(5.0)

    def interrupt(doing: str, done: int, total: int) -> None:
        if doing.startswith("waiting"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.model(database, on_progress=interrupt).chat(requests(*PROMPTS), "asking")
    most = sum(0.5 * 0.01 * (len(prompt) + 16 + 9) for prompt in PROMPTS)
    assert store.budget() == Budget(5.0, 0.0, pytest.approx(most))

    store.set_budget(most + 0.01)  # so that no other call can be paid for before they are read
    both = [*PROMPTS, "a"]
    assert server.model(database).chat(requests(*both), "asking") == right(*both)
    assert store.budget() == Budget(most + 0.01, pytest.approx(13 * CENTS / 100), 0.0)
    assert server.billed == dict.fromkeys(both, 1)


def test_two_runs_that_wait_for_one_batch_pay_once(server: BatchServer, database: Database) -> None:
    """The second finds what the first waits for, and reads all of it first."""
    others: list[object] = []

    def run_another(doing: str, done: int, total: int) -> None:
        if doing.startswith("waiting") and not others:
            others.append(None)
            others[:] = server.model(database).chat(requests(*PROMPTS), "asking")

    model = server.model(database, on_progress=run_another)
    assert model.chat(requests(*PROMPTS), "asking") == right(*PROMPTS) == others
    assert server.billed == server.sent == dict.fromkeys(PROMPTS, 1)
    assert dollars(database) == pytest.approx(0.30)
    assert sum(row.calls for row in CompletionStore(database).usage()) == 12
