"""The platform's state: jobs, models, and their starts by us and others. Pure except for the clock.

Nothing happens in the background. Before each read or start, everything that became due since the last call
is applied in order, each at its own time (:meth:`Platform.settle`).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from local.celonis.operations import JobExecution, Operation, Phase
from local.celonis.scheduled_starts import ScheduledStart, ScheduledStarts, When
from local.celonis.setups import JobSetup, ModelSetup, PlatformSettings
from local.celonis.starts import QueuePosition, RequestedStart, StartResult, new_execution, new_load
from local.celonis.targets import JobTarget, ModelTarget

AnyTarget = JobTarget | ModelTarget


class Platform:
    """All state behind the API. Every public method may be called from any thread; times are seconds."""

    def __init__(self, clock: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._clock = clock
        self._moment = threading.local()
        self.new_id = new_id
        self.lock = threading.RLock()
        self.settings = PlatformSettings()
        self.pools: dict[str, str] = {}
        self.jobs: dict[str, JobTarget] = {}
        self.models: dict[str, ModelTarget] = {}
        self._numbers = itertools.count(1)
        self._scheduled = ScheduledStarts()

    def clock(self) -> float:
        """Now in seconds; within :meth:`one_moment`, when that began."""
        moment: float | None = getattr(self._moment, "now", None)
        return self._clock() if moment is None else moment

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Everything inside sees the same moment, and exactly what is due by then has taken effect.

        Without this, an execution could end between the two: a reader would see it ended, and nothing yet of
        what starts at that very time.
        """
        with self.lock:
            self._moment.now = self._clock()
            try:
                self.settle()
                yield
            finally:
                self._moment.now = None

    def clear(self) -> None:
        """Forget every pool, job, model, start and setting."""
        with self.lock:
            self.settings = PlatformSettings()
            self.pools, self.jobs, self.models = {}, {}, {}
            self._scheduled = ScheduledStarts()

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

    def request(self, target: AnyTarget, options: RequestedStart) -> StartResult:
        """Start as the API does, with scheduled starts of other users right before or right after."""
        with self.lock:
            self.settle()
            now = self.clock()
            for scheduled in self._scheduled.take_around(target, "before_next"):
                self._start(target, scheduled.options, now)
            start = self._start(target, options, now)
            for scheduled in self._scheduled.take_around(target, "after_next"):
                self._start(target, scheduled.options, now)
            return start

    def start(self, target: AnyTarget, options: RequestedStart, at: float | None = None) -> StartResult:
        """Start now, or in the past at ``at``, without starts of other users around it."""
        with self.lock:
            self.settle()
            return self._start(target, options, self.clock() if at is None else at)

    def add_past(self, target: AnyTarget, options: RequestedStart, at: float) -> Operation:
        """Add a start at ``at`` in the past, independent of other starts."""
        with self.lock:
            position = QueuePosition(next(self._numbers), self.new_id(), self.new_id(), at, None)
            if isinstance(target, ModelTarget):
                return target.insert(new_load(target, options, position))
            return target.insert(new_execution(target, options, position))

    def arm(self, target: AnyTarget, options: RequestedStart, when: When, seconds: float = 0.0) -> None:
        """Schedule another user's start: after ``seconds``, around the next request, or when idle."""
        with self.lock:
            self._scheduled.arm(ScheduledStart(target, options, when, self.clock() + seconds))
            self.settle()

    def cancel_job(self, job: JobTarget) -> JobExecution | None:
        """Cancel the running execution of ``job``. Return it, or None if the job is idle."""
        with self.lock:
            self.settle()
            now = self.clock()
            running = job.running(now)
            if running is not None and not job.setup.cancel_ignored and not running.is_ending(now):
                self._cancel(job, running, now)
                self.settle()
            return running

    def finish(self, target: AnyTarget, outcome: str, seconds: float = 0.0) -> Operation | None:
        """End what is running on ``target`` ``seconds`` from now with ``outcome``. None if it is idle."""
        with self.lock:
            self.settle()
            now = self.clock()
            running = target.running(now)
            if running is not None:
                target.end(running, now, seconds, outcome)
                self.settle()
            return running

    def settle(self) -> None:
        """Apply everything that is due by now, oldest first."""
        with self.lock:
            now = self.clock()
            while (due := self._scheduled.take_due(now)) is not None:
                at, what = due
                if isinstance(what, ScheduledStart):
                    self._start(what.target, what.options, at)
                else:
                    self._start_load_inside(what, at)

    def _start(self, target: AnyTarget, options: RequestedStart, at: float) -> StartResult:
        busy: list[Operation] = [*target.busy(at)]
        policy = target.setup.while_running
        if busy and policy == "refuse":
            return StartResult("refused", busy[-1])
        if busy and policy == "ignore":
            return StartResult("ignored", busy[-1])
        if busy and policy == "restart":
            for operation in busy:
                target.end(operation, at, 0.0, target.setup.cancel_status)
        after = busy[-1] if busy and policy == "queue" else None
        return StartResult("started" if after is None else "queued", self._add(target, options, at, after))

    def _add(
        self, target: AnyTarget, options: RequestedStart, at: float, after: Operation | None
    ) -> Operation:
        position = QueuePosition(next(self._numbers), self.new_id(), self.new_id(), at, after)
        if isinstance(target, ModelTarget):
            return target.add(new_load(target, options, position))
        execution = target.add(new_execution(target, options, position))
        self._scheduled.expect_load(execution)
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
        position = QueuePosition(next(self._numbers), self.new_id(), "", at, busy[-1] if busy else None)
        execution.load = model.add(new_load(model, options, position))
        execution.load.execution_id = execution.id

    def _cancel(self, job: JobTarget, running: JobExecution, now: float) -> None:
        setup = job.setup
        waiting = [operation for operation in job.busy(now) if operation.phase(now) is Phase.WAITING]
        job.end(running, now, setup.cancel_seconds, setup.cancel_status)
        load = running.load
        if setup.cancel_stops_load and load is not None and now < load.ended_at:
            model = self.models[load.model_id]
            model.end(load, now, setup.cancel_seconds, model.setup.cancel_status)
        if setup.cancel_clears_queue:
            for operation in waiting:
                job.end(operation, now, 0.0, setup.cancel_status)
