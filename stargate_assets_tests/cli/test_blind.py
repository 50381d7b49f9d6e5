"""Blind comparisons over HTTP: what raters are shown, what is kept, and who is refused."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from stargate_assets.cli.blind.app import is_own
from stargate_assets.cli.blind.server import NothingToCompareError, open_session, print_raters
from stargate_assets.cli.blind.session import RaterNameError, Session, check_rater
from stargate_assets.cli.driver import DriverError, load
from stargate_assets.method.judging import Verdict
from stargate_assets.pipeline.assets.versions import data_versions, report_is_due
from stargate_assets.reporting.comparison import compare
from stargate_assets.reporting.comparison_grids import comparison_grids
from stargate_assets.reporting.page import report_page
from stargate_assets.reporting.raters import rater_grids, ratings
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.storage.warehouse import Warehouse
from stargate_assets_tests.cli.blind_pages import serving, session_of
from stargate_assets_tests.reporting import frames

Json = dict[str, Any]


def with_frames(tables: ExperimentTables, **changed: pl.DataFrame) -> ExperimentTables:
    return replace(tables, frames={**tables.frames, **changed})


@pytest.fixture(scope="module")
def tables() -> ExperimentTables:
    """With responses that say whose they are."""
    tables = frames.tables(tasks=3, people=2)
    text = pl.format("Policy {} to {} of {}.", "iteration", "task_id", "persona_id")
    return with_frames(tables, responses=tables.frame("responses").with_columns(text=text))


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "stargate.duckdb")


@pytest.fixture
def session(warehouse: Warehouse, tables: ExperimentTables) -> Session:
    return session_of(warehouse, tables)


@pytest.fixture
def page(session: Session) -> Iterator[str]:
    with serving(session) as address:
        yield address


def following(page: str, rater: str) -> Json:
    return httpx.get(f"{page}/next", params={"rater": rater}).raise_for_status().json()


def choose(page: str, rater: str, shown: Json, prefers: str, reason: str = "") -> Json:
    said = {"rater": rater, "comparison": shown["comparison"], "prefers": prefers}
    said |= {"reason": reason, "seconds": 2.5}
    return httpx.post(f"{page}/verdicts", json=said).raise_for_status().json()


def judge_all(page: str, rater: str) -> list[Json]:
    """Prefer policy 2 always; what was shown."""
    seen: list[Json] = []
    found = following(page, rater)
    while (shown := found["shown"]) is not None:
        seen.append(shown)
        side = "left" if shown["left"].startswith("Policy 2") else "right"
        found = choose(page, rater, shown, side)
    return seen


def kept(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query("FROM embedded.human_judgements ORDER BY judged_at")


def test_a_rater_sees_each_pair_once_and_both_orders_alike(page: str, warehouse: Warehouse) -> None:
    seen = judge_all(page, "Ana")
    assert len({(s["task"], s["name"]) for s in seen}) == len(seen) == 6
    lefts = [s["left"].startswith("Policy 2") for s in seen]
    assert abs(lefts[:4].count(True)) == 2
    assert {s["left"][:8] for s in seen} | {s["right"][:8] for s in seen} == {
        "Policy 0",
        "Policy 2",
    }
    rows = kept(warehouse)
    assert rows["verdict"].to_list() == [Verdict.WIN] * 6
    assert rows["response_first"].to_list() == lefts
    assert following(page, "Ana") == {"judged": 6, "of": 6, "shown": None}
    (written,) = [
        m for (table, _), m in warehouse.materializations("embedded").items()
        if table == "human_judgements"
    ]  # fmt: skip
    assert (written.slice, written.rows) == ("test", 6)


def test_a_verdict_is_a_row_at_once_and_outlives_the_server(
    session: Session, warehouse: Warehouse
) -> None:
    with serving(session) as page:
        shown = following(page, "Ana")["shown"]
        after = choose(page, "Ana", shown, "tie", "  Both are vague.\n?😀 ")
        again = choose(page, "Ana", shown, "left", "a second thought")
    assert after == again
    assert after["judged"] == 1
    (row,) = kept(warehouse).to_dicts()
    assert (row["rater"], row["verdict"], row["seconds"]) == ("Ana", "tie", 2.5)
    assert row["reason"] == "Both are vague.\n?😀"
    assert (row["iteration"], row["reference_iteration"], row["split"]) == (2, 0, "test")
    with serving(session) as page:
        assert following(page, "Ana") == after
        assert following(page, "Bea")["shown"]["task"] == shown["task"]


def test_raters_at_once_lose_no_verdict(session: Session, warehouse: Warehouse) -> None:
    raters = ["Ana", "Ĉe", 'D\'or "x" | y']
    with serving(session) as page, ThreadPoolExecutor(3) as pool:
        seen = list(pool.map(lambda rater: judge_all(page, rater), raters))
    assert [len(of_rater) for of_rater in seen] == [6] * 3
    rows = kept(warehouse)
    assert rows.group_by("rater").len().sort("rater").rows() == [(r, 6) for r in sorted(raters)]
    assert rows.select("rater", "task_id", "persona_id").is_unique().all()


def test_what_a_policy_answers_anew_is_judged_anew(
    session: Session, warehouse: Warehouse, tables: ExperimentTables
) -> None:
    with serving(session) as page:
        judge_all(page, "Ana")
    changed = tables.frame("responses").with_columns(
        text=pl.when((pl.col("iteration") == 2) & (pl.col("task_id") == "test-t1"))
        .then(pl.lit("Another."))
        .otherwise("text")
    )
    later = with_frames(tables, responses=changed, human_judgements=kept(warehouse))
    with serving(session_of(warehouse, later)) as page:
        found = following(page, "Ana")
        assert (found["judged"], found["of"]) == (4, 6)
        stale = {"rater": "Ana", "comparison": "0" * 16, "prefers": "left", "seconds": 1}
        answer = httpx.post(f"{page}/verdicts", json=stale)
        assert answer.status_code == 409
        assert "reload the page" in answer.json()["error"]
    assert [r.comparison.pair.task.task_id for r in ratings(later)[0, 2]].count("test-t1") == 0
    assert "2 verdicts on responses that the policies no longer give are left out" in (
        rater_grids(later)[0].note
    )


def test_the_page_that_was_shown_says_what_stood_where(
    session: Session, warehouse: Warehouse, tables: ExperimentTables
) -> None:
    """A server that draws another order takes a verdict on what the page has shown."""
    shown = session.progress("Ana").shown
    assert shown is not None
    left = shown.left.startswith("Policy 2")
    for seed in range(4):
        other = session_of(warehouse, tables, seed=seed)
        with serving(other) as page:
            choose(page, f"Ana {seed}", shown.model_dump(), "left")
    rows = kept(warehouse)
    assert set(rows["response_first"]) == {left}
    assert set(rows["verdict"]) == {Verdict.WIN if left else Verdict.LOSS}


def test_no_other_page_can_write_a_verdict(page: str, session: Session) -> None:
    shown = following(page, "Ana")["shown"]
    said = {"rater": "Ana", "comparison": shown["comparison"], "prefers": "left", "seconds": 1}
    port = page.rpartition(":")[2]
    for headers, status in (
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"host": f"evil.example:{port}"}, 403),
        ({"host": f"[::1:{port}"}, 403),
        ({"content-type": "text/plain"}, 415),
    ):
        answer = httpx.post(f"{page}/verdicts", json=said, headers=headers)
        assert answer.status_code == status, headers
    assert following(page, "Ana")["judged"] == 0
    assert is_own({"host": f"localhost:{port}", "origin": f"http://localhost:{port}"})
    assert is_own({"host": "[::1]:80"})
    assert not is_own({})
    for path in ("/", "/style.css", "/blind.js", "/next?rater=Ana"):
        policy = httpx.get(page + path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize(
    "wrong",
    [
        {"rater": "\t"},
        {"rater": "a\nb"},
        {"rater": "x" * 61},
        {"prefers": "both"},
        {"seconds": -1},
        {"seconds": "NaN"},
        {"reason": "x" * 4001},
    ],
)
def test_what_is_no_verdict_is_refused(page: str, wrong: Json) -> None:
    shown = following(page, "Ana")["shown"]
    said = {"rater": "Ana", "comparison": shown["comparison"], "prefers": "left", "seconds": 1}
    answer = httpx.post(f"{page}/verdicts", json=said | wrong)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert following(page, "Ana")["judged"] == 0


def test_a_rater_has_a_name() -> None:
    assert check_rater("  Ana Ĉe ") == "Ana Ĉe"
    for name in ("", " ", "a\x1bb"):
        with pytest.raises(RaterNameError, match="1 to 60 characters"):
            check_rater(name)


def test_a_refused_response_is_left_out_and_new_rows_make_the_report_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    project = load("embedded")
    drawn = frames.tables(tasks=2, people=2)
    refused = (pl.col("iteration") == 2) & (pl.col("task_id") == "test-t0")
    drawn = with_frames(drawn, responses=drawn.frame("responses").with_columns(refused=refused))
    drawn = replace(drawn, experiment=project.experiments["embedded"])
    frames.store(drawn, project.warehouse, data_versions(project.data_sets["everyday_mini"]))
    session, left_out = open_session(project, "embedded", (2, 0))
    assert (session.policies, len(session.comparisons), left_out) == ((0, 2), 2, 2)
    assert not report_is_due(project.warehouse, "embedded")
    with serving(session, "Ana") as page:
        assert 'data-rater="Ana"' in httpx.get(page).text
        judge_all(page, "Ana")
    assert report_is_due(project.warehouse, "embedded")
    print_raters(project, "embedded")
    assert "Preferred by people" in capsys.readouterr().out
    for policies, sentence in (((1, 1), "with itself"), ((0, 7), "no policy 7")):
        with pytest.raises((NothingToCompareError, DriverError), match=sentence):
            open_session(project, "embedded", policies)
    tasks = drawn.frame("tasks").filter(split="test")
    project.warehouse.write("everyday_mini", "tasks", {"split": "test"}, tasks, "changed")
    with pytest.raises(NothingToCompareError, match="run it first: stargate run embedded"):
        open_session(project, "embedded", (0, 2))


def test_what_people_prefer_is_on_the_page_and_in_the_comparison(tables: ExperimentTables) -> None:
    """Ana prefers policy 2 always, and the other what stands left."""
    assert rater_grids(tables) == []
    other = "<b>Bea"
    rated = [
        frames.human_judgements(tables, "Ana", lambda first: Verdict.WIN),
        frames.human_judgements(
            tables, other, lambda first: Verdict.WIN if first else Verdict.LOSS
        ),
    ]
    tables = with_frames(tables, human_judgements=pl.concat(rated))
    preferred, agreed = rater_grids(tables)
    cells = {row[0]: [c.replace("\u202f", " ") for c in row] for row in preferred.rows}
    assert cells["Ana"][:5] == ["Ana", "2", "0", "6", "6, 0, 0"]
    assert cells["Ana"][5].startswith("100 % (")
    assert cells[other][3:5] == ["6", "3, 0, 3"]
    assert cells[other][5].startswith("50 % (")
    assert (cells["Ana"][6], cells[other][6]) == ("+0", "+50")
    assert cells["all"][3:5] == ["6", "9, 0, 3"]
    assert cells["all"][5].startswith("75 % (")
    judged = tables.headline("judgements").filter(iteration=2, arm="method")["verdict"]
    wins = (judged == "win").sum() / judged.count()
    assert cells["all"][7].startswith(f"{100 * wins:.0f} % (")
    of_raters, *with_judge = agreed.rows
    assert of_raters[:4] == [f"{other} and Ana", "2", "0", "6"]
    assert of_raters[4].replace("\u202f", " ").startswith("50 % (")
    assert [row[0] for row in with_judge] == [
        f"{rater} and {frames.JUDGE}" for rater in (other, "Ana", "all")
    ]
    html = report_page([tables])
    assert 'id="people-embedded"' in html
    assert "&lt;b&gt;Bea" in html
    last = comparison_grids(compare([tables]))[-1]
    assert last.title == "Preferred by people"
    assert list(last.rows[0][:5]) == ["embedded", "2", "0", "2", "6"]
