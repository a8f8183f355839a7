"""Every function dies before and after each of its calls; whoever comes back finishes what it was at.

The table "crash by crash", for all functions: the same delivery, request or event comes again, the state
machine tries its task again, or nobody does and a round of reconcile comes. Nothing is lost, nothing is
started twice, everything ends in one record, and somebody is told of what failed.
"""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from celonis_refresh.celonis.records import ModelTable
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.claims import Claim
from celonis_refresh.runs.earlier import Earlier
from celonis_refresh.runs.errors import RunClosed
from celonis_refresh.runs.table import model_lease, run_key, slot_key
from celonis_refresh.webhooks.request import WebhookRequest
from tests.fakes.service import JOB, MODEL, Crashed, job_definition, load_definition
from tests.unit.triggers.harness import Calls, Death, TriggerHarness
from tests.unit.workflow.webhook_harness import SECRET, source_of

PARTIAL = {"data_model": MODEL, "kind": "partial", "tables": ["ORDERS"]}
OTHER_JOB = "job-b"


FEW = 20
"""Calls of a scenario after which it dies at no more reads of a definition: a batch has one an event."""


class Scenario(NamedTuple):
    """``make``: a house in which all is ready; ``act``: what the function does that dies."""

    name: str
    make: Callable[[], TriggerHarness]
    act: Callable[[TriggerHarness], Any]


def _harness() -> TriggerHarness:
    """Two pipelines: a job and a load, and a job."""
    harness = TriggerHarness()
    harness.definitions = {
        "otc": job_definition(loads=[PARTIAL]),
        "p2p": job_definition(jobs=[{"job": OTHER_JOB}]),
    }
    for job in (JOB, OTHER_JOB):
        harness.bench.job(job).before(6000.0)
    harness.bench.model().before(6000.0)
    harness.bench.celonis.model_tables[MODEL] = [ModelTable("t-1", "ORDERS")]
    return harness


def _deaths(scenario: Scenario) -> list[Death]:
    """Before and after each call that the function makes where nothing happens to it."""
    harness = scenario.make()
    calls = harness.listen(Calls())
    scenario.act(harness)
    assert len(calls.seen) > 1
    return [each for each in calls.seen if each.number <= FEW or each.call != "GetParameter"]


def _dies(scenario: Scenario, death: Death) -> TriggerHarness:
    """The house once the function has died there."""
    harness = scenario.make()
    harness.listen(Calls(death))
    with pytest.raises(Crashed):
        scenario.act(harness)
    harness.listen(Calls())
    return harness


def _at_each_death(scenario: Scenario) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Plays a test for every death in the scenario; the one that fails is named in a note."""

    def decorated(test: Callable[..., None]) -> Callable[..., None]:
        def played(**more: Any) -> None:
            for death in _deaths(scenario):
                try:
                    test(scenario, death, **more)
                except BaseException as error:
                    error.add_note(f"{scenario.name}, which died {death}")
                    raise

        signature = inspect.signature(test)
        own = [each for name, each in signature.parameters.items() if name not in ("scenario", "death")]
        played.__name__, played.__doc__ = test.__name__, test.__doc__
        played.__dict__["__signature__"] = signature.replace(parameters=own)
        return played

    return decorated


def _finished(harness: TriggerHarness, *pipelines: str, runs: int = 1) -> None:
    """Whatever is under way comes to its end: each pipeline ran so often, and its job started as often."""
    harness.play()
    for pipeline in pipelines:
        assert list(harness.runs(pipeline).values()) == ["SUCCEEDED"] * runs
        assert harness.started(JOB if pipeline == "otc" else OTHER_JOB) == runs
    assert harness.left_over() == []


# ---------------------------------------------------------------- who claims


def _deliver(harness: TriggerHarness) -> Any:
    return harness.deliver("d-1", source_of({"pipeline": "otc"}, {"pipeline": "p2p"}))


def _join(harness: TriggerHarness) -> Any:
    return harness.deliver("d-2")


def _under_way() -> TriggerHarness:
    harness = _harness()
    harness.deliver("d-0")
    return harness


def _half_delivered() -> TriggerHarness:
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


def _deliver_batch(harness: TriggerHarness, numbers: range = range(EVENTS)) -> Any:
    return harness.receive(_batch(numbers), source_of({"pipeline": "otc"}, sender="azure_event_grid"))


def _request(harness: TriggerHarness) -> Any:
    return harness.post(key="k-1")


def _failed() -> TriggerHarness:
    """A run that failed after its job; the load is left."""
    harness = _harness()
    harness.deliver("d-0")
    model = harness.bench.celonis.models[MODEL]
    model.outcome = "FAIL"
    harness.play()
    model.outcome = "SUCCESS"
    (run_id,) = harness.runs()
    assert harness.runs() == {run_id: "FAILED"}
    harness.reported.clear()
    return harness


def _retry(harness: TriggerHarness) -> Any:
    first, *_ = sorted(harness.runs(), key=lambda run_id: run_id)
    return harness.retry(first)


DELIVERY = Scenario("a delivery", _harness, _deliver)
REST = Scenario("a delivery of which one pipeline is left", _half_delivered, _deliver)
BATCH = Scenario("a batch", _harness, _deliver_batch)
JOINING = Scenario("a delivery that joins", _under_way, _join)
REQUEST = Scenario("a request", _harness, _request)
RETRY = Scenario("a retry", _failed, _retry)


@_at_each_death(DELIVERY)
def test_a_delivery_sent_again_leads_to_one_run_each(scenario: Scenario, death: Death) -> None:
    harness = _dies(scenario, death)
    claimed = bool(harness.runs())
    reply = _deliver(harness)
    assert reply.status == (200 if claimed else 202)
    assert reply.body.get("duplicate", False) is claimed
    assert {one["run_id"] for one in reply.body["runs"]} == {*harness.runs("otc"), *harness.runs("p2p")}
    _finished(harness, "otc", "p2p")


@_at_each_death(DELIVERY)
def test_a_delivery_that_was_accepted_and_does_not_come_again_is_run_all_the_same(
    scenario: Scenario, death: Death
) -> None:
    harness = _dies(scenario, death)
    claimed = bool(harness.runs())
    harness.reconcile()
    _finished(harness, "otc", "p2p", runs=1 if claimed else 0)


@_at_each_death(REST)
def test_a_delivery_sent_again_starts_the_pipeline_that_is_left_once(
    scenario: Scenario, death: Death
) -> None:
    harness = _dies(scenario, death)
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
@_at_each_death(BATCH)
def test_a_batch_sent_again_leads_to_one_run(scenario: Scenario, death: Death, *, sent: range) -> None:
    harness = _dies(scenario, death)
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


@_at_each_death(JOINING)
def test_a_delivery_that_joined_is_one_run_that_follows(scenario: Scenario, death: Death) -> None:
    harness = _dies(scenario, death)
    waits = harness.bench.dynamodb.document(slot_key("otc")).get("pending")
    reply = _join(harness)
    assert reply.body.get("duplicate", False) is bool(waits)
    _finished(harness, "otc", runs=2)


@pytest.mark.parametrize("comes_again", [True, False], ids=["again", "reconcile"])
@_at_each_death(REQUEST)
def test_a_request_with_its_key_is_one_run(scenario: Scenario, death: Death, *, comes_again: bool) -> None:
    harness = _dies(scenario, death)
    claimed = bool(harness.runs())
    if comes_again:
        assert _request(harness).get("duplicate", False) is claimed
    else:
        harness.reconcile()
    _finished(harness, "otc", runs=1 if claimed or comes_again else 0)


@pytest.mark.parametrize("comes_again", [True, False], ids=["again", "reconcile"])
@_at_each_death(RETRY)
def test_a_retry_is_one_run_of_what_was_left(scenario: Scenario, death: Death, *, comes_again: bool) -> None:
    harness = _dies(scenario, death)
    claimed = len(harness.runs()) == 2
    if comes_again:
        assert _retry(harness).get("duplicate", False) is claimed
    else:
        harness.reconcile()
    harness.play()
    goes_on = ["SUCCEEDED"] if claimed or comes_again else []
    assert sorted(harness.runs().values()) == ["FAILED", *goes_on]
    assert harness.started(JOB) == 1
    loads = harness.bench.celonis.models[MODEL].mine
    assert [load.outcome for load in loads] == ["FAIL", *(["SUCCESS"] if goes_on else [])]
    assert harness.left_over() == []


# ---------------------------------------------------------------- who works on a run


def _scheduled() -> TriggerHarness:
    """A model that was seen running before: a start of it that died before it was sent can be sent again."""
    harness = _harness()
    deadline, lease = harness.bench.deadline(), model_lease(MODEL)
    before = Earlier(shows_running=True)
    harness.bench.table.transact([before.write(harness.bench.table, lease)], deadline)
    harness.execute("nightly", pipeline="otc", delivery="arn:of-the-schedule 2026-01-01T00:00:00Z")
    return harness


def _play(harness: TriggerHarness) -> Any:
    """The state machine, which tries nothing again."""
    opened = harness.open("nightly")
    for step in [one["step"] for one in (*opened["jobs"], *opened["loads"])]:
        progress = harness.bench.start(step, "nightly")
        while progress["status"] != "SUCCEEDED":
            harness.bench.wait(progress)
            progress = harness.bench.check(step, "nightly")
    harness.unheard = True
    harness.end("nightly")
    harness.unheard = False
    harness.close("nightly")


SCHEDULED_RUN = Scenario("a scheduled run", _scheduled, _play)


@_at_each_death(SCHEDULED_RUN)
def test_a_task_that_is_tried_again_does_nothing_twice(scenario: Scenario, death: Death) -> None:
    harness = _dies(scenario, death)
    if harness.executions.known["nightly"].status == "RUNNING":
        harness.play()
    else:
        harness.close("nightly")
    _finished(harness, "otc")
    assert list(harness.runs()) == ["nightly"]
    assert len(harness.bench.celonis.models[MODEL].mine) == 1
    assert harness.reported == []


@pytest.mark.parametrize("heard", [True, False], ids=["event", "reconcile"])
@_at_each_death(SCHEDULED_RUN)
def test_a_task_that_is_not_tried_again_ends_its_run_and_leaves_nothing(
    scenario: Scenario, death: Death, *, heard: bool
) -> None:
    """Its execution fails, or is stopped: what runs at Celonis is cancelled or left to its end."""
    harness = _dies(scenario, death)
    harness.unheard = True
    harness.end("nightly", "Lambda.Unknown")
    if heard:
        harness.close("nightly")
    harness.reconcile()
    harness.bench.clock.sleep(600.0)
    harness.reconcile()
    well = harness.executions.known["nightly"].status == "SUCCEEDED"
    claimed = harness.bench.dynamodb.document(run_key("nightly"))
    assert list(harness.runs().values()) == (["SUCCEEDED" if well else "FAILED"] if claimed else [])
    assert harness.started(JOB) <= 1
    assert len(harness.bench.celonis.models[MODEL].mine) <= 1
    assert ("nightly" in harness.reported) is (not well and (heard or bool(claimed)))
    assert harness.left_over() == []


# ---------------------------------------------------------------- who closes a run


def _ended() -> TriggerHarness:
    """A run failed while a trigger waits; nobody heard of it yet."""
    harness = _harness()
    harness.deliver("d-0")
    (run_id,) = harness.runs()
    harness.open(run_id)
    harness.deliver("d-1")
    harness.unheard = True
    harness.end(run_id, "JobFailed")
    harness.unheard = False
    return harness


def _first(harness: TriggerHarness) -> str:
    return min(harness.executions.known)


UNNOTED = {("after", "Publish"), ("before", "TransactWriteItems run notice")}
"""Better twice than never: who dies between telling and noting it leaves no trace of having told."""
CLOSING = Scenario("a closing", _ended, lambda harness: harness.close(_first(harness)))


@pytest.mark.parametrize("comes_again", [True, False], ids=["again", "reconcile"])
@_at_each_death(CLOSING)
def test_an_end_is_written_told_and_followed(scenario: Scenario, death: Death, *, comes_again: bool) -> None:
    harness = _dies(scenario, death)
    first = _first(harness)
    if comes_again:
        harness.close(first)
    harness.reconcile()
    harness.play()
    assert sorted(harness.runs().values()) == ["FAILED", "SUCCEEDED"]
    assert harness.runs()[first] == "FAILED"
    assert set(harness.reported) == {first}
    assert len(harness.reported) == (2 if (death.moment, death.call) in UNNOTED else 1)
    assert harness.started(JOB) == 2
    harness.reconcile()
    assert harness.left_over() == []


# ---------------------------------------------------------------- who cancels, who reconciles


def _cancelled() -> TriggerHarness:
    """A run is under way, and a trigger waits behind it."""
    harness = _harness()
    harness.deliver("d-0")
    (run_id,) = harness.runs()
    harness.open(run_id)
    harness.deliver("d-1")
    return harness


CANCEL = Scenario("a cancel", _cancelled, lambda harness: harness.cancel(_first(harness)))


@_at_each_death(CANCEL)
def test_a_cancel_that_is_asked_again_stops_the_run_and_drops_what_waits(
    scenario: Scenario, death: Death
) -> None:
    harness = _dies(scenario, death)
    first = _first(harness)
    with contextlib.suppress(RunClosed):
        harness.cancel(first)
    harness.close(first)
    harness.play()
    assert harness.runs() == {first: "ABORTED"}
    assert harness.reported == [first]
    harness.reconcile()
    assert harness.left_over() == []


def _mess() -> TriggerHarness:
    """Runs that were never started, ended unnoticed or waited, a notice and a lease that were left behind."""
    harness = _harness()
    harness.definitions |= {
        name: job_definition(jobs=[{"job": name}]) for name in ("lost", "ended", "paused", "untold")
    }
    harness.definitions["loading"] = load_definition()
    for job in ("lost", "ended", "paused", "untold"):
        harness.bench.job(job).before(6000.0)
    for name in ("lost", "ended", "untold", "loading"):
        _claimed(harness, name)
    harness.executions.known.pop("lost-1")
    harness.definitions["paused"] = job_definition(jobs=[{"job": "paused"}], paused=True)
    harness.post("paused")
    harness.definitions["paused"] = job_definition(jobs=[{"job": "paused"}])
    harness.unheard = True
    for name in ("ended-1", "untold-1", "loading-1"):
        harness.open(name)
    harness.bench.start("load-0", "loading-1")
    for name in ("ended-1", "untold-1", "loading-1"):
        harness.end(name, "JobFailed")
    harness.listen(Calls(Death(0, "before", "Publish")))
    with pytest.raises(Crashed):
        harness.close("untold-1")
    harness.listen(Calls())
    harness.close("loading-1")
    harness.reported.clear()
    harness.bench.clock.sleep(600.0)
    harness.unheard = False
    return harness


def _claimed(harness: TriggerHarness, name: str) -> None:
    claim = Claim(name, RunOptions(), f"{name}-1", f"{name}-2", harness.definitions[name])
    harness.bench.claims.accept([claim], [], harness.bench.deadline())
    harness.executions.start(f"{name}-1")


RECONCILING = Scenario("a round", _mess, lambda harness: harness.reconcile())


@_at_each_death(RECONCILING)
def test_a_round_that_died_is_finished_by_the_next(scenario: Scenario, death: Death) -> None:
    harness = _dies(scenario, death)
    harness.reconcile()
    harness.play()
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
