"""Every function dies before and after each of its calls; what resumes the work finishes it.

The table "crash by crash", for all functions: the same delivery, request or event comes again, the state
machine retries the task, or a round of reconcile finishes the work. Nothing is lost, nothing is
started twice, everything ends in one record, and a notification is sent for what failed.
"""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from celonis_refresh.celonis.records import ModelTable
from celonis_refresh.notifications.outbox import CLAIM_SECONDS
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.claims import Claim
from celonis_refresh.runs.earlier import Earlier
from celonis_refresh.runs.errors import RunClosed
from celonis_refresh.runs.table import model_lease, run_key, slot_key
from celonis_refresh.webhooks.request import WebhookRequest
from tests.fakes.service import JOB, MODEL, Crashed, job_definition, load_definition
from tests.unit.workflow.webhook_harness import SECRET, source_of
from tests.unit.workflow.workflow_harness import CallRecorder, CrashPoint, WorkflowHarness

PARTIAL = {"data_model": MODEL, "kind": "partial", "tables": ["ORDERS"]}
OTHER_JOB = "job-b"


SHORT = 10.0
"""Seconds of a job or load: each crash point polls it to its end."""
FEW = 20
"""The calls after which reads of a definition are no crash points any more: a batch has one per event."""


class CrashScenario(NamedTuple):
    """``make``: prepares a harness; ``act``: runs the function that dies."""

    name: str
    make: Callable[[], WorkflowHarness]
    act: Callable[[WorkflowHarness], Any]


def _harness() -> WorkflowHarness:
    """Two pipelines: a job and a load, and a job."""
    harness = WorkflowHarness()
    harness.definitions = {
        "otc": job_definition(loads=[PARTIAL]),
        "p2p": job_definition(jobs=[{"job": OTHER_JOB}]),
    }
    for target in (harness.service.job(JOB), harness.service.job(OTHER_JOB), harness.service.model()):
        target.add_past_start(6000.0)
        target.seconds = SHORT
    harness.service.celonis.model_tables[MODEL] = [ModelTable("t-1", "ORDERS")]
    return harness


def _crash_points(scenario: CrashScenario) -> list[CrashPoint]:
    """Before and after each call that the function makes without a crash."""
    harness = scenario.make()
    calls = harness.listen(CallRecorder())
    scenario.act(harness)
    assert len(calls.seen) > 1
    return [each for each in calls.seen if each.number <= FEW or each.call != "GetParameter"]


def _dies(scenario: CrashScenario, crash_point: CrashPoint) -> WorkflowHarness:
    """The harness once the function has died there."""
    harness = scenario.make()
    harness.listen(CallRecorder(crash_point))
    with pytest.raises(Crashed):
        scenario.act(harness)
    harness.listen(CallRecorder())
    return harness


def _at_each_crash_point(scenario: CrashScenario) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Runs a test for every crash point of the scenario; the one that fails is named in a note."""

    def decorated(test: Callable[..., None]) -> Callable[..., None]:
        def run_test(**more: Any) -> None:
            for crash_point in _crash_points(scenario):
                try:
                    test(scenario, crash_point, **more)
                except BaseException as error:
                    error.add_note(f"{scenario.name}, which died {crash_point}")
                    raise

        signature = inspect.signature(test)
        own = [each for name, each in signature.parameters.items() if name not in ("scenario", "crash_point")]
        run_test.__name__, run_test.__doc__ = test.__name__, test.__doc__
        run_test.__dict__["__signature__"] = signature.replace(parameters=own)
        return run_test

    return decorated


def _finished(harness: WorkflowHarness, *pipelines: str, runs: int = 1) -> None:
    """Everything runs to its end: each pipeline ran ``runs`` times, and its job started as often."""
    harness.run_executions()
    for pipeline in pipelines:
        assert list(harness.runs(pipeline).values()) == ["SUCCEEDED"] * runs
        assert harness.started(JOB if pipeline == "otc" else OTHER_JOB) == runs
    assert harness.left_over() == []


# ---------------------------------------------------------------- functions that claim


def _deliver(harness: WorkflowHarness) -> Any:
    return harness.deliver("d-1", source_of({"pipeline": "otc"}, {"pipeline": "p2p"}))


def _join(harness: WorkflowHarness) -> Any:
    return harness.deliver("d-2")


def _already_running() -> WorkflowHarness:
    harness = _harness()
    harness.deliver("d-0")
    return harness


def _half_delivered() -> WorkflowHarness:
    """A delivery started one of its pipelines; the other was not defined then, and is now."""
    harness = _harness()
    p2p = harness.definitions.pop("p2p")
    _deliver(harness)
    harness.definitions["p2p"] = p2p
    return harness


EVENTS = 100
"""More than one transaction takes."""


def _batch(numbers: range) -> WebhookRequest:
    body = json.dumps([{"id": f"e-{number}", "eventType": "Loaded"} for number in numbers]).encode()
    return WebhookRequest({"content-type": "application/json"}, {"token": SECRET}, body)


def _deliver_batch(harness: WorkflowHarness, numbers: range = range(EVENTS)) -> Any:
    return harness.receive(_batch(numbers), source_of({"pipeline": "otc"}, sender="azure_event_grid"))


def _request(harness: WorkflowHarness) -> Any:
    return harness.post(key="k-1")


def _failed() -> WorkflowHarness:
    """A run that failed after its job; the load is left."""
    harness = _harness()
    harness.deliver("d-0")
    model = harness.service.celonis.models[MODEL]
    model.outcome = "FAIL"
    harness.run_executions()
    model.outcome = "SUCCESS"
    (run_id,) = harness.runs()
    assert harness.runs() == {run_id: "FAILED"}
    harness.reported.clear()
    return harness


def _retry(harness: WorkflowHarness) -> Any:
    first, *_ = sorted(harness.runs(), key=lambda run_id: run_id)
    return harness.retry(first)


DELIVERY = CrashScenario("a delivery", _harness, _deliver)
REST = CrashScenario("a delivery of which one pipeline is left", _half_delivered, _deliver)
BATCH = CrashScenario("a batch", _harness, _deliver_batch)
JOINING = CrashScenario("a delivery that joins", _already_running, _join)
REQUEST = CrashScenario("a request", _harness, _request)
RETRY = CrashScenario("a retry", _failed, _retry)


@_at_each_crash_point(DELIVERY)
def test_a_delivery_sent_again_leads_to_one_run_each(
    scenario: CrashScenario, crash_point: CrashPoint
) -> None:
    harness = _dies(scenario, crash_point)
    claimed = bool(harness.runs())
    reply = _deliver(harness)
    assert reply.status == (200 if claimed else 202)
    assert reply.body.get("duplicate", False) is claimed
    assert {one["run_id"] for one in reply.body["runs"]} == {*harness.runs("otc"), *harness.runs("p2p")}
    _finished(harness, "otc", "p2p")


@_at_each_crash_point(DELIVERY)
def test_an_accepted_delivery_that_is_not_repeated_is_still_run(
    scenario: CrashScenario, crash_point: CrashPoint
) -> None:
    harness = _dies(scenario, crash_point)
    claimed = bool(harness.runs())
    harness.reconcile()
    _finished(harness, "otc", "p2p", runs=1 if claimed else 0)


@_at_each_crash_point(REST)
def test_a_delivery_sent_again_starts_the_pipeline_that_is_left_once(
    scenario: CrashScenario, crash_point: CrashPoint
) -> None:
    harness = _dies(scenario, crash_point)
    claimed = bool(harness.runs("p2p"))
    reply = _deliver(harness)
    assert reply.status == (200 if claimed else 202)
    status = {one["pipeline"]: one["status"] for one in reply.body["runs"]}
    assert status == {"otc": "duplicate", "p2p": "duplicate" if claimed else "started"}
    _finished(harness, "otc", "p2p")
    assert _deliver(harness).body["duplicate"] is True


@pytest.mark.parametrize(
    "sent", [range(EVENTS), range(EVENTS - 1, EVENTS)], ids=["the same batch", "its last event"]
)
@_at_each_crash_point(BATCH)
def test_a_batch_sent_again_leads_to_one_run(
    scenario: CrashScenario, crash_point: CrashPoint, *, sent: range
) -> None:
    harness = _dies(scenario, crash_point)
    claimed = bool(harness.runs())
    reply = _deliver_batch(harness, sent)
    assert reply.status == (200 if claimed else 202)
    events = reply.body.get("events", [reply.body])
    assert {(one["runs"][0]["run_id"], one.get("duplicate", False)) for one in events} == {
        (run_id, claimed) for run_id in harness.runs()
    }
    _finished(harness, "otc")
    assert _deliver_batch(harness, sent).status == 200
    _finished(harness, "otc")


@_at_each_crash_point(JOINING)
def test_a_delivery_that_joined_is_one_run_that_follows(
    scenario: CrashScenario, crash_point: CrashPoint
) -> None:
    harness = _dies(scenario, crash_point)
    waits = harness.service.dynamodb.document(slot_key("otc")).get("pending")
    reply = _join(harness)
    assert reply.body.get("duplicate", False) is bool(waits)
    _finished(harness, "otc", runs=2)


@pytest.mark.parametrize("comes_again", [True, False], ids=["again", "reconcile"])
@_at_each_crash_point(REQUEST)
def test_a_request_with_its_key_is_one_run(
    scenario: CrashScenario, crash_point: CrashPoint, *, comes_again: bool
) -> None:
    harness = _dies(scenario, crash_point)
    claimed = bool(harness.runs())
    if comes_again:
        assert _request(harness).get("duplicate", False) is claimed
    else:
        harness.reconcile()
    _finished(harness, "otc", runs=1 if claimed or comes_again else 0)


@pytest.mark.parametrize("comes_again", [True, False], ids=["again", "reconcile"])
@_at_each_crash_point(RETRY)
def test_a_retry_is_one_run_of_what_was_left(
    scenario: CrashScenario, crash_point: CrashPoint, *, comes_again: bool
) -> None:
    harness = _dies(scenario, crash_point)
    claimed = len(harness.runs()) == 2
    if comes_again:
        assert _retry(harness).get("duplicate", False) is claimed
    else:
        harness.reconcile()
    harness.run_executions()
    goes_on = ["SUCCEEDED"] if claimed or comes_again else []
    assert sorted(harness.runs().values()) == ["FAILED", *goes_on]
    assert harness.started(JOB) == 1
    loads = harness.service.celonis.models[MODEL].mine
    assert [load.outcome for load in loads] == ["FAIL", *(["SUCCESS"] if goes_on else [])]
    assert harness.left_over() == []


# ---------------------------------------------------------------- tasks of a run


def _scheduled() -> WorkflowHarness:
    """A model that was seen running before: a start of it that died before it was sent can be sent again."""
    harness = _harness()
    deadline, lease = harness.service.deadline(), model_lease(MODEL)
    before = Earlier(shows_running=True)
    harness.service.table.transact([before.write(harness.service.table, lease)], deadline)
    harness.execute("nightly", pipeline="otc", delivery="arn:of-the-schedule 2026-01-01T00:00:00Z")
    return harness


def _run_to_end(harness: WorkflowHarness) -> Any:
    """The state machine, without retries."""
    opened = harness.open("nightly")
    for step in [one["step"] for one in (*opened["jobs"], *opened["loads"])]:
        progress = harness.service.start(step, "nightly")
        while progress["status"] != "SUCCEEDED":
            harness.service.wait(progress)
            progress = harness.service.check(step, "nightly")
    harness.drop_events = True
    harness.end("nightly")
    harness.drop_events = False
    harness.close("nightly")


SCHEDULED_RUN = CrashScenario("a scheduled run", _scheduled, _run_to_end)


@_at_each_crash_point(SCHEDULED_RUN)
def test_a_task_that_is_tried_again_does_nothing_twice(
    scenario: CrashScenario, crash_point: CrashPoint
) -> None:
    harness = _dies(scenario, crash_point)
    if harness.executions.known["nightly"].status == "RUNNING":
        harness.run_executions()
    else:
        harness.service.clock.sleep(CLAIM_SECONDS)
        harness.close("nightly")
    _finished(harness, "otc")
    assert list(harness.runs()) == ["nightly"]
    assert len(harness.service.celonis.models[MODEL].mine) == 1
    assert harness.reported == []


@pytest.mark.parametrize("heard", [True, False], ids=["event", "reconcile"])
@_at_each_crash_point(SCHEDULED_RUN)
def test_a_task_that_is_not_tried_again_ends_its_run_and_leaves_nothing(
    scenario: CrashScenario, crash_point: CrashPoint, *, heard: bool
) -> None:
    """Its execution fails, or is stopped: what runs at Celonis is cancelled or left to its end."""
    harness = _dies(scenario, crash_point)
    harness.drop_events = True
    harness.end("nightly", "Lambda.Unknown")
    if heard:
        harness.close("nightly")
    harness.reconcile()
    harness.service.clock.sleep(600.0)
    harness.reconcile()
    well = harness.executions.known["nightly"].status == "SUCCEEDED"
    claimed = harness.service.dynamodb.document(run_key("nightly"))
    assert list(harness.runs().values()) == (["SUCCEEDED" if well else "FAILED"] if claimed else [])
    assert harness.started(JOB) <= 1
    assert len(harness.service.celonis.models[MODEL].mine) <= 1
    assert ("nightly" in harness.reported) is (not well and (heard or bool(claimed)))
    assert harness.left_over() == []


# ---------------------------------------------------------------- closing a run


def _ended() -> WorkflowHarness:
    """A run failed while a trigger is pending; its end event was not delivered yet."""
    harness = _harness()
    harness.deliver("d-0")
    (run_id,) = harness.runs()
    harness.open(run_id)
    harness.deliver("d-1")
    harness.drop_events = True
    harness.end(run_id, "JobFailed")
    harness.drop_events = False
    return harness


def _first(harness: WorkflowHarness) -> str:
    return min(harness.executions.known)


UNNOTED = {("after", "Publish"), ("before", "DeleteItem outbox")}
"""Twice rather than never: a crash between sending and removing the message leaves no trace of it."""
CLOSE = CrashScenario("a closing", _ended, lambda harness: harness.close(_first(harness)))


@pytest.mark.parametrize("comes_again", [True, False], ids=["again", "reconcile"])
@_at_each_crash_point(CLOSE)
def test_an_end_is_recorded_notified_and_followed(
    scenario: CrashScenario, crash_point: CrashPoint, *, comes_again: bool
) -> None:
    harness = _dies(scenario, crash_point)
    first = _first(harness)
    if comes_again:
        harness.close(first)
    harness.reconcile()
    harness.run_executions()
    assert sorted(harness.runs().values()) == ["FAILED", "SUCCEEDED"]
    assert harness.runs()[first] == "FAILED"
    (recovery,) = set(harness.reported) - {first}  # the run that follows succeeds
    assert harness.runs()[recovery] == "SUCCEEDED"
    assert harness.reported.count(first) == (2 if (crash_point.moment, crash_point.call) in UNNOTED else 1)
    assert harness.started(JOB) == 2
    harness.reconcile()
    assert harness.left_over() == []


# ---------------------------------------------------------------- events


def _whole(harness: WorkflowHarness) -> None:
    """One run from its webhook to its end."""
    harness.deliver("d-1")
    harness.run_executions()


WHOLE = CrashScenario("a whole run", _harness, _whole)


@_at_each_crash_point(WHOLE)
def test_every_event_of_a_run_is_sent(scenario: CrashScenario, crash_point: CrashPoint) -> None:
    harness = scenario.make()
    harness.listen(CallRecorder(crash_point))
    with contextlib.suppress(Crashed):
        harness.deliver("d-1")
    harness.run_executions()
    harness.deliver("d-1")
    harness.reconcile()
    harness.run_executions()
    harness.reconcile()
    (run_id,) = harness.runs()
    names = [f"{run_id}/{name}" for name in EVENTS_OF_A_RUN]
    sent = harness.service.events.ids
    assert set(sent) == set(names)
    assert len(sent) <= len(names) + 2  # one PutEvents is repeated at most
    assert harness.left_over() == []


EVENTS_OF_A_RUN = ("started", "job-0/started", "job-0/ended", "load-0/started", "load-0/ended", "ended")


# ---------------------------------------------------------------- cancelling and reconciling


def _cancelled() -> WorkflowHarness:
    """A run is running, and a trigger is queued behind it."""
    harness = _harness()
    harness.deliver("d-0")
    (run_id,) = harness.runs()
    harness.open(run_id)
    harness.deliver("d-1")
    return harness


CANCEL = CrashScenario("a cancel", _cancelled, lambda harness: harness.cancel(_first(harness)))


@_at_each_crash_point(CANCEL)
def test_a_repeated_cancel_stops_the_run_and_drops_the_pending_run(
    scenario: CrashScenario, crash_point: CrashPoint
) -> None:
    harness = _dies(scenario, crash_point)
    first = _first(harness)
    with contextlib.suppress(RunClosed):
        harness.cancel(first)
    harness.close(first)
    harness.run_executions()
    assert harness.runs() == {first: "ABORTED"}
    assert harness.reported == []
    harness.reconcile()
    assert harness.left_over() == []


def _unfinished_work() -> WorkflowHarness:
    """Runs that were never started, ended unnoticed or waited, a notice and a lease that were left behind."""
    harness = _harness()
    harness.definitions |= {
        name: job_definition(jobs=[{"job": name}]) for name in ("lost", "ended", "paused", "untold")
    }
    harness.definitions["loading"] = load_definition()
    for job in ("lost", "ended", "paused", "untold"):
        harness.service.job(job).add_past_start(6000.0)
    for name in ("lost", "ended", "untold", "loading"):
        _claimed(harness, name)
    harness.executions.known.pop("lost-1")
    harness.definitions["paused"] = job_definition(jobs=[{"job": "paused"}], paused=True)
    harness.post("paused")
    harness.definitions["paused"] = job_definition(jobs=[{"job": "paused"}])
    harness.drop_events = True
    for name in ("ended-1", "untold-1", "loading-1"):
        harness.open(name)
    harness.service.start("load-0", "loading-1")
    for name in ("ended-1", "untold-1", "loading-1"):
        harness.end(name, "JobFailed")
    harness.listen(CallRecorder(CrashPoint(0, "before", "Publish")))
    with pytest.raises(Crashed):
        harness.close("untold-1")
    harness.listen(CallRecorder())
    harness.close("loading-1")
    harness.reported.clear()
    harness.service.clock.sleep(600.0)
    harness.drop_events = False
    return harness


def _claimed(harness: WorkflowHarness, name: str) -> None:
    claim = Claim(name, RunOptions(), f"{name}-1", f"{name}-2", harness.definitions[name])
    harness.service.claims.accept([claim], [], harness.service.deadline())
    harness.executions.start(f"{name}-1")


RECONCILE = CrashScenario("a round", _unfinished_work, lambda harness: harness.reconcile())


@_at_each_crash_point(RECONCILE)
def test_a_round_that_died_is_finished_by_the_next(scenario: CrashScenario, crash_point: CrashPoint) -> None:
    harness = _dies(scenario, crash_point)
    harness.reconcile()
    harness.run_executions()
    ended = {name: list(harness.runs(name).values()) for name in harness.definitions}
    assert ended == {
        "otc": [],
        "p2p": [],
        "lost": ["SUCCEEDED"],
        "paused": ["SUCCEEDED"],
        "ended": ["FAILED"],
        "untold": ["FAILED"],
        "loading": ["FAILED"],
    }
    assert [harness.started(job) for job in ("lost", "paused", "ended", "untold")] == [1, 1, 0, 0]
    assert set(harness.reported) == {"ended-1", "untold-1"}
    assert len(harness.reported) <= 3
    assert harness.left_over() == []
