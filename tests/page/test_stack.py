"""The page with the local stack behind it: real runs, from the start to the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from local.celonis import world
from local.serve import SAMPLE, page_of
from tests.page.conftest import watched
from tests.page.test_views import loaded
from tests.stack.environment import TIME_FACTOR, StackEnvironment, deployed
from tests.stack.local_fixtures import calm_settings
from tests.stack.runs.service import WORKFLOW_SUCCEEDED

SECONDS = 60_000
"""Milliseconds in which a run has to end."""
REASON = "Table VBAP could not be extracted: the connection to the source was lost."


@pytest.fixture(scope="module")
def stack(browser: Browser) -> Iterator[StackEnvironment]:  # without a browser, no stack is started
    """Without events that come late or twice: these are tests of the page."""
    with deployed("page", calm_settings(TIME_FACTOR)) as environment:
        environment.service.shorten_poll_interval(SAMPLE)
        yield environment


@pytest.fixture
def page(browser: Browser, stack: StackEnvironment) -> Iterator[Page]:
    """The page of the stack. Fails after an error of a script, or of the content policy."""
    with page_of(stack.local_service, 0) as link:
        viewing = watched(browser.new_context(reduced_motion="reduce"), link)
        with contextlib.closing(viewing.page.context):
            yield viewing.open()
        assert viewing.problems == []


def start(page: Page) -> str:
    """Start a run on the overview; gives its id."""
    page.get_by_role("button", name=f"Start {SAMPLE}").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("a trial")
    page.get_by_role("button", name="Start run").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"{SAMPLE}-2", timeout=SECONDS)
    return page.get_by_role("heading", level=1).inner_text()


def test_start_watch_fail_retry_success(page: Page, stack: StackEnvironment) -> None:
    stack.celonis.set_job(world.ERP_JOB_ID, seconds=600, error_messages=[REASON])
    stack.celonis.set_model(world.MODEL_ID, seconds=0.5)
    failed = start(page)
    status = page.locator(".status-line [role=status]")
    expect(status).to_have_text("Running", timeout=SECONDS)
    expect(page.locator(".gantt .part.run-RUNNING")).to_have_count(1, timeout=SECONDS)
    stack.celonis.finish(world.ERP_JOB_ID, "FAIL")
    expect(status).to_have_text("Failed", timeout=SECONDS)
    expect(page.locator(".failure")).to_contain_text(REASON)
    expect(page.locator(".failure")).to_contain_text("What to do")
    stack.celonis.set_job(world.ERP_JOB_ID, seconds=0.5, outcome="SUCCESS")
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("button", name="Retry run").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text(failed, timeout=SECONDS)
    expect(status).to_have_text("Succeeded", timeout=SECONDS)
    expect(page.locator(".facts")).to_contain_text(failed)
    expect(page.locator(".gantt .part.run-SUCCEEDED")).to_have_count(2)
    page.get_by_role("link", name="Overview").click()
    expect(page.locator(".card")).to_contain_text("Succeeded")
    stack.settled()


def test_cancel(page: Page, stack: StackEnvironment) -> None:
    stack.celonis.set_job(world.ERP_JOB_ID, seconds=60, outcome="SUCCESS")
    start(page)
    expect(page.locator(".gantt .part.run-RUNNING")).to_have_count(1, timeout=SECONDS)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Back").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".status-line [role=status]")).to_have_text("Running")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel run").click()
    expect(page.locator(".status-line [role=status]")).to_have_text("Cancelled", timeout=SECONDS)
    expect(page.locator(".table tbody tr").first).to_contain_text("Cancelled")
    expect(page.get_by_role("button", name="Retry")).to_be_visible()
    stack.settled()


def test_a_webhook_is_listed_with_its_run(page: Page, stack: StackEnvironment) -> None:
    stack.celonis.set_job(world.ERP_JOB_ID, seconds=0.5, outcome="SUCCESS")
    source = stack.service.source({"pipeline": SAMPLE})
    run_id = stack.service.webhook(source).json()["runs"][0]["run_id"]
    page.goto(f"{page.url.partition('#')[0]}#/deliveries")
    page.get_by_role("button", name=source).click()
    row = page.locator(".table tbody tr")
    expect(row).to_have_count(1, timeout=SECONDS)
    expect(row).to_contain_text("Started")
    row.get_by_role("link", name=SAMPLE).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(run_id)
    expect(page.locator("section", has=page.get_by_role("heading", name="Triggers"))).to_contain_text(source)
    expect(page.locator(".status-line [role=status]")).to_have_text("Succeeded", timeout=SECONDS)
    page.goto(f"{page.url.partition('#')[0]}#/timeline")
    expect(page.locator(f'[data-run="{run_id}"]')).to_have_count(1, timeout=SECONDS)
    stack.settled()


def test_pause_and_resume(page: Page, stack: StackEnvironment) -> None:
    page.goto(f"{page.url.partition('#')[0]}#/pipelines/{SAMPLE}")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("maintenance")
    page.get_by_role("button", name="Pause pipeline").click()
    expect(page.locator(".note")).to_contain_text("maintenance", timeout=SECONDS)
    page.get_by_role("button", name="Start run").click()
    page.get_by_role("dialog").get_by_role("button", name="Start run").click()
    expect(page.locator(".status-line")).to_contain_text("Begins after the pause", timeout=SECONDS)
    run_id = page.get_by_role("heading", level=1).inner_text()
    page.get_by_role("link", name=SAMPLE, exact=True).click()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Resume pipeline").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible(timeout=SECONDS)
    page.goto(f"{page.url.partition('#')[0]}#/runs/{run_id}")
    expect(page.locator(".status-line [role=status]")).to_have_text("Succeeded", timeout=SECONDS)
    stack.settled()


def see(page: Page, path: str) -> None:
    """Open a view by its address within the page, and wait until it has its data."""
    page.goto(f"{page.url.partition('#')[0]}#{path}")
    page.get_by_role("heading", level=1).wait_for()
    loaded(page)
    expect(page.locator(".problem")).to_have_count(0)


@pytest.fixture
def ended(stack: StackEnvironment) -> tuple[str, str]:
    """A source, and a run that its event has started and that has ended."""
    stack.celonis.set_job(world.ERP_JOB_ID, seconds=0.5, outcome="SUCCESS")
    source = stack.service.source({"pipeline": SAMPLE})
    run_id = stack.service.webhook(source).json()["runs"][0]["run_id"]
    assert stack.service.closed(run_id)["status"] == "SUCCEEDED"
    return source, run_id


def test_every_view_opens_with_data(
    ended: tuple[str, str], page: Page, stack: StackEnvironment
) -> None:  # the page is opened after the end of the run
    source, run_id = ended
    card = page.locator(".card", has_text=SAMPLE)
    expect(card).to_contain_text("Succeeded")
    expect(card.locator(".card-bars svg")).to_be_visible()
    expect(card).to_contain_text("Next")
    see(page, "/timeline")
    expect(page.locator(f'[data-run="{run_id}"]')).to_have_count(1)
    see(page, f"/pipelines/{SAMPLE}")
    expect(page.locator(f'.table tbody a[href="#/runs/{run_id}"]').first).to_be_visible()
    see(page, f"/runs/{run_id}")
    expect(page.locator(".gantt .part.run-SUCCEEDED")).to_have_count(2)
    expect(page.locator(".facts")).to_contain_text("Started")
    see(page, "/deliveries")
    expect(page.locator(".table tbody tr", has_text=source)).to_contain_text("Started")
    stack.settled()


def test_deliveries_by_source_and_by_result(page: Page, stack: StackEnvironment) -> None:
    stack.celonis.set_job(world.ERP_JOB_ID, seconds=60, outcome="SUCCESS")
    service = stack.service
    one, other = (service.source({"pipeline": SAMPLE}) for _ in range(2))
    first = service.name("delivery")
    service.webhook(one, delivery=first)
    service.webhook(one, delivery=service.name("delivery"))
    service.webhook(one, {**WORKFLOW_SUCCEEDED, "action": "requested"})
    service.webhook(one, delivery=first)
    service.webhook(other, {**WORKFLOW_SUCCEEDED, "action": "requested"})
    see(page, "/deliveries")
    rows = page.locator(".table tbody tr")
    expect(rows.filter(has_text=one)).to_have_count(4)
    expect(rows.filter(has_text=other)).to_have_count(1)
    page.get_by_role("button", name=one, exact=True).click()
    expect(rows).to_have_count(4)
    for result in ("Started", "Merged", "Ignored", "Duplicate"):
        expect(rows.filter(has_text=result)).to_have_count(1)
    page.get_by_label("Result").select_option("duplicate")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(first)
    page.get_by_label("Result").select_option("")
    page.get_by_role("button", name=other, exact=True).click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Ignored")
    stack.celonis.set_job(world.ERP_JOB_ID, seconds=0.5)
    stack.celonis.finish(world.ERP_JOB_ID)
    stack.settled()


def test_an_event_is_tried_against_the_rules_and_starts_nothing(page: Page, stack: StackEnvironment) -> None:
    rule = {"pipeline": SAMPLE, "when": "workflow_run.conclusion == 'failure'"}
    source = stack.service.source({"pipeline": SAMPLE}, rule)
    executions, requests = len(stack.service.stack.executions), len(stack.celonis.all_requests())
    see(page, "/deliveries")
    form = page.locator(".try")
    form.get_by_label("Source").select_option(source)
    form.get_by_role("button", name="Try").click()
    answer = form.locator(".answer li")
    expect(answer).to_have_count(2)
    expect(answer.nth(0)).to_contain_text(f"Rule 1: starts {SAMPLE}")
    expect(answer.nth(1)).to_contain_text(f"Rule 2: does not start {SAMPLE}")
    form.get_by_label("Body").fill('{"action": "completed", "workflow_run": {"conclusion": "failure"}}')
    form.get_by_role("button", name="Try").click()
    expect(answer.nth(0)).to_contain_text("Rule 1: does not start")
    expect(answer.nth(1)).to_contain_text("Rule 2: starts")
    page.get_by_role("button", name=source, exact=True).click()
    expect(page.locator(".panel", has_text="No deliveries")).to_be_visible()
    assert len(stack.service.stack.executions) == executions
    assert len(stack.celonis.all_requests()) == requests
    assert stack.service.is_free(SAMPLE)
