"""The task that polls a started step until its end is proven and recorded.

Polls that are throttled (429), fail (5xx) or have no usable answer are repeated until the step's timeout;
polls that Celonis refuses (401, 403, 404) for ``settle`` seconds. At the timeout our execution is cancelled
if it is proven to be running. These polls ignore the rate limiter.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from celonis_refresh.celonis.errors import CelonisError, CelonisRejected, CelonisThrottled, CelonisUnavailable
from celonis_refresh.celonis.records import JobStatus
from celonis_refresh.steps import errors
from celonis_refresh.steps.observation import Observation
from celonis_refresh.steps.ownership import Ownership, OwnershipStatus
from celonis_refresh.steps.poll import is_running, observe_started, record_poll
from celonis_refresh.steps.polling.durations import took
from celonis_refresh.steps.start import observe_models, send_start
from celonis_refresh.steps.step import (
    POLL_SECONDS,
    Progress,
    Step,
    StepContext,
    awaits_answer,
    is_started,
    log_step,
    record_refusal,
    replay,
)
from celonis_refresh.timing import Deadline, epoch

HISTORY_SECONDS = 5.0
"""How long the load history may take, which a run does without."""
MAX_POSTS = 2
"""A start is repeated at most once, and only if it is proven that the first one did not take effect."""
STOP_SECONDS = 60.0
"""How long a cancelled job may take to end, and how long polls may fail after the timeout."""
MIN_REFUSED_POLLS = 4
"""Approximate number of polls that are refused within ``settle`` before the step fails."""
TRIGGER_SECONDS = 10.0
"""Timeout of the trigger function, which records the answer to a start that it has sent."""
NOT_CANCELLED = "It was not cancelled: it is not proven that our execution is running."


def check_step(context: StepContext, run_id: str, step: str, deadline: Deadline) -> Progress:
    """Poll the step and return when to poll again. Raises the error with which it ended, on every call."""
    run = context.records.get_open(run_id)
    state = run.steps.get(step, {})
    if "ended_at" in state:
        log_step(run, step)
        return replay(state)
    task = Step(context, run, step, deadline)
    pending = _answer_pending(task)
    if pending:  # write nothing: a write here would make the trigger's write of the answer fail
        return {"status": "RUNNING", "wait": ceil(pending)}
    return _check(task) if is_started(state) else _wait_unstarted(task)


def _check(step: Step) -> Progress:
    step.load_durations()
    if step.is_expired():
        step.target = step.target.ignoring_rate_limit()
    if "earlier" not in step.state:
        step.earlier()
    try:
        ownership, observation = observe_started(
            step.target, step.state, step.run.definition.settle, step.context.clock, step.seconds
        )
    except (CelonisUnavailable, CelonisThrottled) as error:
        # Wait longer than the timeout, because ours could not be cancelled without a poll.
        return step.wait_for_celonis(error, grace=STOP_SECONDS)
    except CelonisError as error:
        return _after_refused_poll(step, error)
    record_poll(step, ownership, observation)
    status = ownership.status
    if status is OwnershipStatus.ENDED:
        return _ended(step, ownership, observation)
    if status is OwnershipStatus.NOT_STARTED and step.state.get("posts", MAX_POSTS) < MAX_POSTS:
        return _send_again(step, ownership, observation)
    if status in (OwnershipStatus.PENDING, OwnershipStatus.RUNNING):
        return _keep_polling(step, ownership, observation)
    raise step.failed(_ownership_error(step, status), free=status is OwnershipStatus.NOT_STARTED)


def _answer_pending(step: Step) -> float:
    """Return the seconds for which the trigger function may still record the answer to its start."""
    if not step.state.get("by_webhook") or not awaits_answer(step.state, step.state.get("posts")):
        return 0.0
    return max(0.0, epoch(str(step.state["noted_at"])) + TRIGGER_SECONDS - step.now())


def _send_again(step: Step, ownership: Ownership, observation: Observation) -> Progress:
    """Send the start once more, with new baselines of the models that the job loads."""
    try:
        is_idle = observe_models(step)
    except CelonisError as error:  # the next poll decides again
        step.state["last_error"] = error.message
        is_idle = False
    return send_start(step, observation) if is_idle else _keep_polling(step, ownership, observation)


def _after_refused_poll(step: Step, error: CelonisError) -> Progress:
    """Fail the step once all polls of ``settle`` seconds have been refused; poll more often until then."""
    settle = step.run.definition.settle
    streak = record_refusal(step.state, error, step.now())
    if streak.seconds >= settle:
        raise step.failed(error, free=False) from None
    progress = step.wait_for_celonis(error, grace=STOP_SECONDS)
    soon = ceil(min(settle / MIN_REFUSED_POLLS, settle - streak.seconds))
    return {**progress, "wait": min(progress["wait"], max(soon, step.run.definition.poll.floor))}


def _wait_unstarted(step: Step) -> Progress:
    """Let the state machine try again to start the step, until its timeout."""
    if step.is_expired():
        raise step.expired()
    step.timer.count_round(polls=2)
    step.save()
    return step.progress("WAITING")


def _ended(step: Step, ownership: Ownership, observation: Observation) -> Progress:
    learn_duration = _duration_update(step, ownership, observation)
    status = ownership.execution_status
    if step.state.get("stopping"):
        is_cancelled = status == JobStatus.CANCEL
        what = "was cancelled" if is_cancelled else f"ended by itself, too late ({status})"
        raise step.failed(step.timeout_error(f"It {what}.", has_ended=True))
    ending = step.target.ending(status, ownership.evidence.ours, observation, step.poll_seconds())
    if ending.message:
        step.state["message"] = ending.message
    if ending.error is None:
        step.close("SUCCEEDED")
    else:
        step.failed(ending.error)
    learn_duration()  # the end is written once, so each duration is learned once
    if ending.error is not None:
        raise ending.error
    return {"status": "SUCCEEDED", "wait": 0}


def _duration_update(step: Step, ownership: Ownership, observation: Observation) -> Callable[[], None]:
    """Return what updates the duration history, to be called once the end is written."""
    now, begin, stored = step.now(), step.timer.counted_from(), step.timer.noted.get("known")
    if stored is None:
        return lambda: None
    ours = ownership.evidence.ids_of_ours
    # A load that a job starts is counted from the end of that job, not from its start date.
    dated = observation.seconds_of(ours) if "posts" in step.state else None
    minimum = max(0.0, float(step.timer.noted.get("seen", 0.0)) - begin)
    seconds, status = took(dated, minimum, max(0.0, now - begin)), str(ownership.execution_status)
    key, history = step.target.durations, step.context.duration_history
    return lambda: history.learn(key, stored, seconds, status, step.deadline)


def _keep_polling(step: Step, ownership: Ownership, observation: Observation) -> Progress:
    if step.is_expired():
        return _cancel_expired(step, is_running(ownership, observation))
    _read_history(step)
    step.announce_start()
    step.save()
    return step.progress("RUNNING", at_most=ownership.recheck_in)


def _read_history(step: Step) -> None:
    """Read the load history once, for the first load of a run: at most one request per run.

    It is read after the start, so that it delays nothing. Without it, and for the other loads, the last load
    of the model shows one duration.
    """
    loads = [load.step for load in step.run.plan.loads if load.started_by == "run"]
    if loads[:1] != [step.name] or step.state.get("history_read") or not step.timer.needs_listed:
        return
    step.state["history_read"] = True
    if listed := step.target.history(step.seconds(HISTORY_SECONDS)):
        step.state["listed_durations"] = dict(listed)


def _cancel_expired(step: Step, ours_runs: bool) -> Progress:
    """Cancel our execution after the timeout and poll until it has ended."""
    if "stopping" not in step.state:
        _check_cancellable(step, ours_runs)
        # Recorded before the cancel is sent: after a crash, the next task knows that it was ours.
        step.state["stopping"] = step.now()
        step.save()
    elif step.now() - float(step.state["stopping"]) >= STOP_SECONDS:
        requested = "was" if step.state.get("cancel_requested") else "could not be"
        raise step.expired(f"Its cancellation {requested} requested, but it has not ended.")
    if not step.state.get("cancel_requested") and ours_runs:
        _cancel(step)
    step.save()
    return {"status": "RUNNING", "wait": 2}


def _check_cancellable(step: Step, ours_runs: bool) -> None:
    """Raise the timeout if there is nothing to cancel or the pipeline does not allow it."""
    if not ours_runs:
        raise step.expired(NOT_CANCELLED)
    if not step.run.definition.cancel_on_stop:
        raise step.expired("It keeps running: the pipeline has cancel_on_stop: false.")


def _cancel(step: Step) -> None:
    """Send the cancel. If it is lost or refused once, it is repeated after a poll that shows ours running."""
    try:
        cancelled = step.target.cancel(step.seconds(POLL_SECONDS))
    except (CelonisUnavailable, CelonisThrottled) as error:
        step.state["last_error"] = error.message
    except CelonisError as error:
        if step.state.get("cancel_refused"):
            raise step.expired(f"It could not be cancelled: {error}") from None
        step.state |= {"last_error": error.message, "cancel_refused": True}
    else:
        if not cancelled:
            raise step.expired("It keeps running: no call is known that cancels a load.")
        step.state["cancel_requested"] = True


def _ownership_error(step: Step, status: OwnershipStatus) -> errors.StepFailed:
    rejected = step.state.get("rejected")
    if rejected and status is OwnershipStatus.NOT_STARTED:
        return errors.recorded_error(CelonisRejected.__name__, rejected)
    subject, settle = step.target.subject, step.run.definition.settle
    check = "Check it in Celonis before you start the pipeline again."
    if status is OwnershipStatus.AMBIGUOUS:
        text = f"{subject}: more than one execution began after our start, and any of them may be ours."
        return errors.StartAmbiguous(text, hint=check)
    if status is OwnershipStatus.TAKEN_OVER:
        text = f"{subject}: another user started a newer execution before the end of ours could be read."
        return errors.TakenOver(text, hint=check)
    if status is OwnershipStatus.NOT_STARTED:
        text = f"{subject}: the start was sent twice, and neither took effect within {settle} s."
        return errors.StartIgnored(text, hint=check)
    text = f"{subject}: no poll within {settle} s proves that our start took effect."
    return errors.OutcomeUnproven(text, hint=check)
