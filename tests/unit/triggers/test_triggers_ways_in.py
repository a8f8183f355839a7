"""A webhook, a schedule, an execution by hand and the runs API meet in the same slot, by the same rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from celonis_refresh.runs import keys
from celonis_refresh.runs.errors import PipelineSkips
from tests.fakes.service import JOB, job_definition
from tests.unit.triggers.house import ServiceHarness

OCCURRENCE = "arn:aws:scheduler:eu-central-1:123456789012:schedule/default/nightly 2026-01-04T03:00:00Z"


class Told(NamedTuple):
    """What a trigger led to, and in whose words."""

    run_id: str
    status: str


def _webhook(house: ServiceHarness, name: str) -> Told:
    reply = house.deliver(name)
    if reply.body.get("status") == "ignored":
        assert reply.status == 200
        return Told(reply.body["reason"].rpartition(" ")[2], "skipped")
    assert reply.status == 202
    (run,) = reply.body["runs"]
    return Told(run["run_id"], run["status"])


def _request(house: ServiceHarness, name: str) -> Told:
    try:
        (run,) = house.post(key=name)["runs"]
    except PipelineSkips as error:
        return Told(error.run_id, "skipped")
    return Told(run["run_id"], run["status"])


def _by_hand(house: ServiceHarness, name: str) -> Told:
    return _executed(house, name, {})


def _by_schedule(house: ServiceHarness, name: str) -> Told:
    return _executed(house, name, {"delivery": f"{OCCURRENCE} {name}"})


def _executed(house: ServiceHarness, name: str, more: dict[str, Any]) -> Told:
    house.execute(name, pipeline="otc", **more)
    opened = house.open(name)
    if opened["status"] != "opened":
        house.end(name)
    return Told(opened["run_id"], opened["status"])


WAYS: list[Callable[[ServiceHarness, str], Told]] = [_webhook, _by_schedule, _by_hand, _request]
IDS = ["webhook", "schedule", "by hand", "runs API"]
each_way = pytest.mark.parametrize("way", WAYS, ids=IDS)


def _house(**definition: Any) -> ServiceHarness:
    house = ServiceHarness()
    house.definitions["otc"] = job_definition(**definition)
    house.bench.job(JOB).before(6000.0)
    return house


@each_way
def test_a_trigger_joins_the_run_that_follows(way: Callable[[ServiceHarness, str], Told]) -> None:
    house = _house()
    first = _webhook(house, "first").run_id
    waits = _webhook(house, "second")
    assert way(house, "third") == (waits.run_id, "joined")
    house.play()
    assert house.runs() == {first: "SUCCEEDED", waits.run_id: "SUCCEEDED"}
    assert house.started(JOB) == 2
    assert len(house.bench.records.get(waits.run_id).options.reasons) == 2


@each_way
def test_the_first_to_join_makes_the_id_of_the_run_that_follows(
    way: Callable[[ServiceHarness, str], Told],
) -> None:
    house = _house()
    first = _webhook(house, "first").run_id
    waits = way(house, "second")
    assert waits.status == "joined"
    assert waits.run_id not in (first, "second")
    for number, other in enumerate(WAYS):
        assert other(house, f"another-{number}") == waits
    house.end(first, "JobFailed")
    house.play()
    assert house.runs() == {first: "FAILED", waits.run_id: "SUCCEEDED"}


@each_way
def test_a_pipeline_that_skips_accepts_nothing_while_it_runs(
    way: Callable[[ServiceHarness, str], Told],
) -> None:
    house = _house(when_running="skip")
    first = _webhook(house, "first").run_id
    assert way(house, "second") == (first, "skipped")
    house.play()
    assert house.runs() == {first: "SUCCEEDED"}
    # It was not accepted, so it may come again.
    assert way(house, "third").status in ("started", "opened")


@each_way
def test_a_paused_pipeline_keeps_a_trigger_until_the_pause_is_lifted(
    way: Callable[[ServiceHarness, str], Told],
) -> None:
    house = _house(paused=True)
    waits = way(house, "first")
    assert waits.status == "joined"
    assert [other(house, f"another-{number}") for number, other in enumerate(WAYS)] == [waits] * len(WAYS)
    house.play()
    house.reconcile()
    assert house.runs() == {}
    assert house.bench.dynamodb.document(keys.slot("otc"))["pending"]["run_id"] == waits.run_id
    house.definitions["otc"] = job_definition()
    assert house.reconcile().slots == ["otc"]
    house.play()
    assert house.runs() == {waits.run_id: "SUCCEEDED"}
    assert house.started(JOB) == 1
    assert house.left_over() == []


def test_the_occurrence_of_one_pipeline_swallows_no_other() -> None:
    house = _house()
    house.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}])
    house.execute("one", pipeline="otc", delivery=OCCURRENCE)
    house.execute("two", pipeline="p2p", delivery=OCCURRENCE)
    assert house.open("one")["run_id"] == "one"
    assert (house.open("two")["status"], house.open("two")["run_id"]) == ("opened", "two")


@pytest.mark.parametrize("paused", [True, False], ids=["paused", "running"])
def test_an_occurrence_of_a_schedule_counts_once_whatever_its_executions_are_called(*, paused: bool) -> None:
    house = _house(paused=paused)
    if not paused:
        _webhook(house, "first")
    house.execute("one", pipeline="otc", delivery=OCCURRENCE)
    house.execute("two", pipeline="otc", delivery=OCCURRENCE)
    assert house.open("one") == house.open("two")
    (reason,) = house.bench.dynamodb.document(keys.slot("otc"))["pending"]["options"]["reasons"]
    assert reason["by"] == "execution"
