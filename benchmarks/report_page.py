"""How long the report's page takes to make and to open: 5,000 conversations, in Chromium.

python benchmarks/report_page.py (needs what `make test-browser` installs)
"""

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright  # pyright: ignore[reportMissingImports]

from stargate_assets.reporting.page import report_page
from stargate_assets_tests.reporting import frames

ROUNDS = 5
SLOWER = 4
"""A phone's processor, about: Chromium's own throttling."""
DEVICES = {"desk": (1280, 900, 1), "phone": (390, 844, SLOWER)}
SEARCH = """() => {
    const field = document.querySelector('[name=text]');
    field.value = 'organs';
    const started = performance.now();
    field.dispatchEvent(new Event('change', {bubbles: true}));
    return performance.now() - started;
}"""


def main() -> None:
    """Print medians of several rounds."""
    said = tuple(f"{question} " * 5 for question in frames.QUESTIONS)  # as long as models speak
    tables = frames.tables(tasks=25, people=10, samples=4, said=said)
    report_page([tables])  # imports matplotlib
    started = time.perf_counter()
    html = report_page([tables])
    print(f"made in {time.perf_counter() - started:.2f} s, {len(html.encode()) / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        path = Path(directory) / "report.html"
        path.write_text(html, encoding="utf-8")
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium")
        )
        for device, (width, height, slower) in DEVICES.items():
            rounds = [opened(browser, path, width, height, slower) for _ in range(ROUNDS)]
            open_ms, search_ms = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(f"{device}: first row after {open_ms:.0f} ms, search in {search_ms:.0f} ms")
        browser.close()


def opened(
    browser: Browser, path: Path, width: int, height: int, slower: int
) -> tuple[float, float]:
    """Milliseconds from navigation to the first row of the list, and of the first search."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
    started = time.perf_counter()
    page.goto(path.as_uri(), wait_until="commit")
    page.locator(".row").first.wait_for()
    seconds = time.perf_counter() - started
    search = float(page.evaluate(SEARCH))
    page.close()
    return 1000 * seconds, search


if __name__ == "__main__":
    main()
