"""The page in a real browser: against a simulated history, and against the local stack."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from local.browser import ADVICE, ARGUMENTS, find_browser
from local.page import serving
from local.screenshots import NOW
from local.week.backend import HistoryBackend
from refresh_cli.page.backend import ApiAnswer
from tests.contract import answer_problems, request_problems

SEED = 7
TIMEOUT = 8_000
"""Milliseconds in which what a test waits for has to happen."""
expect.set_options(timeout=TIMEOUT)


def is_required() -> bool:
    """Whether tests fail without a browser."""
    return any(os.environ.get(name, "") not in ("", "0", "false") for name in ("CI", "REQUIRE_BROWSER"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium. Without one the tests are skipped, or fail where it is required."""
    path = find_browser()
    if path is None and is_required():
        pytest.fail(f"no browser: {ADVICE}")
    if path is None:
        pytest.skip(f"no browser: {ADVICE}")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield launched
        launched.close()


@dataclass
class Viewing:
    """A page in the browser. ``problems``: errors of scripts, of the console and of the content policy."""

    page: Page
    link: str
    problems: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> Page:
        """Open a view by its address within the page; the first time with the token."""
        if self.page.url == "about:blank":
            self.page.goto(self.link)
            self.page.get_by_role("heading", level=1).wait_for()
        if path != "/" or not self.page.url.endswith("#/"):
            self.page.goto(f"{self.link.partition('#')[0]}#{path}")
        self.page.get_by_role("heading", level=1).wait_for()
        return self.page


class WeekClock:
    """The time of the simulated week: it passes, and is the same at the beginning of each test."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._started = time.monotonic()

    def __call__(self) -> float:
        return NOW.timestamp() + time.monotonic() - self._started


now = WeekClock()


@pytest.fixture(autouse=True)
def restarted_clock() -> None:
    """However late a test begins, the runs that are running have just begun."""
    now.restart()


def watched(context: BrowserContext, link: str, at: float | None = None) -> Viewing:
    """A new page whose problems are collected. ``at``: what its clock shows, if not the real time."""
    context.set_default_timeout(TIMEOUT)
    viewing = Viewing(context.new_page(), link)
    if at is not None:
        viewing.page.clock.install(time=at)

    def heard(message: ConsoleMessage) -> None:
        is_answer = "Failed to load resource" in message.text  # of an API error that a test wants
        if message.type in ("error", "warning") and not is_answer:
            viewing.problems.append(message.text)

    viewing.page.on("console", heard)
    viewing.page.on("pageerror", lambda error: viewing.problems.append(str(error)))
    return viewing


@dataclass
class CheckedBackend(HistoryBackend):
    """``problems``: requests of the page, and answers to them, that differ from ``docs/openapi.json``."""

    problems: list[str] = field(default_factory=list)

    @staticmethod
    def of(backend: HistoryBackend) -> CheckedBackend:
        """Return a backend with the history of another one, and with a state of its own."""
        return CheckedBackend(backend.history, backend.plans, backend.now, paused=dict(backend.paused))

    def api(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> ApiAnswer:
        answer = super().api(method, path, query, headers, body)
        self.problems += request_problems(method, path, query, json.loads(body) if body else None)
        self.problems += answer_problems(method, path, answer.status, json.loads(answer.body))
        return answer


@pytest.fixture(scope="session")
def week() -> HistoryBackend:
    """Simulated once; no test changes its history."""
    now.restart()
    return HistoryBackend.make(SEED, now)


@pytest.fixture
def backend(week: HistoryBackend) -> Iterator[CheckedBackend]:
    """A week of eight pipelines, with runs that are running and waiting now. It answers as the API does."""
    checked = CheckedBackend.of(week)
    yield checked
    assert checked.problems == []


View = Callable[..., Viewing]


@pytest.fixture
def view(browser: Browser, backend: HistoryBackend) -> Iterator[View]:
    """Opens the page of ``backend``; arguments are those of a browser context. Fails after a problem."""
    with serving(backend) as link, contextlib.ExitStack() as stack:
        opened: list[Viewing] = []

        def open_view(**options: object) -> Viewing:
            chosen = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce", **options}
            context = stack.enter_context(contextlib.closing(browser.new_context(**chosen)))  # type: ignore[arg-type]
            opened.append(watched(context, link, now()))
            return opened[-1]

        yield open_view
        assert [problem for viewing in opened for problem in viewing.problems] == []
