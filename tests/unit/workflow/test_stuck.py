"""A run that waits for long is reported once for each cause; its success ends that."""

from __future__ import annotations

from celonis_refresh.celonis.errors import CelonisUnavailable
from celonis_refresh.notifications.channels import PagerDutyChannel
from celonis_refresh.runs.records import RunStatus
from tests.fakes.service import RUN, job_definition
from tests.unit.workflow.commands_harness import CommandsHarness

STUCK_AFTER = 600


def harness_of() -> CommandsHarness:
    return CommandsHarness(job_definition(notify={"stuck_after": STUCK_AFTER}))


def unreachable(harness: CommandsHarness) -> None:
    error = CelonisUnavailable(
        "No usable answer from Celonis.", hint="", may_have_started=False, method="GET", path="/", status=503
    )
    harness.service.celonis.faults["job"] = [error]
    harness.service.start("job-0")


def test_a_run_that_cannot_reach_celonis_for_long_is_reported_once() -> None:
    harness = harness_of()
    unreachable(harness)
    harness.service.clock.sleep(STUCK_AFTER - 1)
    assert harness.round().stuck == []
    harness.service.clock.sleep(1)
    assert harness.round().stuck == [RUN]
    ((title, text, facts),) = harness.notices
    assert (title, facts["what"]) == ("otc: run makes no progress (shop)", "stuck")
    assert "No usable answer from Celonis." in text
    for command in ("show", "cancel"):
        assert f"refresh --stack shop --region eu-central-1 {command} {RUN}\n" in text
    harness.service.clock.sleep(STUCK_AFTER)
    assert harness.round().stuck == []
    assert len(harness.notices) == 1


def test_celonis_that_answered_in_between_is_not_waited_for() -> None:
    harness = harness_of()
    unreachable(harness)
    harness.service.clock.sleep(STUCK_AFTER)
    harness.service.start("job-0")
    assert harness.round().stuck == []


def test_a_run_that_waits_for_another_run_for_long_is_reported() -> None:
    harness = harness_of()
    harness.service.open(job_definition(), "other-1", "other")
    harness.service.start("job-0", "other-1")
    harness.service.start("job-0")
    harness.service.clock.sleep(STUCK_AFTER)
    harness.executions.start("other-1")
    assert RUN in harness.round().stuck
    (text,) = [text for _, text, facts in harness.notices if facts["run_id"] == RUN]
    assert "What to do: Nothing if run other-1 ends by itself" in text
    assert " show other-1\n" in text
    assert f" cancel {RUN}\n" in text


def test_a_stuck_run_that_succeeds_is_reported_and_one_that_is_stopped_is_not() -> None:
    harness = harness_of()
    unreachable(harness)
    harness.service.clock.sleep(STUCK_AFTER)
    harness.round()
    assert harness.service.run_step("job-0") == "SUCCEEDED"
    assert harness.end("SUCCEEDED").status is RunStatus.SUCCEEDED
    assert [facts["what"] for _, _, facts in harness.notices] == ["stuck", "recovered"]


def test_a_stuck_run_that_is_cancelled_resolves_its_incident() -> None:
    harness = harness_of()
    unreachable(harness)
    harness.service.clock.sleep(STUCK_AFTER)
    harness.round()
    harness.end("ABORTED", "Canceled", "Cancelled by Ann.")
    title, text, facts = harness.notices[-1]
    assert (title, facts["what"]) == ("otc: run cancelled (shop)", "cancelled")
    assert "Cancelled by Ann." in text
    assert "What to do: Nothing." in text
    run_id = harness.start()["runs"][0]["run_id"]
    harness.succeed(run_id)
    assert [facts["what"] for _, _, facts in harness.notices] == ["stuck", "cancelled"]


def test_pagerduty_resolves_the_incident_of_a_stuck_run_that_is_cancelled() -> None:
    harness = CommandsHarness(job_definition(notify={"stuck_after": STUCK_AFTER, "channels": ["pager"]}))
    service = harness.service
    service.channels["pager"] = PagerDutyChannel(type="pagerduty", routing_key="R0123")
    unreachable(harness)
    service.clock.sleep(STUCK_AFTER)
    harness.round()
    harness.end("ABORTED", "Canceled", "Cancelled by Ann.")
    events = [service.receiver.body_of(request) for request in service.receiver.taken]
    assert [event["event_action"] for event in events] == ["trigger", "resolve"]


def test_a_cancelled_run_leaves_the_incident_of_an_earlier_failure_open() -> None:
    harness = harness_of()
    harness.fail(RUN)
    run_id = harness.start()["runs"][0]["run_id"]
    harness.end("ABORTED", "Canceled", "Cancelled by Ann.", run_id)
    assert [facts["what"] for _, _, facts in harness.notices] == ["failed"]
    assert harness.slot()["incident"]
