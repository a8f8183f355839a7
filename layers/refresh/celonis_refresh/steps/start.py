"""The task that starts a step once: acquire its leases, poll, record the baseline, send the start.

A step that has to wait releases all its leases, so that it does not block other runs, and records new
baselines after it has acquired them second.

The task can be repeated after any of its calls, because it reads the record first. Whether an unanswered
start took effect is determined by polls (check.py) before anything is sent second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from celonis_refresh.celonis.errors import CelonisError, CelonisRejected, CelonisThrottled, CelonisUnavailable
from celonis_refresh.celonis.records import StartAnswer
from celonis_refresh.runs.earlier import check_shown, read_earlier
from celonis_refresh.runs.errors import StaleBaseline
from celonis_refresh.runs.leases import Blocked
from celonis_refresh.runs.records import Run, States
from celonis_refresh.runs.table import Action
from celonis_refresh.steps import errors
from celonis_refresh.steps.busy import is_leftover, is_leftover_load, record_busy, record_running, store_busy
from celonis_refresh.steps.observation import Activity, Observation
from celonis_refresh.steps.ownership import Evidence
from celonis_refresh.steps.retry import add_former_baseline, resume
from celonis_refresh.steps.step import (
    OTHER_RUN,
    POST_SECONDS,
    Progress,
    Step,
    StepContext,
    clear_last_error,
    clear_refusals,
    inner_loads,
    is_started,
    log_step,
    record_refusal,
    replay,
)
from celonis_refresh.steps.target import StepTarget
from celonis_refresh.timing import Deadline

FRESH = "Celonis to show what ended a moment ago"
FRESH_SECONDS = 10.0
"""Maximum pause between polls while a baseline is known to be stale."""
RETURN_SECONDS = 300.0
"""How long a step keeps its place in a queue after a wait, so that a task that fails can be retried."""
MIN_POST_SECONDS = 0.5
"""With less time left, nothing is sent, because the answer would probably be lost."""

UnsavedAnswer = Mapping[str, Any]
"""``step``, ``posts``, ``sent_by``, and ``answered_id`` and ``answered_by`` where the answer has them."""


def start_step(context: StepContext, run_id: str, step: str, deadline: Deadline) -> Progress:
    """Start the step, or return how long it has to wait. Raises the error with which it ended."""
    run = context.records.get_open(run_id)
    state = run.steps.get(step, {})
    if "ended_at" in state:
        log_step(run, step)
        return replay(state)
    if is_started(state):
        return Step(context, run, step, deadline).progress("RUNNING")
    log_step(run, step)
    _check_stages_before(run, step)
    if any(load.step == step and load.started_by == "job" for load in run.plan.loads):
        load = Step(context, run, step, deadline)
        add_former_baseline(load)
        return _expect_load(load)
    resumed = resume(Step(context, run, step, deadline)) if "retry_of" in run.item else None
    return resumed or _start(Step(context, run, step, deadline))


def _check_stages_before(run: Run, step: str) -> None:
    """Raise the error of a job of an earlier stage that did not succeed."""
    jobs = run.plan.jobs
    if step.startswith("job-"):
        jobs = tuple(job for job in jobs if job.stage < run.plan.job(step).stage)
    for job in jobs:
        state = run.steps.get(job.step, {})
        if state.get("outcome") == "SUCCEEDED":
            continue
        if "ended_at" in state:
            replay(state)
        text = f"Data job {job.job} has no proven end, so {step} of run {run.run_id} is not started."
        raise errors.OutcomeUnproven(text, hint="Check the job in Celonis, then retry the run.")


def start_claimed(
    context: StepContext, run: Run, step: str, deadline: Deadline, facts: Mapping[str, Any]
) -> UnsavedAnswer | None:
    """Start the step of a run that was claimed a moment ago together with the step's lease.

    ``facts`` of the run are written with the baseline. The answer of Celonis is returned for the input of the
    execution, which saves a write.
    """
    task = Step(context, run, step, deadline, facts)
    _start(task)
    return task.unsaved_answer


def _start(step: Step) -> Progress:
    try:
        blocked = _acquire(step)
        if blocked is not None:
            return _wait_in_queue(step, blocked)
        observation = _observe_baseline(step) if observe_models(step) else None
    except CelonisError as error:
        return _after_failed_poll(step, error)
    clear_refusals(step.state)
    clear_last_error(step.state)
    if observation is None:
        return _wait_while_busy(step, "a load of a data model that this job loads")
    if observation.is_busy and not is_leftover(step, observation):
        _record_shown(step, observation)
        record_running(step, observation)
        return _wait_while_busy(step, "an execution that is running in Celonis already")
    if not _is_fresh(step, observation):
        _record_shown(step, observation)
        return _wait_for_fresh(step)
    if step.deadline.left() < MIN_POST_SECONDS:
        _record_shown(step, observation)
        step.release_leases()
        return step.progress("WAITING")
    return send_start(step, observation)


def _after_failed_poll(step: Step, error: CelonisError) -> Progress:
    """Wait, or fail the step if two polls in a row are refused with the same error."""
    is_transient = isinstance(error, CelonisUnavailable | CelonisThrottled)
    if not is_transient and record_refusal(step.state, error, step.now()).repeated:
        raise step.failed(error) from None
    return step.wait_for_celonis(error)


def _acquire(step: Step) -> Blocked | None:
    """Acquire the leases of the step, all or none; a run that was claimed a moment ago has the first.

    If polls failed before, poll first and acquire the leases once Celonis answers.
    """
    if step.state.get("last_error") and not step.has_leases:
        _poll_without_leases(step)
    request = step.lease_request()
    own = request.leases[:1] if step.has_leases else ()
    if own == request.leases:
        return None
    check = step.context.records.step_check(step.run, step.name)
    blocked = step.context.leases.acquire(request, check, step.deadline, held=own)
    step.has_leases = step.has_leases or blocked is None
    return blocked


def _poll_without_leases(step: Step) -> None:
    """Poll all targets and record what they show: a later poll may be served older data."""
    observation = _with_executions(step, step.target.observe(step.poll_seconds))
    for load in _models_to_observe(step):
        target = step.context.target_for(step.run, load)
        _is_model_idle(step, target, target.observe(step.poll_seconds))
    clear_refusals(step.state)
    clear_last_error(step.state)
    _record_shown(step, observation)
    if observation.is_busy and not is_leftover(step, observation):
        record_running(step, observation)


def _observe_baseline(step: Step) -> Observation:
    """Return what is there before the start; poll twice if there is no execution or no list."""
    observation = _with_executions(step, step.target.observe(step.poll_seconds))
    if observation.executions is None and not observation.single:
        observation = _with_executions(step, observation)
    if observation.is_busy or (observation.has_run and observation.executions != ()):
        return observation
    _record_shown(step, observation)  # the second may be older
    second = _with_executions(step, step.target.observe(step.poll_seconds))
    if second.executions is None and observation.executions is not None:  # one missing list decides nothing
        return replace(second, executions=observation.executions, requested_at=observation.requested_at)
    return second


def _with_executions(step: Step, observation: Observation) -> Observation:
    """Add the list of executions; go on without one that has failed for ``settle`` seconds."""
    try:
        listed = step.target.with_executions(observation, step.poll_seconds())
    except CelonisUnavailable:
        since = step.state.setdefault("list_failing_since", step.now())
        if step.now() - float(since) < step.run.definition.settle:
            raise
        return observation
    step.state.pop("list_failing_since", None)
    return listed


def _is_fresh(step: Step, observation: Observation) -> bool:
    """Return whether the observation shows our last execution and the end of everything that was running.

    For a run that was claimed a moment ago, the write of the baseline checks our last execution.
    """
    if step.claim_facts is None:
        shown = step.earlier().is_shown_by(observation.ids, observation.newest_start, step.now())
        shown = shown and step.earlier().shows_end_of_busy(
            step.run.run_id, observation.ended_rows, step.now()
        )
        if not shown:
            return False
    if not _shows_what_was_shown(step, observation):
        return False
    busy, settle = step.state.get("busy"), step.run.definition.settle
    if busy is None or (not busy["unnamed"] and observation.ended_rows.issuperset(busy["ids"])):
        return True
    idle_from = busy.setdefault("idle_from", step.now())
    return bool(step.now() - float(idle_from) >= settle)


def _shows_what_was_shown(step: Step, observation: Observation) -> bool:
    """Return whether the observation has every id that polls have shown within ``settle``."""
    shown = step.state.get("shown", {})
    if not shown or step.now() - float(shown["at"]) >= step.run.definition.settle:
        return True
    return observation.ids.issuperset(shown["ids"])


def _record_shown(step: Step, observation: Observation) -> None:
    """Record what a poll has shown that led to no start: an observation without it is older."""
    before = step.state.get("shown", {})
    ids = observation.newest_ids | frozenset(before.get("ids", ()))
    if ids - frozenset(before.get("ids", ())):
        step.state["shown"] = {"at": step.now(), "ids": sorted(ids)}


def _wait_for_fresh(step: Step) -> Progress:
    """Wait until an execution that ended a moment ago is shown; a start now could be confused with it.

    The step keeps its place in the queues: this takes at most two ``settle``, and as long for any other run.
    """
    step.state["waiting_for"] = FRESH
    _begin_waiting(step)
    step.state.setdefault("queued_at", step.now())
    progress = step.progress("WAITING", at_most=FRESH_SECONDS)
    step.release_leases(replace(step.lease_request().place, until=_back_by(step, 2 * progress["wait"])))
    return progress


def _expect_load(step: Step) -> Progress:
    """Record that a load which a job starts is polled from now on; nothing is sent."""
    step.load_durations()
    step.state |= {"sent_by": step.now(), "answered": True, "began": step.now()}
    jobs = [step.run.steps.get(job.step, {}) for job in step.run.plan.jobs]
    began = [job.get("started_date", job.get("answered_by")) for job in jobs]
    if dates := [date for date in began if date is not None]:
        step.state["answered_by"] = min(dates)  # the first job that may start the load had begun by then
    step.save()
    return step.progress("RUNNING")


def send_start(step: Step, observation: Observation) -> Progress:
    """Record the baseline and that the start is sent, then send it."""
    before = dict(step.state)
    step.has_leases = True
    step.state.pop("refused", None)
    if step.claim_facts is None:  # a trigger saves time: the first poll reads them
        step.load_durations()
    now = step.now()
    # The start is sent before this time. A trigger does not write the exact time afterwards.
    sent_by = now + step.seconds(POST_SECONDS)
    step.set_baseline(observation, now)
    if step.claim_facts is not None:
        step.state["by_webhook"] = True
    step.state |= {"sent_by": sent_by, "posts": step.state.get("posts", 0) + 1}
    try:
        step.save(step.claim_facts, _check_of_earlier(step, observation), _model_states(step))
    except StaleBaseline:  # nothing was written; the next task polls again
        step.state = before
        _record_shown(step, observation)
        step.release_leases()
        return {"status": "WAITING", "wait": 1}
    try:
        answer = step.target.post(step.seconds(sent_by - step.now()))
    except CelonisUnavailable as lost:
        return _after_lost_answer(step, lost)
    except (CelonisThrottled, CelonisRejected) as refused:
        return _after_refusal(step, refused)
    except CelonisError as error:
        raise step.failed(error) from None
    return _after_answer(step, answer)


def _model_states(step: Step) -> States:
    """Return the states of the loads that a job starts.

    They are written with every start of a job, even if unchanged, so that the start conflicts with a job of
    the same stage that releases the leases of these loads at the same time.
    """
    stored = {load: step.run.steps.get(load, {}) for load in inner_loads(step.run, step.name)}
    return {**stored, **step.model_states}


def _check_of_earlier(step: Step, observation: Observation) -> Action | None:
    """Return the condition that no other run has stored what this observation may not show."""
    table, lease = step.context.records.table, step.target.lease
    if step.claim_facts is None:  # compared when it was read; not for a repeated start
        return None if step._earlier is None else step._earlier.check(table, lease)
    return check_shown(table, lease, observation.ids, observation.newest_start, step.now())


def _after_answer(step: Step, answer: StartAnswer) -> Progress:
    facts = {"answered_id": answer.execution_id, "answered_by": answer.answered_by}
    answered: dict[str, Any] = {"sent_by": step.now(), "answered": True}
    answered |= {name: value for name, value in facts.items() if value is not None}
    step.state |= answered
    step.state.pop("rejected", None)
    if step.claim_facts is not None:  # OpenRun writes it, from the input of the execution
        del answered["answered"]
        step.unsaved_answer = {"step": step.name, "posts": step.state["posts"], **answered}
        return {"status": "RUNNING", "wait": 0}
    step.announce_start()
    step.save()
    return step.progress("RUNNING")


def _after_lost_answer(step: Step, lost: CelonisUnavailable) -> Progress:
    """Let the next poll show whether it started; only a start that was never sent is repeated at once."""
    if not lost.may_have_started:
        return _wait_to_repeat(step, lost)
    step.state |= {"last_error": lost.message, "sent_by": step.now()}
    step.save()
    return step.progress("RUNNING")


def _after_refusal(step: Step, refused: CelonisThrottled | CelonisRejected) -> Progress:
    """Repeat a refused start later, because something may be running that polls show within ``settle``.

    Fail the step if a start that is repeated after that is refused and no poll shows anything running.
    """
    if isinstance(refused, CelonisThrottled):
        return _wait_to_repeat(step, refused)
    busy = refused.status == 409 or _is_busy(step)
    if step.state["posts"] > 1:
        # Either the first start took effect very late or another user's execution runs: polls look the same.
        step.state |= {"last_error": refused.message, "evidence": Evidence(absent=True).to_json()}
        step.state |= {} if busy else {"rejected": str(refused)}
        step.save()
        return step.progress("RUNNING")
    if not busy and "rejected" in step.state:
        raise step.failed(refused) from None
    record_busy(step)
    if not busy:
        step.state["rejected"] = str(refused)
    return _wait_to_repeat(step, refused)


def _is_busy(step: Step) -> bool:
    """Poll whether something runs: the status of such a refusal is not documented."""
    try:
        observation = step.target.observe(step.poll_seconds)
        return observation.is_busy or step.target.with_executions(observation, step.poll_seconds()).is_busy
    except CelonisError:
        return True  # the next task polls again


def _wait_to_repeat(step: Step, error: CelonisError) -> Progress:
    step.state |= {"refused": True, "posts": step.state["posts"] - 1}
    return step.wait_for_celonis(error)


def _wait_in_queue(step: Step, blocked: Blocked) -> Progress:
    """Queue for the leases and record the run that the step waits for, if it has changed."""
    if step.claim_facts is not None:
        step.release_leases()
        return step.progress("WAITING")  # start_step queues for it
    other = f"{OTHER_RUN}{blocked.waits_for}"
    is_recorded = step.state.get("waiting_for") == other and "queued_at" in step.state
    _record_waiting(step, other)
    step.state["queued_at"] = blocked.request.place.since
    progress, records = step.progress("WAITING"), step.context.records
    wait, leases = progress["wait"], step.context.leases
    if not is_recorded:
        write = records.step_write(step.run, step.name, step.state)
        leases.enqueue(blocked, write, _back_by(step, 2 * wait), step.deadline)
        step.run = write.run
    elif not blocked.is_queued(_back_by(step, wait) - RETURN_SECONDS / 2):
        check = records.step_check(step.run, step.name)
        leases.enqueue(blocked, check, _back_by(step, 2 * wait), step.deadline)
    return progress


def _back_by(step: Step, seconds: float) -> float:
    """Return when a step that waits for ``seconds`` has been tried again, retries included."""
    return step.now() + seconds + RETURN_SECONDS


def _wait_while_busy(step: Step, for_what: str) -> Progress:
    """Wait for an execution in Celonis, without a place in the queues for the leases."""
    _record_waiting(step, for_what)
    step.state.pop("queued_at", None)
    step.release_leases()
    return step.progress("WAITING")


def _record_waiting(step: Step, for_what: str) -> None:
    """Record what the step waits for. Raises the timeout, or that the pipeline does not wait."""
    if step.run.definition.when_busy == "fail":
        text = f"{step.target.subject} is busy with {for_what}."
        hint = "Start the pipeline again later, or let it wait (when_busy: wait)."
        raise step.failed(step.target.busy(text, hint=hint), free=False)
    step.state["waiting_for"] = for_what
    _begin_waiting(step)


def _begin_waiting(step: Step) -> None:
    """Count the timeout from the first wait. Raises it once it has passed."""
    step.state.setdefault("began", step.now())
    if step.is_expired():
        raise step.expired()


def observe_models(step: Step) -> bool:
    """Record the baselines of the models that jobs load; False if one of them may be loading."""
    return all(_observe_model(step, load) for load in _models_to_observe(step))


def _models_to_observe(step: Step) -> list[str]:
    """Return the loads whose leases the step acquires with its own."""
    leases, loads = step.lease_request().leases, inner_loads(step.run, step.name)
    return [load for load, lease in loads.items() if lease in leases]


def _observe_model(step: Step, name: str) -> bool:
    load = Step(step.context, step.run, name, step.deadline)
    observation = load.target.observe(step.poll_seconds)
    if not observation.has_run:  # confirm it by a second poll
        observation = load.target.observe(step.poll_seconds)
    if not _is_model_idle(step, load.target, observation):
        return False
    load.set_baseline(observation, step.now())
    load.state.pop("began")
    step.model_states[name] = load.state
    return True


def _is_model_idle(step: Step, target: StepTarget, observation: Observation) -> bool:
    """Return whether polls show no load of a model; otherwise store that for all runs."""
    seems_idle = observation.activity is not Activity.RUNNING
    if observation.is_busy and not (seems_idle and is_leftover_load(step, target, observation)):
        store_busy(step, target.lease, observation.running_rows if observation.names_what_runs else ())
        return False
    earlier, now = read_earlier(step.context.records.table, target.lease), step.now()
    shown = earlier.is_shown_by(observation.ids, observation.newest_start, now)
    return shown and earlier.shows_end_of_busy("", observation.ended_rows, now)
