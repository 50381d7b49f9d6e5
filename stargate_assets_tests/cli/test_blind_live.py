"""Raters who talk with both policies, over HTTP: what they are shown, and what is kept."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import polars as pl
import pytest
from pytest_httpserver import HTTPServer

from stargate_assets.definitions.project import Project
from stargate_assets.engines.scripted import UTTERANCES
from stargate_assets.method.conversation import is_question
from stargate_assets.method.judging import Verdict
from stargate_assets.pipeline.assets.report_page import experiment_tables
from stargate_assets.reporting.raters import PREFERRED, PREFERRED_LIVE, rater_grids
from stargate_assets_tests.cli.blind_pages import live_session_of, serving

Build = Callable[..., Project]
Json = dict[str, Any]
PLACES = ("left", "right")
ANSWER = UTTERANCES[-2]
CLIENT = httpx.Client()
"""One for all requests: to make one takes longer than to be answered."""


def post(page: str, path: str, rater: str, **said: object) -> Json:
    answer = CLIENT.post(f"{page}/{path}", json={"rater": rater, **said})
    return answer.raise_for_status().json()


def settled(page: str, rater: str) -> Json:
    """What a rater is shown once no policy is to say something."""
    while True:
        found = CLIENT.get(f"{page}/next", params={"rater": rater}).raise_for_status().json()
        shown = found["shown"]
        if shown is None or all(shown[place]["ahead"] is None for place in PLACES):
            return found


def replied(page: str, rater: str) -> Json:
    """Reply to everything until both have answered; what is shown then."""
    while True:
        shown = settled(page, rater)["shown"]
        waiting = [place for place in PLACES if shown[place]["response"] is None]
        if not waiting:
            return shown
        said = {"comparison": shown["comparison"], "place": waiting[0]}
        post(page, "replies", rater, **said, text=f" To {shown[waiting[0]]['said'][-1]} ")


def choose(page: str, rater: str, shown: Json, prefers: str) -> Json:
    said = {"comparison": shown["comparison"], "prefers": prefers, "reason": "", "seconds": 3.5}
    return post(page, "verdicts", rater, **said)


def kept(project: Project, table: str) -> pl.DataFrame:
    return project.warehouse.query(f"FROM loop.{table} ORDER BY ALL")


def test_a_rater_talks_with_both_and_every_word_is_a_row(scripted_project: Build) -> None:
    project = scripted_project()
    with serving(live_session_of(project)) as page:
        offered = settled(page, "Ana")["offered"]
        began = post(page, "begin", "Ana")["shown"]
        assert (began["task"], began["persona"]) == (offered["task"], offered["persona"])
        shown = replied(page, "Ana")
        assert [shown[place]["response"] for place in PLACES] == [ANSWER, ANSWER]
        after = choose(page, "Ana", shown, "left")
        assert (after["judged"], after["shown"]) == (1, None)
        assert after["offered"] not in (None, offered)
    (row,) = kept(project, "human_judgements").to_dicts()
    chats = {chat["chat_id"]: chat for chat in kept(project, "chats").to_dicts()}
    later, reference = chats[row["chat_id"]], chats[row["reference_chat_id"]]
    assert (later["iteration"], reference["iteration"]) == (2, 0)
    assert (row["iteration"], row["reference_iteration"], row["seconds"]) == (2, 0, 3.5)
    assert row["verdict"] == (Verdict.WIN if row["response_first"] else Verdict.LOSS)
    left = later if row["response_first"] else reference
    said = shown["left"]["said"]
    assert left["questions"] == [text for text in said[::2] if is_question(text)]
    assert left["answers"] == said[1::2] == [f"To {text}" for text in left["questions"]]
    for chat in chats.values():
        assert (chat["rater"], chat["response"], chat["failure"]) == ("Ana", ANSWER, None)
        assert chat["persona_id"] is not None
    assert project.models.usage.made == sum(len(c["questions"]) for c in chats.values()) + sum(
        1 + (c["unanswered"] is not None) for c in chats.values()
    ) - (later["questions"] == reference["questions"])  # the same request is one call


def test_nothing_is_lost_when_the_server_is_gone(scripted_project: Build) -> None:
    project, waiting = scripted_project(), list[str]()
    with serving(live_session_of(project)) as page:
        for number in range(20):
            post(page, "begin", "Ana", request=f"Matter {number}")
            shown = settled(page, "Ana")["shown"]
            waiting = [place for place in PLACES if shown[place]["response"] is None]
            if waiting:
                said = {"comparison": shown["comparison"], "place": waiting[0]}
                post(page, "replies", "Ana", **said, text="I bake.")
                break
            choose(page, "Ana", shown, "tie")
        before = settled(page, "Ana")
        assert "I bake." in before["shown"][waiting[0]]["said"]
    assert project.warehouse.query("FROM loop.chats WHERE response IS NULL").height
    with serving(live_session_of(project)) as page:
        assert settled(page, "Ana") == before
        choose(page, "Ana", replied(page, "Ana"), "tie")
        stale = before["shown"]["comparison"]
        said = {"rater": "Ana", "comparison": stale, "prefers": "left", "seconds": 1}
        assert CLIENT.post(f"{page}/verdicts", json=said).status_code == 409


def test_raters_at_once_are_asked_in_turn_and_orders_are_balanced(scripted_project: Build) -> None:
    project, raters = scripted_project(), ["Ana", "Ĉe"]

    def judge(page: str, rater: str) -> None:
        for _ in range(4):
            post(page, "begin", rater)
            choose(page, rater, replied(page, rater), "left")
        assert settled(page, rater)["offered"] is None  # there are no more pairs

    with serving(live_session_of(project)) as page, ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda rater: judge(page, rater), raters))
    rows = kept(project, "human_judgements")
    assert rows.group_by("rater").agg(pl.col("response_first").sum()).sort("rater").rows() == [
        (rater, 2) for rater in sorted(raters)
    ]
    assert kept(project, "chats")["response"].to_list() == [ANSWER] * 16


def test_a_rater_may_be_themselves_and_want_the_answer_now(scripted_project: Build) -> None:
    project = scripted_project()
    with serving(live_session_of(project)) as page:
        for number in range(3):
            post(page, "begin", "Ana", request=f" Matter {number}. ")
            shown = settled(page, "Ana")["shown"]
            assert (shown["task"], shown["name"], shown["persona"]) == (
                f"Matter {number}.", "Ana", "",
            )  # fmt: skip
            for place in PLACES:
                said = {"comparison": shown["comparison"], "place": place}
                post(page, "replies", "Ana", **said, text=None)
            choose(page, "Ana", settled(page, "Ana")["shown"], "tie")
        again = CLIENT.post(f"{page}/begin", json={"rater": "Ana", "request": "matter 1."})
        assert (again.status_code, "already" in again.json()["error"]) == (409, True)
    chats = kept(project, "chats")
    assert set(chats["persona_id"]) == {None}
    assert set(chats["answers"].list.len()) == {0}
    assert chats["unanswered"].null_count() == 0


def test_live_verdicts_are_counted_apart(scripted_project: Build) -> None:
    project = scripted_project()
    with serving(live_session_of(project)) as page:
        for _ in range(2):
            post(page, "begin", "Ana")
            choose(page, "Ana", replied(page, "Ana"), "left")
    tables = experiment_tables(project.warehouse, "loop", project.experiments["loop"])
    (grid,) = rater_grids(tables)
    assert grid.title == PREFERRED_LIVE != PREFERRED
    wins = kept(project, "human_judgements")["response_first"].sum()
    assert list(grid.rows[0][:5]) == ["Ana", "2", "0", "2", f"{wins}, 0, {2 - wins}"]


def test_a_policy_that_gives_no_answer_ends_the_comparison(
    scripted_project: Build, http: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = {"message": {"content": None, "refusal": "I cannot."}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    http.expect_request("/live/v1/chat/completions").respond_with_json(
        {"choices": [choice], "usage": usage}
    )
    http.expect_request("/live/tokenize").respond_with_data(status=404)
    monkeypatch.setenv("REFUSING_BASE_URL", http.url_for("/live/v1"))
    spec = {"engine": "openai", "endpoint": "REFUSING", "model": "any"}
    project = scripted_project(questioner=spec)
    with serving(live_session_of(project)) as page:
        first = settled(page, "Ana")["offered"]
        post(page, "begin", "Ana")
        after = settled(page, "Ana")
        assert (after["judged"], after["shown"], after["lost"]) == (0, None, "I cannot.")
        assert after["offered"] != first
    with serving(live_session_of(project)) as page:
        assert settled(page, "Ana") == after
    assert "I cannot." in kept(project, "chats")["failure"].to_list()
