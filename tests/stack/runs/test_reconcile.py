"""A round of reconcile finishes what a lost event or a crash left behind."""

from __future__ import annotations

from local.serve import STACK_NAME
from local.wait import until
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.permissions import withheld
from tests.stack.runs.service import DeployedService


def _round(service: DeployedService) -> None:
    service.stack.fire_schedule(f"{STACK_NAME}-reconcile")
    assert service.stack.settle()


def test_a_run_with_a_missed_end_event_is_closed_and_its_pending_run_starts(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=600)
    pipeline = service.pipeline(jobs=[job])
    first, second = service.followed(pipeline)
    with service.undeliverable_events():
        service.stop(first, cause="Nobody hears of it.")
    assert service.status(first) == "RUNNING"

    _round(service)
    assert service.status(first) == "RUNNING"  # too young: a function may still be working on it
    service.age(f"run#{first}")
    celonis.set_job(job, seconds=0.5)
    _round(service)
    run = service.closed(first)
    assert run["status"] == "ABORTED"
    assert "was cancelled" in run["outcome"]
    assert "Nobody hears of it." in run["outcome"]
    assert service.notices_about(first) == []
    assert service.closed(second)["status"] == "SUCCEEDED"
    assert [one["outcome"] for one in celonis.executions(job)] == ["CANCEL", "SUCCESS"]


def test_a_run_that_was_claimed_but_never_started_continues(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job()
    pipeline = service.pipeline(jobs=[job])
    source = service.source({"pipeline": pipeline})
    with withheld(service.stack, "TriggerRole", "states:StartExecution"):
        answer = service.webhook(source, delivery="lost")
    assert answer.status_code == 202  # it is accepted: it was claimed, and its job was started
    run_id = answer.json()["runs"][0]["run_id"]
    assert service.status(run_id) == "OPENING"
    assert len(celonis.executions(job)) == 1
    service.age(f"run#{run_id}")
    _round(service)
    assert service.closed(run_id)["status"] == "SUCCEEDED"
    assert len(celonis.executions(job)) == 1


def test_the_same_delivery_sent_again_finishes_it_as_well(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job()
    source = service.source({"pipeline": service.pipeline(jobs=[job])})
    with withheld(service.stack, "TriggerRole", "states:StartExecution"):
        assert service.webhook(source, delivery="sent again").status_code == 202
    again = service.webhook(source, delivery="sent again")
    assert again.status_code == 200
    assert service.closed(again.json()["runs"][0]["run_id"])["status"] == "SUCCEEDED"
    assert len(celonis.executions(job)) == 1


def test_what_waits_for_a_paused_pipeline_starts_once_it_is_not_paused_any_more(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=600)
    pipeline = service.pipeline(jobs=[job])
    first, second = service.followed(pipeline)
    service.define(pipeline, jobs=[job], paused=True)
    celonis.set_job(job, seconds=0.5)
    celonis.finish(job)
    assert service.closed(first)["status"] == "SUCCEEDED"
    _round(service)
    assert service.status(second) == "NONE"
    service.define(pipeline, jobs=[job])
    _round(service)
    assert service.closed(second)["status"] == "SUCCEEDED"
    assert len(celonis.executions(job)) == 2


def test_a_model_is_freed_once_the_load_that_was_left_to_end_has_ended(
    service: DeployedService, celonis: CelonisControls
) -> None:
    model = celonis.model("VBAK", seconds=600)
    name = service.execute({"pipeline": service.pipeline(loads=[model.id])})
    service.running(name, "load-0")
    service.stop(name)
    assert service.closed(name)["status"] == "ABORTED"
    lease = f"lease#model#{model.id}"
    service.age(lease)
    _round(service)
    assert service.item(lease)["run_id"]["S"] == name
    celonis.finish_load(model)

    def is_freed() -> bool:
        _round(service)
        return service.item(lease) == {}

    until(is_freed, "the lease to be freed, once it is not held any more")
