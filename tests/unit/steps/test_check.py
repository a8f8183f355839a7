"""Polling a step until its end is proven: what is retried, what ends it, what a timeout does."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.celonis.errors import CelonisError
from celonis_refresh.celonis.records import TaskFailure
from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.earlier import Earlier, read_earlier
from celonis_refresh.steps.step import Progress
from celonis_refresh.steps.target import MAX_REASON
from celonis_refresh.workflow.listing import shown
from tests.fakes.celonis import FakeTarget, Lost, ShownFields, denied, rejected, throttled, unavailable
from tests.fakes.service import JOB, MODEL, RUN, Crashed, ServiceHarness, job_definition, load_definition
from tests.unit.steps.outgoing import (
    JOB_LEASE,
    MODEL_LEASE,
    RECORD,
    Outgoing,
    SentWrite,
    cancels,
    for_good,
    holder,
    logged,
    starts,
    unauthorised,
    unknown,
)

SAVED = SentWrite("UpdateItem", (RECORD,))
FOREVER = 1e9
SHORT = {"job": JOB, "timeout": 60}


def service_of(definition: Definition, **target: Any) -> ServiceHarness:
    """A run over one job and one model that ran before, neither of which is started yet."""
    service = ServiceHarness()
    service.open(definition)
    for made in (service.job(**target), service.model(**target)):
        made.add_past_start(6000.0)
    return service


def running_job(definition: Definition | None = None, **target: Any) -> ServiceHarness:
    """A run whose job was started and was seen running."""
    return _seen(service_of(definition or job_definition(), **target), "job-0")


def running_load(definition: Definition | None = None, **target: Any) -> ServiceHarness:
    """The same for a load."""
    return _seen(service_of(definition or load_definition(), **target), "load-0")


def _seen(service: ServiceHarness, step: str) -> ServiceHarness:
    service.start(step)
    service.clock.sleep(5.0)
    assert service.check(step)["status"] == "RUNNING"
    return service


def job(service: ServiceHarness) -> FakeTarget:
    return service.celonis.jobs[JOB]


def ended(service: ServiceHarness, step: str) -> tuple[str, str]:
    """The error that a check ends with, and its message; the API shows them, and the hint."""
    with pytest.raises(RefreshError) as caught:
        service.check(step)
    shown_step = shown(service.records.get(RUN))["steps"][step]
    assert (shown_step["error"], shown_step["message"], shown_step.get("hint", "")) == (
        caught.value.name,
        str(caught.value),
        caught.value.hint,
    )
    return caught.value.name, str(caught.value)


def check_until_ended(service: ServiceHarness, step: str, most: int = 60) -> str:
    """The message of the error that ends the checks."""
    for _ in range(most):
        try:
            progress: Progress = service.check(step)
        except RefreshError as error:
            return str(error)
        service.wait(progress)
    raise AssertionError("it did not end")


@pytest.mark.parametrize("error", [unavailable(), throttled(45.0)], ids=lambda error: error.name)
@pytest.mark.parametrize(("step", "call"), [("job-0", "job"), ("load-0", "last_load")])
def test_an_answer_that_is_no_answer_is_waited_out_and_noted(
    step: str, call: str, error: CelonisError
) -> None:
    service = running_job() if step == "job-0" else running_load()
    service.celonis.faults[call] = [error]
    progress = service.check(step)
    assert progress["status"] == "RUNNING"
    assert progress["wait"] >= (45 if error.name == "CelonisThrottled" else 1)
    assert service.state(step)["last_error"] == error.message
    assert service.run_step(step) == "SUCCEEDED"
    assert "last_error" not in service.state(step)


def test_unusable_responses_end_with_the_timeout_and_are_reported_with_it() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=FOREVER)
    service.celonis.faults["job"] = [unavailable()] * 100
    assert service.run_step("job-0") == "JobTimedOut"
    assert "(last: No usable answer.)" in str(service.state("job-0")["message"])
    assert holder(service) == RUN


@pytest.mark.parametrize("error", for_good(), ids=lambda error: error.name)
@pytest.mark.parametrize(
    ("step", "call"), [("job-0", "job"), ("job-0", "executions"), ("load-0", "last_load")]
)
def test_one_refused_poll_ends_no_step(step: str, call: str, error: CelonisError) -> None:
    service = running_job(seconds=10.0) if step == "job-0" else running_load(seconds=10.0)
    service.clock.sleep(10.0)
    service.celonis.faults |= {call: [error], "tables": [unknown()]}
    assert service.check(step)["status"] == "RUNNING"
    assert service.state(step)["last_error"] == error.message
    assert service.run_step(step) == "SUCCEEDED"
    assert "last_error" not in service.state(step)


@pytest.mark.parametrize("lost", [None, "after"])
@pytest.mark.parametrize("error", for_good(), ids=lambda error: error.name)
def test_one_refused_poll_ends_no_step_whose_start_is_being_looked_up(
    error: CelonisError, lost: Lost | None
) -> None:
    service = service_of(job_definition(settle=30))
    service.celonis.faults |= {"execute_job": [lost], "job": [None, error]}
    assert service.run_step("job-0") == "SUCCEEDED"
    assert (service.celonis.faults["job"], len(starts(service))) == ([], 1)


@pytest.mark.parametrize("error", for_good(), ids=lambda error: error.name)
def test_polls_that_are_refused_for_longer_than_settle_end_the_step_and_hold_its_lease(
    error: CelonisError,
) -> None:
    service = running_job(job_definition(settle=60), seconds=FOREVER)
    service.celonis.faults["job"] = [error] * 100
    at = service.clock.now
    assert check_until_ended(service, "job-0") == str(error)
    assert 60.0 <= service.clock.now - at < 75.0
    assert 85 <= len(service.celonis.faults["job"]) <= 97
    state = service.state("job-0")
    assert (state["error"], state["outcome"], state["held"]) == (error.name, "FAILED", True)
    assert (holder(service), cancels(service)) == (RUN, [])


def test_consecutive_refused_polls_count_with_any_errors() -> None:
    service = running_job(job_definition(settle=60), seconds=FOREVER)
    service.celonis.faults["job"] = [*for_good()] * 30
    at = service.clock.now
    check_until_ended(service, "job-0")
    assert 60.0 <= service.clock.now - at < 75.0


@pytest.mark.parametrize("between", [None, unavailable()], ids=["a success", "no answer"])
def test_another_answer_ends_the_row_of_refused_polls(between: CelonisError | None) -> None:
    service = running_job(job_definition(settle=60), seconds=200.0)
    service.celonis.faults["job"] = [denied(), denied(), between] * 8
    assert service.run_step("job-0") == "SUCCEEDED"


def test_throttled_polls_do_not_end_the_row_of_refused_ones() -> None:
    service = running_job(job_definition(settle=60), seconds=FOREVER)
    service.celonis.faults["job"] = [denied(), throttled(5.0)] * 30
    at = service.clock.now
    assert "Denied." in check_until_ended(service, "job-0")
    assert 60.0 <= service.clock.now - at < 90.0


def test_refused_polls_at_the_timeout_do_not_prevent_the_cancel() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=FOREVER)
    service.clock.sleep(60.0)
    service.celonis.faults["job"] = [denied(), unauthorised()]
    assert "It was cancelled." in check_until_ended(service, "job-0")
    assert cancels(service) == [JOB]


def test_what_is_kept_of_refused_polls_is_not_shown() -> None:
    service = running_job()
    service.celonis.faults["job"] = [denied()]
    service.check("job-0")
    assert "poll_refusals" in service.state("job-0")
    assert "poll_refusals" not in shown(service.records.get(RUN))["steps"]["job-0"]


def test_a_status_that_is_not_known_is_waited_on_and_reported_once() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=10.0, outcome="PAUSED")
    service.clock.sleep(10.0)
    with logged() as lines:
        assert service.check("job-0")["status"] == "RUNNING"
        assert service.check("job-0")["status"] == "RUNNING"
    reported = [line for line in lines if line.levelname == "WARNING"]
    assert [vars(line)["status"] for line in reported] == ["PAUSED"]
    assert service.state("job-0")["unknown"] == "PAUSED"


def test_a_status_that_is_not_known_is_never_a_success() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=10.0, outcome="PAUSED")
    assert service.run_step("job-0") == "JobTimedOut"
    assert "Its last status was PAUSED." in str(service.state("job-0")["message"])


@pytest.mark.parametrize(
    ("outcome", "end"),
    [("SUCCESS", "SUCCEEDED"), ("FAIL", "JobFailed"), ("CANCEL", "JobCanceled"), ("SKIPPED", "JobSkipped")],
)
def test_each_end_of_a_job_has_its_name(outcome: str, end: str) -> None:
    service = running_job(outcome=outcome)
    assert service.run_step("job-0") == end
    state = service.state("job-0")
    assert state["outcome"] == ("SUCCEEDED" if end == "SUCCEEDED" else "FAILED")
    assert state["status"] == outcome
    assert holder(service) is None


@pytest.mark.parametrize(
    ("outcome", "end"),
    [
        ("SUCCESS", "SUCCEEDED"),
        ("WARNING", "SUCCEEDED"),
        ("ERROR", "LoadFailed"),
        ("CANCEL", "LoadCanceled"),
    ],
)
def test_each_end_of_a_load_has_its_name(outcome: str, end: str) -> None:
    service = running_load(outcome=outcome)
    assert service.run_step("load-0") == end
    assert holder(service, MODEL_LEASE) is None


def test_a_warning_fails_a_load_where_the_pipeline_is_configured_so() -> None:
    definition = load_definition(loads=[{"data_model": MODEL, "on_warning": "fail"}])
    service = running_load(definition, outcome="WARNING")
    assert service.run_step("load-0") == "LoadWarned"
    assert service.state("load-0")["outcome"] == "FAILED"


def test_a_failed_job_carries_the_reasons_of_its_failed_tasks() -> None:
    service = running_job(seconds=10.0, outcome="FAIL")
    service.clock.sleep(10.0)
    name, message = ended(service, "job-0")
    assert name == "JobFailed"
    assert "Extract: no space left" in message
    assert ("failed_task_messages", JOB, "exec-1") in service.celonis.sent


def test_the_reasons_of_a_failed_job_are_cut_to_what_an_execution_can_carry() -> None:
    service = running_job(seconds=10.0, outcome="FAIL")
    service.clock.sleep(10.0)
    failures = [TaskFailure(f"Task {number} ".ljust(2000, "x"), "no space left") for number in range(9)]
    service.celonis.failed_task_messages = lambda *_, **__: failures  # type: ignore[method-assign]
    message = ended(service, "job-0")[1]
    assert "Task 0" in message
    assert MAX_REASON < len(message.encode()) < MAX_REASON + 300


@pytest.mark.parametrize(
    "error",
    [unavailable(), throttled(5.0), rejected(400), unauthorised()],
    ids=lambda error: error.name,
)
def test_a_failed_job_is_reported_as_failed_also_where_its_reasons_cannot_be_read(
    error: CelonisError,
) -> None:
    service = running_job(seconds=10.0, outcome="FAIL")
    service.clock.sleep(10.0)
    service.celonis.faults["failed_task_messages"] = [error]
    assert ended(service, "job-0")[0] == "JobFailed"
    assert holder(service) is None


@pytest.mark.parametrize(
    ("outcome", "why", "sentence"),
    [
        ("CANCEL", "a user cancelled it", "Data job job-a was cancelled in Celonis: a user cancelled it."),
        ("CANCEL", "", "Data job job-a was cancelled in Celonis."),
        ("SKIPPED", "its extraction has no table", "was skipped by Celonis: its extraction has no table."),
        ("SKIPPED", "", "Data job job-a was skipped by Celonis: nothing was extracted."),
    ],
)
def test_a_job_that_was_cancelled_or_skipped_carries_the_reason_of_its_log(
    outcome: str, why: str, sentence: str
) -> None:
    service = running_job(seconds=10.0, outcome=outcome, message=why)
    service.clock.sleep(10.0)
    assert sentence in ended(service, "job-0")[1]
    assert ("why_ended", JOB, "exec-1") in service.celonis.sent


@pytest.mark.parametrize("outcome", ["CANCEL", "SKIPPED"])
def test_a_job_is_reported_as_it_ended_also_where_its_log_cannot_be_read(outcome: str) -> None:
    service = running_job(seconds=10.0, outcome=outcome)
    service.clock.sleep(10.0)
    service.celonis.faults["why_ended"] = [throttled(5.0)]
    assert ended(service, "job-0")[0] == ("JobCanceled" if outcome == "CANCEL" else "JobSkipped")
    assert holder(service) is None


@pytest.mark.parametrize("outcome", ["SUCCESS", "FAIL"])
def test_a_step_that_has_ended_is_reported_again_without_a_poll(outcome: str) -> None:
    service = running_job(outcome=outcome)
    end = service.run_step("job-0")
    out = Outgoing(service)
    if end == "SUCCEEDED":
        assert service.check("job-0") == {"status": "SUCCEEDED", "wait": 0}
    else:
        assert ended(service, "job-0")[0] == "JobFailed"
    assert out.log == []


def test_the_end_is_written_before_the_lease_is_freed() -> None:
    service = running_job(seconds=10.0)
    service.clock.sleep(10.0)
    out = Outgoing(service)
    service.check("job-0")
    learned = SentWrite("UpdateItem", ("durations#job#job-a#FULL",))
    ended = SentWrite("TransactWriteItems", (RECORD, "lease#job#job-a", "earlier#job#job-a"))
    announced = SentWrite("UpdateItem", (RECORD,))
    assert out.writes == [ended, announced, learned]


def test_what_ended_is_kept_beside_its_lease_with_the_moment_from_which_it_must_show() -> None:
    service = running_job(seconds=10.0)
    service.clock.sleep(10.0)
    service.check("job-0")
    ours = job(service).mine[0]
    earlier = read_earlier(service.leases.table, JOB_LEASE)
    assert (earlier.ids, earlier.newest) == ((ours.id,), (ours.id,))
    assert earlier.started == round(ours.at * 1000)
    assert earlier.visible_by == pytest.approx(service.clock.now + 120.0, abs=1.0)
    assert earlier.shows_running is True


def test_what_was_not_proven_to_be_ours_is_not_kept_as_an_earlier_execution() -> None:
    service = lost_job("before", "before")
    assert service.run_step("job-0") == "StartIgnored"
    assert read_earlier(service.leases.table, JOB_LEASE) == Earlier()


def test_every_poll_has_a_timeout_and_is_counted() -> None:
    service = running_job()
    service.celonis.timeouts.clear()
    service.check("job-0")
    assert set(service.celonis.timeouts) == {12.0}
    assert service.state("job-0")["polls"] == 2


def test_a_step_that_is_not_started_yet_waits_for_its_turn() -> None:
    service = service_of(job_definition())
    out = Outgoing(service)
    assert service.check("job-0")["status"] == "WAITING"
    assert out.calls == []
    assert holder(service) is None


def lost_job(*lost: Lost) -> ServiceHarness:
    """A job whose starts are lost in these ways."""
    service = service_of(job_definition(settle=30))
    service.celonis.faults["execute_job"] = list(lost)
    return service


def test_a_start_that_provably_did_not_take_place_is_sent_again() -> None:
    service = lost_job("before")
    assert service.run_step("job-0") == "SUCCEEDED"
    assert len(starts(service)) == 2
    assert len(job(service).mine) == 1


def test_a_start_is_not_sent_again_before_everything_had_the_time_to_show() -> None:
    service = lost_job("before")
    service.start("job-0")
    service.clock.sleep(29.0)
    assert service.check("job-0")["status"] == "RUNNING"
    assert len(starts(service)) == 1
    service.clock.sleep(2.0)
    service.check("job-0")  # what this shows has to stay as it is for another settle
    service.clock.sleep(28.0)
    assert service.check("job-0")["status"] == "RUNNING"
    assert len(starts(service)) == 1
    service.clock.sleep(3.0)
    service.check("job-0")
    assert len(starts(service)) == 2


def test_a_start_is_sent_twice_at_most() -> None:
    service = lost_job("before", "before")
    assert service.run_step("job-0") == "StartIgnored"
    assert len(starts(service)) == 2
    assert holder(service) is None


def test_a_start_whose_answer_was_lost_after_it_took_effect_is_found_and_not_sent_again() -> None:
    service = lost_job("after")
    assert service.run_step("job-0") == "SUCCEEDED"
    assert len(starts(service)) == 1


def test_a_timeout_cancels_our_job_and_reports_it() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=FOREVER)
    service.clock.sleep(60.0)
    out = Outgoing(service)
    progress = service.check("job-0")
    assert progress == {"status": "RUNNING", "wait": 2}
    assert out.log == ["job", SAVED, "cancel_job", SAVED]
    service.clock.sleep(3.0)
    name, message = ended(service, "job-0")
    assert name == "JobTimedOut"
    assert "timeout of 60 s" in message
    assert "It was cancelled." in message
    assert (cancels(service), holder(service)) == ([JOB], None)


def test_a_running_execution_is_not_taken_for_ours_where_only_the_list_can_show_it() -> None:
    """The job's record shows no ids: what it shows running at the timeout is theirs, and is left alone."""
    nameless = ShownFields(current=False, latest="none")
    service = running_job(job_definition(jobs=[SHORT]), shows=nameless, seconds=30.0)
    job(service).begin(mine=False, at=service.clock.now + 40.0, seconds=FOREVER, outcome="FAIL")
    service.clock.sleep(60.0)
    assert service.check("job-0")["status"] == "SUCCEEDED"
    assert cancels(service) == []


def test_a_cancel_is_sent_once_while_celonis_takes_its_time() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=FOREVER, cancel_seconds=20.0)
    service.clock.sleep(60.0)
    assert "It was cancelled" in check_until_ended(service, "job-0")
    assert cancels(service) == [JOB]


def test_a_cancel_that_celonis_ignores_ends_after_a_minute_and_holds_the_lease() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=FOREVER, cancel_seconds=FOREVER)
    service.clock.sleep(60.0)
    at = service.clock.now
    assert "Its cancellation was requested, but it has not ended." in check_until_ended(service, "job-0")
    assert 60.0 <= service.clock.now - at < 70.0
    assert service.state("job-0")["held"] is True
    assert holder(service) == RUN


def test_a_job_that_ends_by_itself_while_it_is_cancelled_is_still_too_late() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=70.0, cancel_seconds=FOREVER)
    service.clock.sleep(60.0)
    assert "It ended by itself, too late (SUCCESS)." in check_until_ended(service, "job-0")
    assert service.state("job-0")["error"] == "JobTimedOut"


@pytest.mark.parametrize("error", [unavailable(), throttled(2.0)], ids=lambda error: error.name)
def test_a_cancel_whose_answer_was_lost_is_sent_again(error: CelonisError) -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=FOREVER)
    service.clock.sleep(60.0)
    service.celonis.faults["cancel_job"] = [error]
    assert "It was cancelled." in check_until_ended(service, "job-0")
    assert cancels(service) == [JOB]


def test_a_cancel_that_is_not_allowed_is_reported_and_the_lease_held() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=FOREVER)
    service.clock.sleep(60.0)
    service.celonis.faults["cancel_job"] = [denied()] * 10
    message = check_until_ended(service, "job-0")
    assert service.state("job-0")["error"] == "JobTimedOut"
    assert "It could not be cancelled: Denied. Permission needed." in message
    assert (holder(service), len(service.celonis.faults["cancel_job"])) == (RUN, 8)


@pytest.mark.parametrize("refusal", [*for_good(), rejected(409)], ids=lambda error: error.name)
def test_a_cancel_that_is_refused_once_is_sent_again(refusal: CelonisError) -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=FOREVER)
    service.clock.sleep(60.0)
    service.celonis.faults["cancel_job"] = [refusal]
    assert "It was cancelled." in check_until_ended(service, "job-0")
    assert cancels(service) == [JOB]


def test_a_cancel_that_is_refused_because_ours_ended_shows_its_end() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=FOREVER)
    service.clock.sleep(60.0)

    def ends(name: str, when: str) -> None:
        if name == "cancel_job" and when == "before":
            job(service).mine[0].ended_early = (service.clock.now, "SUCCESS")

    service.celonis.hook = ends
    service.celonis.faults["cancel_job"] = [rejected(400)]
    assert "It ended by itself, too late (SUCCESS)." in check_until_ended(service, "job-0")
    assert holder(service) is None


def test_a_check_after_a_crash_during_cancel_reports_our_cancel() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=FOREVER)
    service.clock.sleep(60.0)

    def dies(name: str, when: str) -> None:
        if name == "cancel_job":
            job(service).cancel(service.clock.now)
            raise Crashed

    service.celonis.hook = dies
    with pytest.raises(Crashed):
        service.check("job-0")
    service.celonis.hook = lambda *_: None
    service.clock.sleep(60.0)
    assert ended(service, "job-0")[0] == "JobTimedOut"


def test_what_is_not_proven_to_be_ours_is_not_cancelled() -> None:
    service = service_of(job_definition(jobs=[SHORT], settle=600))
    service.celonis.faults["execute_job"] = ["before"]
    service.start("job-0")
    service.clock.sleep(60.0)
    name, message = ended(service, "job-0")
    assert name == "JobTimedOut"
    assert "It was not cancelled: it is not proven that our execution is running." in message
    assert (cancels(service), holder(service)) == ([], RUN)


def test_a_job_keeps_running_where_the_pipeline_does_not_cancel_jobs() -> None:
    service = running_job(job_definition(jobs=[SHORT], cancel_on_stop=False), seconds=FOREVER)
    service.clock.sleep(60.0)
    assert "It keeps running: the pipeline has cancel_on_stop: false." in ended(service, "job-0")[1]
    assert (cancels(service), holder(service)) == ([], RUN)


def test_a_cancel_that_was_never_delivered_is_not_reported_as_requested() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=FOREVER)
    service.clock.sleep(60.0)
    service.celonis.faults["cancel_job"] = [unavailable()] * 100
    assert "Its cancellation could not be requested, but it has not ended." in check_until_ended(
        service, "job-0"
    )
    assert service.state("job-0")["held"] is True


def test_a_load_past_its_timeout_keeps_running_and_its_lease_is_held() -> None:
    definition = load_definition(loads=[{"data_model": MODEL, "timeout": 60}])
    service = running_load(definition, seconds=FOREVER)
    service.clock.sleep(60.0)
    name, message = ended(service, "load-0")
    assert name == "LoadTimedOut"
    assert "It keeps running: no call is known that cancels a load." in message
    assert (cancels(service), holder(service, MODEL_LEASE)) == ([], RUN)


def test_a_success_that_a_poll_shows_after_the_timeout_counts() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=10.0)
    service.clock.sleep(600.0)
    assert service.check("job-0") == {"status": "SUCCEEDED", "wait": 0}


def test_two_new_executions_are_ambiguous() -> None:
    service = service_of(job_definition(settle=30), shows=ShownFields(latest="same"), seconds=2.0)
    service.start("job-0")
    service.clock.sleep(5.0)
    job(service).begin(mine=False, at=service.clock.now, seconds=2.0, outcome="SUCCESS")
    service.clock.sleep(5.0)
    assert ended(service, "job-0")[0] == "StartAmbiguous"
    assert service.state("job-0")["held"] is True


def test_an_answer_that_started_nothing_ends_unproven_and_is_not_sent_again() -> None:
    service = lost_job("nothing")
    assert service.run_step("job-0") == "OutcomeUnproven"
    assert len(starts(service)) == 1


@pytest.mark.parametrize("error", [unavailable(), throttled(2.0)], ids=lambda error: error.name)
def test_a_poll_that_fails_at_the_timeout_does_not_prevent_the_cancel(error: CelonisError) -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=FOREVER)
    service.clock.sleep(60.0)
    service.celonis.faults["job"] = [error, error]
    assert "It was cancelled." in check_until_ended(service, "job-0")
    assert cancels(service) == [JOB]


def test_without_a_response_after_the_timeout_polls_continue_for_one_minute() -> None:
    service = running_job(job_definition(jobs=[SHORT]), seconds=FOREVER)
    service.clock.sleep(55.0)
    at = service.clock.now
    service.celonis.faults["job"] = [unavailable()] * 100
    assert "(last: No usable answer.)" in check_until_ended(service, "job-0")
    assert 60.0 <= service.clock.now - at < 75.0
    assert service.state("job-0")["held"] is True
