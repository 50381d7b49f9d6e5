"""The page in Chromium, at a desk and on a phone: run by `make test-browser`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from stargate_assets.reporting.page import report_page
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets_tests.reporting import frames
from stargate_assets_tests.reporting.browser import VIEWPORTS, chromium
from stargate_assets_tests.reporting.test_page import MARKUP

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["chromium"]
pytestmark = pytest.mark.browser
FILTERS = ("text", "policy", "split", "status", "task", "persona", "least", "most")


@dataclass
class Opened:
    """A page, and whatever it asked for or complained of."""

    page: "Page"
    said: list[str] = field(default_factory=list)

    def found(self) -> int:
        """How many conversations the filters leave."""
        text = self.page.locator("#found").inner_text()
        return int(text.split()[0].replace(",", "")) if text[0].isdigit() else 0

    def settles_at(self, conversations: int) -> None:
        """Wait for a filter that runs when typing stops."""
        from playwright.sync_api import expect

        expect(self.page.locator("#found")).to_have_text(re.compile(rf"^{conversations:,} of "))

    def choose(self, **values: str) -> None:
        for name, value in values.items():
            self.page.locator(f"[name={name}]").select_option(value)

    def open_first(self) -> None:
        self.page.locator("#list").focus()
        self.page.keyboard.press("Enter")
        self.page.locator("dialog[open]").wait_for()


@pytest.fixture(scope="module")
def tables() -> ExperimentTables:
    return frames.tables()


def opened(chromium: "Browser", path: Path, html: str, **context: Any) -> Iterator[Opened]:
    path.write_text(html, encoding="utf-8")
    made = chromium.new_context(**context)
    page = Opened(made.new_page())
    page.page.on("console", lambda message: page.said.append(message.text))
    page.page.on("pageerror", lambda error: page.said.append(str(error)))
    page.page.on("dialog", lambda dialog: page.said.append(dialog.message))
    page.page.on(
        "request",
        lambda request: (
            page.said.append(request.url)
            if not request.url.startswith(("file:", "data:"))
            else None
        ),
    )
    page.page.goto(path.as_uri())
    page.page.locator(".row").first.wait_for()
    yield page
    assert page.said == []
    made.close()


@pytest.fixture(params=VIEWPORTS)
def report(
    request: pytest.FixtureRequest, chromium: "Browser", tables: ExperimentTables, tmp_path: Path
) -> Iterator[Opened]:
    viewport = VIEWPORTS[request.param]
    yield from opened(chromium, tmp_path / "r.html", report_page([tables]), viewport=viewport)


def test_filters_leave_what_they_say(report: Opened, tables: ExperimentTables) -> None:
    conversations = tables.frame("conversations")
    assert report.found() == conversations.height
    report.choose(policy="2", split="test")
    tested = conversations.filter(iteration=2, split="test")
    assert report.found() == tested.height
    report.choose(status="ineligible")
    assert report.found() == tested["ineligibility"].count()
    report.page.get_by_role("button", name="Clear").click()
    report.settles_at(conversations.height)
    report.choose(status="kept")
    assert report.found() == tables.frame("best_conversations").height
    report.page.locator("[name=task]").select_option(label=frames.TASKS[0][0])
    report.choose(status="", persona="Amara")
    of_pair = conversations.filter(task_id="test-t0", persona_id="test-p2")
    assert report.found() == of_pair.height


def test_search_and_scores(report: Opened, tables: ExperimentTables) -> None:
    report.page.locator("[name=text]").fill("ORGANS IN gron")
    heard = pl.col("answers").list.join(" ").str.contains("organs in Gron")
    own = pl.col("persona_id").str.ends_with("-p0")
    report.settles_at(tables.frame("conversations").filter(heard | own).height)
    report.page.locator("[name=text]").fill("")
    report.page.locator("[name=least]").fill("-315")
    report.page.locator("[name=most]").fill("-310")
    report.page.locator("[name=most]").press("Tab")
    scores = tables.frame("gold_log_probs").filter(condition="experimental")["log_prob"].round(2)
    assert report.found() == int(scores.is_between(-315, -310).sum())
    report.page.locator("[name=least]").fill("0")
    report.page.locator("[name=least]").press("Tab")
    assert "Clear a filter" in report.page.locator("#found").inner_text()


def test_the_keyboard_is_enough(report: Opened) -> None:
    page = report.page
    page.locator("[name=text]").focus()
    order: list[str] = []
    for _ in range(len(FILTERS) + 2):
        order.append(page.evaluate("document.activeElement.name || document.activeElement.id"))
        page.keyboard.press("Tab")
    assert order == [*FILTERS, "", "list"]
    listed = page.locator("#list")
    listed.focus()
    for key, place in (("ArrowDown", 1), ("End", 319), ("ArrowDown", 319), ("Home", 0)):
        page.keyboard.press(key)
        assert listed.get_attribute("aria-activedescendant") == f"row-{place}"
        assert page.locator(f"#row-{place}[aria-selected=true]").is_visible()
    page.keyboard.press("Enter")
    detail = page.locator("dialog[open]")
    assert page.locator("#position").inner_text() == "1 of 320"
    page.keyboard.press("ArrowRight")
    assert page.locator("#position").inner_text() == "2 of 320"
    page.keyboard.press("Escape")
    detail.wait_for(state="detached")
    assert page.evaluate("document.activeElement.id") == "list"


def test_two_policies_stand_beside_each_other(report: Opened, tables: ExperimentTables) -> None:
    report.choose(policy="2", split="test")
    report.open_first()
    page = report.page
    pair = {"task_id": "test-t0", "persona_id": "test-p0"}
    page.locator("#detail-title", has_text=frames.TASKS[0][0]).wait_for()
    shown = page.locator("#detail-body").inner_text()
    gold = tables.frame("gold_responses").filter(split="test", **pair)["text"].item()
    responses = tables.frame("responses").filter(arm="method", **pair)
    for text in (frames.PEOPLE[0][1], gold, "Policy 0, the base model", "Policy 2"):
        assert text in shown
    for policy in (0, 2):
        assert responses.filter(iteration=policy)["text"].item() in shown
    verdict = (
        tables.frame("judgements")
        .filter(iteration=2, arm="method", reference="base", **pair)["verdict"]
        .item()
    )
    told = {"win": "this response is preferred", "loss": "the base model's is preferred"}
    assert told[verdict] in shown
    page.locator("#beside").select_option("1")
    assert "Policy 1" in page.locator("#detail-body").inner_text()
    assert "Policy 0" not in page.locator("#detail-body h3").all_inner_texts()


def test_no_page_is_wider_than_its_window(report: Opened) -> None:
    wide = "document.documentElement.scrollWidth <= innerWidth"
    assert report.page.evaluate(wide)
    report.open_first()
    assert report.page.evaluate(
        "(d => d.scrollWidth <= d.clientWidth)(document.querySelector('dialog'))"
    )
    figures = report.page.locator("figure img")
    assert all(figures.evaluate_all("all => all.map(i => i.complete && i.naturalWidth > 0)"))


def test_markup_that_people_wrote_is_inert(chromium: "Browser", tmp_path: Path) -> None:
    hostile = frames.tables(persona=MARKUP, said=(MARKUP,))
    for report in opened(chromium, tmp_path / "r.html", report_page([hostile])):
        report.choose(persona="Ineke")
        report.open_first()
        assert MARKUP.replace("\u2028", "") in (
            report.page.locator("#detail-body").inner_text().replace("\u2028", "")
        )
        assert report.page.locator("#detail-body :is(script, img)").count() == 0


def test_a_list_of_5000_holds_only_what_is_seen(chromium: "Browser", tmp_path: Path) -> None:
    many = frames.tables(tasks=25, people=10, samples=4)
    for report in opened(chromium, tmp_path / "r.html", report_page([many])):
        assert report.found() == 5000
        report.page.locator("#list").focus()
        report.page.keyboard.press("End")
        assert report.page.locator("#row-4999[aria-selected=true]").is_visible()
        assert report.page.locator(".row").count() < 40


def test_the_dark_page_is_dark(
    chromium: "Browser", tables: ExperimentTables, tmp_path: Path
) -> None:
    for scheme, paper in (("light", "rgb(252, 251, 248)"), ("dark", "rgb(23, 24, 27)")):
        html = report_page([tables])
        for report in opened(chromium, tmp_path / "r.html", html, color_scheme=scheme):
            colour = report.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert colour == paper
