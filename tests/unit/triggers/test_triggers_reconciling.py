"""Rounds of reconcile: what they finish, what they leave alone, and whom they may meet."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.claims import Acceptance, Claim
from celonis_refresh.runs.errors import StepMoved, TableBusy
from celonis_refresh.runs.leases import lease_item
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.runs.table import LEASED, WAITING, run_key, to_item
from celonis_refresh.steps.check import TRIGGER_SECONDS
from celonis_refresh.steps.tasks import start_step
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
from tests.fakes.celonis import quiet
from tests.fakes.clock import START
from tests.fakes.dynamodb import client_error
from tests.fakes.leases import take
from tests.fakes.parts import RETENTION_DAYS
from tests.fakes.service import JOB, MODEL, RUN, Crashed, job_definition, load_definition
from tests.template import documents
from tests.unit.steps.outgoing import JOB_LEASE, MODEL_LEASE, holder, logged
from tests.unit.triggers.desk import ROUND_SECONDS, Desk

LONG = 120.0
"""Seconds after which nobody who began something is at it still."""


def old(desk: Desk) -> Desk:
    desk.bench.clock.sleep(LONG)
    return desk


def never_handed_over() -> tuple[Desk, str]:
    """A run that was claimed and whose execution was never started."""
    desk = Desk()
    desk.succeed(RUN)
    run_id = desk.start()["runs"][0]["run_id"]
    desk.executions.known.pop(run_id)
    desk.executions.asked.clear()
    return desk, run_id


def ended_unnoticed(status: str = "FAILED") -> Desk:
    desk = Desk()
    desk.join("otc-2")
    desk.executions.end(RUN, status, "JobFailed", "It failed.")
    return desk


def waiting() -> tuple[Desk, str]:
    """A trigger that came during a pause, which is lifted by now."""
    desk = Desk()
    desk.succeed(RUN)
    desk.definitions["otc"] = job_definition(paused=True)
    run_id = desk.start()["runs"][0]["run_id"]
    desk.definitions["otc"] = desk.definition
    desk.executions.asked.clear()
    return desk, run_id


def test_patience_is_twice_the_time_out_of_the_trigger() -> None:
    assert documents.functions()["Trigger"]["Timeout"] * 2 == MIN_AGE_SECONDS
    assert documents.functions()["Trigger"]["Timeout"] == TRIGGER_SECONDS


def test_a_round_comes_every_few_minutes() -> None:
    event = documents.functions()["Reconcile"]["Events"]["Round"]["Properties"]
    assert event["ScheduleExpression"] == "rate(5 minutes)"


def test_a_run_that_was_never_handed_over_is_started_once_it_is_old_enough() -> None:
    desk, run_id = never_handed_over()
    desk.bench.clock.sleep(MIN_AGE_SECONDS - 1)
    assert desk.round().started == []
    desk.bench.clock.sleep(2)
    assert desk.round().started == [run_id]
    assert desk.executions.asked == [run_id]
    assert desk.round().started == []


def test_a_run_whose_execution_is_under_way_is_left_alone() -> None:
    desk = old(Desk())
    before = list(desk.bench.dynamodb.documents(""))
    findings = desk.round()
    assert not any(asdict(findings).values())
    assert list(desk.bench.dynamodb.documents("")) == before


def test_an_end_that_nobody_noticed_is_written_told_and_followed() -> None:
    desk = old(ended_unnoticed())
    findings = desk.round()
    assert findings.closed == [RUN]
    assert desk.status(RUN) is RunStatus.FAILED
    assert desk.slot()["run_id"] == "otc-2"
    assert desk.executions.asked == ["otc-2"]
    assert len(desk.notices) == 1
    assert holder(desk.bench) is None
    again = desk.round()
    assert (again.closed, again.notified, len(desk.notices)) == ([], [], 1)


def test_a_run_whose_execution_is_gone_is_closed_and_told() -> None:
    desk = Desk()
    desk.executions.known.clear()
    desk.bench.clock.sleep(GONE_SECONDS)
    assert desk.round().closed == [RUN]
    run = desk.bench.records.get(RUN)
    assert (run.status, run.item["error"]) == (RunStatus.FAILED, "ExecutionGone")
    assert len(desk.notices) == 1


def test_an_execution_that_began_just_now_may_not_be_described_yet() -> None:
    """A run that waited long and runs since a moment ago: what Step Functions tells is behind."""
    desk = Desk()
    bench, known = desk.bench, dict(desk.executions.known)
    bench.clock.sleep(2 * GONE_SECONDS)
    bench.records.note(bench.records.get(RUN), {"started_at": iso(bench.clock.now)}, bench.deadline())
    desk.executions.known.clear()
    for _ in range(3):
        assert desk.round() == ReconcileFindings()
        bench.clock.sleep(MIN_AGE_SECONDS)
    desk.executions.known.update(known)
    assert desk.round() == ReconcileFindings()
    assert bench.records.get(RUN).status is RunStatus.RUNNING


def test_an_end_that_nobody_was_told_of_is_told() -> None:
    """Whoever closed the run died before telling, and its event does not come again."""
    desk = ended_unnoticed()

    def dies(subject: str, text: str, facts: dict[str, Any]) -> None:
        raise Crashed

    closing = replace(desk.closing, publish=dies)
    with pytest.raises(Crashed):
        closing.close(f"arn:{RUN}", desk.bench.deadline())
    assert desk.round().notified == []
    old(desk)
    assert desk.round().notified == [RUN]
    assert len(desk.notices) == 1
    assert desk.round().notified == []


def test_what_waits_starts_when_the_pause_is_lifted_and_not_before() -> None:
    desk, run_id = waiting()
    desk.paused = True
    assert desk.round().slots == []
    desk.paused = False
    assert desk.round().slots == ["otc"]
    assert desk.status(run_id) is RunStatus.OPENING
    assert desk.executions.asked == [run_id]
    assert desk.round().slots == []


def test_a_lease_of_an_open_run_is_left_alone() -> None:
    desk = Desk()
    assert take(desk.bench.leases, RUN, JOB_LEASE, desk.bench.deadline())
    old(desk)
    assert desk.round().leases == []
    assert holder(desk.bench) == RUN


def died_holding(definition: Definition, call: str, before: int = 0) -> Desk:
    """A run whose start died at a call to Celonis, with its leases, before it sent anything."""
    desk = Desk(definition=definition)
    bench = desk.bench
    bench.model()
    bench.job("job-b").before(600.0)
    seen: list[str] = []

    def dies(name: str, when: str) -> None:
        seen.append(name) if (name, when) == (call, "before") else None
        if len(seen) > before:
            raise Crashed

    bench.celonis.hook = dies
    with pytest.raises(Crashed):
        bench.start("job-0")
    bench.celonis.hook = lambda name, when: None
    return desk


INNER = job_definition(
    jobs=[[{"job": JOB}, {"job": "job-b"}]], loads=[{"data_model": MODEL, "started_by": "job"}]
)


@pytest.mark.parametrize(
    ("definition", "leases"), [(job_definition(), [JOB_LEASE]), (INNER, [JOB_LEASE, MODEL_LEASE])]
)
def test_the_leases_of_a_task_that_died_before_its_start_are_freed_and_acquired_again_by_its_retry(
    definition: Definition, leases: list[str]
) -> None:
    desk = died_holding(definition, "job")
    bench = desk.bench
    bench.clock.sleep(UNUSED_SECONDS - 1.0)
    assert desk.round().leases == []
    bench.clock.sleep(1.0)
    assert sorted(desk.round().leases) == leases
    assert [holder(bench, lease) for lease in leases] == [None] * len(leases)
    bench.open(definition, "other-1", "other")
    assert bench.start("job-0", "other-1")["status"] == "RUNNING"
    assert bench.start("job-0")["status"] == "WAITING"
    assert bench.go("job-0", "other-1") == "SUCCEEDED"
    if definition is not INNER:
        assert bench.go("job-0") == "SUCCEEDED"


@pytest.mark.parametrize("step", ["job-0", "load-0"])
def test_a_lease_of_a_step_that_may_have_been_started_is_never_freed_while_its_run_is_open(step: str) -> None:
    desk = Desk(definition=job_definition() if step == "job-0" else load_definition())
    bench = desk.bench
    bench.model()
    lease = JOB_LEASE if step == "job-0" else MODEL_LEASE
    bench.celonis.faults |= {name: ["before"] for name in ("execute_job", "load_model")}
    bench.start(step)
    bench.clock.sleep(UNUSED_SECONDS * 10)
    assert desk.round().leases == []
    assert holder(bench, lease) == RUN


def test_a_model_that_a_started_job_may_load_keeps_its_lease() -> None:
    desk = Desk(definition=INNER)
    desk.bench.model()
    desk.bench.start("job-0")
    desk.bench.clock.sleep(UNUSED_SECONDS * 10)
    assert desk.round().leases == []
    assert holder(desk.bench, MODEL_LEASE) == RUN


@pytest.mark.parametrize("definition", [job_definition(), INNER], ids=["job", "job with model"])
def test_a_task_that_is_at_work_still_when_its_lease_is_freed_sends_nothing(definition: Definition) -> None:
    desk = Desk(definition=definition)
    bench = desk.bench
    bench.model()

    def reconciled(name: str, when: str) -> None:
        if (name, when) == ("executions", "after") or bench.celonis.hook is quiet:
            return
        if name == "executions":
            bench.celonis.hook = quiet
            bench.clock.sleep(UNUSED_SECONDS)
            assert desk.round().leases != []
            bench.open(job_definition(), "other-1", "other")
            assert bench.start("job-0", "other-1")["status"] == "RUNNING"

    bench.celonis.hook = reconciled
    with pytest.raises(StepMoved):
        start_step(bench.context, RUN, "job-0", bench.deadline(10_000.0))
    assert [sent[0] for sent in bench.celonis.sent].count("execute_job") == 1
    assert holder(bench) == "other-1"


def test_a_lease_whose_run_is_over_is_freed_once_nothing_of_it_is_under_way() -> None:
    desk = Desk(definition=load_definition())
    desk.bench.celonis.models[MODEL].seconds = 10_000
    desk.bench.start("load-0")
    desk.executions.end(RUN, "ABORTED", "Canceled", "Stopped.")
    desk.close()
    assert holder(desk.bench, MODEL_LEASE) == RUN
    old(desk)
    assert desk.round().leases == []
    assert holder(desk.bench, MODEL_LEASE) == RUN
    desk.bench.clock.sleep(10_000)
    assert desk.round().leases == [MODEL_LEASE]
    assert holder(desk.bench, MODEL_LEASE) is None


def test_a_lease_of_a_run_that_nobody_knows_any_more_is_freed() -> None:
    desk = Desk()
    assert take(desk.bench.leases, RUN, JOB_LEASE, desk.bench.deadline())
    del desk.bench.dynamodb.items[run_key(RUN)]
    old(desk)
    assert desk.round().leases == [JOB_LEASE]


def test_a_place_in_the_queue_of_a_lease_goes_with_its_run() -> None:
    """CloseRun removes it; here it died before."""
    desk = Desk()
    bench = desk.bench
    bench.open(job_definition(), "other-1", "other")
    bench.start("job-0", "other-1")
    bench.start("job-0")
    bench.leases.free("other-1", JOB_LEASE, bench.deadline())
    old(desk)
    assert desk.round().leases == []
    bench.records.note(bench.records.get(RUN), {"status": RunStatus.ABORTED}, bench.deadline())
    assert desk.round().leases == [JOB_LEASE]
    assert bench.table.get(JOB_LEASE) is None


@pytest.mark.parametrize("trouble", [TableBusy("throttled"), ZeroDivisionError("unforeseen")])
def test_one_that_cannot_be_reconciled_hides_no_other(trouble: Exception) -> None:
    desk, run_id = never_handed_over()
    desk.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}])
    other = desk.start("p2p")["runs"][0]["run_id"]
    desk.executions.known.pop(other)
    old(desk)
    met: list[str] = []

    def fails(name: str, when: str) -> None:
        met.append(name)
        if len(met) == 1:
            raise trouble

    desk.executions.hook = fails
    findings = desk.round()
    assert sorted([*findings.failed, *findings.started]) == sorted([run_id, other])
    assert len(findings.failed) == 1
    desk.executions.hook = lambda name, when: None
    assert desk.round().started == findings.failed


def test_what_there_is_no_time_for_waits_for_the_next_round() -> None:
    desk, run_id = never_handed_over()
    old(desk)
    assert desk.round(MIN_SECONDS - 1).started == []
    assert desk.round().started == [run_id]


@pytest.mark.parametrize("seconds", [MIN_SECONDS, MIN_CLOSE_SECONDS - 1])
def test_a_run_is_not_closed_in_a_round_with_too_little_time_to_cancel_what_it_left(seconds: float) -> None:
    desk = old(ended_unnoticed())
    findings = desk.round(seconds)
    assert (findings.closed, findings.failed) == ([], [])
    run = desk.bench.records.get(RUN)
    assert (run.is_open, run.is_closing, desk.notices) == (True, False, [])
    assert desk.round(MIN_CLOSE_SECONDS).closed == [RUN]


def test_a_round_with_too_little_time_to_close_a_run_still_starts_others() -> None:
    desk = ended_unnoticed()
    desk.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}])
    run_id = desk.start("p2p")["runs"][0]["run_id"]
    desk.executions.known.pop(run_id)
    old(desk)
    findings = desk.round(MIN_CLOSE_SECONDS - 1)
    assert (findings.closed, findings.started) == ([], [run_id])


def undelivered(*pipelines: str) -> tuple[Desk, RunCloser]:
    """A run of each pipeline that failed, and a closing that cannot publish, which it notices after 30 s."""
    desk = Desk()

    def fails(subject: str, text: str, facts: dict[str, Any]) -> None:
        desk.bench.clock.sleep(30.0)
        raise ConnectionError("no topic")

    closing = replace(desk.closing, publish=fails)
    for pipeline in pipelines:
        desk.definitions[pipeline] = job_definition(jobs=[{"job": f"job-{pipeline}"}])
        run_id = desk.start(pipeline)["runs"][0]["run_id"]
        desk.executions.end(run_id, "FAILED", "JobFailed", "It failed.")
        with pytest.raises(ConnectionError):
            closing.close(f"arn:{run_id}", desk.bench.deadline(300.0))
    return old(desk), closing


def round_with(desk: Desk, closing: RunCloser) -> ReconcileFindings:
    """A round of reconcile with this closing."""
    return replace(desk.reconciling, closer=closing).reconcile(desk.bench.deadline(ROUND_SECONDS))


MANY = [f"p-{number}" for number in range(20)]


def notices_left(desk: Desk) -> list[str]:
    return [item["run_id"] for item in desk.bench.dynamodb.documents("notice#")]


def test_a_notification_that_cannot_be_sent_is_tried_again_in_each_round() -> None:
    desk, closing = undelivered("p2p")
    (run_id,) = notices_left(desk)
    for _ in range(3):
        findings = round_with(desk, closing)
        assert (findings.failed, findings.notified, findings.given_up) == ([run_id], [], [])
    assert desk.round().notified == [run_id]
    assert [facts["run_id"] for _, _, facts in desk.notices] == [run_id]
    assert notices_left(desk) == []


def test_a_notification_that_cannot_be_sent_until_its_record_expires_is_given_up_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    desk, _ = undelivered("p2p")
    (run_id,) = notices_left(desk)
    desk.bench.clock.sleep(RETENTION_DAYS * 86_400 + 1)
    with logged() as lines:
        findings = desk.round()
    assert (findings.given_up, findings.failed, findings.notified) == ([run_id], [], [])
    assert (notices_left(desk), desk.notices) == ([], [])
    assert [(line.levelname, vars(line)["run_id"]) for line in lines if line.levelname == "ERROR"] == [
        ("ERROR", run_id)
    ]
    counted = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert counted["NotificationsGivenUp"] == [1.0]
    assert counted["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    assert desk.round() == ReconcileFindings()


def test_notifications_that_cannot_be_sent_starve_no_other_work() -> None:
    desk, closing = undelivered(*MANY)
    desk.join("otc-2")
    desk.paused = True
    desk.end("SUCCEEDED")
    desk.paused = False
    desk.bench.dynamodb.items[MODEL_LEASE] = to_item(lease_item(MODEL_LEASE, "gone", iso(START)))
    old(desk)
    findings = round_with(desk, closing)
    assert (findings.slots, findings.leases) == (["otc"], [MODEL_LEASE])
    assert 0 < len(findings.failed) < len(MANY)


def test_a_run_is_closed_in_a_round_in_which_no_notification_can_be_sent() -> None:
    desk, closing = undelivered(*MANY)
    desk.executions.end(RUN, "SUCCEEDED")
    assert RUN in round_with(desk, closing).failed  # its own notification cannot be sent either
    assert not desk.bench.records.get(RUN).is_open


def test_a_list_that_cannot_be_read_hides_no_other_kind() -> None:
    desk, run_id = never_handed_over()
    old(desk)
    failed: list[str] = []

    def before(operation: str, request: dict[str, Any]) -> None:
        status = request.get("ExpressionAttributeValues", {}).get(":key", {}).get("S")
        if operation == "Query" and status in (WAITING, LEASED):
            failed.append(status)
            raise client_error("InternalServerError", "Query", ResponseMetadata={"HTTPStatusCode": 500})

    desk.bench.dynamodb.before = before
    findings = desk.round()
    assert findings.started == [run_id]
    assert sorted(findings.failed) == ["the list of leases", "the list of slots"]


def unproven_left() -> tuple[Desk, float]:
    """A run that was closed before its start showed; and when every reading shows what there was by then."""
    desk = Desk()
    desk.bench.celonis.jobs[JOB].seconds = 10.0
    desk.bench.celonis.faults["execute_job"] = ["before"]
    desk.bench.start("job-0")
    desk.executions.end(RUN, "ABORTED", "Canceled", "Stopped.")
    desk.close(seconds=20.0)
    return desk, desk.bench.clock.now + desk.definition.settle


def test_the_lease_of_a_closed_run_is_held_until_its_start_must_show() -> None:
    desk, until = unproven_left()
    bench = desk.bench
    bench.open(job_definition(), "other-1", "other")
    for left in (until - bench.clock.now - 30.0, 25.0):
        bench.clock.sleep(left)
        assert desk.round().leases == []
        assert not take(bench.leases, "other-1", JOB_LEASE, bench.deadline())
        assert holder(bench) == RUN
    bench.clock.sleep(until - bench.clock.now)
    assert desk.round().leases == [JOB_LEASE]
    assert holder(bench) is None


def test_the_lease_of_a_closed_run_is_taken_over_once_its_start_must_show() -> None:
    desk, until = unproven_left()
    bench = desk.bench
    bench.open(job_definition(), "other-1", "other")
    bench.clock.sleep(until - bench.clock.now)
    assert take(bench.leases, "other-1", JOB_LEASE, bench.deadline())
    assert holder(bench) == "other-1"


# ---------------------------------------------------------------- races


def _claims(desk: Desk) -> Acceptance:
    claim = Claim("otc", RunOptions(), "otc-rival", "otc-follows", desk.definition, JOB)
    return desk.bench.claims.accept([claim], ["delivery#shop#rival"], desk.bench.deadline())


def _closes(desk: Desk) -> None:
    desk.close()


def _reconciles(desk: Desk) -> None:
    desk.round()


def _starts(desk: Desk) -> None:
    for run_id in [item["run_id"] for item in desk.bench.dynamodb.documents("run#")]:
        if desk.status(run_id) is RunStatus.OPENING:
            desk.executions.start(run_id)


RIVALS = [_claims, _closes, _reconciles, _starts]
SCENES: list[Callable[[], Desk]] = [
    lambda: never_handed_over()[0],
    lambda: ended_unnoticed("SUCCEEDED"),
    lambda: ended_unnoticed("FAILED"),
    lambda: waiting()[0],
]


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("scenario", SCENES, ids=["never handed over", "succeeded", "failed", "waiting"])
def test_a_round_may_meet_anybody_at_any_of_its_calls(
    scenario: Callable[[], Desk], rival: Callable[[Desk], Any]
) -> None:
    """The rival acts, whole, right before each of the round's requests in turn."""
    calls = _calls_of(scenario)
    assert calls > 3
    for moment in range(calls):
        desk = old(scenario())
        _meet(desk, moment, rival)
        desk.round()
        desk.bench.dynamodb.before = lambda *_: None
        old(desk)
        desk.round()
        _check(desk)


def _calls_of(scenario: Callable[[], Desk]) -> int:
    desk = old(scenario())
    desk.bench.dynamodb.calls.clear()
    desk.round()
    return len(desk.bench.dynamodb.calls)


def _meet(desk: Desk, moment: int, rival: Callable[[Desk], Any]) -> None:
    left = [moment]

    def before(operation: str, request: dict[str, Any]) -> None:
        left[0] -= 1
        if left[0] < 0:
            desk.bench.dynamodb.before = lambda *_: None
            rival(desk)

    desk.bench.dynamodb.before = before


def _check(desk: Desk) -> None:
    """Every run that was promised is there or waits; the one that is active has its execution; none twice."""
    slot = desk.slot()
    runs = {item["run_id"]: item for item in desk.bench.dynamodb.documents("run#")}
    opened = [run_id for run_id in runs if runs[run_id]["status"] in ("OPENING", "RUNNING")]
    assert opened == ([slot["run_id"]] if "run_id" in slot else [])
    assert all(desk.executions.known[run_id].status == "RUNNING" for run_id in opened)
    for delivery in desk.bench.dynamodb.documents("delivery#"):
        for promised in delivery["runs"].values():
            waits = slot.get("pending", {}).get("run_id")
            assert promised["run_id"] in runs or promised["run_id"] == waits
    for lease in desk.bench.dynamodb.documents("lease#"):
        assert lease["run_id"] in opened
    reported = [facts["run_id"] for _, _, facts in desk.notices]
    assert {run_id for run_id in runs if runs[run_id]["status"] == "FAILED"} == set(reported)
    assert list(desk.bench.dynamodb.documents("notice#")) == []
