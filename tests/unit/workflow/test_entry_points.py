"""A webhook, a schedule, an execution by hand and the runs API use the same slot, by the same rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from celonis_refresh.runs.errors import PipelineSkips
from celonis_refresh.runs.table import slot_key
from tests.fakes.service import JOB, job_definition
from tests.unit.workflow.workflow_harness import WorkflowHarness

OCCURRENCE = "arn:aws:scheduler:eu-central-1:123456789012:schedule/default/nightly 2026-01-04T03:00:00Z"


class TriggerResult(NamedTuple):
    """The result of a trigger, and its source."""

    run_id: str
    status: str


def _webhook(harness: WorkflowHarness, name: str) -> TriggerResult:
    reply = harness.deliver(name)
    if reply.body.get("status") == "ignored":
        assert reply.status == 200
        return TriggerResult(reply.body["reason"].rpartition(" ")[2], "skipped")
    assert reply.status == 202
    (run,) = reply.body["runs"]
    return TriggerResult(run["run_id"], run["status"])


def _request(harness: WorkflowHarness, name: str) -> TriggerResult:
    try:
        (run,) = harness.post(key=name)["runs"]
    except PipelineSkips as error:
        return TriggerResult(error.run_id, "skipped")
    return TriggerResult(run["run_id"], run["status"])


def _by_hand(harness: WorkflowHarness, name: str) -> TriggerResult:
    return _executed(harness, name, {})


def _by_schedule(harness: WorkflowHarness, name: str) -> TriggerResult:
    return _executed(harness, name, {"delivery": f"{OCCURRENCE} {name}"})


def _executed(harness: WorkflowHarness, name: str, more: dict[str, Any]) -> TriggerResult:
    harness.execute(name, pipeline="otc", **more)
    opened = harness.open(name)
    if opened["status"] != "opened":
        harness.end(name)
    return TriggerResult(opened["run_id"], opened["status"])


WAYS: list[Callable[[WorkflowHarness, str], TriggerResult]] = [_webhook, _by_schedule, _by_hand, _request]
IDS = ["webhook", "schedule", "by hand", "runs API"]
each_way = pytest.mark.parametrize("way", WAYS, ids=IDS)


def _harness(**definition: Any) -> WorkflowHarness:
    harness = WorkflowHarness()
    harness.definitions["otc"] = job_definition(**definition)
    harness.service.job(JOB).add_past_start(6000.0)
    return harness


@each_way
def test_a_trigger_joins_the_run_that_follows(way: Callable[[WorkflowHarness, str], TriggerResult]) -> None:
    harness = _harness()
    first = _webhook(harness, "first").run_id
    waits = _webhook(harness, "second")
    assert way(harness, "third") == (waits.run_id, "joined")
    harness.run_executions()
    assert harness.runs() == {first: "SUCCEEDED", waits.run_id: "SUCCEEDED"}
    assert harness.started(JOB) == 2
    assert len(harness.service.records.get(waits.run_id).options.reasons) == 2


@each_way
def test_the_first_to_join_makes_the_id_of_the_run_that_follows(
    way: Callable[[WorkflowHarness, str], TriggerResult],
) -> None:
    harness = _harness()
    first = _webhook(harness, "first").run_id
    waits = way(harness, "second")
    assert waits.status == "joined"
    assert waits.run_id not in (first, "second")
    for number, other in enumerate(WAYS):
        assert other(harness, f"another-{number}") == waits
    harness.end(first, "JobFailed")
    harness.run_executions()
    assert harness.runs() == {first: "FAILED", waits.run_id: "SUCCEEDED"}


@each_way
def test_a_pipeline_that_skips_accepts_nothing_while_it_runs(
    way: Callable[[WorkflowHarness, str], TriggerResult],
) -> None:
    harness = _harness(when_running="skip")
    first = _webhook(harness, "first").run_id
    assert way(harness, "second") == (first, "skipped")
    harness.run_executions()
    assert harness.runs() == {first: "SUCCEEDED"}
    # It was not accepted, so it may come again.
    assert way(harness, "third").status in ("started", "opened")


@each_way
def test_a_paused_pipeline_keeps_a_trigger_until_the_pause_is_lifted(
    way: Callable[[WorkflowHarness, str], TriggerResult],
) -> None:
    harness = _harness(paused=True)
    waits = way(harness, "first")
    assert waits.status == "joined"
    assert [other(harness, f"another-{number}") for number, other in enumerate(WAYS)] == [waits] * len(WAYS)
    harness.run_executions()
    harness.reconcile()
    assert harness.runs() == {}
    assert harness.service.dynamodb.document(slot_key("otc"))["pending"]["run_id"] == waits.run_id
    harness.definitions["otc"] = job_definition()
    assert harness.reconcile().slots == ["otc"]
    harness.run_executions()
    assert harness.runs() == {waits.run_id: "SUCCEEDED"}
    assert harness.started(JOB) == 1
    assert harness.left_over() == []


def test_the_occurrence_of_one_pipeline_swallows_no_other() -> None:
    harness = _harness()
    harness.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}])
    harness.execute("one", pipeline="otc", delivery=OCCURRENCE)
    harness.execute("two", pipeline="p2p", delivery=OCCURRENCE)
    assert harness.open("one")["run_id"] == "one"
    assert (harness.open("two")["status"], harness.open("two")["run_id"]) == ("opened", "two")


@pytest.mark.parametrize("paused", [True, False], ids=["paused", "running"])
def test_an_occurrence_of_a_schedule_counts_once_under_any_execution_name(*, paused: bool) -> None:
    harness = _harness(paused=paused)
    if not paused:
        _webhook(harness, "first")
    harness.execute("one", pipeline="otc", delivery=OCCURRENCE)
    harness.execute("two", pipeline="otc", delivery=OCCURRENCE)
    assert harness.open("one") == harness.open("two")
    (reason,) = harness.service.dynamodb.document(slot_key("otc"))["pending"]["options"]["reasons"]
    assert reason["by"] == "execution"
