"""A retry waits for what the retried run left running, instead of starting it a second time."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.celonis.errors import CelonisError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.errors import RunClosed
from celonis_refresh.runs.lease_items import LeaseRequest, Place
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.steps.retry import MAX_SKIP_AGE
from tests.fakes.celonis import denied, throttled, unavailable
from tests.fakes.service import JOB, MODEL, RUN, job_definition, load_definition
from tests.unit.steps.outgoing import JOB_LEASE, MODEL_LEASE, cancels, holder, starts
from tests.unit.workflow.commands_harness import CommandsHarness

HOURS = 3600.0
WITH_LOAD = job_definition(loads=[{"data_model": MODEL}])


def left_running(
    definition: Definition = WITH_LOAD, *, error: str = "Lambda.Unknown", polled: bool = True, **lane: Any
) -> CommandsHarness:
    """A run that AWS ended while its job ran, which takes six hours."""
    desk = CommandsHarness(definition=definition)
    job = desk.service.celonis.jobs[JOB]
    for name, value in {"seconds": 6 * HOURS, **lane}.items():
        setattr(job, name, value)
    desk.service.start("job-0")
    desk.service.clock.sleep(60.0)
    if polled:
        desk.service.check("job-0")
    desk.end("FAILED", error, "AWS failed.")
    desk.service.clock.sleep(HOURS)
    desk.service.celonis.sent.clear()
    return desk


def retried(desk: CommandsHarness, run_id: str = RUN) -> str:
    """The id of the retry, opened."""
    again = str(desk.retry(run_id)["runs"][0]["run_id"])
    service = desk.service
    run = service.records.get(again)
    loads: dict[str, Any] = {load.step: {"kind": load.kind.value, "tables": {}} for load in run.plan.loads}
    service.records.note(run, {"status": RunStatus.RUNNING, "loads": loads}, service.deadline())
    return again


def test_a_retry_waits_for_the_job_and_goes_on_after_it() -> None:
    desk = left_running()
    again = retried(desk)
    began = desk.service.clock.now
    assert desk.service.go("job-0", again) == desk.service.go("load-0", again) == "SUCCEEDED"
    assert [name for name, _, _ in starts(desk.service)] == ["load_model"]
    assert desk.service.clock.now - began > 4 * HOURS
    state = desk.service.state("job-0", again)
    (ours,) = desk.service.celonis.jobs[JOB].mine
    assert (state["resumed_from"], state["posts"], state["outcome"]) == (RUN, 1, "SUCCEEDED")
    assert state["evidence"]["ours"] == ours.id  # type: ignore[index]
    assert (holder(desk.service), holder(desk.service, MODEL_LEASE)) == (None, None)


def test_a_job_whose_id_is_written_in_another_way_by_now_is_not_executed_a_second_time() -> None:
    job = "0B8A1F2E-7C4D-4F6A-8E21-3A9D5C7B1E10"
    desk = CommandsHarness(definition=job_definition(jobs=[{"job": job}]))
    service = desk.service
    lane = service.job(job, seconds=6 * HOURS)
    lane.before(12 * HOURS)
    service.celonis.jobs[job.lower()] = lane
    service.start("job-0")
    service.clock.sleep(60.0)
    service.check("job-0")
    desk.end("FAILED", "Lambda.Unknown", "AWS failed.")
    desk.definitions["otc"] = job_definition(jobs=[{"job": job.lower()}])
    assert service.go("job-0", retried(desk)) == "SUCCEEDED"
    assert len(lane.mine) == 1


def test_the_lease_of_the_failed_run_is_held_until_its_job_has_ended() -> None:
    desk = left_running()
    assert desk.round().leases == []
    assert holder(desk.service) == RUN
    desk.service.clock.sleep(6 * HOURS)
    assert desk.round().leases == [JOB_LEASE]
    assert holder(desk.service) is None


def test_a_job_to_which_its_step_has_sent_a_cancel_is_executed_again() -> None:
    desk = CommandsHarness(definition=job_definition(jobs=[{"job": JOB, "timeout": 600}]))
    job = desk.service.celonis.jobs[JOB]
    job.seconds, job.cancel_seconds = 6 * HOURS, 30.0
    desk.service.start("job-0")
    desk.service.clock.sleep(60.0)
    desk.service.check("job-0")
    desk.service.clock.sleep(600.0)
    desk.service.check("job-0")
    assert cancels(desk.service) == [JOB]
    desk.end("FAILED", "Lambda.Unknown", "AWS failed.")
    job.seconds = 60.0
    assert desk.service.go("job-0", retried(desk)) == "SUCCEEDED"
    assert len(job.mine) == 2


def test_while_it_waits_the_retry_holds_the_lease_of_the_job() -> None:
    desk = left_running()
    again = retried(desk)
    assert desk.service.start("job-0", again)["status"] == "RUNNING"
    assert holder(desk.service) == again
    assert desk.round().leases == []
    desk.service.open(job_definition(), "other-1", "other")
    assert desk.service.start("job-0", "other-1")["status"] == "WAITING"
    assert starts(desk.service) == []


def test_a_job_that_has_succeeded_before_the_retry_is_not_executed_again() -> None:
    desk = left_running(seconds=0.5 * HOURS)
    assert desk.round().leases == [JOB_LEASE]
    again = retried(desk)
    assert desk.service.go("job-0", again) == "SUCCEEDED"
    assert starts(desk.service) == []


@pytest.mark.parametrize("outcome", ["FAIL", "CANCEL", "SKIPPED"])
def test_a_job_that_has_failed_before_the_retry_is_executed_again(outcome: str) -> None:
    desk = left_running(seconds=0.5 * HOURS, outcome=outcome)
    again = retried(desk)
    desk.service.celonis.jobs[JOB].outcome = "SUCCESS"
    assert desk.service.go("job-0", again) == "SUCCEEDED"
    assert len(starts(desk.service)) == 1


def test_a_start_that_nobody_polled_is_found_and_waited_for() -> None:
    desk = left_running(polled=False)
    again = retried(desk)
    assert desk.service.go("job-0", again) == "SUCCEEDED"
    assert starts(desk.service) == []


def test_a_start_that_does_not_show_yet_is_not_repeated() -> None:
    """The retry comes within ``settle`` of the start: until then the lease is held."""
    desk = CommandsHarness()
    job = desk.service.celonis.jobs[JOB]
    job.seconds, job.lags.draws = 2 * HOURS, (60.0,)
    job.lags.__post_init__()
    desk.service.start("job-0")
    desk.end("FAILED", "Runtime.ExitError", "It died.")
    again = retried(desk)
    assert desk.service.go("job-0", again) == "SUCCEEDED"
    assert len(job.mine) == 1
    assert desk.service.state("job-0", again)["resumed_from"] == RUN


def test_a_start_that_never_took_place_is_made_by_the_retry() -> None:
    desk = CommandsHarness()
    desk.service.celonis.faults["execute_job"] = ["before"]
    desk.service.start("job-0")
    desk.end("FAILED", "Runtime.ExitError", "It died.")
    again = retried(desk)
    assert desk.service.go("job-0", again) == "SUCCEEDED"
    assert len(desk.service.celonis.jobs[JOB].mine) == 1


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT"])
def test_a_job_that_was_cancelled_with_its_run_is_executed_again(status: str) -> None:
    desk = CommandsHarness()
    desk.service.celonis.jobs[JOB].seconds = 6 * HOURS
    desk.service.start("job-0")
    desk.service.clock.sleep(60.0)
    desk.service.check("job-0")
    desk.end(status)
    assert cancels(desk.service) == [JOB]
    desk.service.celonis.jobs[JOB].seconds = 60.0
    desk.service.clock.sleep(300.0)
    assert desk.service.go("job-0", retried(desk)) == "SUCCEEDED"
    assert len(desk.service.celonis.jobs[JOB].mine) == 2


def test_a_step_that_a_refused_poll_ended_is_waited_for_too() -> None:
    desk = CommandsHarness()
    desk.service.celonis.jobs[JOB].seconds = 6 * HOURS
    desk.service.start("job-0")
    desk.service.clock.sleep(60.0)
    desk.service.celonis.faults["job"] = [denied() for _ in range(300)]
    assert desk.service.go("job-0") == "PermissionDenied"
    desk.service.celonis.faults.clear()
    desk.end("FAILED", "PermissionDenied", "Denied.")
    assert desk.service.go("job-0", retried(desk)) == "SUCCEEDED"
    assert len(desk.service.celonis.jobs[JOB].mine) == 1


def test_another_mode_today_is_another_execution() -> None:
    desk = left_running(job_definition(), seconds=2 * HOURS)
    desk.definitions["otc"] = job_definition(jobs=[{"job": JOB, "mode": "DELTA"}])
    assert desk.service.go("job-0", retried(desk)) == "SUCCEEDED"
    assert starts(desk.service) == [("execute_job", JOB, "DELTA")]


def test_a_job_after_one_that_is_executed_again_is_executed_again() -> None:
    desk = left_running(job_definition(), seconds=2 * HOURS)
    desk.service.job("job-b").before(6000.0)
    desk.definitions["otc"] = job_definition(jobs=[{"job": "job-b"}, {"job": JOB}])
    again = retried(desk)
    assert desk.service.go("job-0", again) == desk.service.go("job-1", again) == "SUCCEEDED"
    assert [job for _, job, _ in starts(desk.service)] == ["job-b", JOB]


def test_what_ended_more_than_a_day_ago_is_not_waited_for() -> None:
    desk = left_running(job_definition(), seconds=0.5 * HOURS)
    desk.service.clock.sleep(MAX_SKIP_AGE)
    assert desk.service.go("job-0", retried(desk)) == "SUCCEEDED"
    assert len(starts(desk.service)) == 1


def test_after_another_run_of_ours_the_job_is_executed_again() -> None:
    desk = left_running(job_definition(), seconds=0.5 * HOURS)
    again = retried(desk)
    desk.service.open(job_definition(), "other-1", "other")
    desk.service.celonis.jobs[JOB].seconds = 60.0
    assert desk.service.go("job-0", "other-1") == "SUCCEEDED"
    desk.service.celonis.sent.clear()
    assert desk.service.go("job-0", again) == "SUCCEEDED"
    assert len(starts(desk.service)) == 1


@pytest.mark.parametrize("trouble", [unavailable(), throttled(30.0)], ids=lambda trouble: trouble.name)
def test_while_celonis_cannot_be_asked_the_retry_waits_and_says_why(trouble: CelonisError) -> None:
    desk = left_running()
    again = retried(desk)
    desk.service.celonis.faults["job"] = [trouble]
    assert desk.service.start("job-0", again)["status"] == "WAITING"
    assert desk.service.state("job-0", again)["trouble"] == trouble.message
    assert desk.service.go("job-0", again) == "SUCCEEDED"
    assert starts(desk.service) == []


def test_a_retry_that_dies_before_it_noted_anything_resumes_the_same_execution() -> None:
    for calls in range(8):
        desk = left_running()
        again = retried(desk)
        desk.service.crash([(calls, "after")])
        assert desk.service.go("job-0", again) == "SUCCEEDED"
        assert starts(desk.service) == []


def test_a_load_is_waited_for_like_a_job() -> None:
    desk = CommandsHarness(definition=load_definition())
    model = desk.service.celonis.models[MODEL]
    model.seconds = 2 * HOURS
    desk.service.start("load-0")
    desk.service.clock.sleep(60.0)
    desk.service.check("load-0")
    desk.end("FAILED", "States.Timeout", "It took too long.")
    assert "keeps running" in desk.outcome()
    assert desk.service.go("load-0", retried(desk)) == "SUCCEEDED"
    assert len(model.mine) == 1


def test_the_load_that_the_job_starts_is_found_by_the_retry() -> None:
    desk = left_running(job_definition(loads=[{"data_model": MODEL, "started_by": "job"}]))
    again = retried(desk)
    assert desk.service.go("job-0", again) == "SUCCEEDED"
    model = desk.service.celonis.models[MODEL]
    load = model.begin(mine=False, at=desk.service.clock.now, seconds=60.0, outcome="SUCCESS")
    assert desk.service.go("load-0", again) == "SUCCEEDED"
    assert desk.service.state("load-0", again)["evidence"]["ours"] == load.id  # type: ignore[index]
    assert starts(desk.service) == []
    assert (holder(desk.service), holder(desk.service, MODEL_LEASE)) == (None, None)


def test_a_job_that_failed_before_the_retry_leaves_no_baseline_of_its_load_behind() -> None:
    """What the failed job had loaded is not taken for the load of the next one."""
    inner = job_definition(loads=[{"data_model": MODEL, "started_by": "job"}])
    desk = left_running(inner, seconds=0.5 * HOURS, outcome="FAIL")
    model, clock = desk.service.celonis.models[MODEL], desk.service.clock
    theirs = model.begin(mine=False, at=clock.now - 0.7 * HOURS, seconds=60.0, outcome="ERROR")
    desk.service.celonis.jobs[JOB].outcome = "SUCCESS"
    again = retried(desk)
    assert desk.service.go("job-0", again) == "SUCCEEDED"
    ours = model.begin(mine=False, at=clock.now, seconds=60.0, outcome="SUCCESS")
    assert desk.service.go("load-0", again) == "SUCCEEDED"
    assert theirs.id in desk.service.state("load-0", again)["baseline"]["ids"]  # type: ignore[index]
    assert desk.service.state("load-0", again)["evidence"]["ours"] == ours.id  # type: ignore[index]


def inherits(desk: CommandsHarness, run_id: str, former: str, *leases: str) -> bool:
    """Whether a run inherits the lease of the job, and these."""
    service = desk.service
    request = LeaseRequest(run_id, (JOB_LEASE, *leases), Place(keeps=False, since=service.clock.now))
    write = service.records.step_write(service.records.get(run_id), "job-0", {})
    return service.leases.inherit(request, former, write, service.deadline())


def test_a_lease_is_inherited_from_that_run_only() -> None:
    desk = left_running()
    again = retried(desk)
    assert not inherits(desk, again, "another")
    assert inherits(desk, again, RUN)
    assert inherits(desk, again, RUN)
    with pytest.raises(RunClosed):
        inherits(desk, RUN, again)


def test_leases_are_inherited_all_at_once_or_none_of_them() -> None:
    desk = left_running()
    again = retried(desk)
    service = desk.service
    service.open(load_definition(), "other-1", "other")
    service.start("load-0", "other-1")
    assert not inherits(desk, again, RUN, MODEL_LEASE)
    assert (holder(service), holder(service, MODEL_LEASE)) == (RUN, "other-1")
    assert service.state("job-0", again) == {}


def test_a_lease_is_inherited_before_the_runs_that_are_queued_for_it() -> None:
    """What they wait for is the job that the retry goes on with; they keep their places."""
    desk = CommandsHarness()
    service = desk.service
    service.celonis.jobs[JOB].seconds = 6 * HOURS
    service.start("job-0")
    service.clock.sleep(60.0)
    service.check("job-0")
    service.open(job_definition(), "other-1", "other")
    assert service.start("job-0", "other-1")["status"] == "WAITING"
    desk.end("FAILED", "Lambda.Unknown", "AWS failed.")
    again = retried(desk)
    assert service.start("job-0", again)["status"] == "RUNNING"
    assert (holder(service), list(service.dynamodb.document(JOB_LEASE)["queue"])) == (again, ["other-1"])
    assert service.start("job-0", "other-1")["status"] == "WAITING"
    assert service.go("job-0", again) == "SUCCEEDED"
    assert service.start("job-0", "other-1")["status"] == "RUNNING"


def test_a_retry_that_waits_for_celonis_holds_no_lease() -> None:
    desk = left_running(seconds=0.5 * HOURS)
    assert desk.round().leases == [JOB_LEASE]
    again = retried(desk)
    desk.service.celonis.faults["job"] = [unavailable()]
    assert desk.service.start("job-0", again)["status"] == "WAITING"
    assert holder(desk.service) is None
