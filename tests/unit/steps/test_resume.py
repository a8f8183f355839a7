"""A retry waits for what the retried run left running, instead of starting it a second time."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.celonis.errors import CelonisError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.errors import RunClosed
from celonis_refresh.runs.leases import LeaseRequest, QueuePlace
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.steps.retry import MAX_SKIP_AGE
from tests.fakes.celonis import denied, throttled, unavailable
from tests.fakes.service import JOB, MODEL, RUN, job_definition, load_definition
from tests.unit.steps.outgoing import JOB_LEASE, MODEL_LEASE, cancels, holder, starts
from tests.unit.workflow.commands_harness import CommandsHarness

HOURS = 3600.0
WITH_LOAD = job_definition(loads=[{"data_model": MODEL}])


def left_running(
    definition: Definition = WITH_LOAD, *, error: str = "Lambda.Unknown", polled: bool = True, **target: Any
) -> CommandsHarness:
    """A run that AWS ended while its job ran, which takes six hours."""
    harness = CommandsHarness(definition=definition)
    job = harness.service.celonis.jobs[JOB]
    for name, value in {"seconds": 6 * HOURS, **target}.items():
        setattr(job, name, value)
    harness.service.start("job-0")
    harness.service.clock.sleep(60.0)
    if polled:
        harness.service.check("job-0")
    harness.end("FAILED", error, "AWS failed.")
    harness.service.clock.sleep(HOURS)
    harness.service.celonis.sent.clear()
    return harness


def retried(harness: CommandsHarness, run_id: str = RUN) -> str:
    """The id of the retry, opened."""
    again = str(harness.retry(run_id)["runs"][0]["run_id"])
    service = harness.service
    run = service.records.get(again)
    loads: dict[str, Any] = {load.step: {"kind": load.kind.value, "tables": {}} for load in run.plan.loads}
    service.records.set_facts(run, {"status": RunStatus.RUNNING, "loads": loads}, service.deadline())
    return again


def test_a_retry_waits_for_the_job_and_continues_after_it() -> None:
    harness = left_running()
    again = retried(harness)
    began = harness.service.clock.now
    assert (
        harness.service.run_step("job-0", again) == harness.service.run_step("load-0", again) == "SUCCEEDED"
    )
    assert [name for name, _, _ in starts(harness.service)] == ["load_model"]
    assert harness.service.clock.now - began > 4 * HOURS
    state = harness.service.state("job-0", again)
    (ours,) = harness.service.celonis.jobs[JOB].mine
    assert (state["resumed_from"], state["posts"], state["outcome"]) == (RUN, 1, "SUCCEEDED")
    assert state["evidence"]["ours"] == ours.id  # type: ignore[index]
    assert (holder(harness.service), holder(harness.service, MODEL_LEASE)) == (None, None)


def test_a_job_whose_id_is_written_in_another_way_by_now_is_not_executed_a_second_time() -> None:
    job = "0B8A1F2E-7C4D-4F6A-8E21-3A9D5C7B1E10"
    harness = CommandsHarness(definition=job_definition(jobs=[{"job": job}]))
    service = harness.service
    target = service.job(job, seconds=6 * HOURS)
    target.add_past_start(12 * HOURS)
    service.celonis.jobs[job.lower()] = target
    service.start("job-0")
    service.clock.sleep(60.0)
    service.check("job-0")
    harness.end("FAILED", "Lambda.Unknown", "AWS failed.")
    harness.definitions["otc"] = job_definition(jobs=[{"job": job.lower()}])
    assert service.run_step("job-0", retried(harness)) == "SUCCEEDED"
    assert len(target.mine) == 1


def test_the_lease_of_the_failed_run_is_held_until_its_job_has_ended() -> None:
    harness = left_running()
    assert harness.round().leases == []
    assert holder(harness.service) == RUN
    harness.service.clock.sleep(6 * HOURS)
    assert harness.round().leases == [JOB_LEASE]
    assert holder(harness.service) is None


def test_a_job_to_which_its_step_has_sent_a_cancel_is_executed_again() -> None:
    harness = CommandsHarness(definition=job_definition(jobs=[{"job": JOB, "timeout": 600}]))
    job = harness.service.celonis.jobs[JOB]
    job.seconds, job.cancel_seconds = 6 * HOURS, 30.0
    harness.service.start("job-0")
    harness.service.clock.sleep(60.0)
    harness.service.check("job-0")
    harness.service.clock.sleep(600.0)
    harness.service.check("job-0")
    assert cancels(harness.service) == [JOB]
    harness.end("FAILED", "Lambda.Unknown", "AWS failed.")
    job.seconds = 60.0
    assert harness.service.run_step("job-0", retried(harness)) == "SUCCEEDED"
    assert len(job.mine) == 2


def test_while_it_waits_the_retry_holds_the_lease_of_the_job() -> None:
    harness = left_running()
    again = retried(harness)
    assert harness.service.start("job-0", again)["status"] == "RUNNING"
    assert holder(harness.service) == again
    assert harness.round().leases == []
    harness.service.open(job_definition(), "other-1", "other")
    assert harness.service.start("job-0", "other-1")["status"] == "WAITING"
    assert starts(harness.service) == []


def test_a_job_that_has_succeeded_before_the_retry_is_not_executed_again() -> None:
    harness = left_running(seconds=0.5 * HOURS)
    assert harness.round().leases == [JOB_LEASE]
    again = retried(harness)
    assert harness.service.run_step("job-0", again) == "SUCCEEDED"
    assert starts(harness.service) == []


@pytest.mark.parametrize("outcome", ["FAIL", "CANCEL", "SKIPPED"])
def test_a_job_that_has_failed_before_the_retry_is_executed_again(outcome: str) -> None:
    harness = left_running(seconds=0.5 * HOURS, outcome=outcome)
    again = retried(harness)
    harness.service.celonis.jobs[JOB].outcome = "SUCCESS"
    assert harness.service.run_step("job-0", again) == "SUCCEEDED"
    assert len(starts(harness.service)) == 1


def test_a_start_without_a_poll_is_found_and_waited_for() -> None:
    harness = left_running(polled=False)
    again = retried(harness)
    assert harness.service.run_step("job-0", again) == "SUCCEEDED"
    assert starts(harness.service) == []


def test_a_start_that_does_not_show_yet_is_not_repeated() -> None:
    """The retry comes within ``settle`` of the start: until then the lease is held."""
    harness = CommandsHarness()
    job = harness.service.celonis.jobs[JOB]
    job.seconds, job.lags.draws = 2 * HOURS, (60.0,)
    job.lags.__post_init__()
    harness.service.start("job-0")
    harness.end("FAILED", "Runtime.ExitError", "It died.")
    again = retried(harness)
    assert harness.service.run_step("job-0", again) == "SUCCEEDED"
    assert len(job.mine) == 1
    assert harness.service.state("job-0", again)["resumed_from"] == RUN


def test_a_start_that_never_took_place_is_made_by_the_retry() -> None:
    harness = CommandsHarness()
    harness.service.celonis.faults["execute_job"] = ["before"]
    harness.service.start("job-0")
    harness.end("FAILED", "Runtime.ExitError", "It died.")
    again = retried(harness)
    assert harness.service.run_step("job-0", again) == "SUCCEEDED"
    assert len(harness.service.celonis.jobs[JOB].mine) == 1


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT"])
def test_a_job_that_was_cancelled_with_its_run_is_executed_again(status: str) -> None:
    harness = CommandsHarness()
    harness.service.celonis.jobs[JOB].seconds = 6 * HOURS
    harness.service.start("job-0")
    harness.service.clock.sleep(60.0)
    harness.service.check("job-0")
    harness.end(status)
    assert cancels(harness.service) == [JOB]
    harness.service.celonis.jobs[JOB].seconds = 60.0
    harness.service.clock.sleep(300.0)
    assert harness.service.run_step("job-0", retried(harness)) == "SUCCEEDED"
    assert len(harness.service.celonis.jobs[JOB].mine) == 2


def test_a_step_that_a_refused_poll_ended_is_waited_for_too() -> None:
    harness = CommandsHarness()
    harness.service.celonis.jobs[JOB].seconds = 6 * HOURS
    harness.service.start("job-0")
    harness.service.clock.sleep(60.0)
    harness.service.celonis.faults["job"] = [denied() for _ in range(300)]
    assert harness.service.run_step("job-0") == "PermissionDenied"
    harness.service.celonis.faults.clear()
    harness.end("FAILED", "PermissionDenied", "Denied.")
    assert harness.service.run_step("job-0", retried(harness)) == "SUCCEEDED"
    assert len(harness.service.celonis.jobs[JOB].mine) == 1


def test_another_mode_today_is_another_execution() -> None:
    harness = left_running(job_definition(), seconds=2 * HOURS)
    harness.definitions["otc"] = job_definition(jobs=[{"job": JOB, "mode": "DELTA"}])
    assert harness.service.run_step("job-0", retried(harness)) == "SUCCEEDED"
    assert starts(harness.service) == [("execute_job", JOB, "DELTA")]


def test_a_job_after_one_that_is_executed_again_is_executed_again() -> None:
    harness = left_running(job_definition(), seconds=2 * HOURS)
    harness.service.job("job-b").add_past_start(6000.0)
    harness.definitions["otc"] = job_definition(jobs=[{"job": "job-b"}, {"job": JOB}])
    again = retried(harness)
    assert harness.service.run_step("job-0", again) == harness.service.run_step("job-1", again) == "SUCCEEDED"
    assert [job for _, job, _ in starts(harness.service)] == ["job-b", JOB]


def test_what_ended_more_than_a_day_ago_is_not_waited_for() -> None:
    harness = left_running(job_definition(), seconds=0.5 * HOURS)
    harness.service.clock.sleep(MAX_SKIP_AGE)
    assert harness.service.run_step("job-0", retried(harness)) == "SUCCEEDED"
    assert len(starts(harness.service)) == 1


def test_after_another_run_of_ours_the_job_is_executed_again() -> None:
    harness = left_running(job_definition(), seconds=0.5 * HOURS)
    again = retried(harness)
    harness.service.open(job_definition(), "other-1", "other")
    harness.service.celonis.jobs[JOB].seconds = 60.0
    assert harness.service.run_step("job-0", "other-1") == "SUCCEEDED"
    harness.service.celonis.sent.clear()
    assert harness.service.run_step("job-0", again) == "SUCCEEDED"
    assert len(starts(harness.service)) == 1


@pytest.mark.parametrize("error", [unavailable(), throttled(30.0)], ids=lambda error: error.name)
def test_while_celonis_is_unavailable_the_retry_waits_with_the_reason(error: CelonisError) -> None:
    harness = left_running()
    again = retried(harness)
    harness.service.celonis.faults["job"] = [error]
    assert harness.service.start("job-0", again)["status"] == "WAITING"
    assert harness.service.state("job-0", again)["last_error"] == error.message
    assert harness.service.run_step("job-0", again) == "SUCCEEDED"
    assert starts(harness.service) == []


def test_a_retry_that_dies_before_it_noted_anything_resumes_the_same_execution() -> None:
    for calls in range(8):
        harness = left_running()
        again = retried(harness)
        harness.service.crash([(calls, "after")])
        assert harness.service.run_step("job-0", again) == "SUCCEEDED"
        assert starts(harness.service) == []


def test_a_load_is_waited_for_like_a_job() -> None:
    harness = CommandsHarness(definition=load_definition())
    model = harness.service.celonis.models[MODEL]
    model.seconds = 2 * HOURS
    harness.service.start("load-0")
    harness.service.clock.sleep(60.0)
    harness.service.check("load-0")
    harness.end("FAILED", "States.Timeout", "It took too long.")
    assert "keeps running" in harness.outcome()
    assert harness.service.run_step("load-0", retried(harness)) == "SUCCEEDED"
    assert len(model.mine) == 1


def test_the_load_that_the_job_starts_is_found_by_the_retry() -> None:
    harness = left_running(job_definition(loads=[{"data_model": MODEL, "started_by": "job"}]))
    again = retried(harness)
    assert harness.service.run_step("job-0", again) == "SUCCEEDED"
    model = harness.service.celonis.models[MODEL]
    load = model.begin(mine=False, at=harness.service.clock.now, seconds=60.0, outcome="SUCCESS")
    assert harness.service.run_step("load-0", again) == "SUCCEEDED"
    assert harness.service.state("load-0", again)["evidence"]["ours"] == load.id  # type: ignore[index]
    assert starts(harness.service) == []
    assert (holder(harness.service), holder(harness.service, MODEL_LEASE)) == (None, None)


def test_a_job_that_failed_before_the_retry_keeps_no_baseline_of_its_load() -> None:
    """What the failed job had loaded is not taken for the load of the next one."""
    inner = job_definition(loads=[{"data_model": MODEL, "started_by": "job"}])
    harness = left_running(inner, seconds=0.5 * HOURS, outcome="FAIL")
    model, clock = harness.service.celonis.models[MODEL], harness.service.clock
    theirs = model.begin(mine=False, at=clock.now - 0.7 * HOURS, seconds=60.0, outcome="ERROR")
    harness.service.celonis.jobs[JOB].outcome = "SUCCESS"
    again = retried(harness)
    assert harness.service.run_step("job-0", again) == "SUCCEEDED"
    ours = model.begin(mine=False, at=clock.now, seconds=60.0, outcome="SUCCESS")
    assert harness.service.run_step("load-0", again) == "SUCCEEDED"
    assert theirs.id in harness.service.state("load-0", again)["baseline"]["ids"]  # type: ignore[index]
    assert harness.service.state("load-0", again)["evidence"]["ours"] == ours.id  # type: ignore[index]


def inherits(harness: CommandsHarness, run_id: str, former: str, *leases: str) -> bool:
    """Whether a run inherits the lease of the job, and these."""
    service = harness.service
    request = LeaseRequest(run_id, (JOB_LEASE, *leases), QueuePlace(priority=False, since=service.clock.now))
    write = service.records.step_write(service.records.get(run_id), "job-0", {})
    return service.leases.inherit(request, former, write, service.deadline())


def test_a_lease_is_inherited_from_that_run_only() -> None:
    harness = left_running()
    again = retried(harness)
    assert not inherits(harness, again, "another")
    assert inherits(harness, again, RUN)
    assert inherits(harness, again, RUN)
    with pytest.raises(RunClosed):
        inherits(harness, RUN, again)


def test_leases_are_inherited_all_at_once_or_none_of_them() -> None:
    harness = left_running()
    again = retried(harness)
    service = harness.service
    service.open(load_definition(), "other-1", "other")
    service.start("load-0", "other-1")
    assert not inherits(harness, again, RUN, MODEL_LEASE)
    assert (holder(service), holder(service, MODEL_LEASE)) == (RUN, "other-1")
    assert service.state("job-0", again) == {}


def test_a_lease_is_inherited_before_the_runs_that_are_queued_for_it() -> None:
    """They wait for the job that the retry continues; they keep their places."""
    harness = CommandsHarness()
    service = harness.service
    service.celonis.jobs[JOB].seconds = 6 * HOURS
    service.start("job-0")
    service.clock.sleep(60.0)
    service.check("job-0")
    service.open(job_definition(), "other-1", "other")
    assert service.start("job-0", "other-1")["status"] == "WAITING"
    harness.end("FAILED", "Lambda.Unknown", "AWS failed.")
    again = retried(harness)
    assert service.start("job-0", again)["status"] == "RUNNING"
    assert (holder(service), list(service.dynamodb.document(JOB_LEASE)["queue"])) == (again, ["other-1"])
    assert service.start("job-0", "other-1")["status"] == "WAITING"
    assert service.run_step("job-0", again) == "SUCCEEDED"
    assert service.start("job-0", "other-1")["status"] == "RUNNING"


def test_a_retry_that_waits_for_celonis_holds_no_lease() -> None:
    harness = left_running(seconds=0.5 * HOURS)
    assert harness.round().leases == [JOB_LEASE]
    again = retried(harness)
    harness.service.celonis.faults["job"] = [unavailable()]
    assert harness.service.start("job-0", again)["status"] == "WAITING"
    assert holder(harness.service) is None
