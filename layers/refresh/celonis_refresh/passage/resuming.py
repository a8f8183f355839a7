"""Resuming a step: a retry waits for what the retried run left running, instead of starting it again.

A run that AWS ends leaves its job or load running. Its retry goes on with the record of that start, as long
as a poll proves that ours is still running or has succeeded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celonis_refresh.celonis.errors import CelonisError, CelonisThrottled, CelonisUnavailable
from celonis_refresh.celonis.records import JobStatus, LoadStatus
from celonis_refresh.observability import logger
from celonis_refresh.passage.checking import Check
from celonis_refresh.passage.looking import observe_started
from celonis_refresh.passage.progress import Progress, is_started
from celonis_refresh.passage.retrying import is_resumable, left_running
from celonis_refresh.passage.step import Step
from celonis_refresh.pipelines.plan import PlannedJob, PlannedLoad
from celonis_refresh.runs.records import Run
from celonis_refresh.steps.ownership import Ownership, OwnershipStatus

SUCCESSES = frozenset({JobStatus.SUCCESS, LoadStatus.SUCCESS, LoadStatus.WARNING})
NOT_KEPT = ("rev", "began", "polls", "rounds", "trouble", "waiting_for", "pace", "held")


class Resume(Check):
    """The first task of a step of a retry."""

    def resume(self) -> Progress | None:
        """Goes on with the start of the retried run; None where the step has to be started anew."""
        former = self._former()
        state = self._left_running(former) if former else None
        if former is None or state is None:
            return None
        try:
            ownership, observation = observe_started(
                self.work, state, self.run.definition.settle, self.means.clock, self.seconds
            )
        except (CelonisUnavailable, CelonisThrottled) as trouble:
            return self.wait_out(trouble)
        except CelonisError:
            return None  # the start meets the same error, and reports it
        if not _is_good(ownership) or self._was_started_later(state, ownership):
            return None
        if not self._inherit(former):
            return None
        began = self.state.get("began", self.now())
        self.state.clear()
        self.state |= {**state, "began": began, "resumed_from": former.run_id}
        self._note(ownership, observation)
        self.save()
        logger.info("the step is resumed", extra={"subject": self.work.subject, "run": former.run_id})
        ended = ownership.status is OwnershipStatus.ENDED
        return self.progress("RUNNING", at_most=1 if ended else ownership.recheck_in)

    def _former(self) -> Run | None:
        """The run that this one retries, if it may have left something running that is worth waiting for."""
        former = self.means.records.find(str(self.run.item["retry_of"]))
        return former if former is not None and is_resumable(former, self.now()) else None

    def _left_running(self, former: Run) -> dict[str, Any] | None:
        """What the former run noted of this step, if its start may be running still.

        Only of a step that comes first: what runs after a job that is executed again is executed again, too.
        """
        planned = _planned(self.run, self.name)
        is_first = planned.stage == 0 if isinstance(planned, PlannedJob) else not self.run.plan.jobs
        twins = [step for step in _steps(former) if _is_same(step, planned)]
        if not is_first or not twins:
            return None
        state = former.steps.get(twins[0].step, {})
        if "posts" not in state or not left_running(state):
            return None
        ends = ("ended_at", "outcome", "error", "message")
        return {name: value for name, value in state.items() if name not in (*NOT_KEPT, *ends)}

    def _was_started_later(self, state: Mapping[str, Any], ownership: Ownership) -> bool:
        """Whether another run of ours has used the job or model since."""
        if "earlier" not in state:
            return False
        newest = self.means.leases.earlier(self.work.lease).newest
        return bool(newest) and ownership.evidence.ids_of_ours.union(state["earlier"]).isdisjoint(newest)

    def _inherit(self, former: Run) -> bool:
        """Takes the leases of the former run, and what it noted of loads that the job starts.

        False while another run holds one.
        """
        leases = self.means.leases
        if self.name.startswith("job-"):
            for load in self.run.plan.loads:
                if load.started_by == "job" and not self._inherit_load(former, load):
                    return False
        return leases.inherit(self.run.run_id, self.work.lease, former.run_id, self.deadline)

    def _inherit_load(self, former: Run, planned: PlannedLoad) -> bool:
        states = (former.steps.get(step.step, {}) for step in _steps(former) if _is_same(step, planned))
        state = next(states, {})
        if "baseline" not in state or is_started(state) or len(self.run.plan.jobs) > 1:
            return False
        load = Step(self.means, self.run, planned.step, self.deadline)
        lease, run_id = load.work.lease, self.run.run_id
        if not self.means.leases.inherit(run_id, lease, former.run_id, self.deadline):
            return False
        if "baseline" not in load.state:
            load.state |= {name: value for name, value in state.items() if name not in NOT_KEPT}
            load.save()
            self.run = load.run
        return True


def _is_good(ownership: Ownership) -> bool:
    """Whether ours is proven, and runs or has succeeded."""
    if ownership.evidence.proven_by is None:
        return False
    succeeded = ownership.status is OwnershipStatus.ENDED and ownership.execution_status in SUCCESSES
    return succeeded or ownership.status is OwnershipStatus.RUNNING


def _planned(run: Run, step: str) -> PlannedJob | PlannedLoad:
    return run.plan.job(step) if step.startswith("job-") else run.plan.load(step)


def _steps(run: Run) -> list[PlannedJob | PlannedLoad]:
    return [*run.plan.jobs, *run.plan.loads]


def _is_same(one: PlannedJob | PlannedLoad, other: PlannedJob | PlannedLoad) -> bool:
    """Whether two plans start the same: the same job in the same mode, the same load of the same tables."""
    if isinstance(one, PlannedJob) and isinstance(other, PlannedJob):
        return (one.job, one.mode) == (other.job, other.mode)
    if isinstance(one, PlannedLoad) and isinstance(other, PlannedLoad):
        return _load(one) == _load(other)
    return False


def _load(load: PlannedLoad) -> tuple[object, ...]:
    return (load.data_model, load.kind, load.tables, load.wanted, load.only_wanted, load.started_by)
