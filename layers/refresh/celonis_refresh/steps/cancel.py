"""Cancels the jobs that a run left running in Celonis when it ended early.

A job is cancelled only if its run was stopped and a poll just before proves that our execution is running.
The jobs of a failed run keep running. No call is known that cancels a load. These calls ignore the rate
limiter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from celonis_refresh.celonis.errors import (
    CelonisError,
    CelonisThrottled,
    CelonisUnavailable,
    ConnectionUnusable,
)
from celonis_refresh.celonis.records import JobStatus
from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import log_scope, logger
from celonis_refresh.runs.earlier import Earlier, read_earlier
from celonis_refresh.runs.leases import Lease, Leases
from celonis_refresh.runs.records import Run
from celonis_refresh.runs.table import job_lease, model_lease
from celonis_refresh.steps.ownership import Evidence, Ownership, OwnershipStatus
from celonis_refresh.steps.poll import is_running, observe_started, start_of
from celonis_refresh.steps.step import POLL_SECONDS, celonis_ids, earlier_after, evidence_of, is_started
from celonis_refresh.steps.target import StepTarget
from celonis_refresh.timing import Clock, Deadline

FIRST_PAUSE, MAX_PAUSE = 0.5, 5.0
VERIFY_SECONDS = 40.0
"""How long a cancelled job may take until it shows as ended."""
CALLS_PER_STEP = 3
"""Calls per step: poll, list, cancel."""
UNDECIDED = (OwnershipStatus.PENDING, OwnershipStatus.RUNNING)
NO_CANCEL_CALL = "keeps running: no call is known that cancels a load."
CANCEL_DISABLED = "keeps running: the pipeline has cancel_on_stop: false."
KEEPS_RUNNING = "keeps running: its run failed, but was not stopped. A retry waits for it."


class End(Struct, frozen=True):
    """The end of an execution or load of ours: its status in Celonis, and the number of polls."""

    status: str
    evidence: Evidence
    polls: int


class CancelFindings(Struct):
    """What was found and done.

    ``messages``: for the record. ``free``: leases that nothing uses; ``ended``: by lease, the evidence of
    what has ended; ``held``: by lease, the time (epoch seconds) until which a start may not be visible yet.
    ``ends``: by step, what has ended; ``cancelling``: steps whose cancel was accepted and that have not ended
    yet.
    """

    messages: list[str] = field(default_factory=list)
    free: list[str] = field(default_factory=list)
    ended: dict[str, Evidence] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=dict)
    ends: dict[str, End] = field(default_factory=dict)
    cancelling: list[str] = field(default_factory=list)


class _CancelAttempt(Struct):
    """The state of one step.

    ``until``: the deadline of the last poll; ``result``: the message, and whether nothing is running.
    ``tried``: a cancel was sent; ``accepted``: it was accepted; ``last_error``: why the last one failed;
    ``refused``: Celonis refused one. ``polls_refused_since``: since when polls are refused (401, 403, 404).
    ``polls``: number of successful ones.
    """

    step: str
    lease: str
    until: Deadline
    result: tuple[str, bool] | None = None
    tried: bool = False
    accepted: bool = False
    last_error: str = ""
    refused: bool = False
    polls_refused_since: float | None = None
    polls: int = 0
    end: End | None = None
    ended: Evidence | None = None
    evidence: Evidence | None = None


class StepCanceller(Struct, frozen=True):
    """Polls and cancels the steps that may have left something running."""

    target_for: Callable[[Run, str], StepTarget]
    clock: Clock
    sleep: Callable[[float], None] = time.sleep

    def stop(self, run: Run, deadline: Deadline, *, cancel: bool = True) -> CancelFindings:
        """Cancel what is ours and running, if the pipeline allows it. Never raises: a run must end.

        ``cancel``: False only observes. The steps are polled in rounds, so that no cancel waits for the end
        of another step.
        """
        first = Deadline(deadline.at - VERIFY_SECONDS - POLL_SECONDS, self.clock)
        attempts = [_CancelAttempt(step, lease, first) for step, lease in _leases(run)]
        pause = FIRST_PAUSE
        while open_attempts := [attempt for attempt in attempts if attempt.result is None]:
            sent = sum(attempt.tried for attempt in attempts)
            for number, attempt in enumerate(open_attempts):
                budget = _TimeBudget(deadline, len(open_attempts) - number)
                state = run.steps.get(attempt.step, {})
                with log_scope(step=attempt.step, **celonis_ids(run, attempt.step, state)):
                    attempt.result = self._handle(run, attempt, budget, cancel=cancel)
            pause = FIRST_PAUSE if sum(attempt.tried for attempt in attempts) > sent else pause
            waiting = [attempt.until.left() for attempt in open_attempts if attempt.result is None]
            if waiting:
                self.sleep(min(pause, *waiting, deadline.left()))
            pause = min(pause * 2, MAX_PAUSE)
        results = [(attempt, *attempt.result) for attempt in attempts if attempt.result]
        return CancelFindings(
            [sentence for _, sentence, _ in results if sentence],
            [attempt.lease for attempt, _, idle in results if idle],
            {attempt.lease: attempt.ended for attempt in attempts if attempt.ended},
            {attempt.lease: self._held_until(run, attempt.step) for attempt, _, idle in results if not idle},
            {attempt.step: attempt.end for attempt in attempts if attempt.end},
            [attempt.step for attempt in attempts if attempt.accepted and not attempt.end],
        )

    def _held_until(self, run: Run, step: str) -> float:
        """Return when every poll shows what the run started, in epoch seconds; 0 without a start."""
        state = run.steps.get(step, {})
        may_run = is_started(state) or "baseline" in state
        return self.clock() + run.definition.settle if may_run else 0.0

    def _handle(
        self, run: Run, attempt: _CancelAttempt, budget: _TimeBudget, *, cancel: bool
    ) -> tuple[str, bool] | None:
        """Return the message and whether nothing of a step is running; None to poll again."""
        state = run.steps.get(attempt.step, {})
        try:
            if "ended_at" in state:
                return "", not state.get("held")
            if is_started(state):
                target = self.target_for(run, attempt.step).ignoring_rate_limit()
                return self._stop(run, attempt, target, budget, cancel=cancel)
            if "baseline" in state and not state.get("refused"):
                return self._left_by_a_job(run, attempt.step, budget)
        except RefreshError as error:
            return f"The end of {attempt.step} could not be determined: {error}", False
        except Exception:  # noqa: BLE001 - logged whole; it must not keep the run from its end
            logger.exception("a step could not be polled", extra={"step": attempt.step})
            return f"The end of {attempt.step} could not be determined: see the log.", False
        return "", True

    def _left_by_a_job(self, run: Run, step: str, budget: _TimeBudget) -> tuple[str, bool]:
        """Handle a load that a job of this run may have started before the run waited for it.

        Until a load is shown that the baseline lacks, it may be running and not visible yet.
        """
        target = self.target_for(run, step).ignoring_rate_limit()
        observation = target.observe(budget.seconds)
        if observation.is_busy:
            return f"{target.subject} {NO_CANCEL_CALL}", False
        baseline = start_of(run.steps[step], run.definition.settle).baseline
        return "", not observation.ids <= baseline.ids

    def _stop(
        self, run: Run, attempt: _CancelAttempt, target: StepTarget, budget: _TimeBudget, *, cancel: bool
    ) -> tuple[str, bool] | None:
        """Poll once, and cancel if ours is proven to be running."""
        is_last = attempt.until.left() <= 0
        try:
            ownership, running = self._observe(run, attempt, target, budget)
        except CelonisError as error:
            is_last = is_last or self._is_refused_for_good(attempt, error, run.definition.settle)
            if is_last and not attempt.tried:
                raise
            return _not_cancelled(attempt, target) if is_last else None
        attempt.polls_refused_since = None
        attempt.polls += 1
        if ownership.status is OwnershipStatus.ENDED:
            attempt.end = End(str(ownership.execution_status), ownership.evidence, attempt.polls)
            attempt.ended = ownership.evidence if "posts" in run.steps[attempt.step] else None
            return _ended(attempt, target, ownership), True
        if attempt.tried:
            result = self._cancel(attempt, target, budget) if running and not attempt.accepted else None
            return result or (_not_cancelled(attempt, target) if is_last else None)
        if ownership.status is OwnershipStatus.NOT_STARTED:
            return f"{target.subject} had not been started.", True
        if not running:
            may_show_yet = ownership.status in UNDECIDED and not is_last and cancel
            left_alone = (
                f"{target.subject} was not cancelled: it is not proven that our execution is running."
            )
            return None if may_show_yet else (left_alone, False)
        if not (cancel and run.definition.cancel_on_stop):
            return f"{target.subject} {CANCEL_DISABLED if cancel else KEEPS_RUNNING}", False
        attempt.tried = True
        attempt.until = Deadline(
            min(self.clock() + VERIFY_SECONDS, budget.deadline.at - POLL_SECONDS), self.clock
        )
        return self._cancel(attempt, target, budget)

    def _is_refused_for_good(self, attempt: _CancelAttempt, error: CelonisError, settle: float) -> bool:
        """Return whether polls have been refused for ``settle`` seconds.

        Polls that are not sent because the connection cannot be used count as refused.
        """
        if isinstance(error, CelonisUnavailable) and not isinstance(error, ConnectionUnusable):
            attempt.polls_refused_since = None
        elif not isinstance(error, CelonisThrottled):
            attempt.polls_refused_since = attempt.polls_refused_since or self.clock()
            return self.clock() - attempt.polls_refused_since >= settle
        return False

    def _cancel(
        self, attempt: _CancelAttempt, target: StepTarget, budget: _TimeBudget
    ) -> tuple[str, bool] | None:
        """Send the cancel. If lost or refused once, it is repeated after a poll that shows ours running."""
        try:
            attempt.accepted = target.cancel(budget.seconds())
        except (CelonisUnavailable, CelonisThrottled) as error:
            logger.info(
                "the cancel failed and is repeated", extra={"subject": target.subject, "why": error.message}
            )
            attempt.last_error = error.message
        except CelonisError as refusal:
            attempt.last_error = str(refusal)
            if attempt.refused:
                return _not_cancelled(attempt, target)
            attempt.refused = True
        else:
            return None if attempt.accepted else (f"{target.subject} {NO_CANCEL_CALL}", False)
        return None

    def _observe(
        self, run: Run, attempt: _CancelAttempt, target: StepTarget, budget: _TimeBudget
    ) -> tuple[Ownership, bool]:
        """Return what one poll proves about our start, and whether ours is running."""
        evidence = attempt.evidence or evidence_of(run.steps[attempt.step])
        state = {**run.steps[attempt.step], "evidence": evidence.to_json()}
        settle = run.definition.settle
        ownership, observation = observe_started(
            target, state, settle, self.clock, lambda limit: min(limit, budget.seconds())
        )
        attempt.evidence = ownership.evidence
        return ownership, is_running(ownership, observation)


def free_leases(run: Run, findings: CancelFindings, leases: Leases, now: float, deadline: Deadline) -> None:
    """Free the leases that nothing uses, and the run's places in their queues."""
    for step, lease in _leases(run):
        if lease in findings.free:
            state = run.steps.get(step, {})
            current = leases.find(lease)
            if current.names(run.run_id):
                earlier = _earlier_of(run, state, findings, current, leases, now)
                leases.free(run.run_id, lease, deadline, earlier)


def _earlier_of(
    run: Run, state: Mapping[str, Any], findings: CancelFindings, lease: Lease, leases: Leases, now: float
) -> Earlier | None:
    """Return our last executions after the step of this lease was stopped; None if it adds nothing."""
    if lease.run_id != run.run_id:
        return None
    evidence = findings.ended.get(lease.key) or evidence_of(state)
    return earlier_after(
        lambda: read_earlier(leases.table, lease.key), state, evidence, now + run.definition.settle
    )


class _TimeBudget(Struct, frozen=True):
    """The time limit of a call that leaves time to poll and cancel ``steps`` more steps."""

    deadline: Deadline
    steps: int

    def seconds(self) -> float:
        return min(POLL_SECONDS, self.deadline.left() / (CALLS_PER_STEP * self.steps))


def _ended(attempt: _CancelAttempt, target: StepTarget, ownership: Ownership) -> str:
    status = ownership.execution_status
    by_itself = "ended by itself" if attempt.tried else "had ended"
    what = "was cancelled" if status == JobStatus.CANCEL else f"{by_itself} ({status})"
    return f"{target.subject} {what}."


def _not_cancelled(attempt: _CancelAttempt, target: StepTarget) -> tuple[str, bool]:
    if attempt.accepted:
        return f"{target.subject}: cancellation was requested, but it has not ended yet.", False
    last_error = attempt.last_error.rstrip(".")
    return f"{target.subject} could not be cancelled (last error: {last_error}); it keeps running.", False


def _leases(run: Run) -> list[tuple[str, str]]:
    """Return the steps in the order of the plan, with their leases; none for a run that never opened."""
    if not run.has_definition:
        return []
    jobs = [(job.step, job_lease(job.job)) for job in run.plan.jobs]
    return jobs + [(load.step, model_lease(load.data_model)) for load in run.plan.loads]
