"""The timeline: its keyboard, its table, and the marks of triggers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from celonis_refresh.timing import iso
from local.week.backend import HistoryBackend
from tests.page.conftest import CheckedBackend, View, now

DAY = 86_400
FOCUSED = "document.activeElement.dataset.run"
"""The id of the run whose bar is focused."""
NOTE = "Not all deliveries before"


def open_timeline(view: View) -> Page:
    page = view().open("/timeline")
    settled(page)
    return page


def settled(page: Page) -> None:
    """Wait until the runs of the whole span are shown."""
    expect(page.locator(".timeline")).to_have_attribute("aria-busy", "false")


def press(page: Page, name: str, times: int) -> None:
    for _ in range(times):
        page.get_by_role("button", name=name, exact=True).click()
    settled(page)


def pending_run(backend: HistoryBackend) -> str:
    return str(backend.history.pending["order-to-cash"]["run_id"])


def bar(page: Page, run_id: str) -> Any:
    return page.locator(f'a.run-bar[data-run="{run_id}"]')


def test_the_chart_can_be_entered_after_a_move_away_from_the_focused_run(view: View) -> None:
    page = open_timeline(view)
    entry = page.locator("a.run-bar[tabindex='0']")
    entry.focus()
    left = page.evaluate(FOCUSED)
    press(page, "Earlier", 3)
    expect(bar(page, left)).to_have_count(0)
    expect(entry).to_have_count(1)
    entry.focus()
    first = page.evaluate(FOCUSED)
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(FOCUSED) not in (first, left, None)
    press(page, "Now", 1)
    expect(entry).to_have_count(1)


def test_arrow_keys_reach_a_pending_run(view: View, backend: CheckedBackend) -> None:
    page = open_timeline(view)
    active = next(one["run_id"] for one in backend.history.running if one["pipeline"] == "order-to-cash")
    pending = bar(page, pending_run(backend))
    bar(page, active).focus()
    page.keyboard.press("End")
    expect(pending).to_be_focused()
    expect(pending).to_have_attribute("tabindex", "0")
    expect(pending).to_have_attribute("aria-label", re.compile("^order-to-cash: Pending since "))
    page.keyboard.press("ArrowLeft")
    expect(bar(page, active)).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(pending_run(backend))


def test_a_pending_run_is_above_the_run_that_it_waits_for(view: View, backend: CheckedBackend) -> None:
    box = bar(page := open_timeline(view), pending_run(backend)).bounding_box()
    assert box is not None
    top = page.evaluate(
        "([x, y]) => document.elementFromPoint(x, y).dataset.run",
        [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2],
    )
    assert top == pending_run(backend)


def test_a_pending_run_is_shown_once_after_it_has_begun(view: View, backend: CheckedBackend) -> None:
    """Pipelines are loaded less often than runs, so that one may still name it as pending."""
    waiting = backend.history.pending["order-to-cash"]
    active = next(one for one in backend.history.running if one["pipeline"] == "order-to-cash")
    begun = {**active, "run_id": waiting["run_id"]}
    others = [one for one in backend.history.running if one is not active]
    backend.history = replace(backend.history, running=[*others, begun])
    page = open_timeline(view)
    expect(bar(page, waiting["run_id"])).to_have_count(1)
    expect(bar(page, waiting["run_id"])).to_have_class(re.compile("tone-running"))


def test_the_table_has_the_runs_of_the_chart(view: View, backend: CheckedBackend) -> None:
    page = open_timeline(view)
    page.get_by_label("Search pipelines").fill("order-to")
    expect(page.locator(".time-rows .time-row")).to_have_count(1)
    shown = page.locator("a.run-bar").evaluate_all("all => all.map((one) => one.hash).sort()")
    page.get_by_label("As a table").check()
    links = page.locator("tbody td:first-child a, tbody th a")
    expect(links).to_have_count(len(shown))
    assert links.evaluate_all("all => all.map((one) => one.hash).sort()") == shown
    row = page.locator("tbody tr", has=page.locator(f'a[href="#/runs/{pending_run(backend)}"]'))
    expect(row).to_contain_text("Pending")
    expect(page.locator(".summary")).to_contain_text(f"{len(shown)} runs")


def busy_source(page: Page, name: str, minutes: int) -> None:
    """Let a source have so many deliveries that those which are read cover some minutes only."""

    def answer(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        if query["source"] != [name]:
            route.fallback()
            return
        number = int(query.get("before", ["0"])[0]) + 1
        received = iso(now() - number * minutes * 60 / 12)
        found = {"source": name, "delivery": str(number), "received_at": received, "result": "ignored"}
        delivery: dict[str, Any] = {**found, "reason": None, "runs": [], "errors": []}
        route.fulfill(json={"deliveries": [delivery], "before": str(number)})

    page.route(re.compile("/api/deliveries"), answer)


def test_no_trigger_is_stated_where_deliveries_are_missing(view: View, backend: CheckedBackend) -> None:
    busy = "github"
    others = {str(one["source"]) for one in backend.history.deliveries} - {busy}
    viewing = view()
    page = viewing.open()
    busy_source(page, busy, minutes=12)
    page.goto(page.url.replace("#/", "#/timeline"))
    settled(page)
    assert page.locator(".time-rows .by-clock").count() == 0
    assert page.locator(f'.trigger[title^="{busy},"]').count() == 0
    for name in others:  # their deliveries are known
        assert page.locator(f'.trigger[title^="{name},"]').count() > 0, name
    expect(page.locator(".note")).to_contain_text(NOTE)
    expect(page.locator(".note")).to_contain_text("Runs whose trigger is not known have no mark.")
    expect(page.locator(".note")).not_to_contain_text("too many runs")


def test_known_triggers_are_marked_without_a_note(view: View, backend: CheckedBackend) -> None:
    page = open_timeline(view)
    assert page.locator(".time-rows .by-clock").count() > 0
    assert page.locator(".trigger").count() > 0
    expect(page.locator(".note")).to_have_count(0)


@pytest.fixture
def old_runs(backend: CheckedBackend) -> Callable[..., list[str]]:
    """Lets ``workforce`` have runs that began some days ago only; returns their ids."""

    def make(*days: float) -> list[str]:
        record = next(one for one in backend.history.records if one["status"] == "SUCCEEDED")
        records = []
        for number, each in enumerate(sorted(days, reverse=True)):
            at = now() - each * DAY
            own = {"pipeline": "workforce", "run_id": f"workforce-20260901T000000Z-0000000{number}"}
            own |= {"created_at": iso(at), "started_at": iso(at + 1), "ended_at": iso(at + 600)}
            records.append({**record, **own, "position": str(number)})
        backend.history = replace(backend.history, records=records, running=[], pending={}, deliveries=[])
        return [str(one["run_id"]) for one in records]

    return make


def test_no_trigger_is_stated_where_deliveries_have_expired(
    view: View, old_runs: Callable[..., list[str]]
) -> None:
    """Deliveries are kept for 14 days. The second run may have waited since the first one began."""
    runs = old_runs(14.1, 13.5, 13)
    page = open_timeline(view)
    expect(page.locator(".note")).to_have_count(0)
    page.get_by_role("button", name="Week").click()
    press(page, "Earlier", 3)
    for run_id in runs:
        expect(bar(page, run_id)).to_have_count(1)
    expect(page.locator(".note")).to_contain_text(NOTE)
    expect(page.locator(".time-rows .by-clock")).to_have_count(1)
