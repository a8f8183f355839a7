"""What a run that ended early left behind at Celonis: cancelled if it is ours, and always reported."""

from __future__ import annotations

import pytest

from celonis_refresh.celonis.errors import CelonisError
from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.records import Run
from celonis_refresh.steps.cancel import CancelFindings, StepCanceller
from celonis_refresh.steps.target import StepTarget
from tests.fakes.celonis import FakeTarget, denied, throttled, unavailable
from tests.fakes.service import JOB, MODEL, RUN, ServiceHarness, job_definition, load_definition
from tests.unit.steps.outgoing import JOB_LEASE, MODEL_LEASE, Outgoing, cancels, for_good, starts
from tests.unit.workflow.close_harness import CLOSE_SECONDS

FOREVER = 1e9
OURS = "Data job job-a"


def left(definition: Definition | None = None, **target: float) -> ServiceHarness:
    """A run over one job and one model that ran before."""
    service = ServiceHarness()
    service.open(definition or job_definition())
    for made in (service.job(), service.model()):
        made.add_past_start(6000.0)
        for name, value in {"seconds": FOREVER, **target}.items():
            setattr(made, name, value)
    return service


def started(definition: Definition | None = None, step: str = "job-0", **target: float) -> ServiceHarness:
    service = left(definition, **target)
    service.start(step)
    service.clock.sleep(5.0)
    service.check(step)
    return service


def stop(service: ServiceHarness, seconds: float = CLOSE_SECONDS) -> CancelFindings:
    canceller = StepCanceller(service.target_for, service.clock, service.clock.sleep)
    return canceller.stop(service.records.get(RUN), service.deadline(seconds))


def until_it_shows(service: ServiceHarness) -> dict[str, float]:
    """The lease of the job, and the moment from which every reading shows what was seen by now."""
    return {JOB_LEASE: service.clock.now + service.records.get(RUN).definition.settle}


def job(service: ServiceHarness) -> FakeTarget:
    return service.celonis.jobs[JOB]


def test_our_job_is_polled_cancelled_and_polled_until_it_ends() -> None:
    service = started()
    out = Outgoing(service)
    findings = stop(service)
    assert out.calls[:2] == ["job", "cancel_job"]
    assert out.calls[-1] in ("job", "executions")
    assert findings.messages == [f"{OURS} was cancelled."]
    assert (findings.free, cancels(service)) == ([JOB_LEASE], [JOB])


def observed(service: ServiceHarness) -> CancelFindings:
    """The findings about a run that failed: nothing is cancelled."""
    canceller = StepCanceller(service.target_for, service.clock, service.clock.sleep)
    return canceller.stop(service.records.get(RUN), service.deadline(CLOSE_SECONDS), cancel=False)


def test_of_a_run_that_failed_nothing_is_cancelled() -> None:
    service = started()
    sentence = f"{OURS} keeps running: its run failed, but was not stopped. A retry waits for it."
    assert observed(service) == CancelFindings([sentence], [], held=until_it_shows(service))
    assert cancels(service) == []


def test_what_had_ended_when_its_run_failed_frees_its_lease() -> None:
    service = started(seconds=30.0)
    service.clock.sleep(60.0)
    findings = observed(service)
    assert (findings.messages, findings.free) == ([f"{OURS} had ended (SUCCESS)."], [JOB_LEASE])


def test_a_start_that_is_not_shown_yet_when_its_run_failed_is_not_waited_for() -> None:
    service = left()
    job(service).lags.draws = (60.0,)
    job(service).lags.__post_init__()
    service.start("job-0")
    began = service.clock.now
    findings = observed(service)
    assert (findings.free, findings.held) == ([], until_it_shows(service))
    assert service.clock.now - began < 5.0


def test_a_run_that_started_nothing_sends_no_request_to_celonis() -> None:
    service = left(job_definition(loads=[{"data_model": MODEL}]))
    assert stop(service) == CancelFindings([], [JOB_LEASE, MODEL_LEASE])
    assert service.celonis.sent == []


def test_a_step_that_has_ended_is_not_polled() -> None:
    service = started(seconds=10.0)
    assert service.run_step("job-0") == "SUCCEEDED"
    service.celonis.sent.clear()
    assert stop(service) == CancelFindings([], [JOB_LEASE])
    assert service.celonis.sent == []


def test_a_lease_that_an_ended_step_left_held_stays_held() -> None:
    service = started()
    service.celonis.faults["job"] = [denied()] * 100
    assert service.run_step("job-0") == "PermissionDenied"
    assert stop(service) == CancelFindings([], [], held=until_it_shows(service))


def test_a_start_that_celonis_refused_left_nothing() -> None:
    service = left()
    service.celonis.faults["execute_job"] = ["refused"]
    service.start("job-0")
    service.celonis.sent.clear()
    assert stop(service) == CancelFindings([], [JOB_LEASE])
    assert service.celonis.sent == []


def test_what_had_ended_by_itself_is_not_cancelled() -> None:
    service = started(seconds=30.0)
    service.clock.sleep(60.0)
    findings = stop(service)
    assert (findings.messages, findings.free) == ([f"{OURS} had ended (SUCCESS)."], [JOB_LEASE])
    assert findings.held == {}
    assert [evidence.ours for evidence in findings.ended.values()] == [job(service).mine[0].id]
    assert cancels(service) == []


def test_another_users_execution_is_never_cancelled() -> None:
    service = left(job_definition(settle=30))
    service.celonis.faults["execute_job"] = ["nothing"]
    service.start("job-0")
    service.clock.sleep(40.0)
    sentence = f"{OURS} was not cancelled: it is not proven that our execution is running."
    assert stop(service) == CancelFindings([sentence], [], held=until_it_shows(service))
    assert cancels(service) == []


def test_a_start_that_is_on_its_way_is_waited_for_and_then_cancelled() -> None:
    service = left()
    job(service).lags.draws = (6.0,)
    job(service).lags.__post_init__()
    service.start("job-0")
    findings = stop(service)
    assert findings.messages == [f"{OURS} was cancelled."]
    assert service.celonis.names().index("cancel_job") > 4


def test_a_start_that_provably_did_not_take_place_is_reported() -> None:
    service = left(job_definition(settle=20))
    service.celonis.faults["execute_job"] = ["before"]
    service.start("job-0")
    assert stop(service) == CancelFindings([f"{OURS} had not been started."], [JOB_LEASE])
    assert len(starts(service)) == 1


def test_a_job_keeps_running_where_the_pipeline_does_not_cancel_jobs() -> None:
    service = started(job_definition(cancel_on_stop=False))
    sentence = f"{OURS} keeps running: the pipeline has cancel_on_stop: false."
    assert stop(service) == CancelFindings([sentence], [], held=until_it_shows(service))
    assert cancels(service) == []


def test_a_load_is_left_to_end_and_its_lease_held() -> None:
    service = started(load_definition(), "load-0")
    findings = stop(service)
    subject = "The load of data model model-a"
    assert findings.messages == [f"{subject} keeps running: no call is known that cancels a load."]
    assert (findings.free, cancels(service)) == ([], [])


def inner_load() -> Definition:
    return job_definition(loads=[{"data_model": MODEL, "started_by": "job"}])


def test_a_load_that_the_job_may_have_started_holds_its_lease_while_the_model_is_busy() -> None:
    service = started(inner_load())
    service.celonis.models[MODEL].begin(mine=False, at=service.clock.now, seconds=FOREVER, outcome="SUCCESS")
    findings = stop(service)
    assert findings.messages[1].endswith("keeps running: no call is known that cancels a load.")
    assert findings.free == [JOB_LEASE]


def test_a_load_of_the_job_that_is_not_shown_holds_its_lease_until_it_would_be() -> None:
    service = started(inner_load())
    findings = stop(service)
    assert (findings.messages, findings.free) == ([f"{OURS} was cancelled."], [JOB_LEASE])
    assert findings.held[MODEL_LEASE] > service.clock.now


def test_a_load_of_the_job_that_has_ended_frees_its_lease() -> None:
    service = started(inner_load())
    service.celonis.models[MODEL].begin(mine=True, at=service.clock.now, seconds=0.1, outcome="SUCCESS")
    service.clock.sleep(1.0)
    assert stop(service).free == [JOB_LEASE, MODEL_LEASE]


@pytest.mark.parametrize("error", [unavailable(), throttled(1.0)], ids=lambda error: error.name)
def test_a_cancel_whose_answer_was_lost_is_sent_again(error: CelonisError) -> None:
    service = started()
    service.celonis.faults["cancel_job"] = [error]
    assert stop(service).messages == [f"{OURS} was cancelled."]
    assert cancels(service) == [JOB]


def test_a_cancel_that_celonis_ignores_is_reported_and_the_lease_held() -> None:
    service = started(cancel_seconds=FOREVER)
    began = service.clock.now
    sentence = f"{OURS}: cancellation was requested, but it has not ended yet."
    assert stop(service) == CancelFindings([sentence], [], held=until_it_shows(service), cancelling=["job-0"])
    assert service.clock.now - began <= CLOSE_SECONDS
    assert cancels(service) == [JOB]


def test_a_job_that_ends_by_itself_while_it_is_cancelled_is_reported() -> None:
    service = started(seconds=15.0, cancel_seconds=FOREVER)
    assert stop(service).messages == [f"{OURS} ended by itself (SUCCESS)."]


@pytest.mark.parametrize("error", for_good(), ids=lambda error: error.name)
def test_a_poll_that_celonis_refuses_once_is_repeated(error: CelonisError) -> None:
    service = started()
    service.celonis.faults["job"] = [error]
    assert stop(service).messages == [f"{OURS} was cancelled."]
    assert cancels(service) == [JOB]


def test_polls_that_celonis_refuses_for_longer_than_settle_are_reported_and_the_lease_held() -> None:
    service = started(job_definition(settle=20))
    service.celonis.faults["job"] = [denied()] * 200
    began = service.clock.now
    findings = stop(service)
    assert 20.0 <= service.clock.now - began < 40.0
    assert findings.messages == ["The end of job-0 could not be determined: Denied. Permission needed."]
    assert findings.free == []


def test_polls_that_celonis_refuses_are_reported_within_the_time_there_is() -> None:
    service = started(job_definition(settle=3600))
    service.celonis.faults["job"] = [denied()] * 400
    began = service.clock.now
    findings = stop(service)
    assert service.clock.now - began <= CLOSE_SECONDS
    assert findings.messages == ["The end of job-0 could not be determined: Denied. Permission needed."]
    assert findings.free == []


def test_a_cancel_that_celonis_refuses_is_reported_and_the_lease_held() -> None:
    service = started()
    service.celonis.faults["cancel_job"] = [denied()] * 10
    sentence = f"{OURS} could not be cancelled (last error: Denied. Permission needed); it keeps running."
    assert stop(service) == CancelFindings([sentence], [], held=until_it_shows(service))
    assert len(service.celonis.faults["cancel_job"]) == 8


@pytest.mark.parametrize("refusal", for_good(), ids=lambda error: error.name)
def test_a_cancel_that_celonis_refuses_once_is_sent_again(refusal: CelonisError) -> None:
    service = started()
    service.celonis.faults["cancel_job"] = [refusal]
    assert stop(service).messages == [f"{OURS} was cancelled."]
    assert cancels(service) == [JOB]


def test_a_cancel_that_was_never_delivered_is_not_reported_as_requested() -> None:
    service = started()
    service.celonis.faults["cancel_job"] = [unavailable()] * 200
    sentence = f"{OURS} could not be cancelled (last error: No usable answer); it keeps running."
    assert stop(service) == CancelFindings([sentence], [], held=until_it_shows(service))
    assert len(service.celonis.faults["cancel_job"]) < 190


def test_a_lost_cancel_is_sent_again_after_polls_that_fail() -> None:
    service = started()
    service.celonis.faults = {"cancel_job": [unavailable()], "job": [None, *[unavailable()] * 3]}
    assert stop(service).messages == [f"{OURS} was cancelled."]
    assert cancels(service) == [JOB]


@pytest.mark.parametrize("seconds", [45.0, 13.0, 5.0, 1.5])
def test_a_cancel_is_sent_however_little_time_is_left(seconds: float) -> None:
    service = started(cancel_seconds=FOREVER)
    began = service.clock.now
    assert stop(service, seconds).messages == [
        f"{OURS}: cancellation was requested, but it has not ended yet."
    ]
    assert cancels(service) == [JOB]
    assert service.clock.now - began <= seconds


def side_by_side(number: int, **target: float) -> tuple[ServiceHarness, list[str]]:
    """This many jobs, all running."""
    jobs = [f"job-{letter}" for letter in "abcdefghij"[:number]]
    service = left(job_definition(jobs=[[{"job": job} for job in jobs]]), **target)
    for name in jobs[1:]:
        service.job(name, seconds=FOREVER, **target).add_past_start(6000.0)
    for step in range(number):
        service.start(f"job-{step}")
    service.clock.sleep(5.0)
    return service, jobs


def test_ten_parallel_jobs_are_all_cancelled_before_the_first_wait() -> None:
    service, jobs = side_by_side(10, cancel_seconds=FOREVER)
    began = service.clock.now
    findings = stop(service)
    assert cancels(service) == jobs
    assert all(
        sentence.endswith("cancellation was requested, but it has not ended yet.")
        for sentence in findings.messages
    )
    assert (len(findings.messages), findings.free) == (10, [])
    assert service.clock.now - began <= CLOSE_SECONDS


def test_ten_slow_answers_leave_time_for_every_cancel() -> None:
    service, jobs = side_by_side(10)
    began = service.clock.now

    def slow(name: str, when: str) -> None:
        if when == "before":
            service.clock.sleep(2.0)

    service.celonis.hook = slow
    stop(service)
    assert cancels(service) == jobs
    assert service.clock.now - began <= CLOSE_SECONDS + 5.0


def test_a_start_that_does_not_show_yet_holds_up_no_other_cancel() -> None:
    service, _ = side_by_side(2)
    first = service.celonis.jobs["job-a"]
    first.lags.draws = (20.0,)
    first.lags.__post_init__()
    findings = stop(service)
    assert cancels(service) == ["job-b", "job-a"]
    assert len(findings.free) == 2


def test_a_celonis_that_does_not_answer_is_reported_within_the_time_there_is() -> None:
    service = started()
    service.celonis.faults["job"] = [unavailable()] * 200
    began = service.clock.now
    findings = stop(service)
    assert findings.messages == ["The end of job-0 could not be determined: No usable answer."]
    assert service.clock.now - began <= CLOSE_SECONDS
    assert findings.free == []


def test_an_error_over_one_step_keeps_no_other_from_being_stopped() -> None:
    service = left(job_definition(jobs=[[{"job": JOB}, {"job": "job-b"}]]))
    service.job("job-b", seconds=FOREVER).add_past_start(6000.0)
    for step in ("job-0", "job-1"):
        service.start(step)
    service.clock.sleep(5.0)

    service.celonis.faults["job"] = [RefreshError("No secret.")]
    findings = stop(service)
    assert [sentence[:16].strip() for sentence in findings.messages] == [
        "The end of job-0",
        "Data job job-b w",
    ]
    assert findings.free == ["lease#job#job-b"]


def test_no_call_is_given_more_than_what_is_left() -> None:
    service = started()
    service.celonis.timeouts.clear()
    call_times: list[float] = []

    def note(name: str, when: str) -> None:
        if when == "before":
            call_times.append(service.clock.now)

    service.celonis.hook = note
    by = service.clock.now + 8.0
    stop(service, 8.0)
    ends = [at + timeout for at, timeout in zip(call_times, service.celonis.timeouts, strict=True)]
    assert ends
    assert max(ends) <= by + 1e-6


def test_a_run_without_a_definition_left_nothing() -> None:
    service = left()
    run = service.records.get(RUN)
    bare = type(run)({name: value for name, value in run.item.items() if name != "definition"})
    canceller = StepCanceller(service.target_for, service.clock, service.clock.sleep)
    assert canceller.stop(bare, service.deadline()) == CancelFindings()


def test_an_unexpected_error_does_not_prevent_the_end_of_a_run(caplog: pytest.LogCaptureFixture) -> None:
    service = started()

    def no_work(run: Run, step: str) -> StepTarget:
        raise KeyError("s3cret")

    findings = StepCanceller(no_work, service.clock, service.clock.sleep).stop(
        service.records.get(RUN), service.deadline(CLOSE_SECONDS)
    )
    sentence = "The end of job-0 could not be determined: see the log."
    assert findings == CancelFindings([sentence], [], held=until_it_shows(service))
    assert "could not be polled" in caplog.text
