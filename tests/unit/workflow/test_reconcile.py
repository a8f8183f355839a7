"""Rounds of reconcile: what they finish, what they leave alone, and concurrent functions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from celonis_refresh.notifications.outbox import RETRY_SECONDS
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.claims import Acceptance, Claim
from celonis_refresh.runs.errors import StepMoved, TableBusy
from celonis_refresh.runs.leases import lease_item
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.runs.table import LEASED, WAITING, run_key, to_item
from celonis_refresh.steps.check import TRIGGER_SECONDS
from celonis_refresh.steps.start import start_step
from celonis_refresh.timing import iso
from celonis_refresh.workflow.close import RunCloser
from celonis_refresh.workflow.reconcile import (
    GONE_SECONDS,
    MIN_AGE_SECONDS,
    MIN_CLOSE_SECONDS,
    MIN_SECONDS,
    UNUSED_SECONDS,
    ReconcileFindings,
)
from tests.fakes.celonis import no_hook
from tests.fakes.clock import START
from tests.fakes.dynamodb import client_error
from tests.fakes.leases import take
from tests.fakes.service import JOB, MODEL, RUN, Crashed, job_definition, load_definition
from tests.fakes.wiring import make_outbox
from tests.template import documents
from tests.unit.steps.outgoing import JOB_LEASE, MODEL_LEASE, holder, logged
from tests.unit.workflow.commands_harness import ROUND_SECONDS, CommandsHarness
from tests.unit.workflow.test_deadlines import CONTEXT, load

LONG = 120.0
"""Seconds after which no function can still be working."""


def old(harness: CommandsHarness) -> CommandsHarness:
    harness.service.clock.sleep(LONG)
    return harness


def never_handed_over() -> tuple[CommandsHarness, str]:
    """A run that was claimed and whose execution was never started."""
    harness = CommandsHarness()
    harness.succeed(RUN)
    run_id = harness.start()["runs"][0]["run_id"]
    harness.executions.known.pop(run_id)
    harness.executions.start_requests.clear()
    return harness, run_id


def ended_unnoticed(status: str = "FAILED") -> CommandsHarness:
    harness = CommandsHarness()
    harness.join("otc-2")
    harness.executions.end(RUN, status, "JobFailed", "It failed.")
    return harness


def waiting() -> tuple[CommandsHarness, str]:
    """A trigger that came during a pause, which has ended by now."""
    harness = CommandsHarness()
    harness.succeed(RUN)
    harness.definitions["otc"] = job_definition(paused=True)
    run_id = harness.start()["runs"][0]["run_id"]
    harness.definitions["otc"] = harness.definition
    harness.executions.start_requests.clear()
    return harness, run_id


def test_the_minimum_age_is_twice_the_timeout_of_the_trigger() -> None:
    assert documents.functions()["Trigger"]["Timeout"] * 2 == MIN_AGE_SECONDS
    assert documents.functions()["Trigger"]["Timeout"] == TRIGGER_SECONDS


def test_a_round_comes_every_few_minutes() -> None:
    event = documents.functions()["Reconcile"]["Events"]["Round"]["Properties"]
    assert event["ScheduleExpression"] == "rate(5 minutes)"


def test_a_run_that_was_never_handed_over_is_started_once_it_is_old_enough() -> None:
    harness, run_id = never_handed_over()
    harness.service.clock.sleep(MIN_AGE_SECONDS - 1)
    assert harness.round().started == []
    harness.service.clock.sleep(2)
    assert harness.round().started == [run_id]
    assert harness.executions.start_requests == [run_id]
    assert harness.round().started == []


def test_a_run_whose_execution_is_running_is_left_alone() -> None:
    harness = old(CommandsHarness())
    before = list(harness.service.dynamodb.documents(""))
    findings = harness.round()
    assert not any(asdict(findings).values())
    assert list(harness.service.dynamodb.documents("")) == before


def test_a_missed_end_is_recorded_notified_and_followed() -> None:
    harness = old(ended_unnoticed())
    findings = harness.round()
    assert findings.closed == [RUN]
    assert harness.status(RUN) is RunStatus.FAILED
    assert harness.slot()["run_id"] == "otc-2"
    assert harness.executions.start_requests == ["otc-2"]
    assert len(harness.notices) == 1
    assert holder(harness.service) is None
    again = harness.round()
    assert (again.closed, again.notified, len(harness.notices)) == ([], [], 1)


def test_a_run_whose_execution_is_gone_is_closed_and_reported() -> None:
    harness = CommandsHarness()
    harness.executions.known.clear()
    harness.service.clock.sleep(GONE_SECONDS)
    assert harness.round().closed == [RUN]
    run = harness.service.records.get(RUN)
    assert (run.status, run.item["error"]) == (RunStatus.FAILED, "ExecutionGone")
    assert len(harness.notices) == 1


def test_an_execution_that_began_just_now_may_not_be_described_yet() -> None:
    """A run that was pending for long and has just started: the answer of Step Functions is stale."""
    harness = CommandsHarness()
    service, known = harness.service, dict(harness.executions.known)
    service.clock.sleep(2 * GONE_SECONDS)
    service.records.set_facts(
        service.records.get(RUN), {"started_at": iso(service.clock.now)}, service.deadline()
    )
    harness.executions.known.clear()
    for _ in range(3):
        assert harness.round() == ReconcileFindings()
        service.clock.sleep(MIN_AGE_SECONDS)
    harness.executions.known.update(known)
    assert harness.round() == ReconcileFindings()
    assert service.records.get(RUN).status is RunStatus.RUNNING


def test_an_end_without_a_notification_is_reported() -> None:
    """The function that closed the run died before the notification, and its event does not come again."""
    harness = ended_unnoticed()

    def dies(subject: str, text: str, facts: dict[str, Any]) -> None:
        raise Crashed

    closer = replace(harness.closer, outbox=make_outbox(harness.service, dies))
    with pytest.raises(Crashed):
        closer.close(f"arn:{RUN}", harness.service.deadline())
    assert harness.round().notified == []
    old(harness)
    assert sorted(harness.round().notified) == [f"{RUN}/ended/topic", f"{RUN}/events"]
    assert len(harness.notices) == 1
    assert harness.round().notified == []


def test_what_waits_starts_when_the_pause_is_lifted_and_not_before() -> None:
    harness, run_id = waiting()
    harness.paused = True
    assert harness.round().slots == []
    harness.paused = False
    assert harness.round().slots == ["otc"]
    assert harness.status(run_id) is RunStatus.OPENING
    assert harness.executions.start_requests == [run_id]
    assert harness.round().slots == []


def test_a_lease_of_an_open_run_is_left_alone() -> None:
    harness = CommandsHarness()
    assert take(harness.service.leases, RUN, JOB_LEASE, harness.service.deadline())
    old(harness)
    assert harness.round().leases == []
    assert holder(harness.service) == RUN


def died_holding(definition: Definition, call: str, before: int = 0) -> CommandsHarness:
    """A run whose start died at a call to Celonis, with its leases, before it sent anything."""
    harness = CommandsHarness(definition=definition)
    service = harness.service
    service.model()
    service.job("job-b").add_past_start(600.0)
    seen: list[str] = []

    def dies(name: str, when: str) -> None:
        seen.append(name) if (name, when) == (call, "before") else None
        if len(seen) > before:
            raise Crashed

    service.celonis.hook = dies
    with pytest.raises(Crashed):
        service.start("job-0")
    service.celonis.hook = lambda name, when: None
    return harness


INNER = job_definition(
    jobs=[[{"job": JOB}, {"job": "job-b"}]], loads=[{"data_model": MODEL, "started_by": "job"}]
)


@pytest.mark.parametrize(
    ("definition", "leases"), [(job_definition(), [JOB_LEASE]), (INNER, [JOB_LEASE, MODEL_LEASE])]
)
def test_the_leases_of_a_task_that_died_before_its_start_are_freed_and_acquired_again_by_its_retry(
    definition: Definition, leases: list[str]
) -> None:
    harness = died_holding(definition, "job")
    service = harness.service
    service.clock.sleep(UNUSED_SECONDS - 1.0)
    assert harness.round().leases == []
    service.clock.sleep(1.0)
    assert sorted(harness.round().leases) == leases
    assert [holder(service, lease) for lease in leases] == [None] * len(leases)
    service.open(definition, "other-1", "other")
    assert service.start("job-0", "other-1")["status"] == "RUNNING"
    assert service.start("job-0")["status"] == "WAITING"
    assert service.run_step("job-0", "other-1") == "SUCCEEDED"
    if definition is not INNER:
        assert service.run_step("job-0") == "SUCCEEDED"


@pytest.mark.parametrize("step", ["job-0", "load-0"])
def test_a_lease_of_a_step_that_may_have_been_started_is_never_freed_while_its_run_is_open(step: str) -> None:
    harness = CommandsHarness(definition=job_definition() if step == "job-0" else load_definition())
    service = harness.service
    service.model()
    lease = JOB_LEASE if step == "job-0" else MODEL_LEASE
    service.celonis.faults |= {name: ["before"] for name in ("execute_job", "load_model")}
    service.start(step)
    service.clock.sleep(UNUSED_SECONDS * 10)
    assert harness.round().leases == []
    assert holder(service, lease) == RUN


def test_a_model_that_a_started_job_may_load_keeps_its_lease() -> None:
    harness = CommandsHarness(definition=INNER)
    harness.service.model()
    harness.service.start("job-0")
    harness.service.clock.sleep(UNUSED_SECONDS * 10)
    assert harness.round().leases == []
    assert holder(harness.service, MODEL_LEASE) == RUN


@pytest.mark.parametrize("definition", [job_definition(), INNER], ids=["job", "job with model"])
def test_a_task_that_is_at_work_still_when_its_lease_is_freed_sends_nothing(definition: Definition) -> None:
    harness = CommandsHarness(definition=definition)
    service = harness.service
    service.model()

    def reconciled(name: str, when: str) -> None:
        if (name, when) == ("executions", "after") or service.celonis.hook is no_hook:
            return
        if name == "executions":
            service.celonis.hook = no_hook
            service.clock.sleep(UNUSED_SECONDS)
            assert harness.round().leases != []
            service.open(job_definition(), "other-1", "other")
            assert service.start("job-0", "other-1")["status"] == "RUNNING"

    service.celonis.hook = reconciled
    with pytest.raises(StepMoved):
        start_step(service.context, RUN, "job-0", service.deadline(10_000.0))
    assert [sent[0] for sent in service.celonis.sent].count("execute_job") == 1
    assert holder(service) == "other-1"


def test_a_lease_of_an_ended_run_is_freed_once_its_execution_has_ended() -> None:
    harness = CommandsHarness(definition=load_definition())
    harness.service.celonis.models[MODEL].seconds = 10_000
    harness.service.start("load-0")
    harness.executions.end(RUN, "ABORTED", "Canceled", "Stopped.")
    harness.close()
    assert holder(harness.service, MODEL_LEASE) == RUN
    old(harness)
    assert harness.round().leases == []
    assert holder(harness.service, MODEL_LEASE) == RUN
    harness.service.clock.sleep(10_000)
    assert harness.round().leases == [MODEL_LEASE]
    assert holder(harness.service, MODEL_LEASE) is None


def test_a_lease_of_a_run_without_a_record_is_freed() -> None:
    harness = CommandsHarness()
    assert take(harness.service.leases, RUN, JOB_LEASE, harness.service.deadline())
    del harness.service.dynamodb.items[run_key(RUN)]
    old(harness)
    assert harness.round().leases == [JOB_LEASE]


def test_a_place_in_the_queue_of_a_lease_goes_with_its_run() -> None:
    """CloseRun removes it; here it died before."""
    harness = CommandsHarness()
    service = harness.service
    service.open(job_definition(), "other-1", "other")
    service.start("job-0", "other-1")
    service.start("job-0")
    service.leases.free("other-1", JOB_LEASE, service.deadline())
    old(harness)
    assert harness.round().leases == []
    service.records.set_facts(service.records.get(RUN), {"status": RunStatus.ABORTED}, service.deadline())
    assert harness.round().leases == [JOB_LEASE]
    assert service.table.get(JOB_LEASE) is None


@pytest.mark.parametrize("error", [TableBusy("throttled"), ZeroDivisionError("unforeseen")])
def test_one_that_cannot_be_reconciled_hides_no_other(error: Exception) -> None:
    harness, run_id = never_handed_over()
    harness.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}])
    other = harness.start("p2p")["runs"][0]["run_id"]
    harness.executions.known.pop(other)
    old(harness)
    met: list[str] = []

    def fails(name: str, when: str) -> None:
        met.append(name)
        if len(met) == 1:
            raise error

    harness.executions.hook = fails
    findings = harness.round()
    assert sorted([*findings.failed, *findings.started]) == sorted([run_id, other])
    assert len(findings.failed) == 1
    harness.executions.hook = lambda name, when: None
    assert harness.round().started == findings.failed


def test_what_there_is_no_time_for_waits_for_the_next_round() -> None:
    harness, run_id = never_handed_over()
    old(harness)
    assert harness.round(MIN_SECONDS - 1).started == []
    assert harness.round().started == [run_id]


@pytest.mark.parametrize("seconds", [MIN_SECONDS, MIN_CLOSE_SECONDS - 1])
def test_a_run_is_not_closed_in_a_round_with_too_little_time_to_cancel_what_it_left(seconds: float) -> None:
    harness = old(ended_unnoticed())
    findings = harness.round(seconds)
    assert (findings.closed, findings.failed) == ([], [])
    run = harness.service.records.get(RUN)
    assert (run.is_open, run.is_closing, harness.notices) == (True, False, [])
    assert harness.round(MIN_CLOSE_SECONDS).closed == [RUN]


def test_a_round_with_too_little_time_to_close_a_run_still_starts_others() -> None:
    harness = ended_unnoticed()
    harness.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}])
    run_id = harness.start("p2p")["runs"][0]["run_id"]
    harness.executions.known.pop(run_id)
    old(harness)
    findings = harness.round(MIN_CLOSE_SECONDS - 1)
    assert (findings.closed, findings.started) == ([], [run_id])


def undelivered(*pipelines: str) -> tuple[CommandsHarness, RunCloser]:
    """A run of each pipeline that failed, and a closing whose notifications fail after 30 s."""
    harness = CommandsHarness()

    def fails(subject: str, text: str, facts: dict[str, Any]) -> None:
        harness.service.clock.sleep(30.0)
        raise ConnectionError("no topic")

    closer = replace(harness.closer, outbox=make_outbox(harness.service, fails))
    for pipeline in pipelines:
        harness.definitions[pipeline] = job_definition(jobs=[{"job": f"job-{pipeline}"}])
        run_id = harness.start(pipeline)["runs"][0]["run_id"]
        harness.executions.end(run_id, "FAILED", "JobFailed", "It failed.")
        closer.close(f"arn:{run_id}", harness.service.deadline(300.0))
    return old(harness), closer


def round_with(harness: CommandsHarness, closer: RunCloser) -> ReconcileFindings:
    """A round of reconcile with this closing."""
    reconciler = replace(harness.reconciler, closer=closer, outbox=closer.outbox)
    return reconciler.reconcile(harness.service.deadline(ROUND_SECONDS))


MANY = [f"p-{number}" for number in range(20)]


def unsent(harness: CommandsHarness) -> list[str]:
    return [item["message_id"] for item in harness.service.dynamodb.documents("outbox#")]


def test_a_notification_that_cannot_be_sent_is_tried_again_in_each_round() -> None:
    harness, closer = undelivered("p2p")
    (message_id,) = unsent(harness)
    for _ in range(3):
        findings = round_with(harness, closer)
        assert (findings.failed, findings.notified, findings.given_up) == ([message_id], [], [])
        old(harness)
    assert harness.round().notified == [message_id]
    assert len(harness.notices) == 1
    assert unsent(harness) == []


def test_a_notification_that_cannot_be_sent_for_a_day_is_abandoned_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    harness, closer = undelivered("p2p")
    (message_id,) = unsent(harness)
    harness.service.clock.sleep(RETRY_SECONDS)
    with logged() as lines:
        findings = round_with(harness, closer)
    assert (findings.given_up, findings.failed, findings.notified) == ([message_id], [], [])
    assert (unsent(harness), harness.notices) == ([], [])
    assert [(line.levelname, vars(line)["message_id"]) for line in lines if line.levelname == "ERROR"] == [
        ("ERROR", message_id)
    ]
    counted = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert counted["NotificationsGivenUp"] == [1.0]
    assert counted["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    assert harness.round() == ReconcileFindings()


def test_after_a_channel_failed_its_other_messages_are_left_to_the_next_round() -> None:
    harness, closer = undelivered(*MANY)
    first, *_ = unsent(harness)
    assert round_with(harness, closer).failed == [first]
    assert sorted(old(harness).round().notified) == sorted(f"{name}/ended/topic" for name in _failed(harness))
    assert unsent(harness) == []


def _failed(harness: CommandsHarness) -> list[str]:
    runs = harness.service.dynamodb.documents("run#")
    return [item["run_id"] for item in runs if item["status"] == "FAILED"]


def test_notifications_that_cannot_be_sent_starve_no_other_work() -> None:
    harness, closer = undelivered(*MANY)
    harness.join("otc-2")
    harness.paused = True
    harness.end("SUCCEEDED")
    harness.paused = False
    harness.service.dynamodb.items[MODEL_LEASE] = to_item(lease_item(MODEL_LEASE, "gone", iso(START)))
    old(harness)
    findings = round_with(harness, closer)
    assert (findings.slots, findings.leases) == (["otc"], [MODEL_LEASE])
    assert len(findings.failed) == 1


def test_a_run_is_closed_in_a_round_in_which_no_notification_can_be_sent() -> None:
    harness, closer = undelivered(*MANY)
    harness.executions.end(RUN, "SUCCEEDED")
    assert RUN in round_with(harness, closer).closed
    assert not harness.service.records.get(RUN).is_open


def test_a_list_that_cannot_be_read_hides_no_other_kind() -> None:
    harness, run_id = never_handed_over()
    old(harness)
    failed: list[str] = []

    def before(operation: str, request: dict[str, Any]) -> None:
        status = request.get("ExpressionAttributeValues", {}).get(":key", {}).get("S")
        if operation == "Query" and status in (WAITING, LEASED):
            failed.append(status)
            raise client_error("InternalServerError", "Query", ResponseMetadata={"HTTPStatusCode": 500})

    harness.service.dynamodb.before = before
    findings = harness.round()
    assert findings.started == [run_id]
    assert sorted(findings.failed) == ["the list of leases", "the list of slots"]


def unproven_left() -> tuple[CommandsHarness, float]:
    """A run that was closed before its start showed; and when every reading shows what there was by then."""
    harness = CommandsHarness()
    harness.service.celonis.jobs[JOB].seconds = 10.0
    harness.service.celonis.faults["execute_job"] = ["before"]
    harness.service.start("job-0")
    harness.executions.end(RUN, "ABORTED", "Canceled", "Stopped.")
    harness.close(seconds=20.0)
    return harness, harness.service.clock.now + harness.definition.settle


def test_the_lease_of_a_closed_run_is_held_until_its_start_must_show() -> None:
    harness, until = unproven_left()
    service = harness.service
    service.open(job_definition(), "other-1", "other")
    for left in (until - service.clock.now - 30.0, 25.0):
        service.clock.sleep(left)
        assert harness.round().leases == []
        assert not take(service.leases, "other-1", JOB_LEASE, service.deadline())
        assert holder(service) == RUN
    service.clock.sleep(until - service.clock.now)
    assert harness.round().leases == [JOB_LEASE]
    assert holder(service) is None


def test_the_lease_of_a_closed_run_is_taken_over_once_its_start_must_show() -> None:
    harness, until = unproven_left()
    service = harness.service
    service.open(job_definition(), "other-1", "other")
    service.clock.sleep(until - service.clock.now)
    assert take(service.leases, "other-1", JOB_LEASE, service.deadline())
    assert holder(service) == "other-1"


# ---------------------------------------------------------------- races


def _claims(harness: CommandsHarness) -> Acceptance:
    claim = Claim("otc", RunOptions(), "otc-rival", "otc-follows", harness.definition, JOB)
    return harness.service.claims.accept([claim], ["delivery#shop#rival"], harness.service.deadline())


def _closes(harness: CommandsHarness) -> None:
    harness.close()


def _reconciles(harness: CommandsHarness) -> None:
    harness.round()


def _starts(harness: CommandsHarness) -> None:
    for run_id in [item["run_id"] for item in harness.service.dynamodb.documents("run#")]:
        if harness.status(run_id) is RunStatus.OPENING:
            harness.executions.start(run_id)


RIVALS = [_claims, _closes, _reconciles, _starts]
SCENARIOS: list[Callable[[], CommandsHarness]] = [
    lambda: never_handed_over()[0],
    lambda: ended_unnoticed("SUCCEEDED"),
    lambda: ended_unnoticed("FAILED"),
    lambda: waiting()[0],
]


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=["never handed over", "succeeded", "failed", "waiting"])
def test_a_round_tolerates_any_concurrent_action_before_each_of_its_calls(
    scenario: Callable[[], CommandsHarness], rival: Callable[[CommandsHarness], Any]
) -> None:
    """The whole rival action runs right before each of the round's requests in turn."""
    calls = _calls_of(scenario)
    assert calls > 3
    for moment in range(calls):
        harness = old(scenario())
        _meet(harness, moment, rival)
        harness.round()
        harness.service.dynamodb.before = lambda *_: None
        old(harness)
        harness.round()
        _check(harness)


def _calls_of(scenario: Callable[[], CommandsHarness]) -> int:
    harness = old(scenario())
    harness.service.dynamodb.calls.clear()
    harness.round()
    return len(harness.service.dynamodb.calls)


def _meet(harness: CommandsHarness, moment: int, rival: Callable[[CommandsHarness], Any]) -> None:
    left = [moment]

    def before(operation: str, request: dict[str, Any]) -> None:
        left[0] -= 1
        if left[0] < 0:
            harness.service.dynamodb.before = lambda *_: None
            rival(harness)

    harness.service.dynamodb.before = before


def _check(harness: CommandsHarness) -> None:
    """Every reported run exists or is pending; the active one has its execution; none is there twice."""
    slot = harness.slot()
    runs = {item["run_id"]: item for item in harness.service.dynamodb.documents("run#")}
    opened = [run_id for run_id in runs if runs[run_id]["status"] in ("OPENING", "RUNNING")]
    assert opened == ([slot["run_id"]] if "run_id" in slot else [])
    assert all(harness.executions.known[run_id].status == "RUNNING" for run_id in opened)
    for delivery in harness.service.dynamodb.documents("delivery#"):
        for promised in delivery["runs"].values():
            waits = slot.get("pending", {}).get("run_id")
            assert promised["run_id"] in runs or promised["run_id"] == waits
    for lease in harness.service.dynamodb.documents("lease#"):
        assert lease["run_id"] in opened
    reported = [facts["run_id"] for _, _, facts in harness.notices]
    assert {run_id for run_id in runs if runs[run_id]["status"] == "FAILED"} == set(reported)
    assert list(harness.service.dynamodb.documents("outbox#")) == []


# ---------------------------------------------------------------- tasks that kill the function

PAUSES = (60.0, 120.0)
"""Seconds after which Lambda repeats an asynchronous invocation that failed."""


def scheduled_round(harness: CommandsHarness) -> list[ReconcileFindings]:
    """A round as its schedule invokes it: repeated twice where it dies. Return what did not die."""
    for number, pause in enumerate((*PAUSES, 0.0)):
        try:
            return [
                harness.reconciler.reconcile(harness.service.deadline(ROUND_SECONDS), repeated=number > 0)
            ]
        except Crashed:
            harness.service.clock.sleep(pause)
    return []


def deadly(harness: CommandsHarness, *run_ids: str) -> None:
    """Whatever describes the execution of one of these runs uses up the memory of the function."""
    find = harness.executions.find

    def dies(run_id: str) -> Any:
        if run_id in run_ids:
            raise Crashed
        return find(run_id)

    harness.executions.find = dies  # type: ignore[method-assign]


def unstarted(number: int) -> tuple[CommandsHarness, list[str]]:
    """Runs of as many pipelines whose executions were never started."""
    harness = CommandsHarness()
    run_ids = []
    for index in range(number):
        name = f"p-{index}"
        harness.definitions[name] = job_definition(jobs=[{"job": f"job-{index}"}])
        run_ids.append(str(harness.start(name)["runs"][0]["run_id"]))
        harness.executions.known.pop(run_ids[-1])
        harness.service.clock.sleep(1.0)
    harness.executions.start_requests.clear()
    return old(harness), run_ids


@pytest.mark.parametrize("dead", [(0,), (1,), (3,), (0, 1), (0, 2, 3)])
def test_a_task_that_kills_the_function_each_time_blocks_nothing_else(dead: tuple[int, ...]) -> None:
    harness, run_ids = unstarted(4)
    killers = [run_ids[index] for index in dead]
    deadly(harness, *killers)
    harness.service.dynamodb.items[MODEL_LEASE] = to_item(lease_item(MODEL_LEASE, "gone", iso(START)))
    rounds: list[ReconcileFindings] = []
    with logged() as lines:
        for _ in range(3 * len(dead)):
            rounds += scheduled_round(harness)
            harness.service.clock.sleep(300.0)
    others = set(run_ids) - set(killers)
    assert {run_id for run_id in others if harness.executions.known.get(run_id)} == others
    assert holder(harness.service, MODEL_LEASE) is None
    reported = {vars(line)["item"] for line in lines if line.levelname == "ERROR"}
    assert reported == set(killers)
    found = {name for each in rounds for name in each.failed}
    assert found
    assert found <= set(killers)


def test_a_task_that_does_not_kill_the_function_any_more_is_done() -> None:
    harness, (killer, other) = unstarted(2)
    deadly(harness, killer)
    assert scheduled_round(harness)[0].started == [other]
    del harness.executions.find
    harness.service.clock.sleep(300.0)
    (findings,) = scheduled_round(harness)
    assert (findings.started, findings.failed) == ([killer], [])


@pytest.mark.parametrize("killer", ["p-00", "p-15", "p-24"])
def test_a_pipeline_whose_evaluation_kills_the_function_blocks_no_other(killer: str) -> None:
    harness = CommandsHarness()
    harness.definitions = {f"p-{number:02}": job_definition(fresh_within=3600) for number in range(25)}

    def before(operation: str, request: dict[str, Any]) -> None:
        if f"pipeline#{killer}" in str(request) and operation == "UpdateItem":
            raise Crashed

    harness.service.dynamodb.before = before
    for _ in range(12):
        scheduled_round(harness)
        harness.service.clock.sleep(300.0)
    found = {str(item["pk"]) for item in harness.service.dynamodb.documents("pipeline#")}
    assert {f"pipeline#{name}" for name in harness.definitions} - found == {f"pipeline#{killer}"}


@pytest.mark.parametrize("repeated", [False, True])
def test_an_ordinary_round_writes_no_positions(*, repeated: bool) -> None:
    harness, run_ids = unstarted(2)
    writes: list[str] = []
    harness.service.dynamodb.before = lambda operation, request: writes.append(
        operation if "reconcile#positions" in str(request) else ""
    )
    harness.reconciler.reconcile(harness.service.deadline(ROUND_SECONDS), repeated=repeated)
    assert harness.executions.start_requests == run_ids
    tasks = len(run_ids) + 4  # the open run, two leases and a page of definitions
    assert writes.count("UpdateItem") == (tasks + 1 if repeated else 0), "each task, and the end"
    assert harness.round().failed == []


@pytest.mark.parametrize(("age", "repeated"), [(None, False), (0.5, False), (30.0, False), (60.0, True)])
def test_an_event_that_is_older_than_a_first_invocation_is_repeated(
    age: float | None, monkeypatch: pytest.MonkeyPatch, *, repeated: bool
) -> None:
    event = documents.functions()["Reconcile"]["Events"]["Round"]["Properties"]["Input"]
    document = json.loads(event.replace("<aws.scheduler.scheduled-time>", "2026-01-01T00:00:00Z"))
    assert set(document) == {"time"}
    function, seen = load("reconcile"), []

    class Rounds:
        def reconcile(self, _: Any, *, repeated: bool) -> ReconcileFindings:
            seen.append(repeated)
            return ReconcileFindings()

    monkeypatch.setattr(function, "_reconciler", Rounds)
    monkeypatch.setattr(function.time, "time", lambda: START + (age or 0.0))
    function.handler({} if age is None else document, CONTEXT)
    assert seen == [repeated]


def test_a_round_that_took_all_of_its_time_is_repeated() -> None:
    function = documents.functions()["Reconcile"]
    settings = function["EventInvokeConfig"]
    assert settings["MaximumRetryAttempts"] == len(PAUSES)
    assert settings["MaximumEventAgeInSeconds"] > function["Timeout"] + PAUSES[0]
