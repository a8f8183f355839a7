"""Starting a step: what goes out, in which order, how often, and what the record says."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.celonis.errors import CelonisError
from celonis_refresh.celonis.records import ModelTable
from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.earlier import Busy, Earlier, note_busy
from celonis_refresh.runs.errors import RunClosed, StepMoved
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.steps.errors import OutcomeUnproven, StepFailed
from celonis_refresh.steps.poll import start_of
from celonis_refresh.steps.start import UnsavedAnswer, start_claimed, start_step
from celonis_refresh.workflow.listing import shown
from tests.fakes.celonis import Lags, ShownFields, denied, rejected, throttled, unavailable
from tests.fakes.leases import take
from tests.fakes.service import JOB, MODEL, RUN, Crashed, ServiceHarness, job_definition, load_definition
from tests.unit.steps.outgoing import (
    JOB_LEASE,
    MODEL_LEASE,
    RECORD,
    Outgoing,
    SentWrite,
    for_good,
    holder,
    logged,
    starts,
    unknown,
)

POSTED = ("execute_job", JOB, "FULL")
TAKEN = SentWrite("TransactWriteItems", (RECORD, JOB_LEASE))
SAVED = SentWrite("UpdateItem", (RECORD,))
NOTED = SentWrite("TransactWriteItems", (RECORD, "earlier#" + JOB_LEASE.removeprefix("lease#")))
"""The baseline, as long as no other run has stored anything newer."""
FREED = SentWrite("TransactWriteItems", (RECORD, JOB_LEASE))
"""The state of the step, and its lease with it."""


def opened(definition: Definition | None = None, **target: Any) -> ServiceHarness:
    """A run with one job and one model, both of which ran before."""
    service = never_ran(definition, **target)
    service.celonis.jobs[JOB].add_past_start(6000.0)
    service.celonis.models[MODEL].add_past_start(6000.0)
    return service


def never_ran(definition: Definition | None = None, **target: Any) -> ServiceHarness:
    """A run with one job and one model that were never started."""
    service = ServiceHarness()
    service.job(**target)
    service.model()
    service.open(definition or job_definition())
    return service


def test_a_start_takes_its_lease_polls_saves_its_baseline_and_then_posts() -> None:
    service = opened()
    out = Outgoing(service)
    assert service.start("job-0")["status"] == "RUNNING"
    assert out.log == [TAKEN, "job", "executions", NOTED, "execute_job", SAVED]
    assert starts(service) == [POSTED]
    assert holder(service) == RUN


def test_that_a_job_never_ran_needs_a_second_answer() -> None:
    service = never_ran()
    out = Outgoing(service)
    assert service.start("job-0")["status"] == "RUNNING"
    polls = ["job", "executions"]
    assert out.log == [TAKEN, *polls, *polls, NOTED, "execute_job", SAVED]


def test_that_a_model_was_never_loaded_needs_a_second_answer() -> None:
    service = never_ran(load_definition())
    out = Outgoing(service)
    service.start("load-0")
    assert out.calls == ["last_load", "last_load", "load_model"]


def test_a_list_that_the_second_answer_lacks_is_that_of_the_first() -> None:
    service = never_ran()
    polls: list[str] = []

    def second_list_fails(name: str, when: str) -> None:
        if (name, when) == ("executions", "before"):
            polls.append(name)
            service.celonis.faults["executions"] = [rejected(400)] if len(polls) == 2 else []

    service.celonis.hook = second_list_fails
    assert service.start("job-0")["status"] == "RUNNING"
    assert polls == ["executions", "executions"]
    assert baseline_of(service)["listed"] == []


def test_a_second_answer_that_shows_what_ran_is_the_baseline() -> None:
    service = never_ran()
    target = service.celonis.jobs[JOB]

    def appears(name: str, when: str) -> None:
        if name == "executions" and when == "before" and not target.starts:
            target.add_past_start(600.0)
            target.lags = Lags((1000.0,))
        elif name == "job" and when == "before" and target.starts:
            target.lags = Lags((0.0,))

    service.celonis.hook = appears
    service.start("job-0")
    assert baseline_of(service)["listed"] == ["exec-0"]


def test_a_list_that_is_missing_once_is_requested_again() -> None:
    service = opened()
    service.celonis.faults["executions"] = [rejected(400)]
    out = Outgoing(service)
    assert service.start("job-0")["status"] == "RUNNING"
    assert out.calls == ["job", "executions", "executions", "execute_job"]
    assert baseline_of(service)["listed"] == ["exec-0"]


def test_a_list_that_is_missing_twice_is_not_served() -> None:
    service = opened()
    service.celonis.faults["executions"] = [rejected(400), rejected(400)]
    assert service.start("job-0")["status"] == "RUNNING"
    assert baseline_of(service)["listed"] is None


def test_an_empty_list_beside_something_that_ran_is_taken_as_it_is() -> None:
    """It may be as old as ``settle``: what it shows later is distinguished by its dates."""
    service = opened()
    service.celonis.executions = lambda *_, **__: service.celonis._answer([])  # type: ignore[method-assign]
    assert service.start("job-0")["status"] == "RUNNING"
    assert (baseline_of(service)["status"], baseline_of(service)["listed"]) == ("SUCCESS", [])


def test_a_list_that_fails_for_longer_than_settle_is_not_served() -> None:
    service = opened(job_definition(settle=30))
    service.celonis.faults["executions"] = [unavailable()] * 100
    began = service.clock.now
    while (progress := service.start("job-0"))["status"] == "WAITING":
        assert service.state("job-0")["last_error"] == "No usable answer."
        service.wait(progress)
    assert service.clock.now - began >= 30.0
    assert starts(service) == [POSTED]
    assert baseline_of(service)["listed"] is None


def baseline_of(service: ServiceHarness, step: str = "job-0") -> dict[str, Any]:
    baseline = service.state(step)["baseline"]
    assert isinstance(baseline, dict)
    return baseline


def test_every_call_of_a_start_has_its_own_timeout() -> None:
    service = opened()
    service.start("job-0")
    poll, history, post = service.celonis.timeouts
    assert (poll, history) == (12.0, 12.0)
    assert post == pytest.approx(20.0)


def test_no_call_is_given_more_than_what_is_left_of_the_task() -> None:
    service = opened()
    start_step(service.context, RUN, "job-0", service.deadline(5.0))
    assert [round(timeout, 2) for timeout in service.celonis.timeouts] == [5.0, 4.9, 4.8]


@pytest.mark.parametrize("seconds", [57.0, 5.0, 1.5])
def test_a_start_leaves_by_the_moment_that_is_noted_before_it_is_sent(seconds: float) -> None:
    service = opened()
    noted, now = [], []

    def note(name: str, when: str) -> None:
        if (name, when) == ("execute_job", "before"):
            noted.append(float(str(service.state("job-0")["sent_by"])))
            now.append(service.clock.now)

    service.celonis.hook = note
    deadline = service.deadline(seconds)
    start_step(service.context, RUN, "job-0", deadline)
    (sent_by,), (sent,) = noted, now
    assert sent_by == pytest.approx(sent + service.celonis.timeouts[-1])
    assert sent_by == pytest.approx(min(sent + 20.0, deadline.at))


def test_the_baseline_is_in_the_record_before_the_start_is_sent() -> None:
    service = opened()
    before = service.celonis.jobs[JOB].add_past_start(600.0)

    def die(name: str, when: str) -> None:
        if name == "execute_job":
            raise Crashed

    service.celonis.hook = die
    with pytest.raises(Crashed):
        service.start("job-0")
    state = service.state("job-0")
    baseline = baseline_of(service)
    assert (before.id in baseline["listed"], before.item in baseline["ids"]) == (True, True)
    assert not set(baseline["listed"]) & set(baseline["ids"])  # each id once: the record is limited
    assert before.id in start_of(state, 120.0).baseline.ids
    assert baseline["status"] == "SUCCESS"
    assert (state["posts"], state["job"], state["mode"]) == (1, JOB, "FULL")
    assert "answered" not in state


def test_a_start_that_died_at_its_post_is_not_sent_again_by_the_start() -> None:
    service = opened()
    service.celonis.hook = _die_after_the_post
    with pytest.raises(Crashed):
        service.start("job-0")
    out = Outgoing(service)
    assert service.start("job-0")["status"] == "RUNNING"
    assert out.log == []
    assert starts(service) == [POSTED]


def _die_after_the_post(name: str, when: str) -> None:
    if name == "execute_job" and when == "after":
        raise Crashed


def test_a_start_that_was_answered_is_not_sent_again() -> None:
    service = opened()
    service.start("job-0")
    assert service.start("job-0")["status"] == "RUNNING"
    assert starts(service) == [POSTED]
    assert service.state("job-0")["answered"] is True


def test_the_id_and_the_moment_of_an_answer_are_noted_and_prove_nothing_yet() -> None:
    service = opened()
    service.celonis.answers_id = True
    service.start("job-0")
    state = service.state("job-0")
    assert state["answered_id"] == "exec-1"
    arrived = service.celonis.jobs[JOB].mine[0].at * 1000
    assert arrived <= int(str(state["answered_by"])) < arrived + 1500
    assert "evidence" not in state


def test_an_answer_without_id_and_date_is_noted_as_an_answer() -> None:
    service = opened()
    service.celonis.dated = False
    service.start("job-0")
    state = service.state("job-0")
    assert state["answered"] is True
    assert not {"answered_id", "answered_by"} & state.keys()


def test_what_a_start_before_was_answered_is_not_taken_for_the_answer_to_the_next() -> None:
    service = opened(job_definition(settle=30))
    service.celonis.answers_id = True
    service.start("job-0")
    run = service.records.get(RUN)
    state = {**run.steps["job-0"], "refused": True, "posts": 0}
    service.records.save_step(run, "job-0", state, service.deadline())
    service.celonis.jobs[JOB].mine[0].ended_early = (service.clock.now, "CANCEL")
    service.celonis.faults["execute_job"] = ["after"]
    service.clock.sleep(60.0)
    assert service.start("job-0")["status"] == "RUNNING"
    assert not {"answered", "answered_id", "answered_by"} & service.state("job-0").keys()


@pytest.mark.parametrize("status", [400, 405, 422])
def test_a_refusal_of_an_idle_job_that_is_repeated_after_settle_ends_the_step(status: int) -> None:
    service = opened(job_definition(settle=30))
    service.celonis.faults["execute_job"] = [rejected(status), rejected(status)]
    out = Outgoing(service)
    assert service.wait(service.start("job-0"))["status"] == "WAITING"
    assert out.take()[:7] == [TAKEN, "job", "executions", NOTED, "execute_job", "job", "executions"]
    assert holder(service) is None
    began = service.clock.now
    assert service.run_step("job-0") == "CelonisRejected"
    assert 30.0 <= service.clock.now - began < 60.0
    assert out.calls[-5:] == ["job", "executions", "execute_job", "job", "executions"]
    assert (out.calls.count("execute_job"), holder(service)) == (1, None)
    state = service.state("job-0")
    assert (state["outcome"], state["error"], state["message"]) == (
        "FAILED",
        "CelonisRejected",
        "Refused.",
    )


def test_a_refusal_because_of_an_execution_that_no_poll_shows_yet_is_waited_out() -> None:
    service = opened(job_definition(settle=30))
    target = service.celonis.jobs[JOB]
    target.lags = Lags((25.0,))

    def slips_in(name: str, when: str) -> None:
        if (name, when) == ("execute_job", "before") and len(target.starts) == 1:
            target.begin(mine=False, at=service.clock.now, seconds=90.0, outcome="SUCCESS")

    service.celonis.hook = slips_in
    service.celonis.faults["execute_job"] = [rejected(422)]
    assert service.run_step("job-0") == "SUCCEEDED"
    assert (len(starts(service)), len(target.mine)) == (2, 1)


def test_every_refusal_after_something_was_seen_running_is_judged_anew() -> None:
    service = opened(job_definition(settle=30))
    target = service.celonis.jobs[JOB]
    service.celonis.faults["execute_job"] = [rejected(400), rejected(400)]
    service.wait(service.start("job-0"))
    target.begin(mine=False, at=service.clock.now, seconds=40.0, outcome="SUCCESS")
    assert service.run_step("job-0") == "SUCCEEDED"
    assert (len(starts(service)), len(target.mine)) == (3, 1)


@pytest.mark.parametrize("takes_effect", [True, False])
def test_a_repeat_that_is_refused_for_any_reason_leaves_the_first_start_to_the_polls(
    *, takes_effect: bool
) -> None:
    service = opened(job_definition(settle=30))
    service.celonis.faults["execute_job"] = ["before", rejected(422)]
    target = service.celonis.jobs[JOB]
    service.start("job-0")

    def arrives_late(name: str, when: str) -> None:
        if (name, when) == ("execute_job", "before") and takes_effect:
            target.lags = Lags((20.0,))
            target.post(service.clock.now, "FULL")

    service.celonis.hook = arrives_late
    end = service.run_step("job-0")
    assert (end, len(starts(service))) == ("OutcomeUnproven" if takes_effect else "CelonisRejected", 2)


def test_a_start_that_celonis_throttled_is_taken_back_and_sent_later() -> None:
    service = opened()
    service.celonis.faults["execute_job"] = ["throttled"]
    progress = service.wait(service.start("job-0"))
    assert progress["status"] == "WAITING"
    state = service.state("job-0")
    assert (state["refused"], state["posts"]) == (True, 0)
    assert holder(service) is None
    assert service.start("job-0")["status"] == "RUNNING"
    assert starts(service) == [POSTED, POSTED]
    assert len(service.celonis.jobs[JOB].mine) == 1
    assert "refused" not in service.state("job-0")


def wait_for_start(service: ServiceHarness, step: str = "job-0") -> float:
    """Seconds until the start was sent."""
    began = service.clock.now
    while (progress := service.start(step))["status"] == "WAITING":
        service.wait(progress)
    return service.clock.now - began


def test_a_refused_start_is_taken_back_and_sent_once_what_ran_must_show() -> None:
    """What ran unseen, and its end, may not show yet: an earlier start could not be distinguished from it."""
    service = opened(job_definition(settle=30))
    service.celonis.faults["execute_job"] = ["refused"]
    service.wait(service.start("job-0"))
    state = service.state("job-0")
    assert (state["refused"], state["posts"], state["busy"]) == (
        True,
        0,
        {"at": pytest.approx(service.clock.now, abs=20.0), "ids": [], "unnamed": True},
    )
    assert holder(service) is None
    assert wait_for_start(service) >= 30.0
    assert starts(service) == [POSTED, POSTED]
    assert len(service.celonis.jobs[JOB].mine) == 1
    assert not {"refused", "busy"} & service.state("job-0").keys()


def test_a_refused_repeat_is_not_taken_back_and_what_runs_then_is_not_reported() -> None:
    """The first start may have come very late, or another user's runs."""
    service = opened(job_definition(settle=30))
    service.celonis.faults["execute_job"] = ["before"]
    target = service.celonis.jobs[JOB]
    service.start("job-0")

    def arrives_late(name: str, when: str) -> None:
        if (name, when) == ("execute_job", "before"):
            target.post(service.clock.now, "FULL")

    service.celonis.hook = arrives_late
    while len(starts(service)) < 2:
        service.wait(service.check("job-0"))
    state = service.state("job-0")
    assert (state["posts"], state["last_error"]) == (2, "Refused.")
    assert "refused" not in state
    assert service.run_step("job-0") == "OutcomeUnproven"
    assert (len(starts(service)), len(target.mine)) == (2, 1)


def test_a_throttled_start_waits_for_the_retry_after() -> None:
    service = opened()
    service.celonis.faults["execute_job"] = ["throttled"]
    assert service.start("job-0")["wait"] >= 7


def test_a_refusal_of_any_status_passes_where_a_poll_shows_something_running() -> None:
    service = opened()
    another_user = service.celonis.jobs[JOB]

    def slips_in(name: str, when: str) -> None:
        if name == "execute_job" and when == "before":
            another_user.begin(mine=False, at=service.clock.now, seconds=60.0, outcome="SUCCESS")

    service.celonis.hook = slips_in
    service.celonis.faults["execute_job"] = [rejected(400)]
    assert service.start("job-0")["status"] == "WAITING"
    assert service.state("job-0")["refused"] is True


def test_a_refused_start_is_retried_while_polls_fail() -> None:
    service = opened()
    service.celonis.faults |= {"execute_job": [rejected(400)], "job": [None, unavailable()]}
    assert service.start("job-0")["status"] == "WAITING"


def test_a_refused_start_is_retried_after_one_refused_poll() -> None:
    service = opened(job_definition(settle=30))
    service.celonis.faults |= {"execute_job": [rejected(400)], "job": [None, denied()]}
    assert service.wait(service.start("job-0"))["status"] == "WAITING"
    wait_for_start(service)
    assert service.run_step("job-0") == "SUCCEEDED"
    assert len(service.celonis.jobs[JOB].mine) == 1


@pytest.mark.parametrize("error", for_good(), ids=lambda error: error.name)
@pytest.mark.parametrize(
    ("step", "call"), [("job-0", "job"), ("job-0", "executions"), ("load-0", "last_load")]
)
def test_one_refused_poll_before_a_start_is_repeated_in_the_next_round(
    step: str, call: str, error: CelonisError
) -> None:
    service = opened(job_definition() if step == "job-0" else load_definition())
    service.celonis.faults |= {call: [error], "tables": [unknown()]}
    assert service.wait(service.start(step))["status"] == "WAITING"
    assert (service.state(step)["last_error"], starts(service)) == (error.message, [])
    assert service.run_step(step) == "SUCCEEDED"
    assert len(starts(service)) == 1


@pytest.mark.parametrize("error", for_good(), ids=lambda error: error.name)
def test_a_poll_that_is_refused_twice_before_a_start_ends_the_step(error: CelonisError) -> None:
    service = opened()
    service.celonis.faults["job"] = [error, error]
    began = service.clock.now
    assert service.run_step("job-0") == error.name
    assert service.clock.now - began < 30.0
    state = service.state("job-0")
    assert (state["error"], state["message"]) == (error.name, str(error))
    assert (holder(service), starts(service)) == (None, [])


def test_refusals_of_polls_with_different_errors_are_not_consistent() -> None:
    service = opened()
    service.celonis.faults["job"] = [denied(), unknown(), denied()]
    assert service.run_step("job-0") == "SUCCEEDED"


@pytest.mark.parametrize("between", [None, unavailable()], ids=["a success", "no answer"])
def test_a_refused_poll_is_forgotten_after_another_answer(between: CelonisError | None) -> None:
    service = opened()
    busy = service.celonis.jobs[JOB]
    busy.add_past_start(5.0, seconds=60.0)
    service.celonis.faults["job"] = [None, denied(), between, denied()]
    assert service.run_step("job-0") == "SUCCEEDED"
    assert service.celonis.faults["job"] == []


def test_a_throttled_poll_proves_nothing_about_access() -> None:
    service = opened()
    service.celonis.faults["job"] = [denied(), throttled(5.0), denied()]
    assert service.run_step("job-0") == "PermissionDenied"


@pytest.mark.parametrize("error", for_good(), ids=lambda error: error.name)
def test_a_start_that_is_refused_for_access_ends_the_step_at_once(error: CelonisError) -> None:
    service = opened()
    service.celonis.faults["execute_job"] = [error]
    with pytest.raises(type(error)):
        service.start("job-0")
    state = service.state("job-0")
    assert (state["error"], state["message"]) == (error.name, str(error))
    assert holder(service) is None
    assert service.celonis.jobs[JOB].mine == []


@pytest.mark.parametrize("lost", ["before", "after", unavailable(may_have_started=True)])
def test_a_start_whose_answer_was_lost_counts_as_sent(lost: Any) -> None:
    service = opened()
    service.celonis.faults["execute_job"] = [lost]
    assert service.start("job-0")["status"] == "RUNNING"
    state = service.state("job-0")
    assert (state["posts"], state["last_error"]) == (1, "No usable answer.")
    assert "answered" not in state
    service.start("job-0")
    assert starts(service) == [POSTED]


def test_a_start_that_never_left_is_sent_again_at_the_next_try() -> None:
    service = opened()
    service.celonis.faults["execute_job"] = ["unsent"]
    assert service.wait(service.start("job-0"))["status"] == "WAITING"
    assert starts(service) == []
    assert service.start("job-0")["status"] == "RUNNING"
    assert starts(service) == [POSTED]


@pytest.mark.parametrize("error", [unavailable(), throttled(30.0)], ids=lambda error: error.name)
@pytest.mark.parametrize("call", ["job", "last_load"])
def test_a_poll_that_fails_for_now_sends_nothing_and_is_noted(call: str, error: CelonisError) -> None:
    service = opened(job_definition() if call == "job" else load_definition())
    step = "job-0" if call == "job" else "load-0"
    service.celonis.faults[call] = [error]
    progress = service.start(step)
    assert progress["status"] == "WAITING"
    assert progress["wait"] >= (30 if error.name == "CelonisThrottled" else 1)
    assert service.state(step)["last_error"] == error.message
    assert starts(service) == []


def test_a_list_of_executions_that_is_not_served_keeps_nothing_from_starting() -> None:
    service = opened()
    service.celonis.jobs[JOB].add_past_start(600.0)
    service.celonis.faults["executions"] = [rejected(400)]
    assert service.start("job-0")["status"] == "RUNNING"


def test_a_job_that_is_running_in_celonis_already_is_waited_for() -> None:
    service = opened()
    service.celonis.jobs[JOB].add_past_start(5.0, seconds=60.0)
    assert service.start("job-0")["status"] == "WAITING"
    assert service.state("job-0")["waiting_for"] == "an execution that is running in Celonis already"
    assert starts(service) == []
    service.clock.sleep(60.0)
    assert service.start("job-0")["status"] == "RUNNING"


def test_a_start_waits_until_the_baseline_shows_the_end_of_what_ran() -> None:
    """A later poll may be older than the one that showed it running, and than its start."""
    service = opened(job_definition(settle=60))
    target = service.celonis.jobs[JOB]
    other = target.add_past_start(5.0, seconds=10.0)
    assert service.wait(service.start("job-0"))["status"] == "WAITING"
    busy = service.state("job-0")["busy"]
    assert isinstance(busy, dict)
    assert busy["ids"] == [other.id]
    target.lags = Lags((40.0,))  # before it began
    service.clock.sleep(10.0)
    assert service.start("job-0")["status"] == "WAITING"
    assert service.state("job-0")["waiting_for"] == "Celonis to show what ended a moment ago"
    assert starts(service) == []


def test_where_the_end_of_what_ran_shows_no_id_a_start_waits_two_settles_at_most() -> None:
    service = opened(job_definition(settle=60), shows=ShownFields(listing=False, latest="none"))
    service.celonis.jobs[JOB].add_past_start(5.0, seconds=10.0)
    waited = wait_for_start(service)
    assert 110.0 <= waited <= 150.0
    assert starts(service) == [POSTED]


def test_a_start_waits_until_the_baseline_shows_our_execution_before_it() -> None:
    service = opened()
    assert service.run_step("job-0") == "SUCCEEDED"
    service.open(job_definition(), "other-1", "other")
    target = service.celonis.jobs[JOB]
    target.lags = Lags((100.0,))  # before the first run
    assert service.wait(service.start("job-0", "other-1"))["status"] == "WAITING"
    assert service.state("job-0", "other-1")["waiting_for"] == "Celonis to show what ended a moment ago"
    assert len(starts(service)) == 1
    target.lags = Lags((0.0,))
    assert service.start("job-0", "other-1")["status"] == "RUNNING"
    assert len(starts(service)) == 2


@pytest.mark.parametrize(
    ("definition", "step", "lease", "error"),
    [
        (job_definition(when_busy="fail"), "job-0", JOB_LEASE, "JobBusy"),
        (load_definition(when_busy="fail"), "load-0", MODEL_LEASE, "ModelBusy"),
    ],
    ids=["job", "load"],
)
def test_a_pipeline_that_does_not_wait_fails_where_celonis_is_busy(
    definition: Definition, step: str, lease: str, error: str
) -> None:
    service = opened(definition)
    for target in (service.celonis.jobs[JOB], service.celonis.models[MODEL]):
        target.add_past_start(5.0, seconds=60.0)
    with pytest.raises(RefreshError) as caught:
        service.start(step)
    assert caught.value.name == error
    assert "when_busy: wait" in str(caught.value)
    assert service.state(step)["outcome"] == "FAILED"
    assert (holder(service, lease), starts(service)) == (None, [])


def test_a_job_that_another_run_uses_is_waited_for_without_asking_celonis() -> None:
    service = opened()
    service.open(job_definition(), "other-1", "other")
    service.start("job-0", "other-1")
    out = Outgoing(service)
    assert service.start("job-0")["status"] == "WAITING"
    assert out.calls == []
    assert service.state("job-0")["waiting_for"] == "run other-1"
    assert holder(service) == "other-1"


def test_a_pipeline_that_does_not_wait_fails_where_another_run_uses_the_job() -> None:
    service = opened(job_definition(when_busy="fail"))
    service.open(job_definition(), "other-1", "other")
    service.start("job-0", "other-1")
    with pytest.raises(RefreshError) as caught:
        service.start("job-0")
    assert caught.value.name == "JobBusy"
    assert "Data job job-a is busy with run other-1." in str(caught.value)
    assert holder(service) == "other-1"


def test_the_record_names_the_run_that_uses_the_job_now() -> None:
    service = opened()
    for run_id, pipeline in (("other-1", "other"), ("third-1", "third")):
        service.open(job_definition(), run_id, pipeline)
    service.start("job-0", "other-1")
    service.start("job-0", "third-1")
    service.clock.sleep(1.0)
    service.start("job-0")
    assert service.run_step("job-0", "other-1") == "SUCCEEDED"
    service.start("job-0")
    assert service.state("job-0")["waiting_for"] == "run third-1", "queued before this run"
    assert service.start("job-0", "third-1")["status"] == "RUNNING"
    service.start("job-0")
    assert service.state("job-0")["waiting_for"] == "run third-1", "using it now"


def test_celonis_out_of_reach_is_in_the_record_and_the_log_from_the_first_attempt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = opened()
    service.celonis.faults["job"] = [unavailable()] * 3
    for _ in range(3):
        service.wait(service.start("job-0"))
        assert shown(service.records.get(RUN))["steps"]["job-0"]["last_error"] == "No usable answer."
    lines = [vars(line) for line in caplog.records if line.levelname == "WARNING"]
    assert [(line["subject"], line["why"]) for line in lines] == [("Data job job-a", "No usable answer.")]
    service.start("job-0")
    assert "last_error" not in shown(service.records.get(RUN))["steps"]["job-0"]


def test_what_is_waited_for_is_written_once() -> None:
    service = opened()
    service.open(job_definition(), "other-1", "other")
    service.start("job-0", "other-1")
    service.wait(service.start("job-0"))
    out = Outgoing(service)
    service.start("job-0")
    assert SAVED not in out.writes


def test_when_something_was_last_seen_running_is_written_each_time() -> None:
    """The baseline has to be of a later moment."""
    service = opened()
    service.celonis.jobs[JOB].add_past_start(5.0, seconds=600.0)
    for _ in range(2):
        service.wait(service.start("job-0"))
        busy = service.state("job-0")["busy"]
        assert isinstance(busy, dict)
        assert service.clock.now - busy["at"] < 60.0


def test_waiting_ends_with_the_timeout_and_names_its_cause() -> None:
    service = opened(job_definition(jobs=[{"job": JOB, "timeout": 60}]))
    service.celonis.jobs[JOB].add_past_start(5.0, seconds=6000.0)
    assert service.run_step("job-0") == "JobTimedOut"
    assert "running in Celonis already" in str(service.state("job-0")["message"])
    assert starts(service) == []


def test_with_too_little_time_left_nothing_is_sent_and_the_lease_is_given_back() -> None:
    service = opened()
    out = Outgoing(service)
    assert start_step(service.context, RUN, "job-0", service.deadline(0.65))["status"] == "WAITING"
    assert out.log == [TAKEN, "job", "executions", FREED]
    assert "sent_by" not in service.state("job-0")
    assert holder(service) is None


def claimed_start(service: ServiceHarness) -> UnsavedAnswer | None:
    run = service.records.get(RUN)
    facts = {"loads": {"load-0": {"kind": "complete", "tables": {}}}}
    return start_claimed(service.context, run, "job-0", service.deadline(), facts)


BASELINE = SentWrite("TransactWriteItems", (RECORD, "earlier#job#job-a"))
"""The baseline of a run that was claimed just now, and what it requires of the execution before."""


def test_a_start_right_after_the_claim_takes_no_lease_and_writes_its_facts_with_the_baseline() -> None:
    service = opened()
    service.dynamodb.calls.clear()
    out = Outgoing(service)
    claimed_start(service)
    assert out.log == ["job", "executions", BASELINE, "execute_job"]
    assert service.dynamodb.calls == ["GetItem", "TransactWriteItems"]  # the first is of this test
    assert service.records.get(RUN).loads == {"load-0": {"kind": "complete", "tables": {}}}


def test_a_start_right_after_the_claim_hands_its_answer_on_and_does_not_write_it() -> None:
    service = opened()
    service.celonis.answers_id = True
    answer = claimed_start(service)
    state = service.state("job-0")
    assert "answered" not in state
    assert answer is not None
    assert answer == {
        "step": "job-0",
        "posts": 1,
        "sent_by": service.clock.now,
        "answered_id": "exec-1",
        "answered_by": answer["answered_by"],
    }
    assert float(str(state["sent_by"])) >= service.clock.now


def test_a_start_right_after_the_claim_without_a_response_returns_nothing() -> None:
    service = opened()
    service.celonis.faults["execute_job"] = ["after"]
    assert claimed_start(service) is None
    assert service.state("job-0")["last_error"] == "No usable answer."


def test_a_start_right_after_the_claim_is_not_sent_where_the_execution_before_is_not_shown_yet() -> None:
    service = opened()
    earlier = Earlier().followed_by(["exec-0x"], None, service.clock.now + 60.0, shows_running=True)
    take(service.leases, RUN, JOB_LEASE, service.deadline())
    service.leases.free(RUN, JOB_LEASE, service.deadline(), earlier)
    assert claimed_start(service) is None
    assert (starts(service), set(service.state("job-0"))) == ([], {"rev", "shown"})
    service.clock.sleep(60.0)
    assert claimed_start(service) is not None
    assert starts(service) == [POSTED]


def inner_load() -> Definition:
    return job_definition(loads=[{"data_model": MODEL, "started_by": "job"}])


def test_before_a_job_starts_what_is_there_of_the_model_that_it_loads_is_noted() -> None:
    service = opened(inner_load())
    service.celonis.models[MODEL].add_past_start(600.0)
    out = Outgoing(service)
    service.start("job-0")
    taken = SentWrite("TransactWriteItems", (RECORD, JOB_LEASE, MODEL_LEASE))
    assert out.log == [taken, "last_load", "job", "executions", NOTED, "execute_job", SAVED]
    assert baseline_of(service, "load-0")["ids"] == ["exec-1"]
    assert holder(service, MODEL_LEASE) == RUN


def test_a_job_waits_while_the_model_that_it_loads_is_being_loaded() -> None:
    service = opened(inner_load())
    service.celonis.models[MODEL].add_past_start(5.0, seconds=60.0)
    assert service.start("job-0")["status"] == "WAITING"
    assert service.state("job-0")["waiting_for"] == "a load of a data model that this job loads"
    assert starts(service) == []


def test_a_job_waits_until_every_poll_shows_the_end_of_a_load_that_one_has_shown() -> None:
    """An older answer shows the model as it was before that load began."""
    service = opened(inner_load())
    model = service.celonis.models[MODEL]
    model.add_past_start(5.0, seconds=600.0)
    assert service.start("job-0")["status"] == "WAITING"
    model.lags = Lags([60.0])
    service.clock.sleep(5.0)
    assert service.start("job-0")["status"] == "WAITING"
    assert starts(service) == []


def test_what_one_run_has_seen_of_a_model_holds_for_the_others() -> None:
    service = opened(inner_load())
    service.open(inner_load(), "other-1", "other")
    model = service.celonis.models[MODEL]
    model.add_past_start(5.0, seconds=600.0)
    assert service.start("job-0", "other-1")["status"] == "WAITING"
    model.lags = Lags([60.0])
    service.clock.sleep(5.0)
    assert service.start("job-0")["status"] == "WAITING"
    assert starts(service) == []


def test_what_another_run_stores_after_the_poll_stops_the_start() -> None:
    service = opened()

    def store(operation: str, request: dict[str, Any]) -> None:
        if "earlier#" in str(request) and operation == "TransactWriteItems":
            service.dynamodb.before = lambda operation, request: None
            note_busy(
                service.leases.table,
                "other-1",
                JOB_LEASE,
                Busy(service.clock.now + 60.0),
                service.leases.clock,
                service.deadline(),
            )

    service.dynamodb.before = store
    assert service.start("job-0")["status"] == "WAITING"
    assert starts(service) == []


def test_a_baseline_that_lacks_what_the_poll_before_it_showed_is_not_used() -> None:
    """The second answer may be older: the list that it has would then show an old execution as a new one."""
    service = never_ran()
    target = service.celonis.jobs[JOB]
    target.add_past_start(40.0, seconds=5.0)
    target.lags = Lags([0.0, 120.0, 120.0, 120.0])
    assert service.start("job-0")["status"] == "WAITING"
    assert starts(service) == []


def test_a_load_of_a_job_notes_when_the_job_had_begun() -> None:
    service = opened(inner_load())
    assert service.run_step("job-0") == "SUCCEEDED"
    service.start("load-0")
    assert service.state("load-0")["answered_by"] == service.state("job-0")["started_date"]


def test_a_job_that_is_started_again_takes_new_baselines_of_the_models_that_it_loads() -> None:
    service = opened(inner_load())
    service.celonis.faults["execute_job"] = ["before"]
    assert service.start("job-0")["status"] == "RUNNING"
    loaded = service.celonis.models[MODEL].add_past_start(-1.0, seconds=5.0)
    while len(starts(service)) < 2:
        service.wait(service.check("job-0"))
    assert loaded.id in baseline_of(service, "load-0")["ids"]


def test_a_job_waits_while_another_run_uses_the_model_that_it_loads() -> None:
    service = opened(inner_load())
    service.open(load_definition(), "other-1", "other")
    service.start("load-0", "other-1")
    assert service.start("job-0")["status"] == "WAITING"
    assert [name for name, _, _ in starts(service)] == ["load_model"]


def test_a_load_that_a_job_starts_is_not_started_by_us() -> None:
    service = opened(inner_load())
    assert service.run_step("job-0") == "SUCCEEDED"
    out = Outgoing(service)
    assert service.start("load-0")["status"] == "RUNNING"
    assert out.log == [SAVED]
    assert service.state("load-0")["answered"] is True


def stages(*outcomes: str) -> ServiceHarness:
    """A run of a group of jobs, which ended like this, then one more job and a load."""
    letters = "abcdef"[: len(outcomes)]
    group = [{"job": f"job-{letter}"} for letter in letters]
    service = opened(job_definition(jobs=[group, {"job": "job-z"}], loads=[{"data_model": MODEL}]))
    for job, outcome in zip(group, outcomes, strict=True):
        service.job(job["job"], outcome=outcome).add_past_start(6000.0)
    service.job("job-z").add_past_start(6000.0)
    for number in range(len(outcomes)):
        service.run_step(f"job-{number}")
    service.celonis.sent.clear()
    return service


@pytest.mark.parametrize("step", ["job-2", "load-0"])
def test_nothing_is_started_after_a_stage_with_a_failed_job(step: str) -> None:
    """Even if the state machine calls it: the error of the job is raised again."""
    service = stages("SUCCESS", "FAIL")
    with pytest.raises(StepFailed, match="Data job job-b failed in Celonis") as caught:
        service.start(step)
    assert caught.value.name == "JobFailed"
    assert (service.celonis.sent, service.state(step)) == ([], {})


def test_nothing_is_started_after_a_stage_without_a_proven_end() -> None:
    service = stages("SUCCESS", "SUCCESS")
    with pytest.raises(OutcomeUnproven, match="job-z"):
        service.start("load-0")
    assert service.celonis.sent == []
    assert service.run_step("job-2") == service.run_step("load-0") == "SUCCEEDED"


def test_a_job_beside_a_failed_one_is_started() -> None:
    service = opened(job_definition(jobs=[[{"job": JOB}, {"job": "job-b"}]]))
    service.celonis.jobs[JOB].outcome = "FAIL"
    service.job("job-b").add_past_start(6000.0)
    assert (service.run_step("job-0"), service.run_step("job-1")) == ("JobFailed", "SUCCEEDED")


@pytest.mark.parametrize(
    ("load", "posted"),
    [
        ({"kind": "complete"}, ("load_model", MODEL, "complete")),
        ({"kind": "from_cache"}, ("load_model", MODEL, "from_cache")),
        ({"kind": "partial", "tables": ["t-2", "t-1"]}, ("load_tables", MODEL, ("t-1", "t-2"))),
    ],
    ids=["complete", "from cache", "partial"],
)
def test_each_kind_of_load_is_its_own_call(load: dict[str, Any], posted: tuple[str, str, object]) -> None:
    service = opened(load_definition(loads=[{"data_model": MODEL, **load}]))
    out = Outgoing(service)
    assert service.start("load-0")["status"] == "RUNNING"
    assert out.calls == ["last_load", posted[0]]
    assert starts(service) == [posted]


def test_the_tables_distinguish_a_model_that_was_never_loaded_from_a_missing_one() -> None:
    service = opened(load_definition())
    service.celonis.model_tables[MODEL] = [ModelTable("t-1", "ORDERS")]
    service.celonis.faults["last_load"] = [unknown(), unknown()]
    assert service.start("load-0")["status"] == "RUNNING"
    assert starts(service) == [("load_model", MODEL, "complete")]


def test_a_model_that_is_not_there_ends_the_step() -> None:
    service = opened(load_definition())
    service.celonis.faults |= {"last_load": [unknown()] * 2, "tables": [unknown()] * 2}
    assert service.run_step("load-0") == "NotFound"
    assert starts(service) == []


def test_of_two_concurrent_starts_one_posts_and_the_other_raises_step_moved() -> None:
    service = opened()

    def other(name: str, when: str) -> None:
        if name == "executions" and when == "before":
            service.celonis.hook = lambda *_: None
            service.start("job-0")

    service.celonis.hook = other
    with pytest.raises(StepMoved):
        service.start("job-0")
    assert starts(service) == [POSTED]


def close(service: ServiceHarness) -> None:
    service.records.set_facts(service.records.get(RUN), {"status": RunStatus.ABORTED}, service.deadline())


def test_a_run_that_was_closed_starts_nothing() -> None:
    service = opened()
    close(service)
    out = Outgoing(service)
    with pytest.raises(RunClosed):
        service.start("job-0")
    assert out.log == []


def test_a_run_that_was_closed_during_the_poll_starts_nothing() -> None:
    service = opened()

    def closes(name: str, when: str) -> None:
        if name == "executions":
            service.celonis.hook = lambda *_: None
            close(service)

    service.celonis.hook = closes
    with pytest.raises(RunClosed):
        service.start("job-0")
    assert starts(service) == []


def test_a_step_that_has_ended_is_reported_again_and_not_started_again() -> None:
    service = opened()
    assert service.run_step("job-0") == "SUCCEEDED"
    out = Outgoing(service)
    assert service.start("job-0") == {"status": "SUCCEEDED", "wait": 0}
    assert out.log == []


def test_a_failing_list_of_executions_is_logged_with_its_reason() -> None:
    service = opened()
    service.start("job-0")
    service.celonis.faults["executions"] = [unavailable()]
    with logged() as lines:
        assert service.check("job-0")["status"] == "RUNNING"
    assert [vars(line)["why"] for line in lines] == ["No usable answer."]
