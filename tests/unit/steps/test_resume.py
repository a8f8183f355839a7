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
from tests.unit.triggers.desk import Desk

HOURS = 3600.0
WITH_LOAD = job_definition(loads=[{"data_model": MODEL}])


def left_running(
    definition: Definition = WITH_LOAD, *, error: str = "Lambda.Unknown", polled: bool = True, **lane: Any
) -> Desk:
    """A run that AWS ended while its job ran, which takes six hours."""
    desk = Desk(definition=definition)
    job = desk.bench.celonis.jobs[JOB]
    for name, value in {"seconds": 6 * HOURS, **lane}.items():
        setattr(job, name, value)
    desk.bench.start("job-0")
    desk.bench.clock.sleep(60.0)
    if polled:
        desk.bench.check("job-0")
    desk.end("FAILED", error, "AWS failed.")
    desk.bench.clock.sleep(HOURS)
    desk.bench.celonis.sent.clear()
    return desk


def retried(desk: Desk, run_id: str = RUN) -> str:
    """The id of the retry, opened."""
    again = str(desk.retry(run_id)["runs"][0]["run_id"])
    bench = desk.bench
    run = bench.records.get(again)
    loads: dict[str, Any] = {load.step: {"kind": load.kind.value, "tables": {}} for load in run.plan.loads}
    bench.records.note(run, {"status": RunStatus.RUNNING, "loads": loads}, bench.deadline())
    return again


def test_a_retry_waits_for_the_job_and_goes_on_after_it() -> None:
    desk = left_running()
    again = retried(desk)
    began = desk.bench.clock.now
    assert desk.bench.go("job-0", again) == desk.bench.go("load-0", again) == "SUCCEEDED"
    assert [name for name, _, _ in starts(desk.bench)] == ["load_model"]
    assert desk.bench.clock.now - began > 4 * HOURS
    state = desk.bench.state("job-0", again)
    (ours,) = desk.bench.celonis.jobs[JOB].mine
    assert (state["resumed_from"], state["posts"], state["outcome"]) == (RUN, 1, "SUCCEEDED")
    assert state["evidence"]["ours"] == ours.id  # type: ignore[index]
    assert (holder(desk.bench), holder(desk.bench, MODEL_LEASE)) == (None, None)


def test_a_job_whose_id_is_written_in_another_way_by_now_is_not_executed_a_second_time() -> None:
    job = "0B8A1F2E-7C4D-4F6A-8E21-3A9D5C7B1E10"
    desk = Desk(definition=job_definition(jobs=[{"job": job}]))
    bench = desk.bench
    lane = bench.job(job, seconds=6 * HOURS)
    lane.before(12 * HOURS)
    bench.celonis.jobs[job.lower()] = lane
    bench.start("job-0")
    bench.clock.sleep(60.0)
    bench.check("job-0")
    desk.end("FAILED", "Lambda.Unknown", "AWS failed.")
    desk.definitions["otc"] = job_definition(jobs=[{"job": job.lower()}])
    assert bench.go("job-0", retried(desk)) == "SUCCEEDED"
    assert len(lane.mine) == 1


def test_the_lease_of_the_failed_run_is_held_until_its_job_has_ended() -> None:
    desk = left_running()
    assert desk.round().leases == []
    assert holder(desk.bench) == RUN
    desk.bench.clock.sleep(6 * HOURS)
    assert desk.round().leases == [JOB_LEASE]
    assert holder(desk.bench) is None


def test_a_job_to_which_its_step_has_sent_a_cancel_is_executed_again() -> None:
    desk = Desk(definition=job_definition(jobs=[{"job": JOB, "timeout": 600}]))
    job = desk.bench.celonis.jobs[JOB]
    job.seconds, job.cancel_seconds = 6 * HOURS, 30.0
    desk.bench.start("job-0")
    desk.bench.clock.sleep(60.0)
    desk.bench.check("job-0")
    desk.bench.clock.sleep(600.0)
    desk.bench.check("job-0")
    assert cancels(desk.bench) == [JOB]
    desk.end("FAILED", "Lambda.Unknown", "AWS failed.")
    job.seconds = 60.0
    assert desk.bench.go("job-0", retried(desk)) == "SUCCEEDED"
    assert len(job.mine) == 2


def test_while_it_waits_the_retry_holds_the_lease_of_the_job() -> None:
    desk = left_running()
    again = retried(desk)
    assert desk.bench.start("job-0", again)["status"] == "RUNNING"
    assert holder(desk.bench) == again
    assert desk.round().leases == []
    desk.bench.open(job_definition(), "other-1", "other")
    assert desk.bench.start("job-0", "other-1")["status"] == "WAITING"
    assert starts(desk.bench) == []


def test_a_job_that_has_succeeded_before_the_retry_is_not_executed_again() -> None:
    desk = left_running(seconds=0.5 * HOURS)
    assert desk.round().leases == [JOB_LEASE]
    again = retried(desk)
    assert desk.bench.go("job-0", again) == "SUCCEEDED"
    assert starts(desk.bench) == []


@pytest.mark.parametrize("outcome", ["FAIL", "CANCEL", "SKIPPED"])
def test_a_job_that_has_failed_before_the_retry_is_executed_again(outcome: str) -> None:
    desk = left_running(seconds=0.5 * HOURS, outcome=outcome)
    again = retried(desk)
    desk.bench.celonis.jobs[JOB].outcome = "SUCCESS"
    assert desk.bench.go("job-0", again) == "SUCCEEDED"
    assert len(starts(desk.bench)) == 1


def test_a_start_that_nobody_polled_is_found_and_waited_for() -> None:
    desk = left_running(polled=False)
    again = retried(desk)
    assert desk.bench.go("job-0", again) == "SUCCEEDED"
    assert starts(desk.bench) == []


def test_a_start_that_does_not_show_yet_is_not_repeated() -> None:
    """The retry comes within ``settle`` of the start: until then the lease is held."""
    desk = Desk()
    job = desk.bench.celonis.jobs[JOB]
    job.seconds, job.lags.draws = 2 * HOURS, (60.0,)
    job.lags.__post_init__()
    desk.bench.start("job-0")
    desk.end("FAILED", "Runtime.ExitError", "It died.")
    again = retried(desk)
    assert desk.bench.go("job-0", again) == "SUCCEEDED"
    assert len(job.mine) == 1
    assert desk.bench.state("job-0", again)["resumed_from"] == RUN


def test_a_start_that_never_took_place_is_made_by_the_retry() -> None:
    desk = Desk()
    desk.bench.celonis.faults["execute_job"] = ["before"]
    desk.bench.start("job-0")
    desk.end("FAILED", "Runtime.ExitError", "It died.")
    again = retried(desk)
    assert desk.bench.go("job-0", again) == "SUCCEEDED"
    assert len(desk.bench.celonis.jobs[JOB].mine) == 1


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT"])
def test_a_job_that_was_cancelled_with_its_run_is_executed_again(status: str) -> None:
    desk = Desk()
    desk.bench.celonis.jobs[JOB].seconds = 6 * HOURS
    desk.bench.start("job-0")
    desk.bench.clock.sleep(60.0)
    desk.bench.check("job-0")
    desk.end(status)
    assert cancels(desk.bench) == [JOB]
    desk.bench.celonis.jobs[JOB].seconds = 60.0
    desk.bench.clock.sleep(300.0)
    assert desk.bench.go("job-0", retried(desk)) == "SUCCEEDED"
    assert len(desk.bench.celonis.jobs[JOB].mine) == 2


def test_a_step_that_a_refused_poll_ended_is_waited_for_too() -> None:
    desk = Desk()
    desk.bench.celonis.jobs[JOB].seconds = 6 * HOURS
    desk.bench.start("job-0")
    desk.bench.clock.sleep(60.0)
    desk.bench.celonis.faults["job"] = [denied() for _ in range(300)]
    assert desk.bench.go("job-0") == "PermissionDenied"
    desk.bench.celonis.faults.clear()
    desk.end("FAILED", "PermissionDenied", "Denied.")
    assert desk.bench.go("job-0", retried(desk)) == "SUCCEEDED"
    assert len(desk.bench.celonis.jobs[JOB].mine) == 1


def test_another_mode_today_is_another_execution() -> None:
    desk = left_running(job_definition(), seconds=2 * HOURS)
    desk.definitions["otc"] = job_definition(jobs=[{"job": JOB, "mode": "DELTA"}])
    assert desk.bench.go("job-0", retried(desk)) == "SUCCEEDED"
    assert starts(desk.bench) == [("execute_job", JOB, "DELTA")]


def test_a_job_after_one_that_is_executed_again_is_executed_again() -> None:
    desk = left_running(job_definition(), seconds=2 * HOURS)
    desk.bench.job("job-b").before(6000.0)
    desk.definitions["otc"] = job_definition(jobs=[{"job": "job-b"}, {"job": JOB}])
    again = retried(desk)
    assert desk.bench.go("job-0", again) == desk.bench.go("job-1", again) == "SUCCEEDED"
    assert [job for _, job, _ in starts(desk.bench)] == ["job-b", JOB]


def test_what_ended_more_than_a_day_ago_is_not_waited_for() -> None:
    desk = left_running(job_definition(), seconds=0.5 * HOURS)
    desk.bench.clock.sleep(MAX_SKIP_AGE)
    assert desk.bench.go("job-0", retried(desk)) == "SUCCEEDED"
    assert len(starts(desk.bench)) == 1


def test_after_another_run_of_ours_the_job_is_executed_again() -> None:
    desk = left_running(job_definition(), seconds=0.5 * HOURS)
    again = retried(desk)
    desk.bench.open(job_definition(), "other-1", "other")
    desk.bench.celonis.jobs[JOB].seconds = 60.0
    assert desk.bench.go("job-0", "other-1") == "SUCCEEDED"
    desk.bench.celonis.sent.clear()
    assert desk.bench.go("job-0", again) == "SUCCEEDED"
    assert len(starts(desk.bench)) == 1


@pytest.mark.parametrize("trouble", [unavailable(), throttled(30.0)], ids=lambda trouble: trouble.name)
def test_while_celonis_cannot_be_asked_the_retry_waits_and_says_why(trouble: CelonisError) -> None:
    desk = left_running()
    again = retried(desk)
    desk.bench.celonis.faults["job"] = [trouble]
    assert desk.bench.start("job-0", again)["status"] == "WAITING"
    assert desk.bench.state("job-0", again)["trouble"] == trouble.message
    assert desk.bench.go("job-0", again) == "SUCCEEDED"
    assert starts(desk.bench) == []


def test_a_retry_that_dies_before_it_noted_anything_resumes_the_same_execution() -> None:
    for calls in range(8):
        desk = left_running()
        again = retried(desk)
        desk.bench.crash([(calls, "after")])
        assert desk.bench.go("job-0", again) == "SUCCEEDED"
        assert starts(desk.bench) == []


def test_a_load_is_waited_for_like_a_job() -> None:
    desk = Desk(definition=load_definition())
    model = desk.bench.celonis.models[MODEL]
    model.seconds = 2 * HOURS
    desk.bench.start("load-0")
    desk.bench.clock.sleep(60.0)
    desk.bench.check("load-0")
    desk.end("FAILED", "States.Timeout", "It took too long.")
    assert "keeps running" in desk.outcome()
    assert desk.bench.go("load-0", retried(desk)) == "SUCCEEDED"
    assert len(model.mine) == 1


def test_the_load_that_the_job_starts_is_found_by_the_retry() -> None:
    desk = left_running(job_definition(loads=[{"data_model": MODEL, "started_by": "job"}]))
    again = retried(desk)
    assert desk.bench.go("job-0", again) == "SUCCEEDED"
    model = desk.bench.celonis.models[MODEL]
    load = model.begin(mine=False, at=desk.bench.clock.now, seconds=60.0, outcome="SUCCESS")
    assert desk.bench.go("load-0", again) == "SUCCEEDED"
    assert desk.bench.state("load-0", again)["evidence"]["ours"] == load.id  # type: ignore[index]
    assert starts(desk.bench) == []
    assert (holder(desk.bench), holder(desk.bench, MODEL_LEASE)) == (None, None)


def test_a_job_that_failed_before_the_retry_leaves_no_baseline_of_its_load_behind() -> None:
    """What the failed job had loaded is not taken for the load of the next one."""
    inner = job_definition(loads=[{"data_model": MODEL, "started_by": "job"}])
    desk = left_running(inner, seconds=0.5 * HOURS, outcome="FAIL")
    model, clock = desk.bench.celonis.models[MODEL], desk.bench.clock
    theirs = model.begin(mine=False, at=clock.now - 0.7 * HOURS, seconds=60.0, outcome="ERROR")
    desk.bench.celonis.jobs[JOB].outcome = "SUCCESS"
    again = retried(desk)
    assert desk.bench.go("job-0", again) == "SUCCEEDED"
    ours = model.begin(mine=False, at=clock.now, seconds=60.0, outcome="SUCCESS")
    assert desk.bench.go("load-0", again) == "SUCCEEDED"
    assert theirs.id in desk.bench.state("load-0", again)["baseline"]["ids"]  # type: ignore[index]
    assert desk.bench.state("load-0", again)["evidence"]["ours"] == ours.id  # type: ignore[index]


def inherits(desk: Desk, run_id: str, former: str, *leases: str) -> bool:
    """Whether a run inherits the lease of the job, and these."""
    bench = desk.bench
    request = LeaseRequest(run_id, (JOB_LEASE, *leases), QueuePlace(keeps=False, since=bench.clock.now))
    write = bench.records.step_write(bench.records.get(run_id), "job-0", {})
    return bench.leases.inherit(request, former, write, bench.deadline())


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
    bench = desk.bench
    bench.open(load_definition(), "other-1", "other")
    bench.start("load-0", "other-1")
    assert not inherits(desk, again, RUN, MODEL_LEASE)
    assert (holder(bench), holder(bench, MODEL_LEASE)) == (RUN, "other-1")
    assert bench.state("job-0", again) == {}


def test_a_lease_is_inherited_before_the_runs_that_are_queued_for_it() -> None:
    """What they wait for is the job that the retry goes on with; they keep their places."""
    desk = Desk()
    bench = desk.bench
    bench.celonis.jobs[JOB].seconds = 6 * HOURS
    bench.start("job-0")
    bench.clock.sleep(60.0)
    bench.check("job-0")
    bench.open(job_definition(), "other-1", "other")
    assert bench.start("job-0", "other-1")["status"] == "WAITING"
    desk.end("FAILED", "Lambda.Unknown", "AWS failed.")
    again = retried(desk)
    assert bench.start("job-0", again)["status"] == "RUNNING"
    assert (holder(bench), list(bench.dynamodb.document(JOB_LEASE)["queue"])) == (again, ["other-1"])
    assert bench.start("job-0", "other-1")["status"] == "WAITING"
    assert bench.go("job-0", again) == "SUCCEEDED"
    assert bench.start("job-0", "other-1")["status"] == "RUNNING"


def test_a_retry_that_waits_for_celonis_holds_no_lease() -> None:
    desk = left_running(seconds=0.5 * HOURS)
    assert desk.round().leases == [JOB_LEASE]
    again = retried(desk)
    desk.bench.celonis.faults["job"] = [unavailable()]
    assert desk.bench.start("job-0", again)["status"] == "WAITING"
    assert holder(desk.bench) is None
