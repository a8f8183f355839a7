"""Pauses by the API: nothing starts, no trigger is lost, and a resume starts what waits, once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from celonis_refresh.pipelines.errors import InvalidDefinition, UnknownPipeline
from celonis_refresh.runs.errors import PipelinePaused
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.runs.table import slot_key
from celonis_refresh.workflow.pause import PipelinePauses
from tests.fakes.clock import START
from tests.fakes.service import JOB, RUN, Crashed, job_definition
from tests.unit.workflow.commands_harness import CommandsHarness
from tests.unit.workflow.webhook_harness import WebhookHarness
from tests.unit.workflow.workflow_harness import WorkflowHarness

BY = "arn:aws:iam::123456789012:role/admin"
PAUSE = {"by": BY, "at": "2026-01-01T00:00:00.000Z", "reason": "month end"}


def pauses(harness: WebhookHarness) -> PipelinePauses:
    service = harness.service
    return PipelinePauses(service.table, harness.executions, harness.acceptor.definition, service.clock)


def pause(harness: WebhookHarness, reason: str | None = "month end") -> dict[str, Any]:
    return pauses(harness).pause("otc", BY, reason, harness.service.deadline())


def resume(harness: WebhookHarness) -> dict[str, Any]:
    return pauses(harness).resume("otc", BY, harness.service.deadline())


def workflow() -> WorkflowHarness:
    harness = WorkflowHarness()
    harness.service.job(JOB).add_past_start(6000.0)
    return harness


def slot(harness: WebhookHarness) -> dict[str, Any]:
    return harness.service.dynamodb.document(slot_key("otc"))


def test_a_paused_pipeline_keeps_its_triggers_and_a_resume_starts_them() -> None:
    harness = WebhookHarness()
    assert pause(harness) == {"pipeline": "otc", "paused": True, "pause": PAUSE}
    harness.service.dynamodb.calls.clear()
    (joined,) = harness.deliver("d-1").body["runs"]
    assert harness.service.dynamodb.calls == ["TransactWriteItems"] * 2, "as a merge costs"
    assert (joined["status"], harness.executions.start_requests) == ("joined", [])
    resumed = resume(harness)
    assert resumed == {
        "pipeline": "otc",
        "paused": False,
        "pause": None,
        "started": {"pipeline": "otc", "run_id": joined["run_id"], "status": "started"},
    }
    assert harness.executions.start_requests == [joined["run_id"]]
    assert harness.service.records.get(joined["run_id"]).status is RunStatus.OPENING
    assert not {"pause", "pending", "status", "position"} & set(slot(harness))


def test_a_repeated_pause_keeps_who_paused_and_another_reason_replaces_all_of_it() -> None:
    harness = WebhookHarness()
    assert "previous" not in pause(harness)
    harness.service.clock.sleep(60)
    again, deadline = pauses(harness), harness.service.deadline()
    for reason in (None, "month end"):
        kept = again.pause("otc", "other", reason, deadline)
        assert (kept["pause"], kept["previous"]) == (PAUSE, PAUSE)
    audit = {"by": "other", "at": "2026-01-01T00:01:00.000Z", "reason": "audit"}
    replaced = again.pause("otc", "other", "audit", deadline)
    assert (replaced["pause"], replaced["previous"]) == (audit, PAUSE)
    assert slot(harness)["pause"] == audit


def pause_by_another_caller(harness: WebhookHarness) -> dict[str, Any]:
    return pauses(harness).pause("otc", "arn:other", "another reason", harness.service.deadline())


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("other", [resume, pause_by_another_caller])
def test_a_pause_replaces_the_pause_that_it_reports(
    number: int, other: Callable[[WebhookHarness], object]
) -> None:
    harness = WebhookHarness()
    pause(harness)
    before: list[dict[str, Any] | None] = []

    def act() -> None:
        other(harness)
        before.append(slot(harness).get("pause"))

    at_request(harness, number, act)
    answer = pauses(harness).pause("otc", "other", "audit", harness.service.deadline())
    assert answer["pause"]["by"] == slot(harness).get("pause", answer["pause"])["by"] == "other"
    assert answer.get("previous") == (before[0] if before else PAUSE)


def test_a_run_that_is_running_ends_and_its_follow_up_waits_for_the_resume() -> None:
    harness = workflow()
    first = harness.deliver("d-1").body["runs"][0]["run_id"]
    second = harness.deliver("d-2").body["runs"][0]["run_id"]
    pause(harness)
    harness.run_executions()
    assert harness.runs() == {first: "SUCCEEDED"}
    assert slot(harness)["pending"]["run_id"] == second
    harness.reconcile()
    assert harness.runs() == {first: "SUCCEEDED"}
    assert resume(harness)["started"]["run_id"] == second
    harness.run_executions()
    assert harness.runs() == {first: "SUCCEEDED", second: "SUCCEEDED"}


def test_a_resume_during_a_run_leaves_the_follow_up_to_its_end() -> None:
    harness = workflow()
    first = harness.deliver("d-1").body["runs"][0]["run_id"]
    second = harness.deliver("d-2").body["runs"][0]["run_id"]
    pause(harness)
    assert resume(harness) == {"pipeline": "otc", "paused": False, "pause": None}
    harness.run_executions()
    assert harness.runs() == {first: "SUCCEEDED", second: "SUCCEEDED"}


def test_the_definition_wins() -> None:
    harness = WebhookHarness()
    harness.definitions["otc"] = job_definition(paused=True)
    pause(harness)
    (joined,) = harness.deliver("d-1").body["runs"]
    assert resume(harness) == {"pipeline": "otc", "paused": True, "pause": None}
    assert harness.executions.start_requests == []
    harness.definitions["otc"] = job_definition()
    assert resume(harness)["started"]["run_id"] == joined["run_id"]


def test_a_pipeline_that_does_not_exist_is_not_paused_and_one_that_is_not_valid_is() -> None:
    harness = WebhookHarness()
    with pytest.raises(UnknownPipeline):
        pauses(harness).pause("nowhere", BY, None, harness.service.deadline())

    def broken(name: str) -> Any:
        raise InvalidDefinition(name, [])

    service = harness.service
    pausing = PipelinePauses(service.table, harness.executions, broken, service.clock)
    assert pausing.pause("otc", BY, None, service.deadline())["paused"] is True


def test_a_retry_of_a_paused_pipeline_is_refused() -> None:
    harness = CommandsHarness()
    harness.fail()
    pausing = PipelinePauses(
        harness.service.table, harness.executions, harness.defined, harness.service.clock
    )
    pausing.pause("otc", BY, None, harness.service.deadline())
    with pytest.raises(PipelinePaused):
        harness.retry(RUN)
    shown = harness.run_commands.show_pipeline("otc", harness.service.deadline())
    assert (shown["paused"], shown["pause"]["by"]) == (True, BY)


# ---------------------------------------------------------------- at once


def at_request(harness: WebhookHarness, number: int, act: Callable[[], object]) -> None:
    """Act right before this request to the table."""
    counted = itertools.count()
    quiet = harness.service.dynamodb.before

    def before(operation: str, request: dict[str, Any]) -> None:
        if next(counted) == number:
            harness.service.dynamodb.before = quiet
            act()

    harness.service.dynamodb.before = before


def covered(harness: WebhookHarness, delivery: str) -> bool:
    """Whether a run or the pending run has the trigger of a delivery."""
    runs = [run["options"] for run in harness.service.dynamodb.documents("run#")]
    pending = [slot(harness)["pending"]["options"]] if "pending" in slot(harness) else []
    triggers = [reason["trigger"] for options in runs + pending for reason in options["reasons"]]
    return any(delivery in trigger for trigger in triggers)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("other", [pause, resume])
@pytest.mark.parametrize("paused", [False, True])
def test_a_pause_or_resume_during_a_webhook_loses_no_trigger(
    number: int, other: Callable[[WebhookHarness], object], paused: bool
) -> None:
    harness = WebhookHarness()
    if paused:
        pause(harness)
        harness.deliver("d-0")
    at_request(harness, number, lambda: other(harness))
    harness.deliver("d-1")
    assert covered(harness, "d-1")
    resume(harness)
    assert "pending" not in slot(harness) or "run_id" in slot(harness)
    records = list(harness.service.dynamodb.documents("run#"))
    assert len(records) == 1 or "pending" in slot(harness) or records[0]["run_id"] == slot(harness)["run_id"]
    assert len({*harness.executions.start_requests}) == len(harness.executions.known) == len(records)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("other", [pause, resume, WebhookHarness.deliver])
def test_what_happens_during_a_resume_starts_one_run_and_loses_nothing(
    number: int, other: Callable[[WebhookHarness], object]
) -> None:
    harness = WebhookHarness()
    pause(harness)
    harness.deliver("d-0")
    at_request(harness, number, lambda: other(harness))
    resume(harness)
    resume(harness)
    assert covered(harness, "d-0")
    assert len(harness.executions.known) == 1
    assert len(list(harness.service.dynamodb.documents("run#"))) == 1


def test_a_pause_while_a_run_starts_does_not_stop_it() -> None:
    harness = workflow()
    run_id = harness.deliver("d-1").body["runs"][0]["run_id"]
    pause(harness)
    assert harness.service.records.get(run_id).status is RunStatus.OPENING
    harness.run_executions()
    assert harness.runs() == {run_id: "SUCCEEDED"}
    assert "pause" in slot(harness)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(2))
def test_a_resume_that_dies_anywhere_is_finished_by_reconcile_or_another_one(when: str, number: int) -> None:
    harness = workflow()
    pause(harness)
    (joined,) = harness.deliver("d-1").body["runs"]
    counted = itertools.count()
    dynamodb, quiet = harness.service.dynamodb, harness.service.dynamodb.before

    def die(operation: str, request: dict[str, Any]) -> None:
        if next(counted) == number:
            raise Crashed

    setattr(dynamodb, when, die)
    with pytest.raises(Crashed):
        resume(harness)
    setattr(dynamodb, when, quiet)
    harness.service.clock.sleep(3600)
    harness.reconcile()
    resume(harness)
    harness.run_executions()
    assert harness.runs() == {joined["run_id"]: "SUCCEEDED"}
    assert harness.service.clock.now > START
