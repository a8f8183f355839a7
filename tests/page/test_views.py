"""Every view, with a simulated week behind it."""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from celonis_refresh.timing import iso
from local.page import serving
from local.week.backend import HistoryBackend
from refresh_cli.page.backend import ApiAnswer, BackendError
from tests.page.conftest import View, now, watched

RETRY = "logistics-20260917T080000Z-0a1b2c3d"
RUNS = {"failed": "FAILED", "succeeded": "SUCCEEDED"}
EXPIRED = BackendError("credentials", "AWS does not accept the credentials.", "Run aws sso login.", 401)


def newest(backend: HistoryBackend, status: str, pipeline: str | None = None) -> str:
    """The id of the newest run with a status."""
    found = [
        record
        for record in backend.history.records
        if record["status"] == status and pipeline in (None, record["pipeline"])
    ]
    return str(found[-1]["run_id"])


def running(backend: HistoryBackend, pipeline: str) -> str:
    return next(str(record["run_id"]) for record in backend.history.running if record["pipeline"] == pipeline)


def addresses(backend: HistoryBackend) -> dict[str, str]:
    """One address of every view, and of every kind of run."""
    return {
        "overview": "/",
        "timeline": "/timeline",
        "deliveries": "/deliveries",
        "pipeline": "/pipelines/order-to-cash",
        "paused pipeline": "/pipelines/workforce",
        "failed run": f"/runs/{newest(backend, 'FAILED')}",
        "run that succeeded": f"/runs/{newest(backend, 'SUCCEEDED')}",
        "running run": f"/runs/{running(backend, 'order-to-cash')}",
        "waiting run": f"/runs/{running(backend, 'accounts-payable')}",
        "pending run": f"/runs/{backend.history.pending['order-to-cash']['run_id']}",
        "missing run": "/runs/inventory-20200101T000000Z-00000000",
    }


@dataclass(frozen=True)
class DialogCase:
    """A dialog: the view and the button that open it, the button that confirms, and the request it sends."""

    view: str
    button: str
    confirm: str
    request: str


DIALOGS = {
    "start": DialogCase("pipeline", "Start run", "Start run", r"/runs"),
    "pause": DialogCase("pipeline", "Pause", "Pause pipeline", r"/pipelines/order-to-cash/pause"),
    "resume": DialogCase("paused pipeline", "Resume", "Resume pipeline", r"/pipelines/workforce/resume"),
    "retry": DialogCase("failed run", "Retry", "Retry run", r"/runs/.+/retry"),
    "cancel": DialogCase("running run", "Cancel", "Cancel run", r"/runs/.+/cancel"),
    "drop": DialogCase("pending run", "Drop", "Drop run", r"/runs/.+/cancel"),
}


def loaded(page: Page) -> None:
    """Wait until nothing is loading any more."""
    expect(page.locator(".skeleton")).to_have_count(0)


def test_overview(view: View, backend: HistoryBackend) -> None:
    page = view().open()
    cards = page.locator(".card")
    expect(cards).to_have_count(8)
    stale = cards.filter(has_text="production-planning")
    expect(stale).to_contain_text("Stale")
    expect(stale).to_contain_text("since")
    expect(stale).to_contain_text("Failed")
    bars = stale.get_by_role("img")
    expect(bars).to_have_attribute("aria-label", re.compile(r"Last \d+ runs: .*failed.*expected duration"))
    order = cards.filter(has_text="order-to-cash")
    expect(order).to_contain_text("Running")
    expect(order).to_contain_text("Fresh")
    expect(cards.filter(has_text="workforce")).to_contain_text("Paused")
    expect(cards.filter(has_text="purchase-to-pay").locator("dl")).to_contain_text("Next")
    expect(cards.first).to_contain_text("production-planning")  # what needs attention comes first
    order.locator(".bar").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("order-to-cash-")


def test_search_and_filter(view: View) -> None:
    page = view().open()
    page.get_by_label("Search pipelines").fill("TO pay")
    expect(page.locator(".card h2")).to_have_text(["purchase-to-pay"])
    page.get_by_label("Search pipelines").fill("")
    page.get_by_role("button", name=re.compile("^Paused")).click()
    expect(page.locator(".card h2")).to_have_text(["workforce"])
    page.get_by_label("Search pipelines").fill("nothing like it")
    expect(page.get_by_text("No pipeline matches")).to_be_visible()


def test_invalid_and_at_risk_pipelines_are_found(view: View) -> None:
    def change(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        for one in body["details"]:
            if one["pipeline"] == "inventory":
                one["invalid"] = "loads: is missing"
            elif one["freshness"] and one["freshness"]["state"] != "STALE":
                one["freshness"]["state"] = "AT_RISK" if one["pipeline"] == "order-to-cash" else "FRESH"
        route.fulfill(response=answer, json=body)

    viewing = view()
    viewing.page.route(re.compile(r"/api/pipelines\?"), change)
    page = viewing.open()
    names = page.locator(".card h2")
    expect(names).to_have_count(8)
    expect(names.first).to_have_text("inventory")
    expect(page.locator(".card").first.locator(".badge").first).to_have_text("Invalid")
    found = {"Invalid": "inventory", "Stale": "production-planning", "At risk": "order-to-cash"}
    for label, name in found.items():
        page.get_by_role("button", name=re.compile(f"^{label}")).click()
        expect(names).to_have_text([name])
    expect(page.locator(".summary")).to_contain_text("1 pipeline stale")
    expect(page.locator(".summary")).to_contain_text("1 at risk, 1 with an invalid definition")


def test_timeline(view: View, backend: HistoryBackend) -> None:
    page = view().open("/timeline")
    expect(page.locator(".time-rows .time-row")).to_have_count(8)
    page.locator("a.run-bar").first.wait_for()
    day = page.locator("a.run-bar").count()
    page.get_by_role("button", name="Week").click()
    expect(page.get_by_role("button", name="Week")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".timeline")).to_have_attribute("aria-busy", "false")
    assert page.locator("a.run-bar").count() > day
    assert page.locator(".trigger").count() > 50
    assert page.locator(".wait-line").count() > 5
    assert page.locator(".next-mark").count() > 0
    page.get_by_role("button", name="6 h").click()
    width = page.locator(f'[data-run="{running(backend, "order-to-cash")}"]').bounding_box()
    page.get_by_role("button", name="Zoom in").click()
    wider = page.locator(f'[data-run="{running(backend, "order-to-cash")}"]').bounding_box()
    assert width is not None
    assert wider is not None
    assert wider["width"] > 1.5 * width["width"]
    page.get_by_label("As a table").check()
    expect(page.get_by_role("region", name="Table of runs")).to_contain_text("order-to-cash")
    page.get_by_label("As a table").uncheck()
    page.locator(f'[data-run="{running(backend, "order-to-cash")}"]').click()
    expect(page.get_by_role("heading", level=1)).to_have_text(running(backend, "order-to-cash"))


def test_a_failed_run_says_why_and_what_to_do(view: View, backend: HistoryBackend) -> None:
    page = view().open(addresses(backend)["failed run"])
    panel = page.locator(".failure")
    expect(panel).to_contain_text("failed")
    expect(panel).to_contain_text("What to do")
    expect(panel).to_contain_text("fix the cause")
    expect(panel.get_by_role("link", name="Open in Celonis")).to_have_attribute(
        "href", re.compile(r"^https://acme\.eu-1\.celonis\.cloud/integration/ui/pools/")
    )
    expect(panel.get_by_role("link", name="Open in Step Functions")).to_have_attribute(
        "href", re.compile(r"^https://eu-central-1\.console\.aws\.amazon\.com/states/")
    )
    expect(page.get_by_role("button", name="Retry")).to_be_visible()
    expect(page.locator("section", has_text="Triggers").last).to_be_visible()


def test_a_waiting_run_says_what_it_waits_for(view: View, backend: HistoryBackend) -> None:
    page = view().open(addresses(backend)["waiting run"])
    holder = running(backend, "purchase-to-pay")
    expect(page.locator(".status-line")).to_contain_text("Vendors and invoices waits for run")
    expect(page.locator(".status-line").get_by_role("link", name=holder)).to_be_visible()
    expect(page.locator(".status-line")).to_contain_text("no expected end while it waits")
    expect(page.locator(".status-line")).to_contain_text("it takes about 25 min more")
    expect(page.locator(".gantt .expected-end")).to_have_count(0)
    expect(page.locator(".gantt-rows .part.ghost")).to_have_count(0)  # what follows has no time yet
    expect(page.locator(".gantt .part.waiting")).to_have_count(1)
    expect(page.locator(".table tbody tr").first).to_contain_text("Waiting")


def test_a_running_run_shows_polls_and_the_expected_end(view: View, backend: HistoryBackend) -> None:
    page = view().open(addresses(backend)["running run"])
    expect(page.locator(".status-line")).to_contain_text("expected to end at")
    expect(page.locator(".gantt .expected-end")).to_have_count(1)
    assert page.locator(".gantt .poll").count() > 2
    expect(page.locator(".gantt-rows .part.ghost")).to_have_count(2)  # the rest of the job, and the load
    expect(page.locator(".table tbody tr").first).to_contain_text("Running")


def open_changed(view: View, backend: HistoryBackend, change: Callable[[dict[str, Any]], None]) -> Page:
    """Open the running run, as its record is after a change."""
    run_id = running(backend, "order-to-cash")
    records = [copy.deepcopy(record) for record in backend.history.running]
    change(next(record for record in records if record["run_id"] == run_id))
    backend.history = replace(backend.history, running=records)
    return view().open(f"/runs/{run_id}")


def test_a_step_that_takes_longer_than_usual_has_no_expected_end(view: View, backend: HistoryBackend) -> None:
    def start_earlier(record: dict[str, Any]) -> None:
        record["steps"]["job-0"] |= {"noted_at": iso(now() - 900), "started_date": (now() - 900) * 1000}

    page = open_changed(view, backend, start_earlier)
    expect(page.locator(".status-line")).to_contain_text("longer than usual")
    expect(page.locator(".gantt .expected-end")).to_have_count(0)


def test_without_durations_no_end_is_expected_yet(view: View, backend: HistoryBackend) -> None:
    backend.history = replace(backend.history, durations={})
    page = view().open(addresses(backend)["running run"])
    expect(page.locator(".status-line")).to_contain_text("no expected end yet")
    expect(page.locator(".gantt .expected-end")).to_have_count(0)


def test_a_run_that_cannot_be_polled_says_why(view: View, backend: HistoryBackend) -> None:
    def fail_polls(record: dict[str, Any]) -> None:
        record["steps"]["job-0"]["last_error"] = "The host was not found."

    page = open_changed(view, backend, fail_polls)
    expect(page.locator(".status-line")).to_contain_text("ERP extraction waits: The host was not found.")
    expect(page.locator(".status-line")).to_contain_text("no expected end while it waits")


IDS = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-")


def test_names_are_shown_in_place_of_ids(view: View, backend: HistoryBackend) -> None:
    """The name of a model is in its definition; that of a job is known from polls of it."""
    viewing = view()
    for name in ("failed run", "run that succeeded", "running run", "waiting run"):
        page = viewing.open(addresses(backend)[name])
        loaded(page)
        expect(page.locator("main > :not(details)", has_text=IDS)).to_have_count(0)
    expect(page.locator(".gantt-rows")).to_contain_text("Purchase to Pay")
    page = viewing.open("/pipelines/order-to-cash")
    expect(page.locator("td.outcome").nth(1)).to_contain_text('loaded data model "Order to Cash" (2 tables)')
    expect(page.locator("main", has_text=IDS)).to_have_count(0)


def test_the_name_of_the_definition_comes_first(view: View, backend: HistoryBackend) -> None:
    def name_job(record: dict[str, Any]) -> None:
        definition = json.loads(record["definition"])
        definition["jobs"][0]["name"] = "Orders of the night"
        record["definition"] = json.dumps(definition)

    page = open_changed(view, backend, name_job)
    expect(page.locator(".table tbody tr").first).to_contain_text("Orders of the night")


def test_a_retry_shows_the_steps_that_it_skips(view: View, backend: HistoryBackend) -> None:
    """The steps of a run are numbered without those that it skips."""
    record = next(each for each in backend.history.records if each["pipeline"] == "logistics")
    definition = json.loads(record["definition"])
    skipped, left = (each["job"] for each in definition["jobs"])
    steps = {"job-0": record["steps"]["job-1"], "load-0": record["steps"]["load-0"]}
    retry = {**record, "steps": steps, "skip": [skipped], "retry_of": record["run_id"], "run_id": RETRY}
    backend.history = replace(backend.history, records=[*backend.history.records, retry])
    page = view().open(f"/runs/{RETRY}")
    rows = page.locator(".table tbody tr")
    assert steps["job-0"]["job"] == left
    expect(rows.nth(0)).to_contain_text("Shipments")
    expect(rows.nth(0)).to_contain_text("Skipped")
    expect(rows.nth(1)).to_contain_text("Stock movements")
    expect(rows.nth(1)).to_contain_text("Succeeded")


def test_a_pending_run(view: View, backend: HistoryBackend) -> None:
    page = view().open(addresses(backend)["pending run"])
    expect(page.locator(".status-line")).to_contain_text("Begins when")
    page.get_by_role("button", name="Drop").click()
    expect(page.get_by_role("dialog")).to_contain_text("Drop this pending run?")


def test_pipeline(view: View, backend: HistoryBackend) -> None:
    page = view().open("/pipelines/order-to-cash")
    expect(page.get_by_role("region", name="Table of runs")).to_be_visible()
    page.get_by_label("Status").select_option("FAILED")
    expect(page.locator(".table tbody tr").first).to_contain_text("JobFailed")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("maintenance")
    page.get_by_role("button", name="Pause pipeline").click()
    expect(page.locator(".note")).to_contain_text("maintenance")
    assert backend.paused["order-to-cash"]["reason"] == "maintenance"
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Resume pipeline").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_deliveries(view: View) -> None:
    page = view().open("/deliveries")
    rows = page.locator(".table tbody tr")
    expect(rows.nth(60)).to_be_visible()
    page.get_by_role("button", name="github").click()
    expect(page.locator(".table thead")).not_to_contain_text("Source")
    page.get_by_label("Result").select_option("ignored")
    expect(rows.first).to_contain_text("rule 1 (order-to-cash)")
    page.get_by_label("Result").select_option("")
    expect(page.locator(".try select")).to_have_value("github")


def test_an_event_is_tried_against_the_rules(view: View) -> None:
    page = view().open("/deliveries")
    form = page.locator(".try")
    form.get_by_label("Source").select_option("github")
    form.get_by_role("button", name="Try").click()
    expect(form.locator(".answer")).to_contain_text("Rule 1: starts order-to-cash")
    form.get_by_label("Body").fill('{"conclusion": "failure"}')
    form.get_by_role("button", name="Try").click()
    expect(form.locator(".answer")).to_contain_text("does not start order-to-cash")


def test_expired_credentials_are_shown_and_the_page_recovers(view: View, backend: HistoryBackend) -> None:
    page = view().open()
    expect(page.locator(".card")).to_have_count(8)
    backend.error = EXPIRED
    page.goto(page.url.replace("#/", "#/timeline"))
    banner = page.locator(".banner")
    expect(banner).to_contain_text("Your AWS credentials have expired")
    expect(banner).to_contain_text("Run aws sso login.")
    expect(page.locator(".live")).to_have_text("Not connected")
    backend.error = None
    expect(banner).to_have_count(0)  # by itself
    expect(page.locator(".time-rows .time-row")).to_have_count(8)
    expect(page.locator(".live")).to_have_text("Live")


def test_schedules_that_may_not_be_read_are_no_problem(view: View, backend: HistoryBackend) -> None:
    backend.schedules_error = BackendError("permission", "A permission is missing.", "Ask for it.", 403)
    page = view().open()
    expect(page.locator(".card").first).to_contain_text("not readable")
    expect(page.locator(".banner")).to_have_count(0)


def test_data_stays_while_requests_fail(view: View, backend: HistoryBackend) -> None:
    viewing = view()
    viewing.page.clock.install()
    page = viewing.open()
    expect(page.locator(".card")).to_have_count(8)
    backend.error = BackendError("unreachable", "The API did not answer.", "Check the network.", 502)
    page.clock.fast_forward(6_000)
    expect(page.locator(".banner")).to_contain_text("The API does not answer")
    expect(page.locator(".card")).to_have_count(8)
    backend.error = None
    page.get_by_role("button", name="Try now").click()
    expect(page.locator(".banner")).to_have_count(0)


def test_without_the_server_of_the_page_the_data_stays(view: View) -> None:
    viewing = view()
    viewing.page.clock.install()
    page = viewing.open()
    expect(page.locator(".card")).to_have_count(8)
    page.context.set_offline(True)
    page.clock.fast_forward(6_000)
    expect(page.locator(".banner")).to_contain_text("The server of this page has stopped")
    expect(page.locator(".card")).to_have_count(8)
    page.context.set_offline(False)
    page.clock.fast_forward(31_000)
    expect(page.locator(".banner")).to_have_count(0)  # by itself


def test_a_stack_that_is_gone_is_explained(view: View, backend: HistoryBackend) -> None:
    backend.error = BackendError("configuration", "There is no such stack: shop.", "Choose another one.", 502)
    page = view().open()
    expect(page.locator(".banner")).to_contain_text("The stack cannot be read")
    expect(page.locator(".banner")).to_contain_text("There is no such stack: shop. Choose another one.")


def test_a_run_that_was_dropped_is_not_shown_any_more(view: View, backend: HistoryBackend) -> None:
    viewing = view()
    viewing.page.clock.install()
    page = viewing.open(addresses(backend)["pending run"])
    expect(page.locator(".status-line")).to_contain_text("Begins when")
    backend.history = replace(backend.history, pending={})
    page.clock.fast_forward(6_000)
    expect(page.locator(".problem")).to_contain_text("not found")
    expect(page.locator(".status-line")).to_have_count(0)
    expect(page.locator(".banner")).to_have_count(0)


def test_a_start_that_is_sent_again_has_the_same_key(view: View) -> None:
    page = view().open()
    keys: list[str | None] = []

    def fail(route: Route) -> None:
        keys.append(route.request.header_value("Idempotency-Key"))
        route.fulfill(
            status=502, json={"error": "unreachable", "message": "It did not answer.", "action": ""}
        )

    page.route(re.compile("/api/runs$"), fail)
    page.get_by_role("button", name="Start inventory").click()
    dialog = page.get_by_role("dialog")
    for times in (1, 2):
        dialog.get_by_role("button", name="Start run").click()
        expect(dialog.locator(".problem")).to_contain_text("It did not answer.")
        assert len(keys) == times
    assert keys[0]
    assert keys[0] == keys[1]


def stop_messages(page: Page) -> None:
    """Stop the clock of the page, so that a message stays however slow the machine is."""
    page.clock.pause_at(page.evaluate("Date.now() / 1000 + 1"))


EARLIER = "Nothing was started: an earlier request has started or joined run {}."


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("inventory", "started", "A run of inventory has started."),
        ("inventory", "duplicate", EARLIER),
        ("workforce", "joined", "The run begins after the pause of workforce ends."),
        ("workforce", "duplicate", EARLIER),
    ],
)
def test_a_start_says_what_it_did(
    view: View, backend: HistoryBackend, name: str, status: str, text: str
) -> None:
    """The answer to an earlier request may have been lost, which the same key then reports."""
    run_id = newest(backend, "SUCCEEDED", name)
    answer = {"runs": [{"pipeline": name, "run_id": run_id, "status": status}]}
    page = view().open(f"/pipelines/{name}")
    page.route(re.compile("/api/runs$"), lambda route: route.fulfill(status=202, json=answer))
    page.get_by_role("button", name="Start run").click()
    button = page.get_by_role("dialog").get_by_role("button", name="Start run")
    expect(button).to_be_visible()
    stop_messages(page)
    button.click()
    expect(page.locator(".message")).to_have_text(text.format(run_id))


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("started", "The retry has started."),
        ("duplicate", "Nothing was started: an earlier request has started run {}."),
    ],
)
def test_a_retry_says_what_it_did(view: View, backend: HistoryBackend, status: str, text: str) -> None:
    run_id = newest(backend, "SUCCEEDED", "logistics")
    answer = {"runs": [{"pipeline": "logistics", "run_id": run_id, "status": status}]}
    page = view().open(addresses(backend)["failed run"])
    page.route(re.compile("/retry$"), lambda route: route.fulfill(status=202, json=answer))
    page.get_by_role("button", name="Retry").click()
    button = page.get_by_role("button", name="Retry run")
    expect(button).to_be_visible()
    stop_messages(page)
    button.click()
    expect(page.locator(".message")).to_have_text(text.format(run_id))


@pytest.mark.parametrize("is_allowed", [True, False])
def test_a_copy_that_fails_says_so_and_offers_the_text(
    view: View, backend: HistoryBackend, is_allowed: bool
) -> None:
    run_id = newest(backend, "SUCCEEDED")
    page = view(viewport={"width": 320, "height": 800}).open(f"/runs/{run_id}")
    result = "resolve()" if is_allowed else "reject(new DOMException('denied', 'NotAllowedError'))"
    page.evaluate(f"void (navigator.clipboard.writeText = () => Promise.{result})")
    arn = page.get_by_role("textbox", name="Copy the execution's ARN")
    if not is_allowed:  # the page shows the end of the ARN only
        page.get_by_role("button", name="Copy the execution's ARN").click()
        expect(arn).to_be_focused()
        expect(arn).to_have_value(re.compile("^arn:aws:states:.*"))
    button = page.get_by_role("button", name="Copy the run's id")
    expect(button).to_be_visible()
    stop_messages(page)
    button.click()
    text = page.get_by_role("textbox", name="Copy the run's id")
    if is_allowed:
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        expect(text).to_have_count(0)
        return
    expect(page.locator(".message").last).to_have_text(
        "Could not copy. The text is selected: copy it yourself."
    )
    expect(text).to_be_focused()
    expect(text).to_have_value(run_id)
    assert text.evaluate("(one) => one.selectionEnd - one.selectionStart") == len(run_id)
    expect(page.get_by_role("button", name="Copied")).to_have_count(0)
    assert page.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0


def test_an_earlier_link_is_explained(view: View) -> None:
    viewing = view()
    viewing.page.goto(re.sub("token=.*", "token=of-an-earlier-start", viewing.link))
    expect(viewing.page.locator(".banner")).to_contain_text(
        "This link has no token, or that of an earlier start"
    )


def test_the_token_leaves_the_address(view: View) -> None:
    viewing = view()
    page = viewing.open()
    assert "token" not in page.url
    assert page.context.cookies() == []
    page.reload()
    expect(page.locator(".card")).to_have_count(8)


def test_updates_do_not_replace_what_is_there(view: View, backend: HistoryBackend) -> None:
    """A card that has not changed stays the same element, so that nothing flickers and no focus is lost."""
    viewing = view()
    viewing.page.clock.install()
    page = viewing.open()
    link = page.get_by_role("link", name="inventory")
    link.focus()
    page.evaluate("document.querySelectorAll('.card').forEach((card) => (card.mark = true))")
    with page.expect_response(re.compile(r"/api/pipelines\?")):
        page.clock.fast_forward(6_000)
    assert page.evaluate("[...document.querySelectorAll('.card')].every((card) => card.mark)")
    expect(link).to_be_focused()


def serious_findings(page: Page) -> list[tuple[str, str, str]]:
    """What axe finds: the rule, the element and what to do."""
    violations = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        (one["id"], one["nodes"][0]["html"][:160], one["nodes"][0].get("failureSummary", "")[:300])
        for one in violations
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_no_serious_accessibility_findings(
    view: View, backend: HistoryBackend, width: int, scheme: str
) -> None:
    viewing = view(viewport={"width": width, "height": 900}, color_scheme=scheme)
    views, found = addresses(backend), {}
    for name, address in views.items():
        page = viewing.open(address)
        loaded(page)
        found[name] = serious_findings(page)
    for name, dialog in DIALOGS.items():
        page = viewing.open(views[dialog.view])
        page.get_by_role("button", name=dialog.button, exact=True).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        found[f"dialog {name}"] = serious_findings(page)
        page.keyboard.press("Escape")
    assert {name: findings for name, findings in found.items() if findings} == {}


CUT = """() => {
  const cut = [];
  for (const one of document.querySelectorAll('body *')) {
    const style = getComputedStyle(one), box = one.getBoundingClientRect();
    const text = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!text || !box.width || one.closest('.sr, thead, .skip, option')) continue;
    const isCut = one.scrollWidth > one.clientWidth + 1 && one.clientWidth && style.overflowX !== 'visible';
    const isOutside = box.right > innerWidth + 1 || box.left < -1;
    if (isCut || isOutside) cut.push(`${one.tagName} ${one.className}: ${one.textContent.slice(0, 60)}`);
  }
  return cut;
}"""
"""The elements whose text is cut, or outside of the window."""


def assert_nothing_is_cut(page: Page, name: str) -> None:
    assert page.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0, name
    assert page.evaluate("[...document.querySelectorAll('.table-space')].every(" + FITS + ")"), name
    assert page.evaluate(CUT) == [], name


FITS = "(one) => one.scrollWidth <= one.clientWidth"


@pytest.mark.parametrize("width", [320, 390, 1024, 2560])
def test_nothing_is_cut_off(view: View, backend: HistoryBackend, width: int) -> None:
    viewing = view(viewport={"width": width, "height": 800})
    for name, address in addresses(backend).items():
        page = viewing.open(address)
        loaded(page)
        assert page.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0, name
        cut = page.evaluate(
            "[...document.querySelectorAll('.card dd, .button, .badge, .chip, h1')]"
            ".filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent)"
        )
        assert cut == [], name


LONG = {
    "order-to-cash": "order-to-cash-of-all-companies-in-europe-and-asi",
    "purchase-to-pay": "PurchaseToPayOfAllCompaniesInEuropeAsiaAmericaAf",
    "accounts-payable": "accounts_payable_of_all_companies_in_europe_asia",
    "github": "GithubEnterpriseServerOfThePlatformEngineeringTe",
    "servicenow": "servicenow_of_the_service_centre_in_all_countrie",
    "ERP extraction": "ERP_extraction_of_all_tables_of_sales_and_distribution_with_the_history_of_changes",
    "Vendors and invoices": "Vendors, invoices, payments and all documents that belong to them, of all years",
    "Purchase to Pay": "PurchaseToPayWithAllEventsOfVendorsInvoicesPaymentsAndTheirApprovals",
    "schedule": "schedule_of_the_night_in_the_data_centre_of_the_north_before_the_month_ends",
    "m.keller": "maximiliane.kellermeister-von-hohenstein@subsidiary.example.com",
}
"""Names as long as they may be."""


@dataclass
class LongNames:
    """The answers of ``backend`` with long names."""

    backend: HistoryBackend

    def about(self) -> Mapping[str, Any]:
        return self.backend.about()

    def schedules(self) -> Sequence[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = json.loads(lengthened(json.dumps(self.backend.schedules())))
        return found

    def api(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> ApiAnswer:
        mine = {key: shortened(value) for key, value in query.items()}
        answer = self.backend.api(method, shortened(path), mine, headers, shortened(body.decode()).encode())
        return ApiAnswer(answer.status, lengthened(answer.body.decode()).encode())


def lengthened(text: str) -> str:
    return re.sub("|".join(LONG), lambda name: LONG[name[0]], text)


def shortened(text: str) -> str:
    names = {long: name for name, long in LONG.items()}
    return re.sub("|".join(names), lambda name: names[name[0]], text)


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_long_names_are_readable(browser: Browser, backend: HistoryBackend, width: int) -> None:
    with serving(LongNames(backend)) as link:
        context = browser.new_context(viewport={"width": width, "height": 800}, reduced_motion="reduce")
        with closing(context):
            viewing = watched(context, link, now())
            for name, address in addresses(backend).items():
                page = viewing.open(lengthened(address))
                loaded(page)
                page.locator("details summary").evaluate_all("all => all.forEach((one) => one.click())")
                if width == 360:
                    assert_nothing_is_cut(page, name)
                else:
                    assert page.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0, name
            page = viewing.open("/timeline")
            page.get_by_label("As a table").check()
            page.get_by_role("region", name="Table of runs").wait_for()
            assert_nothing_is_cut(page, "timeline as a table")
            assert viewing.problems == []


def test_the_theme_can_be_chosen(view: View) -> None:
    page = view(color_scheme="light").open()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Theme: as the system").click()
    page.get_by_role("button", name="Theme: light").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert page.evaluate(ground) == dark


def test_motion_can_be_reduced(view: View) -> None:
    name = "getComputedStyle(document.querySelector('.spin')).animationName"
    for motion, animation in (("reduce", "none"), ("no-preference", "spin")):
        page = view(reduced_motion=motion).open()
        expect(page.locator(".spin").first).to_be_visible()
        assert page.evaluate(name) == animation


def test_with_the_keyboard_only(view: View, backend: HistoryBackend) -> None:
    page = view().open()
    expect(page.locator(".card")).to_have_count(8)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Search pipelines")).to_be_focused()
    page.keyboard.type("production")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "production-planning":
            break
    page.keyboard.press("Enter")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("production-planning")
    expect(heading).to_be_focused()
    page.get_by_role("link", name="Timeline").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Timeline")
    page.locator("a.run-bar[tabindex='0']").focus()
    first = page.evaluate("document.activeElement.dataset.run")
    page.keyboard.press("ArrowDown")
    second = page.evaluate("document.activeElement.dataset.run")
    assert second != first
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(second)


FOCUSED = "document.activeElement.matches('button') && document.activeElement.textContent.trim()"
"""The text of the button that is focused."""
DIALOG_CUT = f"""[...document.querySelectorAll('dialog, dialog :not(input, select, option)')]
.filter((one) => one.clientWidth && !({FITS})(one)).map((one) => one.outerHTML)"""


def focus(page: Page, name: str) -> None:
    """Press Tab until a button is focused."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED) == name:
            return
    raise AssertionError(f"Tab does not reach {name}")


@pytest.mark.parametrize("dialog", DIALOGS.values(), ids=list(DIALOGS))
def test_dialogs_with_the_keyboard_only(view: View, backend: HistoryBackend, dialog: DialogCase) -> None:
    """A request that fails can be sent again with Enter: the button keeps the focus."""
    page = view().open(addresses(backend)[dialog.view])
    loaded(page)
    sent: list[str] = []

    def fail(route: Route) -> None:
        if route.request.method != "POST":
            route.fallback()
            return
        sent.append(route.request.url.split("/api", 1)[1])
        problem = {"error": "unreachable", "message": f"Try {len(sent)} failed.", "action": ""}
        route.fulfill(status=502, json=problem)

    page.route("**/api/**", fail)
    focus(page, dialog.button)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    focus(page, dialog.confirm)
    for times in (1, 2):
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(f"Try {times} failed.")
        assert len(sent) == times
        assert re.fullmatch(dialog.request, sent[-1])
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name=dialog.button, exact=True)).to_be_focused()


def test_a_request_is_not_sent_twice_while_it_is_sent(view: View) -> None:
    page = view().open("/pipelines/inventory")
    held: list[Route] = []
    page.route(re.compile("/api/runs$"), lambda route: held.append(route))
    focus(page, "Start run")
    page.keyboard.press("Enter")
    focus(page, "Start run")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sending …")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_label("Reason").press("Enter")
    held[0].fulfill(status=502, json={"error": "unreachable", "message": "It did not answer.", "action": ""})
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    assert len(held) == 1


def test_now_keeps_the_focus_when_it_is_pressed(view: View) -> None:
    page = view().open("/timeline")
    page.get_by_role("button", name="Earlier").click()
    button = page.get_by_role("button", name="Now", exact=True)
    expect(button).to_be_enabled()
    button.press("Enter")
    expect(button).to_be_disabled()
    expect(button).to_be_focused()


def test_try_keeps_the_focus_when_it_is_pressed(view: View) -> None:
    page = view().open("/deliveries")
    button = page.get_by_role("button", name="Try", exact=True)
    expect(button).to_be_enabled()  # once the sources are loaded
    button.press("Enter")
    expect(page.locator(".answer")).to_be_visible()
    expect(button).to_be_focused()


@pytest.mark.parametrize("width", [320, 2560])
def test_nothing_is_cut_off_in_a_dialog(view: View, backend: HistoryBackend, width: int) -> None:
    viewing = view(viewport={"width": width, "height": 600})
    for name, dialog in DIALOGS.items():
        page = viewing.open(addresses(backend)[dialog.view])
        page.get_by_role("button", name=dialog.button, exact=True).click()
        box = page.get_by_role("dialog").bounding_box()
        assert box, name
        assert (box["x"] >= 0, box["x"] + box["width"] <= width) == (True, True), name
        assert page.evaluate(DIALOG_CUT) == [], name
        confirm = page.get_by_role("dialog").get_by_role("button", name=dialog.confirm)
        confirm.scroll_into_view_if_needed()
        expect(confirm).to_be_in_viewport(ratio=1)
        page.keyboard.press("Escape")


def test_dialogs_keep_and_return_the_focus(view: View, backend: HistoryBackend) -> None:
    page = view().open(addresses(backend)["running run"])
    button = page.get_by_role("button", name="Cancel")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()
    assert ("POST", f"/runs/{running(backend, 'order-to-cash')}/cancel") not in backend.requests


FOREIGN = """
const own = %s, token = %s, answers = {};
const tries = {
  read: () => fetch(own + '/api/runs', {headers: {Authorization: 'Bearer ' + token}}),
  simple: () => fetch(own + '/api/runs', {method: 'POST', mode: 'no-cors', body: '{}'}),
  change: () => fetch(own + '/api/runs', {method: 'POST', headers: {Authorization: 'Bearer ' + token}}),
};
for (const [name, send] of Object.entries(tries)) {
  answers[name] = await send().then((answer) => answer.status + ' ' + answer.type, () => 'refused');
}
return answers;
"""


def test_another_site_reaches_nothing(view: View, backend: HistoryBackend) -> None:
    """Even with the token: its requests are refused, and it may not embed the page."""
    viewing = view()
    viewing.open()
    own, token = viewing.link.split("/#token=")
    before = len([each for each in backend.requests if each[0] == "POST"])

    class Foreign(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = f'<!doctype html><title>Foreign</title><iframe src="{own}/"></iframe>'.encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        page = viewing.page.context.new_page()
        page.goto(f"http://localhost:{server.server_address[1]}/")
        script = FOREIGN % (json.dumps(own), json.dumps(token))
        answers = page.evaluate(f"async () => {{{script}}}")
        frame = page.frames[-1].url
        page.close()
        server.shutdown()
        thread.join()
    assert answers == dict.fromkeys(("read", "simple", "change"), "refused")
    assert not frame.startswith(own)
    assert len([each for each in backend.requests if each[0] == "POST"]) == before


def retried(backend: HistoryBackend, status: str) -> tuple[str, str]:
    """Let the newest failed run have a retry with a status; return the ids of both."""
    failed = newest(backend, "FAILED", "production-planning")
    records = [one for one in backend.history.records if one.get("retry_of") != failed]
    source = running(backend, "order-to-cash") if status == "RUNNING" else newest(backend, status)
    record = next(one for one in (*records, *backend.history.running) if one["run_id"] == source)
    retry = {**record, "run_id": RETRY, "retry_of": failed}
    backend.history = replace(backend.history, records=[*records, retry])
    return failed, RETRY


@pytest.mark.parametrize("status", ["SUCCEEDED", "RUNNING", "FAILED"])
def test_a_retried_run_leads_to_its_retry(view: View, backend: HistoryBackend, status: str) -> None:
    failed, retry = retried(backend, status)
    page = view().open(f"/runs/{failed}")
    note = page.locator(".retried")
    expect(note).to_contain_text(f"Retried by {retry} – {status.lower()}")
    expect(page.get_by_text("JobFailed").first).to_be_visible()
    expect(page.get_by_role("heading", name="What to do")).to_have_count(0)
    expect(page.locator(".failure")).to_have_count(0)
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    assert ("What to do is said there" in note.inner_text()) is (status == "FAILED")
    note.get_by_role("link", name=retry).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(retry)
    expect(page.get_by_role("link", name=failed)).to_be_visible()


def test_a_run_that_would_fail_again_has_no_retry(view: View, backend: HistoryBackend) -> None:
    failed = newest(backend, "FAILED", "production-planning")
    records = [copy.deepcopy(one) for one in backend.history.records if one.get("retry_of") != failed]
    record = next(one for one in records if one["run_id"] == failed)
    backend.history = replace(backend.history, records=records)
    page = view().open(f"/runs/{failed}")
    expect(page.get_by_role("button", name="Retry")).to_have_count(1)
    record["error"] = "UnknownTable"
    record["options"]["tables"] = ["NOSUCH"]
    page.reload()
    page.get_by_text("UnknownTable").first.wait_for()
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)


def test_values_of_a_narrow_table_are_in_one_column(view: View, backend: HistoryBackend) -> None:
    viewing = view(viewport={"width": 360, "height": 800})
    failed = newest(backend, "FAILED")
    for address in (f"/pipelines/{failed.rpartition('-')[0].rpartition('-')[0]}", f"/runs/{failed}"):
        page = viewing.open(address)
        loaded(page)
        found = page.locator("tr", has=page.get_by_text("JobFailed")).first
        found.wait_for()
        lefts = found.evaluate(
            """(row) => {
              const texts = [], walk = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
              while (walk.nextNode()) {
                const isValue = walk.currentNode.parentElement.closest('td');
                if (!isValue || !walk.currentNode.textContent.trim()) continue;
                const range = document.createRange();
                range.selectNodeContents(walk.currentNode);
                texts.push(...[...range.getClientRects()].filter((box) => box.width).map((box) => box.left));
              }
              const cells = [...row.querySelectorAll('td:not(.is-empty)')];
              const padding = cells.map((cell) => parseFloat(getComputedStyle(cell).paddingLeft));
              return {least: Math.min(...texts), label: cells[0].getBoundingClientRect().left, padding};
            }"""
        )
        assert lefts["least"] >= lefts["label"] + 110, address
        assert set(lefts["padding"]) == {0}, address


@pytest.mark.parametrize("address", ["/", "/pipelines/workforce"])
def test_a_start_says_that_the_pipeline_is_paused(view: View, address: str) -> None:
    page = view().open(address)
    page.get_by_role("button", name="Start workforce" if address == "/" else "Start run").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("workforce is paused by m.keller since")
    expect(dialog).to_contain_text("migration of the HR system. The run begins after the pause ends.")
    expect(dialog).not_to_contain_text("While a run is active")


@pytest.mark.parametrize("width", [360, 1280])
def test_the_zone_of_the_times_is_shown(view: View, width: int) -> None:
    viewing = view(timezone_id="America/New_York", viewport={"width": width, "height": 900})
    page = viewing.open("/pipelines/production-planning")
    expect(page.get_by_text("Times in America/New_York").locator("visible=true")).to_have_count(1)
    facts = page.locator("section", has=page.get_by_role("heading", name="State"))
    expect(facts).to_contain_text(re.compile(r"Next .*22:00 \(04:00 Europe/Berlin, in "))
    expect(facts).to_contain_text(re.compile(r"Stale\s*since .*01:00 \(07:00 Europe/Berlin\)"))


def test_a_time_is_shown_once_where_the_zones_agree(view: View) -> None:
    page = view(timezone_id="Europe/Berlin").open("/pipelines/production-planning")
    facts = page.locator("section", has=page.get_by_role("heading", name="State"))
    expect(facts).to_contain_text(re.compile(r"Next .*04:00 \(in "))
    expect(facts).not_to_contain_text("04:00 Europe/Berlin")


def test_the_timeline_says_that_it_is_loading(view: View, backend: HistoryBackend) -> None:
    viewing = view()
    page = viewing.open("/timeline")
    chart = page.locator(".timeline")
    expect(chart).to_have_attribute("aria-busy", "false")
    held: list[Route] = []
    is_held = True
    page.route(re.compile("/api/runs"), lambda route: held.append(route) if is_held else route.continue_())
    page.get_by_role("button", name="Week").click()
    expect(chart).to_have_attribute("aria-busy", "true")
    expect(page.locator(".summary")).to_contain_text("Loading …")
    expect(page.locator(".summary")).not_to_contain_text("run")
    is_held = False
    for route in held:
        route.continue_()
    expect(chart).to_have_attribute("aria-busy", "false")
    expect(page.locator(".summary")).to_contain_text(re.compile(r"\d+ runs"))


def test_a_timeline_that_cannot_be_loaded_counts_nothing(view: View, backend: HistoryBackend) -> None:
    backend.error = EXPIRED
    page = view().open("/timeline")
    expect(page.locator(".summary")).to_contain_text("not loaded")
    expect(page.locator(".summary")).not_to_contain_text("0 runs")
    expect(page.get_by_text(EXPIRED.message)).to_have_count(1)


def test_a_pipeline_without_a_success_is_not_fine(view: View, backend: HistoryBackend) -> None:
    plans = [plan for plan in backend.plans if plan.name in ("workforce", "inventory")]
    backend.plans = plans
    backend.history = replace(
        backend.history,
        records=[one for one in backend.history.records if one["pipeline"] == "inventory"],
        running=[],
        pending={},
    )
    page = view().open()
    expect(page.locator(".card", has_text="workforce")).to_contain_text("No success yet")
    expect(page.locator(".heading .summary")).to_contain_text("1 without a success yet")
    expect(page.locator(".heading .summary")).not_to_contain_text("fine")


def test_the_bars_say_how_many_runs_they_show(view: View, backend: HistoryBackend) -> None:
    others = [one for one in backend.history.records if one["pipeline"] != "workforce"]
    mine = [one for one in backend.history.records if one["pipeline"] == "workforce"]
    backend.history = replace(backend.history, records=[*others, *mine[-2:]])
    page = view().open("/pipelines/workforce")
    expect(page.get_by_text("The last 2 runs")).to_be_visible()
    expect(page.get_by_text("Last success")).to_have_count(1)


@pytest.mark.parametrize("address", ["/", "/timeline"])
def test_without_a_token_only_one_box_says_so(view: View, address: str) -> None:
    viewing = view()
    page = viewing.page
    page.goto(f"{viewing.link.partition('#')[0]}#{address}")
    expect(page.locator(".banner")).to_contain_text("Open the link that refresh page printed last")
    expect(page.locator(".banner")).not_to_contain_text("tries again")
    expect(page.locator(".problem")).to_have_count(0)
    expect(page.locator(".chip:visible")).to_have_count(0)
    page.goto(viewing.link)  # only the part behind the # differs
    expect(page.locator(".card")).to_have_count(8)
    expect(page.locator(".banner")).to_have_count(0)


def test_a_failure_beside_a_success_is_seen(view: View, backend: HistoryBackend) -> None:
    """A failed run of some seconds, right before one that succeeded, in a day: less than a pixel."""
    end = now() - 4 * 3600
    record = next(one for one in backend.history.records if one["run_id"] == newest(backend, "FAILED"))
    name = record["pipeline"]
    failed = {**record, "created_at": iso(end - 15), "started_at": iso(end - 14), "ended_at": iso(end - 9)}
    success = {**failed, "status": "SUCCEEDED", "run_id": RETRY, "created_at": iso(end - 2)}
    success |= {"started_at": iso(end - 1), "ended_at": iso(end + 60)}
    others = [one for one in backend.history.records if one["pipeline"] != name]
    backend.history = replace(backend.history, records=[*others, failed, success])
    page = view().open("/timeline")
    bar = page.locator(f'[data-run="{failed["run_id"]}"]')
    box = bar.bounding_box()
    assert box is not None
    assert box["width"] >= 6
    top = page.evaluate(
        "([x, y]) => document.elementFromPoint(x, y).dataset.run",
        [box["x"] + box["width"] - 1, box["y"] + box["height"] / 2],
    )
    assert top == failed["run_id"]
