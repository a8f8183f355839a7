"""The platform's state: jobs, models, what was started on them and by whom. Pure but for the clock handed in.

Nothing happens in the background. Whatever fell due since the last call is played in its order, each at its
own time, before anything is read or started (:meth:`Platform.settle`).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

from local.celonis.operations import JobExecution, Operation, Phase
from local.celonis.scheduled_starts import ScheduledStart, ScheduledStarts, When
from local.celonis.setups import JobSetup, ModelSetup, PlatformSettings
from local.celonis.starts import QueuePosition, RequestedStart, StartResult, new_execution, new_load
from local.celonis.targets import JobTarget, ModelTarget

LaneOf = JobTarget | ModelTarget


class Platform:
    """All state behind the API. Every public method may be called from any thread; times are seconds."""

    def __init__(self, clock: Callable[[], float], new_id: Callable[[], str]) -> None:
        self.clock = clock
        self.new_id = new_id
        self.lock = threading.RLock()
        self.settings = PlatformSettings()
        self.pools: dict[str, str] = {}
        self.jobs: dict[str, JobTarget] = {}
        self.models: dict[str, ModelTarget] = {}
        self._numbers = itertools.count(1)
        self._agenda = ScheduledStarts()

    def clear(self) -> None:
        """Forget every pool, job, model, start and setting."""
        with self.lock:
            self.settings = PlatformSettings()
            self.pools, self.jobs, self.models = {}, {}, {}
            self._agenda = ScheduledStarts()

    def add_job(self, job_id: str, pool_id: str, name: str, setup: JobSetup) -> JobTarget:
        """Add a job that never ran."""
        with self.lock:
            job = self.jobs[job_id] = JobTarget(job_id, pool_id, name, setup)
            return job

    def add_model(self, model_id: str, pool_id: str, name: str, setup: ModelSetup) -> ModelTarget:
        """Add a model that was never loaded."""
        with self.lock:
            model = self.models[model_id] = ModelTarget(model_id, pool_id, name, setup)
            return model

    def request(self, lane: LaneOf, options: RequestedStart) -> StartResult:
        """Start as the API does: what others armed for this moment starts right before or right after."""
        with self.lock:
            self.settle()
            now = self.clock()
            for armed in self._agenda.take_around(lane, "before_next"):
                self._start(lane, armed.options, now)
            start = self._start(lane, options, now)
            for armed in self._agenda.take_around(lane, "after_next"):
                self._start(lane, armed.options, now)
            return start

    def start(self, lane: LaneOf, options: RequestedStart, at: float | None = None) -> StartResult:
        """Start at this moment, or in the past at ``at``, with nobody else meddling."""
        with self.lock:
            self.settle()
            return self._start(lane, options, self.clock() if at is None else at)

    def arm(self, lane: LaneOf, options: RequestedStart, when: When, seconds: float = 0.0) -> None:
        """Let somebody else start after ``seconds``, around the next request, or when ``lane`` is idle."""
        with self.lock:
            self._agenda.arm(ScheduledStart(lane, options, when, self.clock() + seconds))
            self.settle()

    def cancel_job(self, job: JobTarget) -> JobExecution | None:
        """Cancel what ``job`` runs. Returns the execution, or None when it was at rest."""
        with self.lock:
            self.settle()
            now = self.clock()
            running = job.running(now)
            if running is not None and not job.setup.cancel_ignored and not running.is_ending(now):
                self._cancel(job, running, now)
                self.settle()
            return running

    def finish(self, lane: LaneOf, outcome: str, seconds: float = 0.0) -> Operation | None:
        """End what ``lane`` runs, ``seconds`` from now, with ``outcome``. None when it was at rest."""
        with self.lock:
            self.settle()
            now = self.clock()
            running = lane.running(now)
            if running is not None:
                lane.end(running, now, seconds, outcome)
                self.settle()
            return running

    def settle(self) -> None:
        """Play everything that fell due by now, oldest first."""
        with self.lock:
            now = self.clock()
            while (due := self._agenda.take_due(now)) is not None:
                at, what = due
                if isinstance(what, ScheduledStart):
                    self._start(what.lane, what.options, at)
                else:
                    self._start_load_inside(what, at)

    def _start(self, lane: LaneOf, options: RequestedStart, at: float) -> StartResult:
        busy: list[Operation] = [*lane.busy(at)]
        policy = lane.setup.while_running
        if busy and policy == "refuse":
            return StartResult("refused", busy[-1])
        if busy and policy == "ignore":
            return StartResult("ignored", busy[-1])
        if busy and policy == "restart":
            for work in busy:
                lane.end(work, at, 0.0, lane.setup.cancel_status)
        after = busy[-1] if busy and policy == "queue" else None
        return StartResult("started" if after is None else "queued", self._add(lane, options, at, after))

    def _add(self, lane: LaneOf, options: RequestedStart, at: float, after: Operation | None) -> Operation:
        place = QueuePosition(next(self._numbers), self.new_id(), self.new_id(), at, after)
        if isinstance(lane, ModelTarget):
            return lane.add(new_load(lane, options, place))
        execution = lane.add(new_execution(lane, options, place))
        self._agenda.expect_load(execution)
        return execution

    def _start_load_inside(self, execution: JobExecution, at: float) -> None:
        inner = execution.inner
        model = self.models.get(inner.model_id) if inner is not None else None
        if inner is None or model is None or model.is_gone:
            self.jobs[execution.job_id].end(execution, at, 0.0, "FAIL")
            return
        busy = model.busy(at)
        kind = "PARTIAL" if inner.tables else "COMPLETE"
        options = RequestedStart(by=f"job {execution.job_id}", kind=kind, tables=inner.tables)
        place = QueuePosition(next(self._numbers), self.new_id(), "", at, busy[-1] if busy else None)
        execution.load = model.add(new_load(model, options, place))
        execution.load.execution_id = execution.id

    def _cancel(self, job: JobTarget, running: JobExecution, now: float) -> None:
        setup = job.setup
        waiting = [work for work in job.busy(now) if work.phase(now) is Phase.WAITING]
        job.end(running, now, setup.cancel_seconds, setup.cancel_status)
        load = running.load
        if setup.cancel_stops_load and load is not None and now < load.ended_at:
            model = self.models[load.model_id]
            model.end(load, now, setup.cancel_seconds, model.setup.cancel_status)
        if setup.cancel_clears_queue:
            for work in waiting:
                job.end(work, now, 0.0, setup.cancel_status)
