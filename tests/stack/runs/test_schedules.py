"""A scheduled run: EventBridge Scheduler starts the state machine itself, perhaps twice for one time."""

from __future__ import annotations

import json

import pytest

from local.aws.errors import LocalStackError
from local.celonis import world
from local.serve import REGION, STACK_NAME
from local.wait import until
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.permissions import withheld
from tests.stack.runs.service import SAMPLE, DeployedService


def test_the_schedule_starts_a_full_extraction_and_a_complete_load_and_each_occurrence_once(
    service: DeployedService, celonis: CelonisControls
) -> None:
    celonis.set_job(world.ERP_JOB_ID, seconds=1.2)
    celonis.set_model(world.MODEL_ID, seconds=1.2)
    first = service.stack.fire_schedule(f"{STACK_NAME}-full-refresh")["executionArn"].rsplit(":", 1)[1]
    occurrence = json.loads(service.execution(first)["input"])
    until(lambda: service.status(first) != "NONE", f"run {first}")
    while_it_runs = service.ended(service.execute(occurrence))
    run = service.closed(first)
    after_its_end = service.ended(service.execute(occurrence))

    assert (run["status"], run["pipeline"]) == ("SUCCEEDED", SAMPLE)
    assert run["options"]["reasons"][0]["text"] == "schedule"
    assert [one["mode"] for one in celonis.executions(world.ERP_JOB_ID)] == ["FULL"]
    assert [(one["type"], one["tables"]) for one in celonis.loads(world.MODEL_ID)] == [("COMPLETE", [])]
    for again in (while_it_runs, after_its_end):
        assert again["status"] == "SUCCEEDED"
        assert again["output"] == {"status": "joined", "run_id": first}
    assert service.is_free(SAMPLE)


def test_two_occurrences_are_two_runs(service: DeployedService, celonis: CelonisControls) -> None:
    job = celonis.job()
    pipeline = service.pipeline(jobs=[job])
    for occurrence in ("schedule/2026-01-04T03:00:00Z", "schedule/2026-01-11T03:00:00Z"):
        run = service.run_by_hand({"pipeline": pipeline, "mode": "DELTA", "delivery": occurrence})
        assert run["status"] == "SUCCEEDED"
    assert len(celonis.executions(job)) == 2


def test_a_schedule_of_ones_own_starts_runs_with_the_role_of_the_stack(
    service: DeployedService, celonis: CelonisControls
) -> None:
    """And what it cannot start is in the dead-letter queue."""
    stack, name = service.stack, service.name("schedule")
    pipeline = service.pipeline(jobs=[celonis.job()])
    stack.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression="cron(0 4 * * ? *)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": stack.outputs["StateMachineArn"],
            "RoleArn": stack.outputs["ScheduleRoleArn"],
            "Input": json.dumps({"pipeline": pipeline}),
            "DeadLetterConfig": {"Arn": f"arn:aws:sqs:{REGION}:123456789012:{_queue_name(service)}"},
        },
    )
    started = stack.fire_schedule(name)
    assert service.closed(started["executionArn"].rsplit(":", 1)[1])["status"] == "SUCCEEDED"
    with withheld(stack, "ScheduleRole", "states:StartExecution"), pytest.raises(LocalStackError):
        stack.fire_schedule(name)
    (letter,) = service.dead_letters()
    assert pipeline in letter
    stack.client("scheduler").delete_schedule(Name=name)


def _queue_name(service: DeployedService) -> str:
    return service.stack.outputs["DeadLettersUrl"].rsplit("/", 1)[-1]
