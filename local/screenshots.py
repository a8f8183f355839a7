"""``make screenshots``: the images of the page in docs/images, of a simulated week at a fixed time."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from local.browser import ADVICE, ARGUMENTS, find_browser
from local.page import serving
from local.week.backend import HistoryBackend

IMAGES: Final = Path(__file__).resolve().parents[1] / "docs" / "images"
NOW: Final = datetime(2026, 9, 17, 8, 41, tzinfo=UTC)
"""A Thursday morning, while much is running."""
SEED: Final = 11
MAX_BYTES: Final = 200_000
WIDE, PHONE = (1280, 800), (390, 844)
"""Pixels: width and height."""


@dataclass(frozen=True)
class Shot:
    """One image. ``address``: of a view; ``wait``: a selector that is there once the view is complete."""

    name: str
    address: str
    wait: str
    size: tuple[int, int] = WIDE
    scheme: str = "light"
    scale: float = 1.25
    click: str | None = None


def shots(backend: HistoryBackend) -> Iterator[Shot]:
    """Yield all images."""
    running = {record["pipeline"]: record["run_id"] for record in backend.history.running}
    failed = [record["run_id"] for record in backend.history.records if record["status"] == "FAILED"]
    yield Shot("overview", "/", ".card:nth-child(8)", (1280, 860))
    yield Shot("overview-dark", "/", ".card:nth-child(8)", (1280, 860), "dark")
    yield Shot("timeline", "/timeline", ".run-bar", (1280, 580))
    yield Shot("run", f"/runs/{running['purchase-to-pay']}", ".gantt", (1280, 860))
    yield Shot("run-failed", f"/runs/{failed[-1]}", ".failure", (1280, 860))
    yield Shot("deliveries", "/deliveries", ".table tbody tr", (1280, 770), scale=1.15, click="Try")
    yield Shot("phone-overview", "/", ".card:nth-child(8)", PHONE, scale=1.5)
    yield Shot("phone-run", f"/runs/{failed[-1]}", ".failure", PHONE, "dark", 1.5)


def take(browser: Browser, link: str, shot: Shot, folder: Path) -> Path:
    """Write one image and return its path."""
    context = browser.new_context(
        viewport={"width": shot.size[0], "height": shot.size[1]},
        color_scheme="dark" if shot.scheme == "dark" else "light",
        device_scale_factor=shot.scale,
        timezone_id="Europe/Berlin",
        locale="en-GB",
        reduced_motion="reduce",
    )
    with contextlib.closing(context):
        page = context.new_page()
        page.clock.install(time=NOW)
        page.goto(link)
        page.locator("h1").wait_for()
        page.goto(f"{link.partition('#')[0]}#{shot.address}")
        page.locator(shot.wait).first.wait_for()
        if shot.click:
            page.get_by_role("button", name=shot.click, exact=True).click()
            page.locator(".answer").wait_for()
        page.clock.run_for(50)  # layout that follows the size of the window
        path = folder / f"{shot.name}.png"
        page.screenshot(path=path)
    return path


def main(folder: Path = IMAGES) -> int:
    """Write all images."""
    executable = find_browser()
    if executable is None:
        print(f"make screenshots: there is no browser: {ADVICE}", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    backend = HistoryBackend.make(SEED, NOW.timestamp)
    too_large = []
    with sync_playwright() as playwright, serving(backend) as link:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        for shot in shots(backend):
            path = take(browser, link, shot, folder)
            size = path.stat().st_size
            print(f"{path.relative_to(IMAGES.parents[1])}  {size / 1000:.0f} kB")
            too_large += [path.name] if size > MAX_BYTES else []
        browser.close()
    if too_large:
        print(
            f"make screenshots: larger than {MAX_BYTES // 1000} kB: {', '.join(too_large)}", file=sys.stderr
        )
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main())
