"""Cancelling and retrying runs, and how pipelines stand."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.pipelines.definition import Definition, parse_inline
from celonis_refresh.pipelines.errors import UnknownPipeline
from celonis_refresh.runs.errors import PipelineBusy, PipelinePaused, RunClosed, RunNotFound, TableBusy
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.steps.retry import MAX_SKIP_AGE
from celonis_refresh.workflow.commands import RunInline, RunOpen, RunSuperseded
from tests.fakes.dynamodb import client_error
from tests.fakes.service import JOB, MODEL, POOL, RUN, job_definition
from tests.unit.triggers.desk import CALLER, Desk

TWO_JOBS = job_definition(jobs=[{"job": JOB}, {"job": "job-b"}], loads=[{"data_model": "model-a"}])


def cancelled(desk: Desk, run_id: str = RUN, *, drop: bool = False) -> dict[str, Any]:
    return desk.steering.cancel(run_id, CALLER, desk.bench.deadline(), drop_pending=drop)


def test_a_cancel_stops_the_execution_and_says_by_whom() -> None:
    desk = Desk()
    assert cancelled(desk) == {"run_id": RUN, "status": "cancelling"}
    execution = desk.executions.known[RUN]
    assert (execution.status, execution.error) == ("ABORTED", "Canceled")
    assert CALLER in execution.cause
    assert desk.status(RUN) is RunStatus.RUNNING
    desk.close()
    assert desk.status(RUN) is RunStatus.ABORTED


def test_a_run_whose_execution_never_began_can_be_cancelled() -> None:
    desk = Desk()
    desk.executions.known.clear()
    cancelled(desk)
    assert desk.executions.known[RUN].status == "ABORTED"


@pytest.mark.parametrize("drop", [True, False])
def test_what_waits_is_given_up_only_where_that_was_asked(*, drop: bool) -> None:
    desk = Desk()
    desk.join("otc-2")
    reported = cancelled(desk, drop=drop)
    assert ("dropped" in reported) == drop
    assert ("pending" in desk.slot()) != drop
    if drop:
        assert reported["dropped"]["run_id"] == "otc-2"
    desk.close()
    assert desk.status("otc-2") is (None if drop else RunStatus.OPENING)


def test_what_was_given_up_without_an_answer_is_told_all_the_same() -> None:
    """Sent again, the write is refused by its own first try."""
    desk = Desk()
    desk.join("otc-2")
    desk.bench.dynamodb.lose_answer("UpdateItem")
    assert cancelled(desk, drop=True)["dropped"]["run_id"] == "otc-2"
    assert "pending" not in desk.slot()


def test_nothing_is_dropped_where_nothing_waits() -> None:
    assert "dropped" not in cancelled(Desk(), drop=True)


def test_a_trigger_that_joins_at_that_moment_is_not_dropped_unseen() -> None:
    desk = Desk()
    desk.join("otc-2")
    desk.bench.dynamodb.meanwhile("UpdateItem", lambda: desk.start(mode="FULL"))
    with pytest.raises(TableBusy):
        cancelled(desk, drop=True)
    assert desk.executions.known[RUN].status == "RUNNING"
    assert cancelled(desk, drop=True)["dropped"]["options"]["mode"] == "FULL"


def behind_a_pause(desk: Desk) -> str:
    """The id of what waits in a free slot until the pause is lifted."""
    desk.end("SUCCEEDED")
    desk.definitions["otc"] = job_definition(paused=True)
    return str(desk.start(mode="FULL")["runs"][0]["run_id"])


def test_a_run_that_waits_is_shown_with_what_it_waits_for() -> None:
    desk = Desk()
    run_id = desk.start(mode="FULL")["runs"][0]["run_id"]
    shown = desk.requests.show(run_id)
    assert (shown["run_id"], shown["pipeline"], shown["status"]) == (run_id, "otc", "WAITING")
    assert (shown["waiting_for_run"], shown["options"]["mode"]) == (RUN, "FULL")
    desk.end("SUCCEEDED")
    assert desk.requests.show(run_id)["status"] == "OPENING"


def test_a_run_that_waits_for_the_end_of_a_pause_stands_behind_none() -> None:
    desk = Desk()
    shown = desk.requests.show(behind_a_pause(desk))
    assert (shown["status"], shown["waiting_for_run"]) == ("WAITING", None)


@pytest.mark.parametrize("run_id", ["none", "otc-7", "otc", "no name-20260101T000000Z-00000000", "x" * 3000])
def test_what_neither_began_nor_waits_is_no_run(run_id: str) -> None:
    desk = Desk()
    desk.join("otc-2")
    with pytest.raises(RunNotFound):
        desk.requests.show(run_id)


def test_a_run_that_begins_between_two_reads_is_shown_as_one_that_began() -> None:
    desk = Desk()
    desk.join("otc-2")
    desk.bench.dynamodb.meanwhile("GetItem", lambda: desk.end("SUCCEEDED"), key="slot#otc")
    assert desk.requests.show("otc-2")["status"] == "OPENING"


def test_a_run_that_waits_is_given_up_by_its_id_and_the_one_before_goes_on() -> None:
    desk = Desk()
    desk.join("otc-2")
    reported = cancelled(desk, "otc-2")
    assert (reported["run_id"], reported["status"]) == ("otc-2", "dropped")
    assert desk.executions.known[RUN].status == "RUNNING"
    with pytest.raises(RunNotFound):
        desk.requests.show("otc-2")
    desk.end("SUCCEEDED")
    assert desk.status("otc-2") is None


@pytest.mark.parametrize("behind", [True, False])
def test_the_log_tells_by_whom_what_waited_was_given_up(
    *, behind: bool, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk()
    waiting = desk.start(reason="because")["runs"][0]["run_id"]
    (reason,) = desk.requests.show(waiting)["options"]["reasons"]
    cancelled(desk, RUN if behind else waiting, drop=behind)
    (line,) = (vars(record) for record in caplog.records if "given up" in record.message)
    assert (line["levelname"], line["run_id"], line["caller"]) == ("WARNING", waiting, CALLER)
    assert line["triggers"] == [reason["trigger"]]


def test_what_waits_for_the_end_of_a_pause_is_given_up_by_its_id() -> None:
    desk = Desk()
    run_id = behind_a_pause(desk)
    assert cancelled(desk, run_id)["options"]["mode"] == "FULL"
    desk.definitions["otc"] = job_definition()
    desk.round()
    assert desk.status(run_id) is None
    assert desk.start()["runs"][0]["status"] == "started"


def test_a_run_that_begins_while_it_is_given_up_is_not_lost_from_sight() -> None:
    desk = Desk()
    desk.join("otc-2")
    desk.bench.dynamodb.meanwhile("UpdateItem", lambda: desk.end("SUCCEEDED"))
    with pytest.raises(TableBusy):
        cancelled(desk, "otc-2")
    assert cancelled(desk, "otc-2")["status"] == "cancelling"


def test_a_run_that_waits_is_not_retried() -> None:
    desk = Desk()
    desk.join("otc-2")
    with pytest.raises(RunOpen, match="WAITING"):
        desk.retry("otc-2")


def test_only_a_run_that_is_open_can_be_cancelled() -> None:
    desk = Desk()
    with pytest.raises(RunNotFound):
        cancelled(desk, "none")
    desk.fail()
    with pytest.raises(RunClosed):
        cancelled(desk)


def test_a_retry_leaves_out_what_succeeded_and_follows_the_definition_of_today() -> None:
    desk = Desk(definition=TWO_JOBS)
    records, deadline = desk.bench.records, desk.bench.deadline()
    records.save_step(records.get(RUN), "job-0", desk.done(), deadline)
    desk.fail()
    desk.definitions["otc"] = job_definition(jobs=[{"job": JOB}, {"job": "job-b"}, {"job": "job-c"}])
    reported = desk.retry()
    (run,) = reported["runs"]
    assert (reported["retry_of"], run["status"], run["pipeline"]) == (RUN, "started", "otc")
    assert "duplicate" not in reported
    plan = desk.bench.records.get(run["run_id"]).plan
    assert [job.job for job in plan.jobs] == ["job-b", "job-c"]
    assert desk.executions.asked == [run["run_id"]]


def test_a_retry_knows_a_job_that_stands_twice_however_it_is_written() -> None:
    uuid = "a1b2c3d4-0001-4e5f-8a9b-0c1d2e3f4a5b"
    desk = Desk(definition=job_definition(jobs=[{"job": uuid}, {"job": uuid.upper()}, {"job": "last"}]))
    records, deadline = desk.bench.records, desk.bench.deadline()
    records.save_step(records.get(RUN), "job-0", {"outcome": "SUCCEEDED", "ended_at": "-"}, deadline)
    desk.fail()
    plan = records.get(desk.retry()["runs"][0]["run_id"]).plan
    assert [job.job for job in plan.jobs] == [uuid, uuid.upper(), "last"]


def test_a_retry_of_a_retry_leaves_out_what_both_did() -> None:
    desk = Desk(definition=TWO_JOBS)
    records, deadline = desk.bench.records, desk.bench.deadline()
    done = desk.done()
    records.save_step(records.get(RUN), "job-0", done, deadline)
    desk.fail()
    second = desk.retry()["runs"][0]["run_id"]
    records.save_step(records.get(second), "job-0", done, deadline)
    desk.fail(second)
    third = desk.retry(second)["runs"][0]["run_id"]
    plan = records.get(third).plan
    assert ([job.job for job in plan.jobs], [load.data_model for load in plan.loads]) == ([], ["model-a"])


def test_a_retry_keeps_the_options_and_tells_whose_it_is() -> None:
    desk = Desk(definition=job_definition(loads=[{"data_model": MODEL}]))
    desk.fail()
    wanted = desk.start(mode="FULL", tables="all")["runs"][0]["run_id"]
    desk.fail(wanted)
    run = desk.bench.records.get(desk.retry(wanted)["runs"][0]["run_id"])
    (reason,) = run.options.reasons
    assert (run.options.mode, run.options.complete, reason.by) == ("FULL", True, CALLER)
    assert wanted in reason.text


def test_a_retry_of_merged_triggers_drops_what_one_of_them_got_wrong_again() -> None:
    desk = Desk(definition=job_definition(loads=[{"data_model": MODEL}]))
    wanted = [desk.start(tables=[name])["runs"][0]["run_id"] for name in ("NO_SUCH", "ORDERS")]
    desk.fail()
    desk.fail(wanted[0])
    run = desk.bench.records.get(desk.retry(wanted[0])["runs"][0]["run_id"])
    assert (run.plan.may_drop, run.plan.requested) == (True, ("NO_SUCH", "ORDERS"))


def test_asked_twice_a_retry_is_one_run_also_after_its_end_and_in_a_pause() -> None:
    desk = Desk()
    desk.fail()
    (run,) = desk.retry()["runs"]
    again = {"retry_of": RUN, "runs": [{**run, "status": "duplicate"}], "duplicate": True}
    assert desk.retry() == again
    desk.succeed(run["run_id"])
    assert desk.retry() == again
    desk.definitions["otc"] = job_definition(paused=True)
    assert desk.retry() == again


def test_asked_again_a_retry_finishes_what_a_crash_left_undone() -> None:
    desk = Desk()
    desk.fail()

    def fails(name: str, when: str) -> None:
        raise client_error("ThrottlingException", name)

    desk.executions.hook = fails
    run_id = desk.retry()["runs"][0]["run_id"]
    assert run_id not in desk.executions.known
    desk.executions.hook = lambda name, when: None
    desk.retry()
    assert desk.executions.known[run_id].status == "RUNNING"


def test_a_run_that_is_open_or_succeeded_or_unknown_cannot_be_retried() -> None:
    desk = Desk()
    with pytest.raises(RunOpen):
        desk.retry()
    with pytest.raises(RunNotFound):
        desk.retry("none")
    desk.succeed(RUN)
    with pytest.raises(RunClosed):
        desk.retry()


def test_a_run_of_an_inline_definition_is_not_retried_as_the_pipeline_of_its_name() -> None:
    inline = {"name": "otc", "data_pool": POOL, "jobs": [{"job": JOB}]}
    desk = Desk(definition=parse_inline(inline))
    desk.fail()
    desk.definitions["otc"] = job_definition(jobs=[{"job": "job-b"}])
    desk.executions.asked.clear()
    with pytest.raises(RunInline, match="with its definition"):
        desk.retry()
    assert desk.executions.asked == []
    assert "run_id" not in desk.slot()


def test_a_run_after_which_a_later_one_succeeded_needs_no_retry() -> None:
    desk = Desk()
    desk.fail()
    desk.bench.clock.sleep(60)
    later = desk.start()["runs"][0]["run_id"]
    desk.succeed(later)
    with pytest.raises(RunSuperseded) as reported:
        desk.retry()
    assert reported.value.later == later


def half_done(definition: Definition = TWO_JOBS) -> Desk:
    """A run whose first job succeeded and that failed then."""
    desk = Desk(definition=definition)
    for job in (JOB, "job-b"):
        desk.bench.job(job).before(6000.0)
    assert desk.bench.go("job-0") == "SUCCEEDED"
    desk.fail()
    desk.bench.clock.sleep(60)
    return desk


def fails_later(desk: Desk, *, started: bool = True, pipeline: str = "otc") -> str:
    """A later run that starts its first job, which fails, or fails before it starts anything."""
    bench = desk.bench
    run_id = str(desk.start(pipeline, mode="FULL")["runs"][0]["run_id"])
    run = bench.records.get(run_id)
    loads = {load.step: {"kind": "complete", "tables": {}} for load in run.plan.loads}
    bench.records.note(run, {"status": RunStatus.RUNNING, "loads": loads}, bench.deadline())
    if started:
        bench.celonis.jobs[JOB].outcome = "FAIL"
        assert bench.go("job-0", run_id) == "JobFailed"
    desk.fail(run_id)
    bench.clock.sleep(60)
    return run_id


def skipped(desk: Desk, run_id: str) -> tuple[str, ...]:
    return tuple(desk.bench.records.get(run_id).item.get("skip", ()))


def test_a_retry_is_refused_once_a_later_run_has_started_what_it_would_skip() -> None:
    """It would load without extracting what the later run left half done."""
    desk = half_done()
    later = fails_later(desk)
    with pytest.raises(RunSuperseded, match=f"{later}.*{JOB}") as caught:
        desk.retry()
    assert (caught.value.later, caught.value.job) == (later, JOB)
    retried = desk.retry(later)["runs"][0]
    assert (retried["status"], skipped(desk, retried["run_id"])) == ("started", ())


def test_a_later_run_that_started_nothing_is_no_reason_against_a_retry() -> None:
    desk = half_done()
    fails_later(desk, started=False)
    assert skipped(desk, desk.retry()["runs"][0]["run_id"]) == (JOB,)


def test_a_retry_is_refused_once_another_pipeline_has_executed_what_it_would_skip() -> None:
    desk = half_done()
    desk.definitions["p2p"] = job_definition()
    fails_later(desk, pipeline="p2p")
    with pytest.raises(RunSuperseded, match=f"another pipeline.*{JOB}") as caught:
        desk.retry()
    assert (caught.value.later, caught.value.job) == (None, JOB)


def test_a_job_is_the_same_however_its_id_is_written() -> None:
    job = "0B8A1F2E-7C4D-4F6A-8E21-3A9D5C7B1E10"
    desk = Desk(definition=job_definition(jobs=[{"job": job}], loads=[{"data_model": MODEL}]))
    bench = desk.bench
    bench.job(job).before(6000.0)
    bench.celonis.jobs[job.lower()] = bench.celonis.jobs[job]
    assert bench.go("job-0") == "SUCCEEDED"
    bench.celonis.models[MODEL].outcome = "FAIL"
    assert bench.go("load-0") == "LoadFailed"
    desk.fail()
    bench.clock.sleep(60.0)
    bench.open(job_definition(jobs=[{"job": job.lower()}]), "p2p-1", "p2p")
    assert bench.go("job-0", "p2p-1") == "SUCCEEDED"
    with pytest.raises(RunSuperseded, match="another pipeline"):
        desk.retry()


def test_many_later_runs_are_all_considered() -> None:
    desk = half_done()
    later = fails_later(desk)
    for _ in range(45):
        fails_later(desk, started=False)
    with pytest.raises(RunSuperseded) as caught:
        desk.retry()
    assert caught.value.later == later


def test_a_retry_that_skips_nothing_may_follow_a_later_run_that_failed() -> None:
    desk = Desk()
    desk.fail()
    desk.bench.clock.sleep(60)
    fails_later(desk)
    assert desk.retry()["runs"][0]["status"] == "started"


@pytest.mark.parametrize(("age", "skips"), [(MAX_SKIP_AGE - 300, (JOB,)), (MAX_SKIP_AGE + 1, ())])
def test_what_is_older_than_a_day_is_executed_again(age: float, skips: tuple[str, ...]) -> None:
    desk = half_done()
    desk.bench.clock.sleep(age)
    run_id = desk.retry()["runs"][0]["run_id"]
    assert skipped(desk, run_id) == skips
    assert len(desk.bench.records.get(run_id).plan.jobs) == (1 if skips else 2)


def test_the_age_of_what_a_retry_of_a_retry_skips_counts_from_the_first_run() -> None:
    desk = half_done()
    desk.bench.clock.sleep(MAX_SKIP_AGE / 2)
    second = desk.retry()["runs"][0]["run_id"]
    desk.fail(second)
    desk.bench.clock.sleep(MAX_SKIP_AGE / 2)
    assert skipped(desk, desk.retry(second)["runs"][0]["run_id"]) == ()


def test_a_model_is_loaded_again_after_a_job_that_is_executed_again() -> None:
    desk = Desk(definition=TWO_JOBS)
    records, deadline = desk.bench.records, desk.bench.deadline()
    for step in ("job-0", "job-1", "load-0"):
        records.save_step(records.get(RUN), step, desk.done(), deadline)
    desk.end("FAILED", "States.Runtime", "Too many events.")
    desk.definitions["otc"] = job_definition(
        jobs=[{"job": JOB}, {"job": "job-c"}], loads=[{"data_model": "model-a"}]
    )
    plan = records.get(desk.retry()["runs"][0]["run_id"]).plan
    assert [job.job for job in plan.jobs] == ["job-c"]
    assert [load.data_model for load in plan.loads] == ["model-a"]


def test_the_freshness_of_a_retry_counts_from_the_oldest_job_that_it_skipped() -> None:
    desk = half_done()
    age = 5000
    desk.bench.clock.sleep(age)
    run_id = desk.retry()["runs"][0]["run_id"]
    records, deadline = desk.bench.records, desk.bench.deadline()
    records.save_step(records.get(run_id), "load-0", desk.done(), deadline)
    desk.succeed(run_id)
    fresh = desk.steering.show_pipeline("otc")["seconds_since_last_success"]
    assert fresh is not None
    assert fresh >= age


def test_a_retry_with_nothing_left_says_so() -> None:
    desk = Desk()
    desk.bench.records.save_step(desk.bench.records.get(RUN), "job-0", desk.done(), desk.bench.deadline())
    desk.end("FAILED", "States.Runtime", "Too many events.")
    run_id = desk.retry()["runs"][0]["run_id"]
    desk.succeed(run_id)
    assert desk.outcome(run_id) == f"Succeeded: nothing was left to do after run {RUN}."


def test_an_earlier_success_is_no_reason_against_a_retry() -> None:
    desk = Desk()
    desk.succeed(RUN)
    desk.bench.clock.sleep(60)
    failed = desk.start()["runs"][0]["run_id"]
    desk.executions.start(failed)
    desk.fail(failed)
    assert desk.retry(failed)["runs"][0]["status"] == "started"


def test_while_another_run_is_under_way_or_waits_a_retry_is_refused() -> None:
    desk = Desk()
    desk.fail()
    active = desk.start()["runs"][0]["run_id"]
    with pytest.raises(PipelineBusy, match=active):
        desk.retry()
    desk.paused = True
    waiting = desk.start()["runs"][0]["run_id"]
    desk.fail(active)
    with pytest.raises(PipelineBusy, match=waiting):
        desk.retry()
    assert desk.slot()["pending"]["run_id"] == waiting


def test_a_retry_cannot_wait_for_a_pause_to_be_lifted() -> None:
    desk = Desk()
    desk.fail()
    desk.definitions["otc"] = job_definition(paused=True)
    with pytest.raises(PipelinePaused):
        desk.retry()
    desk.definitions["otc"] = desk.definition
    assert desk.retry()["runs"][0]["status"] == "started"


def test_pipelines_are_listed_by_name() -> None:
    desk = Desk()
    desk.definitions |= {"b": TWO_JOBS, "a": TWO_JOBS}
    assert desk.steering.list_pipelines() == {"pipelines": ["a", "b", "otc"]}


def test_a_pipeline_tells_what_runs_what_waits_and_how_fresh_it_is() -> None:
    desk = Desk()
    desk.succeed(RUN)
    desk.bench.clock.sleep(90)
    active = desk.start()["runs"][0]["run_id"]
    waiting = desk.start(mode="DELTA")["runs"][0]["run_id"]
    stands = desk.steering.show_pipeline("otc")
    assert (stands["active_run"], stands["waiting"]["run_id"], stands["paused"]) == (active, waiting, False)
    assert stands["last_success"]["run_id"] == RUN
    assert stands["seconds_since_last_success"] == 90


def test_a_pipeline_that_never_ran_says_so_and_an_unknown_one_is_told() -> None:
    desk = Desk()
    desk.definitions["new"] = job_definition(paused=True)
    assert desk.steering.show_pipeline("new") == {
        "pipeline": "new",
        "paused": True,
        "active_run": None,
        "waiting": None,
        "last_success": None,
        "seconds_since_last_success": None,
    }
    with pytest.raises(UnknownPipeline):
        desk.steering.show_pipeline("none")
