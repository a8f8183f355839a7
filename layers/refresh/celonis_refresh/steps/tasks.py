"""The tasks of a run's steps, as the functions call them. Each is safe to repeat at any moment."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from msgspec import Struct

from celonis_refresh.runs.errors import StepMoved
from celonis_refresh.runs.records import Run
from celonis_refresh.steps import errors
from celonis_refresh.steps.check import Check
from celonis_refresh.steps.retry import Resume
from celonis_refresh.steps.start import Start
from celonis_refresh.steps.step import (
    Progress,
    StepContext,
    awaits_answer,
    give_back_first,
    is_started,
    replay,
)
from celonis_refresh.timing import Deadline

RECORD_ATTEMPTS = 3
UnsavedAnswer = Mapping[str, Any]
"""``step``, ``posts``, ``sent_by``, and ``answered_id`` and ``answered_by`` where the answer has them."""


class Tasks(Struct, frozen=True):
    """Starts and checks steps."""

    context: StepContext

    def start(self, run_id: str, step: str, deadline: Deadline) -> Progress:
        """Starts the step, or says that it has to wait. Raises what ends the step for good."""
        run = self.context.records.get_open(run_id)
        state = run.steps.get(step, {})
        if "ended_at" in state:
            return replay(state)
        if is_started(state):
            return Check(self.context, run, step, deadline).progress("RUNNING")
        _check_stages_before(run, step)
        resuming = Resume(self.context, run, step, deadline)
        if _is_started_by_a_job(run, step):
            return resuming.expect()
        resumed = resuming.resume() if "retry_of" in run.item else None
        return resumed or Start(self.context, run, step, deadline).start()

    def start_claimed(
        self, run: Run, step: str, deadline: Deadline, facts: Mapping[str, Any]
    ) -> UnsavedAnswer | None:
        """Starts the step of a run that was claimed a moment ago, together with the step's lease.

        ``facts`` of the run are written together with the baseline. What Celonis answered is not written: it
        goes into the input of the execution, which costs no request.
        """
        starting = Start(self.context, run, step, deadline, facts)
        starting.start()
        return starting.unsaved_answer

    def record_answer(self, run_id: str, answer: UnsavedAnswer, deadline: Deadline) -> None:
        """Record an answer that the input of the execution does not have, unless the step has moved on.

        Raises ``StepMoved`` where other tasks keep writing the step.
        """
        facts = {name: value for name, value in answer.items() if name not in ("step", "posts")}
        step = str(answer["step"])
        for attempt in range(RECORD_ATTEMPTS):
            run = self.context.records.get_open(run_id)
            state = run.steps.get(step, {})
            if not awaits_answer(state, answer["posts"]):
                return
            try:
                self.context.records.save_step(run, step, {**state, "answered": True, **facts}, deadline)
            except StepMoved:
                if attempt + 1 == RECORD_ATTEMPTS:
                    raise
            else:
                return

    def give_back_claimed(self, run: Run, deadline: Deadline) -> None:
        """Frees the leases of a run that was claimed a moment ago, and whose first job was not started.

        Raises ``StepMoved`` where its start may have been sent.
        """
        give_back_first(self.context.records, self.context.leases, run, deadline)

    def check(self, run_id: str, step: str, deadline: Deadline) -> Progress:
        """Looks at the step. Raises the error that it ended with, again and again if asked again."""
        run = self.context.records.get_open(run_id)
        state = run.steps.get(step, {})
        if "ended_at" in state:
            return replay(state)
        checking = Check(self.context, run, step, deadline)
        pending = checking.answer_pending()
        if pending:  # nothing is written, so that the answer can be
            return {"status": "RUNNING", "wait": ceil(pending)}
        return checking.check() if is_started(state) else checking.wait_for_turn()


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
