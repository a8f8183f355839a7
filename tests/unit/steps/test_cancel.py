"""What a run that ended early left behind at Celonis: cancelled where it is ours, and always told."""

from __future__ import annotations

import pytest

from celonis_refresh.celonis.errors import CelonisError
from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.records import Run
from celonis_refresh.steps.cancel import CancelFindings, StepCanceller
from celonis_refresh.steps.target import StepTarget
from tests.fakes.celonis import Lane, denied, throttled, unavailable
from tests.fakes.service import JOB, MODEL, RUN, ServiceHarness, job_definition, load_definition
from tests.unit.steps.outgoing import JOB_LEASE, MODEL_LEASE, Outgoing, cancels, for_good, starts
from tests.unit.workflow.close_harness import CLOSE_SECONDS

FOREVER = 1e9
OURS = "Data job job-a"


def left(definition: Definition | None = None, **lane: float) -> ServiceHarness:
    """A run over one job and one model that ran before."""
    bench = ServiceHarness()
    bench.open(definition or job_definition())
    for made in (bench.job(), bench.model()):
        made.before(6000.0)
        for name, value in {"seconds": FOREVER, **lane}.items():
            setattr(made, name, value)
    return bench


def started(definition: Definition | None = None, step: str = "job-0", **lane: float) -> ServiceHarness:
    bench = left(definition, **lane)
    bench.start(step)
    bench.clock.sleep(5.0)
    bench.check(step)
    return bench


def stop(bench: ServiceHarness, seconds: float = CLOSE_SECONDS) -> CancelFindings:
    stopping = StepCanceller(bench.target_for, bench.clock, bench.clock.sleep)
    return stopping.stop(bench.records.get(RUN), bench.deadline(seconds))


def until_it_shows(bench: ServiceHarness) -> dict[str, float]:
    """The lease of the job, and the moment from which every reading shows what was seen by now."""
    return {JOB_LEASE: bench.clock.now + bench.records.get(RUN).definition.settle}


def job(bench: ServiceHarness) -> Lane:
    return bench.celonis.jobs[JOB]


def test_a_job_that_is_ours_is_looked_at_cancelled_and_seen_to_end() -> None:
    bench = started()
    out = Outgoing(bench)
    findings = stop(bench)
    assert out.calls[:2] == ["job", "cancel_job"]
    assert out.calls[-1] in ("job", "executions")
    assert findings.sentences == [f"{OURS} was cancelled (CANCEL)."]
    assert (findings.free, cancels(bench)) == ([JOB_LEASE], [JOB])


def observed(bench: ServiceHarness) -> CancelFindings:
    """What is found of a run that failed: nothing is cancelled."""
    stopping = StepCanceller(bench.target_for, bench.clock, bench.clock.sleep)
    return stopping.stop(bench.records.get(RUN), bench.deadline(CLOSE_SECONDS), cancel=False)


def test_of_a_run_that_failed_nothing_is_cancelled() -> None:
    bench = started()
    sentence = f"{OURS} keeps running: its run failed, but was not stopped. A retry waits for it."
    assert observed(bench) == CancelFindings([sentence], [], held=until_it_shows(bench))
    assert cancels(bench) == []


def test_what_had_ended_when_its_run_failed_frees_its_lease() -> None:
    bench = started(seconds=30.0)
    bench.clock.sleep(60.0)
    findings = observed(bench)
    assert (findings.sentences, findings.free) == ([f"{OURS} had ended (SUCCESS)."], [JOB_LEASE])


def test_a_start_that_is_not_shown_yet_when_its_run_failed_is_not_waited_for() -> None:
    bench = left()
    job(bench).lags.draws = (60.0,)
    job(bench).lags.__post_init__()
    bench.start("job-0")
    began = bench.clock.now
    findings = observed(bench)
    assert (findings.free, findings.held) == ([], until_it_shows(bench))
    assert bench.clock.now - began < 5.0


def test_a_run_that_never_started_anything_asks_celonis_nothing() -> None:
    bench = left(job_definition(loads=[{"data_model": MODEL}]))
    assert stop(bench) == CancelFindings([], [JOB_LEASE, MODEL_LEASE])
    assert bench.celonis.sent == []


def test_a_step_that_has_ended_is_not_looked_at() -> None:
    bench = started(seconds=10.0)
    assert bench.go("job-0") == "SUCCEEDED"
    bench.celonis.sent.clear()
    assert stop(bench) == CancelFindings([], [JOB_LEASE])
    assert bench.celonis.sent == []


def test_a_lease_that_an_ended_step_left_held_stays_held() -> None:
    bench = started()
    bench.celonis.faults["job"] = [denied()] * 100
    assert bench.go("job-0") == "PermissionDenied"
    assert stop(bench) == CancelFindings([], [], held=until_it_shows(bench))


def test_a_start_that_celonis_refused_left_nothing() -> None:
    bench = left()
    bench.celonis.faults["execute_job"] = ["refused"]
    bench.start("job-0")
    bench.celonis.sent.clear()
    assert stop(bench) == CancelFindings([], [JOB_LEASE])
    assert bench.celonis.sent == []


def test_what_had_ended_by_itself_is_not_cancelled() -> None:
    bench = started(seconds=30.0)
    bench.clock.sleep(60.0)
    findings = stop(bench)
    assert (findings.sentences, findings.free) == ([f"{OURS} had ended (SUCCESS)."], [JOB_LEASE])
    assert findings.held == {}
    assert [evidence.ours for evidence in findings.ended.values()] == [job(bench).mine[0].id]
    assert cancels(bench) == []


def test_somebody_elses_execution_is_never_cancelled() -> None:
    bench = left(job_definition(settle=30))
    bench.celonis.faults["execute_job"] = ["nothing"]
    bench.start("job-0")
    bench.clock.sleep(40.0)
    sentence = f"{OURS} was left alone: it is not proven that ours is running."
    assert stop(bench) == CancelFindings([sentence], [], held=until_it_shows(bench))
    assert cancels(bench) == []


def test_a_start_that_is_on_its_way_is_waited_for_and_then_cancelled() -> None:
    bench = left()
    job(bench).lags.draws = (6.0,)
    job(bench).lags.__post_init__()
    bench.start("job-0")
    findings = stop(bench)
    assert findings.sentences == [f"{OURS} was cancelled (CANCEL)."]
    assert bench.celonis.names().index("cancel_job") > 4


def test_a_start_that_provably_did_not_take_place_is_told_so() -> None:
    bench = left(job_definition(settle=20))
    bench.celonis.faults["execute_job"] = ["before"]
    bench.start("job-0")
    assert stop(bench) == CancelFindings([f"{OURS} had not been started."], [JOB_LEASE])
    assert len(starts(bench)) == 1


def test_a_job_runs_on_where_the_pipeline_says_not_to_cancel_it() -> None:
    bench = started(job_definition(cancel_on_stop=False))
    sentence = f"{OURS} runs on: the pipeline says not to cancel it."
    assert stop(bench) == CancelFindings([sentence], [], held=until_it_shows(bench))
    assert cancels(bench) == []


def test_a_load_is_left_to_end_and_its_lease_held() -> None:
    bench = started(load_definition(), "load-0")
    findings = stop(bench)
    subject = "The load of data model model-a"
    assert findings.sentences == [f"{subject} runs on: no call is known that cancels a load."]
    assert (findings.free, cancels(bench)) == ([], [])


def inner_load() -> Definition:
    return job_definition(loads=[{"data_model": MODEL, "started_by": "job"}])


def test_a_load_that_the_job_may_have_started_holds_its_lease_while_the_model_is_busy() -> None:
    bench = started(inner_load())
    bench.celonis.models[MODEL].begin(mine=False, at=bench.clock.now, seconds=FOREVER, outcome="SUCCESS")
    findings = stop(bench)
    assert findings.sentences[1].endswith("runs on: no call is known that cancels a load.")
    assert findings.free == [JOB_LEASE]


def test_a_load_of_the_job_that_is_not_shown_holds_its_lease_until_it_would_be() -> None:
    bench = started(inner_load())
    findings = stop(bench)
    assert (findings.sentences, findings.free) == ([f"{OURS} was cancelled (CANCEL)."], [JOB_LEASE])
    assert findings.held[MODEL_LEASE] > bench.clock.now


def test_a_load_of_the_job_that_has_ended_frees_its_lease() -> None:
    bench = started(inner_load())
    bench.celonis.models[MODEL].begin(mine=True, at=bench.clock.now, seconds=0.1, outcome="SUCCESS")
    bench.clock.sleep(1.0)
    assert stop(bench).free == [JOB_LEASE, MODEL_LEASE]


@pytest.mark.parametrize("trouble", [unavailable(), throttled(1.0)], ids=lambda trouble: trouble.name)
def test_a_cancel_whose_answer_was_lost_is_sent_again(trouble: CelonisError) -> None:
    bench = started()
    bench.celonis.faults["cancel_job"] = [trouble]
    assert stop(bench).sentences == [f"{OURS} was cancelled (CANCEL)."]
    assert cancels(bench) == [JOB]


def test_a_cancel_that_celonis_ignores_is_told_and_the_lease_held() -> None:
    bench = started(cancel_seconds=FOREVER)
    began = bench.clock.now
    sentence = f"{OURS} was asked to cancel and has not ended yet."
    assert stop(bench) == CancelFindings([sentence], [], held=until_it_shows(bench), cancelling=["job-0"])
    assert bench.clock.now - began <= CLOSE_SECONDS
    assert cancels(bench) == [JOB]


def test_a_job_that_ends_by_itself_while_it_is_cancelled_is_told_so() -> None:
    bench = started(seconds=15.0, cancel_seconds=FOREVER)
    assert stop(bench).sentences == [f"{OURS} ended by itself (SUCCESS)."]


@pytest.mark.parametrize("error", for_good(), ids=lambda error: error.name)
def test_a_poll_that_celonis_refuses_once_is_repeated(error: CelonisError) -> None:
    bench = started()
    bench.celonis.faults["job"] = [error]
    assert stop(bench).sentences == [f"{OURS} was cancelled (CANCEL)."]
    assert cancels(bench) == [JOB]


def test_polls_that_celonis_refuses_for_longer_than_settle_are_told_and_the_lease_held() -> None:
    bench = started(job_definition(settle=20))
    bench.celonis.faults["job"] = [denied()] * 200
    began = bench.clock.now
    findings = stop(bench)
    assert 20.0 <= bench.clock.now - began < 40.0
    assert findings.sentences == ["What became of job-0 could not be determined: Denied. Permission needed."]
    assert findings.free == []


def test_polls_that_celonis_refuses_are_told_within_the_time_there_is() -> None:
    bench = started(job_definition(settle=3600))
    bench.celonis.faults["job"] = [denied()] * 400
    began = bench.clock.now
    findings = stop(bench)
    assert bench.clock.now - began <= CLOSE_SECONDS
    assert findings.sentences == ["What became of job-0 could not be determined: Denied. Permission needed."]
    assert findings.free == []


def test_a_cancel_that_celonis_refuses_is_told_and_the_lease_held() -> None:
    bench = started()
    bench.celonis.faults["cancel_job"] = [denied()] * 10
    sentence = f"{OURS} could not be asked to cancel (last: Denied. Permission needed); it runs on."
    assert stop(bench) == CancelFindings([sentence], [], held=until_it_shows(bench))
    assert len(bench.celonis.faults["cancel_job"]) == 8


@pytest.mark.parametrize("refusal", for_good(), ids=lambda error: error.name)
def test_a_cancel_that_celonis_refuses_once_is_sent_again(refusal: CelonisError) -> None:
    bench = started()
    bench.celonis.faults["cancel_job"] = [refusal]
    assert stop(bench).sentences == [f"{OURS} was cancelled (CANCEL)."]
    assert cancels(bench) == [JOB]


def test_a_cancel_that_never_gets_through_is_not_said_to_have_been_told() -> None:
    bench = started()
    bench.celonis.faults["cancel_job"] = [unavailable()] * 200
    sentence = f"{OURS} could not be asked to cancel (last: No usable answer); it runs on."
    assert stop(bench) == CancelFindings([sentence], [], held=until_it_shows(bench))
    assert len(bench.celonis.faults["cancel_job"]) < 190


def test_looks_that_fail_after_a_lost_cancel_are_no_reason_to_think_it_was_told() -> None:
    bench = started()
    bench.celonis.faults = {"cancel_job": [unavailable()], "job": [None, *[unavailable()] * 3]}
    assert stop(bench).sentences == [f"{OURS} was cancelled (CANCEL)."]
    assert cancels(bench) == [JOB]


@pytest.mark.parametrize("seconds", [45.0, 13.0, 5.0, 1.5])
def test_a_cancel_is_sent_however_little_time_is_left(seconds: float) -> None:
    bench = started(cancel_seconds=FOREVER)
    began = bench.clock.now
    assert stop(bench, seconds).sentences == [f"{OURS} was asked to cancel and has not ended yet."]
    assert cancels(bench) == [JOB]
    assert bench.clock.now - began <= seconds


def side_by_side(number: int, **lane: float) -> tuple[ServiceHarness, list[str]]:
    """So many jobs, all under way."""
    jobs = [f"job-{letter}" for letter in "abcdefghij"[:number]]
    bench = left(job_definition(jobs=[[{"job": job} for job in jobs]]), **lane)
    for name in jobs[1:]:
        bench.job(name, seconds=FOREVER, **lane).before(6000.0)
    for step in range(number):
        bench.start(f"job-{step}")
    bench.clock.sleep(5.0)
    return bench, jobs


def test_ten_jobs_side_by_side_are_all_told_before_any_is_waited_for() -> None:
    bench, jobs = side_by_side(10, cancel_seconds=FOREVER)
    began = bench.clock.now
    findings = stop(bench)
    assert cancels(bench) == jobs
    assert all(
        sentence.endswith("was asked to cancel and has not ended yet.") for sentence in findings.sentences
    )
    assert (len(findings.sentences), findings.free) == (10, [])
    assert bench.clock.now - began <= CLOSE_SECONDS


def test_ten_slow_answers_leave_time_for_every_cancel() -> None:
    bench, jobs = side_by_side(10)
    began = bench.clock.now

    def slow(name: str, when: str) -> None:
        if when == "before":
            bench.clock.sleep(2.0)

    bench.celonis.hook = slow
    stop(bench)
    assert cancels(bench) == jobs
    assert bench.clock.now - began <= CLOSE_SECONDS + 5.0


def test_a_start_that_does_not_show_yet_holds_up_no_other_cancel() -> None:
    bench, _ = side_by_side(2)
    first = bench.celonis.jobs["job-a"]
    first.lags.draws = (20.0,)
    first.lags.__post_init__()
    findings = stop(bench)
    assert cancels(bench) == ["job-b", "job-a"]
    assert len(findings.free) == 2


def test_a_celonis_that_does_not_answer_is_told_within_the_time_there_is() -> None:
    bench = started()
    bench.celonis.faults["job"] = [unavailable()] * 200
    began = bench.clock.now
    findings = stop(bench)
    assert findings.sentences == ["What became of job-0 could not be determined: No usable answer."]
    assert bench.clock.now - began <= CLOSE_SECONDS
    assert findings.free == []


def test_an_error_over_one_step_keeps_no_other_from_being_stopped() -> None:
    bench = left(job_definition(jobs=[[{"job": JOB}, {"job": "job-b"}]]))
    bench.job("job-b", seconds=FOREVER).before(6000.0)
    for step in ("job-0", "job-1"):
        bench.start(step)
    bench.clock.sleep(5.0)

    bench.celonis.faults["job"] = [RefreshError("No secret.")]
    findings = stop(bench)
    assert [sentence[:20] for sentence in findings.sentences] == [
        "What became of job-0",
        "Data job job-b was c",
    ]
    assert findings.free == ["lease#job#job-b"]


def test_no_call_is_given_more_than_what_is_left() -> None:
    bench = started()
    bench.celonis.timeouts.clear()
    asked: list[float] = []

    def note(name: str, when: str) -> None:
        if when == "before":
            asked.append(bench.clock.now)

    bench.celonis.hook = note
    by = bench.clock.now + 8.0
    stop(bench, 8.0)
    ends = [at + timeout for at, timeout in zip(asked, bench.celonis.timeouts, strict=True)]
    assert ends
    assert max(ends) <= by + 1e-6


def test_a_run_without_a_definition_left_nothing() -> None:
    bench = left()
    run = bench.records.get(RUN)
    bare = type(run)({name: value for name, value in run.item.items() if name != "definition"})
    stopping = StepCanceller(bench.target_for, bench.clock, bench.clock.sleep)
    assert stopping.stop(bare, bench.deadline()) == CancelFindings()


def test_an_error_that_nobody_expected_keeps_no_run_from_its_end(caplog: pytest.LogCaptureFixture) -> None:
    bench = started()

    def no_work(run: Run, step: str) -> StepTarget:
        raise KeyError("s3cret")

    findings = StepCanceller(no_work, bench.clock, bench.clock.sleep).stop(
        bench.records.get(RUN), bench.deadline(CLOSE_SECONDS)
    )
    sentence = "What became of job-0 could not be determined: see the log."
    assert findings == CancelFindings([sentence], [], held=until_it_shows(bench))
    assert "could not be polled" in caplog.text
