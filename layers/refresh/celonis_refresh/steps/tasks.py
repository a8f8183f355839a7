"""The task that starts a step, as the function calls it; safe to repeat at any moment."""

from __future__ import annotations

from celonis_refresh.runs.records import Run
from celonis_refresh.steps import errors
from celonis_refresh.steps.check import Check
from celonis_refresh.steps.retry import Resume
from celonis_refresh.steps.start import Start
from celonis_refresh.steps.step import Progress, StepContext, is_started, replay
from celonis_refresh.timing import Deadline


def start_step(context: StepContext, run_id: str, step: str, deadline: Deadline) -> Progress:
    """Start the step, or say that it has to wait. Raises what ends the step for good."""
    run = context.records.get_open(run_id)
    state = run.steps.get(step, {})
    if "ended_at" in state:
        return replay(state)
    if is_started(state):
        return Check(context, run, step, deadline).progress("RUNNING")
    _check_stages_before(run, step)
    resume = Resume(context, run, step, deadline)
    if _is_started_by_a_job(run, step):
        return resume.expect()
    resumed = resume.resume() if "retry_of" in run.item else None
    return resumed or Start(context, run, step, deadline).start()


def _check_stages_before(run: Run, step: str) -> None:
    """Raises the error of a job of an earlier stage that did not succeed: nothing is started after it."""
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


def _is_started_by_a_job(run: Run, step: str) -> bool:
    return any(load.step == step and load.started_by == "job" for load in run.plan.loads)
