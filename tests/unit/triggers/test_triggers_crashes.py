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
from celonis_refresh.runs import keys
from celonis_refresh.runs.claims import Claim
from celonis_refresh.runs.earlier import Earlier
from celonis_refresh.runs.errors import RunClosed
from celonis_refresh.webhooks.request import WebhookRequest
from tests.fakes.service import JOB, MODEL, Crashed, job_definition, load_definition
from tests.unit.triggers.house import Calls, Death, ServiceHarness
from tests.unit.workflow.webhook_harness import SECRET, source_of

PARTIAL = {"data_model": MODEL, "kind": "partial", "tables": ["ORDERS"]}
OTHER_JOB = "job-b"


FEW = 20
"""Calls of a scenario after which it dies at no more reads of a definition: a batch has one an event."""


class Scenario(NamedTuple):
    """``make``: a house in which all is ready; ``act``: what the function does that dies."""

    name: str
    make: Callable[[], ServiceHarness]
    act: Callable[[ServiceHarness], Any]


def _house() -> ServiceHarness:
    """Two pipelines: a job and a load, and a job."""
    house = ServiceHarness()
    house.definitions = {
        "otc": job_definition(loads=[PARTIAL]),
        "p2p": job_definition(jobs=[{"job": OTHER_JOB}]),
    }
    for job in (JOB, OTHER_JOB):
        house.bench.job(job).before(6000.0)
    house.bench.model().before(6000.0)
    house.bench.celonis.model_tables[MODEL] = [ModelTable("t-1", "ORDERS")]
    return house


def _deaths(scenario: Scenario) -> list[Death]:
    """Before and after each call that the function makes where nothing happens to it."""
    house = scenario.make()
    calls = house.listen(Calls())
    scenario.act(house)
    assert len(calls.seen) > 1
    return [each for each in calls.seen if each.number <= FEW or each.call != "GetParameter"]


def _dies(scenario: Scenario, death: Death) -> ServiceHarness:
    """The house once the function has died there."""
    house = scenario.make()
    house.listen(Calls(death))
    with pytest.raises(Crashed):
        scenario.act(house)
    house.listen(Calls())
    return house


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


def _finished(house: ServiceHarness, *pipelines: str, runs: int = 1) -> None:
    """Whatever is under way comes to its end: each pipeline ran so often, and its job started as often."""
    house.play()
    for pipeline in pipelines:
        assert list(house.runs(pipeline).values()) == ["SUCCEEDED"] * runs
        assert house.started(JOB if pipeline == "otc" else OTHER_JOB) == runs
    assert house.left_over() == []


# ---------------------------------------------------------------- who claims


def _deliver(house: ServiceHarness) -> Any:
    return house.deliver("d-1", source_of({"pipeline": "otc"}, {"pipeline": "p2p"}))


def _join(house: ServiceHarness) -> Any:
    return house.deliver("d-2")


def _under_way() -> ServiceHarness:
    house = _house()
    house.deliver("d-0")
    return house


def _half_delivered() -> ServiceHarness:
    """A delivery started one of its pipelines; the other was not defined then, and is now."""
    house = _house()
    p2p = house.definitions.pop("p2p")
    _deliver(house)
    house.definitions["p2p"] = p2p
    return house


EVENTS = 100
"""More than one transaction takes."""


def _batch(numbers: range) -> WebhookRequest:
    body = json.dumps([{"id": f"e-{number}", "eventType": "Loaded"} for number in numbers]).encode()
    return WebhookRequest({"content-type": "application/json"}, {"token": SECRET}, body)


def _deliver_batch(house: ServiceHarness, numbers: range = range(EVENTS)) -> Any:
    return house.receive(_batch(numbers), source_of({"pipeline": "otc"}, sender="azure_event_grid"))


def _request(house: ServiceHarness) -> Any:
    return house.post(key="k-1")


def _failed() -> ServiceHarness:
    """A run that failed after its job; the load is left."""
    house = _house()
    house.deliver("d-0")
    model = house.bench.celonis.models[MODEL]
    model.outcome = "FAIL"
    house.play()
    model.outcome = "SUCCESS"
    (run_id,) = house.runs()
    assert house.runs() == {run_id: "FAILED"}
    house.told.clear()
    return house


def _retry(house: ServiceHarness) -> Any:
    first, *_ = sorted(house.runs(), key=lambda run_id: run_id)
    return house.retry(first)


DELIVERY = Scenario("a delivery", _house, _deliver)
REST = Scenario("a delivery of which one pipeline is left", _half_delivered, _deliver)
BATCH = Scenario("a batch", _house, _deliver_batch)
JOINING = Scenario("a delivery that joins", _under_way, _join)
REQUEST = Scenario("a request", _house, _request)
RETRY = Scenario("a retry", _failed, _retry)


@_at_each_death(DELIVERY)
def test_a_delivery_sent_again_leads_to_one_run_each(scenario: Scenario, death: Death) -> None:
    house = _dies(scenario, death)
    claimed = bool(house.runs())
    reply = _deliver(house)
    assert reply.status == (200 if claimed else 202)
    assert reply.body.get("duplicate", False) is claimed
    assert {one["run_id"] for one in reply.body["runs"]} == {*house.runs("otc"), *house.runs("p2p")}
    _finished(house, "otc", "p2p")


@_at_each_death(DELIVERY)
def test_a_delivery_that_was_accepted_and_does_not_come_again_is_run_all_the_same(
    scenario: Scenario, death: Death
) -> None:
    house = _dies(scenario, death)
    claimed = bool(house.runs())
    house.reconcile()
    _finished(house, "otc", "p2p", runs=1 if claimed else 0)


@_at_each_death(REST)
def test_a_delivery_sent_again_starts_the_pipeline_that_is_left_once(
    scenario: Scenario, death: Death
) -> None:
    house = _dies(scenario, death)
    claimed = bool(house.runs("p2p"))
    reply = _deliver(house)
    assert reply.status == (200 if claimed else 202)
    status = {one["pipeline"]: one["status"] for one in reply.body["runs"]}
    assert status == {"otc": "duplicate", "p2p": "duplicate" if claimed else "started"}
    _finished(house, "otc", "p2p")
    assert _deliver(house).body["duplicate"] is True


@pytest.mark.parametrize(
    "sent", [range(EVENTS), range(EVENTS - 1, EVENTS)], ids=["the same batch", "its last event"]
)
@_at_each_death(BATCH)
def test_a_batch_sent_again_leads_to_one_run(scenario: Scenario, death: Death, *, sent: range) -> None:
    house = _dies(scenario, death)
    claimed = bool(house.runs())
    reply = _deliver_batch(house, sent)
    assert reply.status == (200 if claimed else 202)
    events = reply.body.get("events", [reply.body])
    assert {(one["runs"][0]["run_id"], one.get("duplicate", False)) for one in events} == {
        (run_id, claimed) for run_id in house.runs()
    }
    _finished(house, "otc")
    assert _deliver_batch(house, sent).status == 200
    _finished(house, "otc")


@_at_each_death(JOINING)
def test_a_delivery_that_joined_is_one_run_that_follows(scenario: Scenario, death: Death) -> None:
    house = _dies(scenario, death)
    waits = house.bench.dynamodb.document(keys.slot("otc")).get("pending")
    reply = _join(house)
    assert reply.body.get("duplicate", False) is bool(waits)
    _finished(house, "otc", runs=2)


@pytest.mark.parametrize("comes_again", [True, False], ids=["again", "reconcile"])
@_at_each_death(REQUEST)
def test_a_request_with_its_key_is_one_run(scenario: Scenario, death: Death, *, comes_again: bool) -> None:
    house = _dies(scenario, death)
    claimed = bool(house.runs())
    if comes_again:
        assert _request(house).get("duplicate", False) is claimed
    else:
        house.reconcile()
    _finished(house, "otc", runs=1 if claimed or comes_again else 0)


@pytest.mark.parametrize("comes_again", [True, False], ids=["again", "reconcile"])
@_at_each_death(RETRY)
def test_a_retry_is_one_run_of_what_was_left(scenario: Scenario, death: Death, *, comes_again: bool) -> None:
    house = _dies(scenario, death)
    claimed = len(house.runs()) == 2
    if comes_again:
        assert _retry(house).get("duplicate", False) is claimed
    else:
        house.reconcile()
    house.play()
    goes_on = ["SUCCEEDED"] if claimed or comes_again else []
    assert sorted(house.runs().values()) == ["FAILED", *goes_on]
    assert house.started(JOB) == 1
    loads = house.bench.celonis.models[MODEL].mine
    assert [load.outcome for load in loads] == ["FAIL", *(["SUCCESS"] if goes_on else [])]
    assert house.left_over() == []


# ---------------------------------------------------------------- who works on a run


def _scheduled() -> ServiceHarness:
    """A model that was seen running before: a start of it that died before it was sent can be sent again."""
    house = _house()
    deadline, lease = house.bench.deadline(), keys.model_lease(MODEL)
    before = Earlier(shows_running=True)
    house.bench.table.transact([before.write(house.bench.table, lease)], deadline)
    house.execute("nightly", pipeline="otc", delivery="arn:of-the-schedule 2026-01-01T00:00:00Z")
    return house


def _play(house: ServiceHarness) -> Any:
    """The state machine, which tries nothing again."""
    opened = house.open("nightly")
    for step in [one["step"] for one in (*opened["jobs"], *opened["loads"])]:
        progress = house.bench.start(step, "nightly")
        while progress["status"] != "SUCCEEDED":
            house.bench.wait(progress)
            progress = house.bench.check(step, "nightly")
    house.unheard = True
    house.end("nightly")
    house.unheard = False
    house.close("nightly")


PASSAGE = Scenario("a scheduled run", _scheduled, _play)


@_at_each_death(PASSAGE)
def test_a_task_that_is_tried_again_does_nothing_twice(scenario: Scenario, death: Death) -> None:
    house = _dies(scenario, death)
    if house.executions.known["nightly"].status == "RUNNING":
        house.play()
    else:
        house.close("nightly")
    _finished(house, "otc")
    assert list(house.runs()) == ["nightly"]
    assert len(house.bench.celonis.models[MODEL].mine) == 1
    assert house.told == []


@pytest.mark.parametrize("heard", [True, False], ids=["event", "reconcile"])
@_at_each_death(PASSAGE)
def test_a_task_that_is_not_tried_again_ends_its_run_and_leaves_nothing(
    scenario: Scenario, death: Death, *, heard: bool
) -> None:
    """Its execution fails, or is stopped: what runs at Celonis is cancelled or left to its end."""
    house = _dies(scenario, death)
    house.unheard = True
    house.end("nightly", "Lambda.Unknown")
    if heard:
        house.close("nightly")
    house.reconcile()
    house.bench.clock.sleep(600.0)
    house.reconcile()
    well = house.executions.known["nightly"].status == "SUCCEEDED"
    claimed = house.bench.dynamodb.document(keys.run("nightly"))
    assert list(house.runs().values()) == (["SUCCEEDED" if well else "FAILED"] if claimed else [])
    assert house.started(JOB) <= 1
    assert len(house.bench.celonis.models[MODEL].mine) <= 1
    assert ("nightly" in house.told) is (not well and (heard or bool(claimed)))
    assert house.left_over() == []


# ---------------------------------------------------------------- who closes a run


def _ended() -> ServiceHarness:
    """A run failed while a trigger waits; nobody heard of it yet."""
    house = _house()
    house.deliver("d-0")
    (run_id,) = house.runs()
    house.open(run_id)
    house.deliver("d-1")
    house.unheard = True
    house.end(run_id, "JobFailed")
    house.unheard = False
    return house


def _first(house: ServiceHarness) -> str:
    return min(house.executions.known)


UNNOTED = {("after", "Publish"), ("before", "TransactWriteItems run notice")}
"""Better twice than never: who dies between telling and noting it leaves no trace of having told."""
CLOSING = Scenario("a closing", _ended, lambda house: house.close(_first(house)))


@pytest.mark.parametrize("comes_again", [True, False], ids=["again", "reconcile"])
@_at_each_death(CLOSING)
def test_an_end_is_written_told_and_followed(scenario: Scenario, death: Death, *, comes_again: bool) -> None:
    house = _dies(scenario, death)
    first = _first(house)
    if comes_again:
        house.close(first)
    house.reconcile()
    house.play()
    assert sorted(house.runs().values()) == ["FAILED", "SUCCEEDED"]
    assert house.runs()[first] == "FAILED"
    assert set(house.told) == {first}
    assert len(house.told) == (2 if (death.moment, death.call) in UNNOTED else 1)
    assert house.started(JOB) == 2
    house.reconcile()
    assert house.left_over() == []


# ---------------------------------------------------------------- who cancels, who reconciles


def _cancelled() -> ServiceHarness:
    """A run is under way, and a trigger waits behind it."""
    house = _house()
    house.deliver("d-0")
    (run_id,) = house.runs()
    house.open(run_id)
    house.deliver("d-1")
    return house


CANCEL = Scenario("a cancel", _cancelled, lambda house: house.cancel(_first(house)))


@_at_each_death(CANCEL)
def test_a_cancel_that_is_asked_again_stops_the_run_and_drops_what_waits(
    scenario: Scenario, death: Death
) -> None:
    house = _dies(scenario, death)
    first = _first(house)
    with contextlib.suppress(RunClosed):
        house.cancel(first)
    house.close(first)
    house.play()
    assert house.runs() == {first: "ABORTED"}
    assert house.told == [first]
    house.reconcile()
    assert house.left_over() == []


def _mess() -> ServiceHarness:
    """Runs that were never started, ended unnoticed or waited, a notice and a lease that were left behind."""
    house = _house()
    house.definitions |= {
        name: job_definition(jobs=[{"job": name}]) for name in ("lost", "ended", "paused", "untold")
    }
    house.definitions["loading"] = load_definition()
    for job in ("lost", "ended", "paused", "untold"):
        house.bench.job(job).before(6000.0)
    for name in ("lost", "ended", "untold", "loading"):
        _claimed(house, name)
    house.executions.known.pop("lost-1")
    house.definitions["paused"] = job_definition(jobs=[{"job": "paused"}], paused=True)
    house.post("paused")
    house.definitions["paused"] = job_definition(jobs=[{"job": "paused"}])
    house.unheard = True
    for name in ("ended-1", "untold-1", "loading-1"):
        house.open(name)
    house.bench.start("load-0", "loading-1")
    for name in ("ended-1", "untold-1", "loading-1"):
        house.end(name, "JobFailed")
    house.listen(Calls(Death(0, "before", "Publish")))
    with pytest.raises(Crashed):
        house.close("untold-1")
    house.listen(Calls())
    house.close("loading-1")
    house.told.clear()
    house.bench.clock.sleep(600.0)
    house.unheard = False
    return house


def _claimed(house: ServiceHarness, name: str) -> None:
    claim = Claim(name, RunOptions(), f"{name}-1", f"{name}-2", house.definitions[name])
    house.bench.claims.accept([claim], [], house.bench.deadline())
    house.executions.start(f"{name}-1")


RECONCILING = Scenario("a round", _mess, lambda house: house.reconcile())


@_at_each_death(RECONCILING)
def test_a_round_that_died_is_finished_by_the_next(scenario: Scenario, death: Death) -> None:
    house = _dies(scenario, death)
    house.reconcile()
    house.play()
    ended = {name: list(house.runs(name).values()) for name in house.definitions}
    assert ended == {
        "otc": [],
        "p2p": [],
        "lost": ["SUCCEEDED"],
        "paused": ["SUCCEEDED"],
        "ended": ["FAILED"],
        "untold": ["FAILED"],
        "loading": ["FAILED"],
    }
    assert [house.started(job) for job in ("lost", "paused", "ended", "untold")] == [1, 1, 0, 0]
    assert set(house.told) == {"ended-1", "untold-1"}
    assert len(house.told) <= 3
    assert house.left_over() == []
