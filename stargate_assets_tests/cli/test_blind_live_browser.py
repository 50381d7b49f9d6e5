"""Two policies that are talked with, in Chromium: run by `make test-browser`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from stargate_assets.definitions.project import Project
from stargate_assets.engines.scripted import UTTERANCES
from stargate_assets_tests.cli.blind_pages import live_session_of, serving
from stargate_assets_tests.cli.test_blind_browser import opened
from stargate_assets_tests.reporting.browser import VIEWPORTS, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["chromium"]
pytestmark = pytest.mark.browser
Build = Callable[..., Project]
WAITING = "form[data-place]:not([hidden]) textarea"


def settle(page: "Page") -> None:
    """Wait until no policy is to say something."""
    from playwright.sync_api import expect

    page.locator("#pair").wait_for()
    for place in ("left", "right"):
        expect(page.locator(f"#{place}-status")).to_have_text("")


def judged(page: "Page", number: int) -> None:
    from playwright.sync_api import expect

    expect(page.locator("#progress")).to_have_text(f"Ana: {number} judged")


@pytest.mark.parametrize("viewport", VIEWPORTS)
def test_the_keyboard_is_enough(
    chromium: "Browser", scripted_project: Build, viewport: str
) -> None:
    project = scripted_project()
    with (
        serving(live_session_of(project)) as address,
        opened(chromium, address, viewport) as page,
    ):
        page.keyboard.type("Ana")
        page.keyboard.press("Enter")
        judged(page, 0)
        for number, key in enumerate(("1", "ArrowRight", "0")):
            page.locator("#offer").wait_for()
            page.keyboard.press("Enter")  # Begin has the focus
            settle(page)
            while page.locator(WAITING).count():
                page.locator(f"{WAITING}:focus").wait_for()
                page.keyboard.type("I live with two cats.")
                page.keyboard.press("Enter")
                settle(page)
            assert page.locator("#left").inner_text().endswith(UTTERANCES[-2])
            page.locator("#task:focus").wait_for()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.keyboard.press(key)
            judged(page, number + 1)
    rows = project.warehouse.query("FROM loop.human_judgements ORDER BY judged_at").to_dicts()
    expected = ["win", "loss", "tie"]
    for row, chosen in zip(rows, expected, strict=True):
        turned = {"win": "loss", "loss": "win", "tie": "tie"}
        assert row["verdict"] == (chosen if row["response_first"] else turned[chosen])


def test_a_reply_that_is_being_written_outlives_a_reload(
    chromium: "Browser", scripted_project: Build
) -> None:
    project = scripted_project()
    with serving(live_session_of(project), "Ana") as address, opened(chromium, address) as page:
        judged(page, 0)
        for number in range(12):
            page.locator("[name=request]").fill(f"Matter {number} <b>of mine</b>")
            page.get_by_role("button", name="Begin").click()
            settle(page)
            if page.locator(WAITING).count():
                break
            page.keyboard.press("0")
            judged(page, number + 1)
        place = page.locator("form[data-place]:not([hidden])").first.get_attribute("data-place")
        page.locator(WAITING).first.fill("I bake, and")
        said = page.locator(f"#{place}").inner_text()
        page.reload()
        settle(page)
        field = page.locator(f"[data-place={place}] textarea")
        assert field.input_value() == "I bake, and"
        assert page.locator(f"#{place}").inner_text() == said
        page.locator(f"[data-place={place}]").get_by_role("button", name="Answer now").click()
        settle(page)
        assert page.locator(f"#{place}").inner_text().endswith(UTTERANCES[-2])
        assert page.locator(".text :is(script, b)").count() == 0
