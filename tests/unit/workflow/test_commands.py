"""Cancelling and retrying runs, and the status of pipelines."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.pipelines.definition import Definition, parse_inline
from celonis_refresh.pipelines.errors import UnknownPipeline
from celonis_refresh.runs.errors import PipelineBusy, PipelinePaused, RunClosed, RunNotFound, TableBusy
from celonis_refresh.runs.records import RunStatus, data_from
from celonis_refresh.steps.retry import MAX_SKIP_AGE
from celonis_refresh.workflow.commands import (
    MAX_LATER,
    PAGE,
    RunInline,
    RunOpen,
    RunSuperseded,
    RunTooOld,
)
from tests.fakes.dynamodb import client_error
from tests.fakes.service import JOB, MODEL, POOL, RUN, job_definition
from tests.unit.workflow.commands_harness import CALLER, CommandsHarness

TWO_JOBS = job_definition(jobs=[{"job": JOB}, {"job": "job-b"}], loads=[{"data_model": "model-a"}])


def cancelled(harness: CommandsHarness, run_id: str = RUN, *, drop: bool = False) -> dict[str, Any]:
    return harness.run_commands.cancel(run_id, CALLER, harness.service.deadline(), drop_pending=drop)


def test_a_cancel_stops_the_execution_and_records_the_caller() -> None:
    harness = CommandsHarness()
    assert cancelled(harness) == {"run_id": RUN, "status": "cancelling"}
    execution = harness.executions.known[RUN]
    assert (execution.status, execution.error) == ("ABORTED", "Canceled")
    assert CALLER in execution.cause
    assert harness.status(RUN) is RunStatus.RUNNING
    harness.close()
    assert harness.status(RUN) is RunStatus.ABORTED


def test_a_run_whose_execution_never_began_can_be_cancelled() -> None:
    harness = CommandsHarness()
    harness.executions.known.clear()
    cancelled(harness)
    assert harness.executions.known[RUN].status == "ABORTED"


@pytest.mark.parametrize("drop", [True, False])
def test_a_pending_run_is_dropped_only_on_request(*, drop: bool) -> None:
    harness = CommandsHarness()
    harness.join("otc-2")
    reported = cancelled(harness, drop=drop)
    assert ("dropped" in reported) == drop
    assert ("pending" in harness.slot()) != drop
    if drop:
        assert reported["dropped"]["run_id"] == "otc-2"
    harness.close()
    assert harness.status("otc-2") is (None if drop else RunStatus.OPENING)


def test_a_dropped_run_is_reported_even_if_the_response_of_the_write_was_lost() -> None:
    """Sent again, the write is refused by its own first try."""
    harness = CommandsHarness()
    harness.join("otc-2")
    harness.service.dynamodb.lose_answer("UpdateItem")
    assert cancelled(harness, drop=True)["dropped"]["run_id"] == "otc-2"
    assert "pending" not in harness.slot()


def test_nothing_is_dropped_where_nothing_waits() -> None:
    assert "dropped" not in cancelled(CommandsHarness(), drop=True)


def test_a_trigger_that_joins_at_that_moment_is_not_dropped_unseen() -> None:
    harness = CommandsHarness()
    harness.join("otc-2")
    harness.service.dynamodb.interleave("UpdateItem", lambda: harness.start(mode="FULL"))
    with pytest.raises(TableBusy):
        cancelled(harness, drop=True)
    assert harness.executions.known[RUN].status == "RUNNING"
    assert cancelled(harness, drop=True)["dropped"]["options"]["mode"] == "FULL"


def behind_a_pause(harness: CommandsHarness) -> str:
    """The id of the pending run in a free slot until the pause ends."""
    harness.end("SUCCEEDED")
    harness.definitions["otc"] = job_definition(paused=True)
    return str(harness.start(mode="FULL")["runs"][0]["run_id"])


def test_a_run_that_waits_is_shown_with_what_it_waits_for() -> None:
    harness = CommandsHarness()
    run_id = harness.start(mode="FULL")["runs"][0]["run_id"]
    shown = harness.show(run_id)
    assert (shown["run_id"], shown["pipeline"], shown["status"]) == (run_id, "otc", "WAITING")
    assert (shown["waiting_for_run"], shown["options"]["mode"]) == (RUN, "FULL")
    harness.end("SUCCEEDED")
    assert harness.show(run_id)["status"] == "OPENING"


def test_a_run_that_waits_for_the_end_of_a_pause_waits_for_no_run() -> None:
    harness = CommandsHarness()
    shown = harness.show(behind_a_pause(harness))
    assert (shown["status"], shown["waiting_for_run"]) == ("WAITING", None)


@pytest.mark.parametrize("run_id", ["none", "otc-7", "otc", "no name-20260101T000000Z-00000000", "x" * 3000])
def test_a_run_that_neither_started_nor_is_pending_is_not_found(run_id: str) -> None:
    harness = CommandsHarness()
    harness.join("otc-2")
    with pytest.raises(RunNotFound):
        harness.show(run_id)


def test_a_run_that_begins_between_two_reads_is_shown_as_one_that_began() -> None:
    harness = CommandsHarness()
    harness.join("otc-2")
    harness.service.dynamodb.interleave("GetItem", lambda: harness.end("SUCCEEDED"), key="slot#otc")
    assert harness.show("otc-2")["status"] == "OPENING"


def test_a_pending_run_is_dropped_by_its_id_and_the_current_run_continues() -> None:
    harness = CommandsHarness()
    harness.join("otc-2")
    reported = cancelled(harness, "otc-2")
    assert (reported["run_id"], reported["status"]) == ("otc-2", "dropped")
    assert harness.executions.known[RUN].status == "RUNNING"
    with pytest.raises(RunNotFound):
        harness.show("otc-2")
    harness.end("SUCCEEDED")
    assert harness.status("otc-2") is None


@pytest.mark.parametrize("behind", [True, False])
def test_the_log_names_the_caller_who_dropped_a_pending_run(
    *, behind: bool, caplog: pytest.LogCaptureFixture
) -> None:
    harness = CommandsHarness()
    waiting = harness.start(reason="because")["runs"][0]["run_id"]
    (reason,) = harness.show(waiting)["options"]["reasons"]
    cancelled(harness, RUN if behind else waiting, drop=behind)
    (line,) = (vars(record) for record in caplog.records if "is dropped" in record.message)
    assert (line["levelname"], line["run_id"], line["caller"]) == ("WARNING", waiting, CALLER)
    assert line["triggers"] == [reason["trigger"]]


def test_a_run_that_waits_for_the_end_of_a_pause_is_dropped_by_its_id() -> None:
    harness = CommandsHarness()
    run_id = behind_a_pause(harness)
    assert cancelled(harness, run_id)["options"]["mode"] == "FULL"
    harness.definitions["otc"] = job_definition()
    harness.round()
    assert harness.status(run_id) is None
    assert harness.start()["runs"][0]["status"] == "started"


def test_a_run_that_starts_while_it_is_dropped_can_still_be_cancelled() -> None:
    harness = CommandsHarness()
    harness.join("otc-2")
    harness.service.dynamodb.interleave("UpdateItem", lambda: harness.end("SUCCEEDED"))
    with pytest.raises(TableBusy):
        cancelled(harness, "otc-2")
    assert cancelled(harness, "otc-2")["status"] == "cancelling"


def test_a_run_that_waits_is_not_retried() -> None:
    harness = CommandsHarness()
    harness.join("otc-2")
    with pytest.raises(RunOpen, match="WAITING"):
        harness.retry("otc-2")


def test_only_a_run_that_is_open_can_be_cancelled() -> None:
    harness = CommandsHarness()
    with pytest.raises(RunNotFound):
        cancelled(harness, "none")
    harness.fail()
    with pytest.raises(RunClosed):
        cancelled(harness)


def test_a_retry_leaves_out_what_succeeded_and_follows_the_definition_of_today() -> None:
    harness = CommandsHarness(definition=TWO_JOBS)
    records, deadline = harness.service.records, harness.service.deadline()
    records.save_step(records.get(RUN), "job-0", harness.done(), deadline)
    harness.fail()
    harness.definitions["otc"] = job_definition(jobs=[{"job": JOB}, {"job": "job-b"}, {"job": "job-c"}])
    reported = harness.retry()
    (run,) = reported["runs"]
    assert (reported["retry_of"], run["status"], run["pipeline"]) == (RUN, "started", "otc")
    assert "duplicate" not in reported
    plan = harness.service.records.get(run["run_id"]).plan
    assert [job.job for job in plan.jobs] == ["job-b", "job-c"]
    assert harness.executions.start_requests == [run["run_id"]]


def test_a_retry_recognizes_a_repeated_job_in_any_spelling() -> None:
    uuid = "a1b2c3d4-0001-4e5f-8a9b-0c1d2e3f4a5b"
    harness = CommandsHarness(
        definition=job_definition(jobs=[{"job": uuid}, {"job": uuid.upper()}, {"job": "last"}])
    )
    records, deadline = harness.service.records, harness.service.deadline()
    records.save_step(records.get(RUN), "job-0", {"outcome": "SUCCEEDED", "ended_at": "-"}, deadline)
    harness.fail()
    plan = records.get(harness.retry()["runs"][0]["run_id"]).plan
    assert [job.job for job in plan.jobs] == [uuid, uuid.upper(), "last"]


def test_a_retry_of_a_retry_leaves_out_what_both_did() -> None:
    harness = CommandsHarness(definition=TWO_JOBS)
    records, deadline = harness.service.records, harness.service.deadline()
    done = harness.done()
    records.save_step(records.get(RUN), "job-0", done, deadline)
    harness.fail()
    second = harness.retry()["runs"][0]["run_id"]
    records.save_step(records.get(second), "job-0", done, deadline)
    harness.fail(second)
    third = harness.retry(second)["runs"][0]["run_id"]
    plan = records.get(third).plan
    assert ([job.job for job in plan.jobs], [load.data_model for load in plan.loads]) == ([], ["model-a"])


def test_a_retry_keeps_the_options_and_names_its_run_and_caller() -> None:
    harness = CommandsHarness(definition=job_definition(loads=[{"data_model": MODEL}]))
    harness.fail()
    wanted = harness.start(mode="FULL", tables="all")["runs"][0]["run_id"]
    harness.fail(wanted)
    run = harness.service.records.get(harness.retry(wanted)["runs"][0]["run_id"])
    (reason,) = run.options.reasons
    assert (run.options.mode, run.options.complete, reason.by) == ("FULL", True, CALLER)
    assert wanted in reason.text


def test_a_retry_of_merged_triggers_drops_what_one_of_them_got_wrong_again() -> None:
    harness = CommandsHarness(definition=job_definition(loads=[{"data_model": MODEL}]))
    wanted = [harness.start(tables=[name])["runs"][0]["run_id"] for name in ("NO_SUCH", "ORDERS")]
    harness.fail()
    harness.fail(wanted[0])
    run = harness.service.records.get(harness.retry(wanted[0])["runs"][0]["run_id"])
    assert (run.plan.may_drop, run.plan.requested) == (True, ("NO_SUCH", "ORDERS"))


def test_asked_twice_a_retry_is_one_run_also_after_its_end_and_in_a_pause() -> None:
    harness = CommandsHarness()
    harness.fail()
    (run,) = harness.retry()["runs"]
    again = {"retry_of": RUN, "runs": [{**run, "status": "duplicate"}], "duplicate": True}
    assert harness.retry() == again
    harness.succeed(run["run_id"])
    assert harness.retry() == again
    harness.definitions["otc"] = job_definition(paused=True)
    assert harness.retry() == again


def test_a_run_that_was_retried_names_its_retry() -> None:
    harness = CommandsHarness()
    assert "retried_by" not in harness.show(RUN)
    harness.fail()
    assert "retried_by" not in harness.show(RUN)
    (run,) = harness.retry()["runs"]
    assert harness.show(RUN)["retried_by"] == run["run_id"]
    assert "retried_by" not in harness.show(run["run_id"])
    harness.succeed(run["run_id"])
    assert "retried_by" not in harness.show(run["run_id"])


def test_a_run_says_whether_a_retry_can_succeed() -> None:
    harness = CommandsHarness(definition=TWO_JOBS)
    assert "can_retry" not in harness.show(RUN)
    harness.fail()
    assert harness.show(RUN)["can_retry"] is True
    other = str(harness.start(tables=["NOSUCH"])["runs"][0]["run_id"])
    harness.end("FAILED", "UnknownTable", "Table NOSUCH does not exist.", other)
    assert harness.show(other)["can_retry"] is False


def test_asked_again_a_retry_finishes_what_a_crash_left_undone() -> None:
    harness = CommandsHarness()
    harness.fail()

    def fails(name: str, when: str) -> None:
        raise client_error("ThrottlingException", name)

    harness.executions.hook = fails
    run_id = harness.retry()["runs"][0]["run_id"]
    assert run_id not in harness.executions.known
    harness.executions.hook = lambda name, when: None
    harness.retry()
    assert harness.executions.known[run_id].status == "RUNNING"


def test_a_run_that_is_open_or_succeeded_or_unknown_cannot_be_retried() -> None:
    harness = CommandsHarness()
    with pytest.raises(RunOpen):
        harness.retry()
    with pytest.raises(RunNotFound):
        harness.retry("none")
    harness.succeed(RUN)
    with pytest.raises(RunClosed):
        harness.retry()


def test_a_run_of_an_inline_definition_is_not_retried_as_the_pipeline_of_its_name() -> None:
    inline = {"name": "otc", "data_pool": POOL, "jobs": [{"job": JOB}]}
    harness = CommandsHarness(definition=parse_inline(inline))
    harness.fail()
    harness.definitions["otc"] = job_definition(jobs=[{"job": "job-b"}])
    harness.executions.start_requests.clear()
    with pytest.raises(RunInline, match="with its definition"):
        harness.retry()
    assert harness.executions.start_requests == []
    assert "run_id" not in harness.slot()


def test_a_run_after_which_a_later_one_succeeded_needs_no_retry() -> None:
    harness = CommandsHarness()
    harness.fail()
    harness.service.clock.sleep(60)
    later = harness.start()["runs"][0]["run_id"]
    harness.succeed(later)
    with pytest.raises(RunSuperseded) as reported:
        harness.retry()
    assert reported.value.later == later


def half_done(definition: Definition = TWO_JOBS) -> CommandsHarness:
    """A run whose first job succeeded and that failed then."""
    harness = CommandsHarness(definition=definition)
    for job in (JOB, "job-b"):
        harness.service.job(job).add_past_start(6000.0)
    assert harness.service.run_step("job-0") == "SUCCEEDED"
    harness.fail()
    harness.service.clock.sleep(60)
    return harness


def fails_later(harness: CommandsHarness, *, started: bool = True, pipeline: str = "otc") -> str:
    """A later run that starts its first job, which fails, or fails before it starts anything."""
    service = harness.service
    run_id = str(harness.start(pipeline, mode="FULL")["runs"][0]["run_id"])
    run = service.records.get(run_id)
    loads = {load.step: {"kind": "complete", "tables": {}} for load in run.plan.loads}
    service.records.set_facts(run, {"status": RunStatus.RUNNING, "loads": loads}, service.deadline())
    if started:
        service.celonis.jobs[JOB].outcome = "FAIL"
        assert service.run_step("job-0", run_id) == "JobFailed"
    harness.fail(run_id)
    service.clock.sleep(60)
    return run_id


def skipped(harness: CommandsHarness, run_id: str) -> tuple[str, ...]:
    return tuple(harness.service.records.get(run_id).item.get("skip", ()))


def test_a_retry_is_refused_once_a_later_run_has_started_what_it_would_skip() -> None:
    """It would load without extracting what the later run left half done."""
    harness = half_done()
    later = fails_later(harness)
    with pytest.raises(RunSuperseded, match=f"{later}.*{JOB}") as caught:
        harness.retry()
    assert (caught.value.later, caught.value.job) == (later, JOB)
    retried = harness.retry(later)["runs"][0]
    assert (retried["status"], skipped(harness, retried["run_id"])) == ("started", ())


def test_a_later_run_that_started_nothing_is_no_reason_against_a_retry() -> None:
    harness = half_done()
    fails_later(harness, started=False)
    assert skipped(harness, harness.retry()["runs"][0]["run_id"]) == (JOB,)


def test_a_retry_is_refused_once_another_pipeline_has_executed_what_it_would_skip() -> None:
    harness = half_done()
    harness.definitions["p2p"] = job_definition()
    fails_later(harness, pipeline="p2p")
    with pytest.raises(RunSuperseded, match=f"another pipeline.*{JOB}") as caught:
        harness.retry()
    assert (caught.value.later, caught.value.job) == (None, JOB)


def test_a_retry_is_refused_while_another_pipeline_executes_what_it_would_skip() -> None:
    harness = half_done()
    service = harness.service
    service.open(job_definition(), "p2p-1", "p2p")
    assert service.start("job-0", "p2p-1")["status"] == "RUNNING"
    with pytest.raises(RunSuperseded, match=f"another pipeline.*{JOB}") as caught:
        harness.retry()
    assert (caught.value.later, caught.value.job) == (None, JOB)


def test_a_run_that_waits_to_start_a_job_supersedes_nothing() -> None:
    harness = half_done()
    service = harness.service
    service.open(job_definition(), "p2p-1", "p2p")
    service.celonis.jobs[JOB].begin(mine=False, at=service.clock.now, seconds=600.0, outcome="SUCCESS")
    assert service.start("job-0", "p2p-1")["status"] == "WAITING"
    assert skipped(harness, harness.retry()["runs"][0]["run_id"]) == (JOB,)


def test_a_retry_of_a_retry_is_refused_once_another_pipeline_has_executed_what_both_skip() -> None:
    harness = half_done()
    service = harness.service
    retried = harness.retry()["runs"][0]["run_id"]
    assert skipped(harness, retried) == (JOB,)
    harness.fail(retried)
    service.open(job_definition(), "p2p-1", "p2p")
    service.celonis.jobs[JOB].outcome = "FAIL"
    assert service.run_step("job-0", "p2p-1") == "JobFailed"
    with pytest.raises(RunSuperseded, match=f"another pipeline.*{JOB}"):
        harness.retry(retried)


def test_a_job_that_was_left_running_is_waited_for_though_another_pipeline_executed_it_before() -> None:
    harness = CommandsHarness()
    service = harness.service
    service.open(job_definition(), "p2p-1", "p2p")
    assert service.run_step("job-0", "p2p-1") == "SUCCEEDED"
    service.clock.sleep(300.0)
    service.celonis.jobs[JOB].seconds = 1e6
    service.start("job-0")
    service.clock.sleep(30.0)
    service.check("job-0")
    harness.end("FAILED", "Lambda.Unknown", "AWS ended it.")
    retried = harness.retry()["runs"][0]["run_id"]
    service.records.set_facts(service.records.get(retried), {"loads": {}}, service.deadline())
    assert service.start("job-0", retried)["status"] == "RUNNING"
    assert service.state("job-0", retried)["resumed_from"] == RUN


def test_a_job_is_the_same_however_its_id_is_written() -> None:
    job = "0B8A1F2E-7C4D-4F6A-8E21-3A9D5C7B1E10"
    harness = CommandsHarness(definition=job_definition(jobs=[{"job": job}], loads=[{"data_model": MODEL}]))
    service = harness.service
    service.job(job).add_past_start(6000.0)
    service.celonis.jobs[job.lower()] = service.celonis.jobs[job]
    assert service.run_step("job-0") == "SUCCEEDED"
    service.celonis.models[MODEL].outcome = "FAIL"
    assert service.run_step("load-0") == "LoadFailed"
    harness.fail()
    service.clock.sleep(60.0)
    service.open(job_definition(jobs=[{"job": job.lower()}]), "p2p-1", "p2p")
    assert service.run_step("job-0", "p2p-1") == "SUCCEEDED"
    with pytest.raises(RunSuperseded, match="another pipeline"):
        harness.retry()


def test_many_later_runs_are_all_considered() -> None:
    harness = half_done()
    later = fails_later(harness)
    for _ in range(45):
        fails_later(harness, started=False)
    with pytest.raises(RunSuperseded) as caught:
        harness.retry()
    assert caught.value.later == later


def test_a_run_that_very_many_followed_is_not_retried() -> None:
    harness = half_done()
    for _ in range(MAX_LATER + PAGE):
        fails_later(harness, started=False)
    harness.service.dynamodb.calls.clear()
    with pytest.raises(RunTooOld, match=f"more than {MAX_LATER} runs"):
        harness.retry()
    assert harness.service.dynamodb.calls.count("Query") == MAX_LATER // PAGE


def test_a_retry_that_skips_nothing_may_follow_a_later_run_that_failed() -> None:
    harness = CommandsHarness()
    harness.fail()
    harness.service.clock.sleep(60)
    fails_later(harness)
    assert harness.retry()["runs"][0]["status"] == "started"


@pytest.mark.parametrize(("age", "skips"), [(MAX_SKIP_AGE - 300, (JOB,)), (MAX_SKIP_AGE + 1, ())])
def test_what_is_older_than_a_day_is_executed_again(age: float, skips: tuple[str, ...]) -> None:
    harness = half_done()
    harness.service.clock.sleep(age)
    run_id = harness.retry()["runs"][0]["run_id"]
    assert skipped(harness, run_id) == skips
    assert len(harness.service.records.get(run_id).plan.jobs) == (1 if skips else 2)


def test_the_age_of_what_a_retry_of_a_retry_skips_counts_from_the_first_run() -> None:
    harness = half_done()
    harness.service.clock.sleep(MAX_SKIP_AGE / 2)
    second = harness.retry()["runs"][0]["run_id"]
    harness.fail(second)
    harness.service.clock.sleep(MAX_SKIP_AGE / 2)
    assert skipped(harness, harness.retry(second)["runs"][0]["run_id"]) == ()


def test_a_model_is_loaded_again_after_a_job_that_is_executed_again() -> None:
    harness = CommandsHarness(definition=TWO_JOBS)
    records, deadline = harness.service.records, harness.service.deadline()
    for step in ("job-0", "job-1", "load-0"):
        records.save_step(records.get(RUN), step, harness.done(), deadline)
    harness.end("FAILED", "States.Runtime", "Too many events.")
    harness.definitions["otc"] = job_definition(
        jobs=[{"job": JOB}, {"job": "job-c"}], loads=[{"data_model": "model-a"}]
    )
    plan = records.get(harness.retry()["runs"][0]["run_id"]).plan
    assert [job.job for job in plan.jobs] == ["job-c"]
    assert [load.data_model for load in plan.loads] == ["model-a"]


def test_the_freshness_of_a_retry_counts_from_the_oldest_job_that_it_skipped() -> None:
    harness = half_done()
    age = 5000
    harness.service.clock.sleep(age)
    run_id = harness.retry()["runs"][0]["run_id"]
    records, deadline = harness.service.records, harness.service.deadline()
    records.save_step(records.get(run_id), "load-0", harness.done(), deadline)
    harness.succeed(run_id)
    fresh = harness.run_commands.show_pipeline("otc", harness.service.deadline())[
        "seconds_since_last_success"
    ]
    assert fresh is not None
    assert fresh >= age
    state = harness.service.table.get("pipeline#otc") or {}
    assert state["last_success_started_at"] == data_from(records.get(RUN).item)


def test_a_retry_with_nothing_left_says_so() -> None:
    harness = CommandsHarness()
    harness.service.records.save_step(
        harness.service.records.get(RUN), "job-0", harness.done(), harness.service.deadline()
    )
    harness.end("FAILED", "States.Runtime", "Too many events.")
    run_id = harness.retry()["runs"][0]["run_id"]
    harness.succeed(run_id)
    assert harness.outcome(run_id) == f"Nothing was left to do after run {RUN}."


def test_an_earlier_success_is_no_reason_against_a_retry() -> None:
    harness = CommandsHarness()
    harness.succeed(RUN)
    harness.service.clock.sleep(60)
    failed = harness.start()["runs"][0]["run_id"]
    harness.executions.start(failed)
    harness.fail(failed)
    assert harness.retry(failed)["runs"][0]["status"] == "started"


def test_while_another_run_is_running_or_pending_a_retry_is_refused() -> None:
    harness = CommandsHarness()
    harness.fail()
    active = harness.start()["runs"][0]["run_id"]
    with pytest.raises(PipelineBusy, match=active):
        harness.retry()
    harness.paused = True
    waiting = harness.start()["runs"][0]["run_id"]
    harness.fail(active)
    with pytest.raises(PipelineBusy, match=waiting):
        harness.retry()
    assert harness.slot()["pending"]["run_id"] == waiting


def test_a_retry_cannot_wait_for_a_pause_to_be_lifted() -> None:
    harness = CommandsHarness()
    harness.fail()
    harness.definitions["otc"] = job_definition(paused=True)
    with pytest.raises(PipelinePaused):
        harness.retry()
    harness.definitions["otc"] = harness.definition
    assert harness.retry()["runs"][0]["status"] == "started"


def test_pipelines_are_listed_by_name() -> None:
    harness = CommandsHarness()
    harness.definitions |= {"b": TWO_JOBS, "a": TWO_JOBS}
    listed = harness.run_commands.list_pipelines({}, harness.service.deadline())
    assert listed == {"pipelines": ["a", "b", "otc"], "freshness": {}, "next": None}


def test_a_pipeline_shows_what_runs_what_waits_and_how_fresh_it_is() -> None:
    harness = CommandsHarness()
    harness.succeed(RUN)
    harness.service.clock.sleep(90)
    active = harness.start()["runs"][0]["run_id"]
    waiting = harness.start(mode="DELTA")["runs"][0]["run_id"]
    stands = harness.run_commands.show_pipeline("otc", harness.service.deadline())
    assert (stands["active_run"], stands["waiting"]["run_id"], stands["paused"]) == (active, waiting, False)
    assert stands["last_success"]["run_id"] == RUN
    assert stands["seconds_since_last_success"] == 90


def test_a_pipeline_that_never_ran_says_so_and_an_unknown_one_is_reported() -> None:
    harness = CommandsHarness()
    harness.definitions["new"] = job_definition(paused=True)
    assert harness.run_commands.show_pipeline("new", harness.service.deadline()) == {
        "pipeline": "new",
        "paused": True,
        "pause": None,
        "active_run": None,
        "waiting": None,
        "last_success": None,
        "seconds_since_last_success": None,
        "freshness": None,
        "expected_seconds": None,
    }
    with pytest.raises(UnknownPipeline):
        harness.run_commands.show_pipeline("none", harness.service.deadline())


def test_a_retry_says_what_triggered_the_first_run() -> None:
    harness = CommandsHarness()
    harness.fail(RUN)
    first = str(harness.start(reason="month end")["runs"][0]["run_id"])
    harness.fail(first)
    second = str(harness.retry(first)["runs"][0]["run_id"])
    harness.fail(second)
    third = str(harness.retry(second)["runs"][0]["run_id"])
    texts = [harness.service.records.get(each).options.reasons[0].text for each in (second, third)]
    origin = f"; the first run was triggered by {CALLER}: month end"
    assert texts == [f"retry of {first}{origin}", f"retry of {second}{origin}"]
