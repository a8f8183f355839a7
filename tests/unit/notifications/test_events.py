"""Every event fits its schema, keeps its id, and is sent however often a function dies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from celonis_refresh.aws.event_bus import PAUSE_SECONDS
from celonis_refresh.notifications.events import (
    MAX_MESSAGE,
    BusEvent,
    due_at_end,
    events_of,
    freshness_message,
    pipeline_fresh,
    pipeline_stale,
)
from celonis_refresh.runs.records import Run
from celonis_refresh.timing import epoch
from tests.fakes.service import JOB, RUN, ServiceHarness, job_definition
from tests.fakes.wiring import make_outbox
from tests.template import documents
from tests.unit.workflow.close_harness import CloseHarness

EVENTS = documents.ROOT / "events"
SCHEMAS: Mapping[str, Any] = {
    schema["title"]: schema
    for schema in (json.loads(path.read_text()) for path in (EVENTS / "schemas").glob("*-*.json"))
}
NAMES = [f"{RUN}/{name}" for name in ("started", "job-0/started", "job-0/ended", "ended")]


def check(detail_type: str, detail: Mapping[str, Any]) -> None:
    """An event fits its schema, and its schema describes all of it."""
    schema = SCHEMAS[detail_type]
    Draft202012Validator({**schema, "additionalProperties": False}).validate(detail)


def ended(outcome: str = "SUCCESS", status: str = "SUCCEEDED", **fields: Any) -> CloseHarness:
    """A run of one job that has ended."""
    harness = CloseHarness(job_definition(**fields))
    harness.service.celonis.jobs[JOB].outcome = outcome
    error = harness.service.run_step("job-0")
    harness.end(status, "" if status == "SUCCEEDED" else error)
    return harness


@pytest.mark.parametrize(("outcome", "status"), [("SUCCESS", "SUCCEEDED"), ("FAIL", "FAILED")])
def test_a_run_sends_each_event_once_and_each_fits_its_schema(outcome: str, status: str) -> None:
    service = ended(outcome, status).service
    assert sorted(service.events.ids) == sorted(NAMES)
    for entry, detail in zip(service.events.sent, service.events.details, strict=True):
        assert (entry["Source"], entry["EventBusName"]) == ("celonis-refresh", "default")
        check(entry["DetailType"], detail)
    by_id = {detail["event_id"]: detail for detail in service.events.details}
    assert by_id[f"{RUN}/ended"]["status"] == status
    assert by_id[f"{RUN}/job-0/ended"]["outcome"] == status
    times = {
        detail["event_id"]: entry["Time"]
        for entry, detail in zip(service.events.sent, by_id.values(), strict=True)
    }
    assert [times[name] for name in NAMES] == sorted(times.values())


def test_an_event_of_a_step_has_the_name_that_the_definition_gives() -> None:
    details = ended(jobs=[{"job": JOB, "name": "Extract SAP"}]).service.events.details
    assert {detail["name"] for detail in details if "name" in detail} == {"Extract SAP"}


def test_a_stopped_run_says_that_the_end_of_its_step_is_not_proven() -> None:
    harness = CloseHarness(job_definition(cancel_on_stop=False))
    harness.service.start("job-0")
    harness.end("ABORTED")
    (detail,) = [each for each in harness.service.events.details if each["event_id"] == f"{RUN}/job-0/ended"]
    check("Step Ended", detail)
    assert detail["outcome"] == "UNKNOWN"
    assert detail["ended_at"] == harness.service.records.get(RUN).item["ended_at"]


def test_a_cancelled_step_is_announced_with_the_end_of_its_run() -> None:
    harness = CloseHarness()
    harness.service.start("job-0")
    harness.service.clock.sleep(30)
    harness.service.check("job-0")
    harness.end("ABORTED")
    assert sorted(harness.service.events.ids) == sorted(NAMES)
    (detail,) = [each for each in harness.service.events.details if each["event_id"] == f"{RUN}/job-0/ended"]
    assert detail["outcome"] == "CANCELLED"


def test_events_that_are_refused_change_no_step_and_are_sent_with_the_end_of_the_run() -> None:
    harness = CloseHarness()
    harness.service.events.refuse = 2
    assert harness.service.run_step("job-0") == "SUCCEEDED"
    harness.service.events.refuse = 0
    harness.end("SUCCEEDED")
    assert sorted(set(harness.service.events.ids)) == sorted(NAMES)


def test_an_answer_that_refuses_one_event_counts_as_not_sent() -> None:
    harness = CloseHarness()
    harness.service.events.failed_entries = 1
    harness.service.start("job-0")
    assert harness.service.events.ids == []
    assert "announced" not in harness.service.state("job-0")


def test_a_bus_that_fails_is_left_alone_for_a_while() -> None:
    service = ServiceHarness()
    service.job(seconds=6000.0).add_past_start(6000.0)
    service.open(job_definition())
    service.events.refuse = 1000
    service.start("job-0")
    assert service.events.calls == 1
    service.check("job-0")
    assert service.events.calls == 1
    service.clock.sleep(PAUSE_SECONDS)
    service.events.refuse = 0
    service.check("job-0")
    assert service.events.ids == [f"{RUN}/job-0/started"]
    assert service.state("job-0")["announced"] == "started"


def test_a_clock_that_is_set_back_does_not_prolong_the_pause_of_a_bus() -> None:
    service = ServiceHarness()
    service.job(seconds=6000.0).add_past_start(6000.0)
    run = service.open(job_definition())
    service.events.refuse = 1
    assert not service.bus.announce(run, ["started"], service.deadline())
    service.clock.sleep(-86_400)
    assert service.bus.announce(run, ["started"], service.deadline())


def test_an_event_is_the_same_when_it_is_sent_again() -> None:
    harness = ended()
    run = harness.service.records.get(RUN)
    again = {event.event_id: dict(event.detail) for event in events_of("shop", run, _all(run))}
    sent = {detail["event_id"]: detail for detail in harness.service.events.details}
    assert again[f"{RUN}/job-0/started"] == sent[f"{RUN}/job-0/started"]
    assert again[f"{RUN}/job-0/ended"] == sent[f"{RUN}/job-0/ended"]
    assert again[f"{RUN}/ended"] == sent[f"{RUN}/ended"]


def _all(run: Run) -> list[str]:
    """The names of all events of a run, as if none had been sent."""
    steps = {step: {k: v for k, v in state.items() if k != "announced"} for step, state in run.steps.items()}
    return due_at_end(Run({**run.item, "steps": steps, "announced": []}))


def test_a_text_in_an_event_is_cut_and_has_no_credentials() -> None:
    harness = ended("FAIL", "FAILED")
    run = harness.service.records.get(RUN)
    text = "see https://ann:secret@celonis.example/x " + "x" * 5000
    (event,) = events_of("shop", Run({**run.item, "outcome": text}), ["ended"])
    assert "secret" not in event.detail["message"]
    assert event.detail["message"].startswith("see https://celonis.example/x")
    assert len(event.detail["message"].encode()) <= MAX_MESSAGE


def test_the_events_of_a_pipeline_fit_their_schemas_and_are_sent_by_the_outbox() -> None:
    service = ServiceHarness()
    since = "2026-01-01T06:30:00.000Z"
    stale = pipeline_stale("shop", "otc", stale_since=since, last_success_at=None, reason="No run started.")
    fresh = pipeline_fresh("shop", "otc", stale_since=since, fresh_at="2026-01-01T07:00:00.000Z", run_id=RUN)
    outbox = make_outbox(service, lambda *_: None)
    for event in (stale, fresh):
        check(event.detail_type, event.detail)
        outbox.send(freshness_message(outbox, event), service.deadline())
    assert service.events.ids == [f"otc/stale/{since}", f"otc/fresh/{since}"]


def test_the_example_fits_its_schema() -> None:
    example = json.loads((EVENTS / "run-ended.json").read_text())
    check(example["detail-type"], example["detail"])
    event = BusEvent(example["detail-type"], example["detail"]["ended_at"], example["detail"])
    assert epoch(event.time) == epoch(example["time"].replace("Z", "+00:00"))


def test_the_document_names_every_detail_type() -> None:
    page = (documents.ROOT / "docs" / "events.md").read_text()
    for title in SCHEMAS:
        assert f"`{title}`" in page
