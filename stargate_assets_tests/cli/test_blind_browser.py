"""Blind comparisons in Chromium, at a desk and on a phone: run by `make test-browser`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from stargate_assets.cli.blind.session import Session
from stargate_assets.storage.warehouse import Warehouse
from stargate_assets_tests.cli.blind_pages import serving, session_of
from stargate_assets_tests.reporting import frames
from stargate_assets_tests.reporting.browser import VIEWPORTS, chromium
from stargate_assets_tests.reporting.test_page import MARKUP

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["chromium"]
pytestmark = pytest.mark.browser
PAIRS = 6


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Policy 2 answers at length, and its answers begin with markup."""
    tables = frames.tables(tasks=3, people=2)
    long = "Start with one evening a week. Then look at what is left of it. " * 9
    text = (
        pl.when(pl.col("iteration") == 2)
        .then(pl.format("{} Second. {}", pl.lit(MARKUP), pl.lit(long)))
        .otherwise(pl.lit("First. Start small."))
    )
    responses = tables.frame("responses").with_columns(text=text)
    tables = replace(tables, frames={**tables.frames, "responses": responses})
    return session_of(Warehouse(tmp_path / "stargate.duckdb"), tables)


def rows(session: Session) -> list[dict[str, object]]:
    return session.warehouse.query("FROM embedded.human_judgements ORDER BY judged_at").to_dicts()


@contextmanager
def opened(
    browser: "Browser", address: str, viewport: str = "desk", complaint: str = ""
) -> Iterator["Page"]:
    """The page in a browser that keeps nothing; it complains of nothing else and asks nobody
    else.
    """
    context = browser.new_context(viewport=VIEWPORTS[viewport])  # pyright: ignore[reportArgumentType]
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda r: said.append(r.url) if not r.url.startswith(address) else None)
    page.goto(address)
    yield page
    context.close()
    assert [s for s in said if not s.startswith("data:")] == ([complaint] if complaint else [])


def judged(page: "Page", number: int, rater: str = "Ana") -> None:
    """Wait until that many are judged."""
    from playwright.sync_api import expect

    expect(page.locator("#progress")).to_have_text(f"{rater}: {number} of {PAIRS} judged")


def stands_left(page: "Page") -> bool:
    """Whether policy 2's answer does."""
    return "Second." in page.locator("#left").inner_text()


def test_the_keyboard_is_enough(chromium: "Browser", session: Session) -> None:
    with serving(session) as address, opened(chromium, address) as page:
        page.keyboard.type("Ana")
        page.keyboard.press("Enter")
        judged(page, 0)
        assert page.evaluate("document.activeElement.id") == "task"
        sides: list[bool] = []
        for number, key in enumerate(("1", "ArrowLeft", "2", "ArrowRight", "0")):
            sides.append(stands_left(page))
            page.keyboard.press(key)
            judged(page, number + 1)
        sides.append(stands_left(page))
        page.keyboard.press("r")
        page.keyboard.type("2 is plain, 1 is not")
        page.keyboard.press("Escape")
        page.keyboard.press("2")
        judged(page, 6)
        page.get_by_role("heading", name="All pairs are judged.").wait_for()
        assert page.evaluate("document.activeElement.textContent") == "All pairs are judged."
    left, tie = "left", "tie"
    chosen = [left, left, "right", "right", tie, "right"]
    expected = [
        tie if side == tie else "win" if (side == left) == of_second else "loss"
        for side, of_second in zip(chosen, sides, strict=True)
    ]
    kept = rows(session)
    assert [row["verdict"] for row in kept] == expected
    assert [row["response_first"] for row in kept] == sides
    assert [row["reason"] for row in kept] == [None] * 5 + ["2 is plain, 1 is not"]
    assert all(isinstance(row["seconds"], float) and row["seconds"] > 0 for row in kept)


@pytest.mark.parametrize("viewport", VIEWPORTS)
def test_a_mouse_or_a_finger_is_enough(
    chromium: "Browser", session: Session, viewport: str
) -> None:
    with serving(session, "Ana") as address, opened(chromium, address, viewport) as page:
        judged(page, 0)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        beside = page.evaluate(
            "(([a, b]) => a.top === b.top)"
            "([...document.querySelectorAll('.two > section')].map(s => s.getBoundingClientRect()))"
        )
        assert beside == (viewport == "desk")
        texts = {page.locator(f"#{side}").inner_text()[:30] for side in ("left", "right")}
        assert any("</script>" in text for text in texts)
        assert page.locator(".text :is(script, img)").count() == 0
        for number, name in enumerate(("Left", "Neither", "Right")):
            button = page.get_by_role("button", name=re.compile(name))
            assert button.is_visible()
            button.click()
            judged(page, number + 1)
    assert len(rows(session)) == 3


def test_nothing_is_lost_when_the_page_is_reloaded_or_the_server_is_gone(
    chromium: "Browser", session: Session
) -> None:
    gone = "Failed to load resource: net::ERR_FAILED"
    with serving(session) as address, opened(chromium, address, complaint=gone) as page:
        page.locator("[name=rater]").fill("Ana")
        page.get_by_role("button", name="Begin").click()
        judged(page, 0)
        page.keyboard.press("1")
        judged(page, 1)
        page.locator("#reason").fill("Because")
        shown = [page.locator(f"#{part}").inner_text() for part in ("task", "left", "right")]
        page.reload()
        judged(page, 1)
        assert page.locator("#reason").input_value() == "Because"
        assert shown == [
            page.locator(f"#{part}").inner_text() for part in ("task", "left", "right")
        ]
        page.route("**/verdicts", lambda route: route.abort())
        page.get_by_role("button", name="Neither").click()
        page.locator("#fault", has_text="Nothing answers; start stargate compare-blind").wait_for()
        judged(page, 1)
        page.unroute("**/verdicts")
        page.get_by_role("button", name="Neither").click()
        judged(page, 2)
        assert page.locator("#fault").is_hidden()
        assert page.locator("#reason").input_value() == ""
    assert [row["reason"] for row in rows(session)] == [None, "Because"]


def test_several_raters_in_tabs_of_one_browser(chromium: "Browser", session: Session) -> None:
    with serving(session) as address:
        context = chromium.new_context()
        tabs = {rater: context.new_page() for rater in ("Ana", "Bea")}
        for rater, tab in tabs.items():
            tab.goto(address)
            tab.locator("[name=rater]").fill(rater)
            tab.keyboard.press("Enter")
            judged(tab, 0, rater)
        first = {tab.locator("#task").inner_text() for tab in tabs.values()}
        assert len(first) == 1
        for number in range(PAIRS):
            for tab in tabs.values():
                tab.keyboard.press("1")
            for rater, tab in tabs.items():
                judged(tab, number + 1, rater)
        tabs["Bea"].get_by_role("button", name="Another rater").click()
        tabs["Bea"].locator("[name=rater]").fill("Ana")
        tabs["Bea"].keyboard.press("Enter")
        judged(tabs["Bea"], PAIRS, "Ana")
        context.close()
    assert sorted(str(row["rater"]) for row in rows(session)) == ["Ana"] * PAIRS + ["Bea"] * PAIRS
