"""Workers that share one virtual clock and take turns at each of their outgoing calls.

Each worker is a thread, but only one runs at a time: at a pause or a sleep it hands control back, and one of
the workers that are awake is chosen at random. The same seed gives the same order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.fakes.clock import FakeClock

MAX_SWITCHES = 200_000


class WorkerStopped(BaseException):
    """The test has ended: the worker's thread ends here."""


class Worker:
    """``wakes_at``: when it goes on; ``run_id``: the run that it works for."""

    def __init__(self, act: Callable[[], None], run_id: str) -> None:
        self.run_id = run_id
        self.wakes_at = 0.0
        self.waits_for: Sequence[Worker] = ()
        self.done = False
        self.error: BaseException | None = None
        self.resume, self.paused = threading.Semaphore(0), threading.Semaphore(0)
        self._act = act
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self.resume.acquire()
        try:
            self._act()
        except WorkerStopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            self.error = error
        self.done = True
        self.paused.release()


@dataclass
class Interleaving:
    """``pause_share``: the share of calls at which another worker may continue."""

    clock: FakeClock
    random: Random
    pause_share: float = 0.5
    workers: list[Worker] = field(default_factory=list)
    current: Worker | None = None
    is_over: bool = False

    def spawn(self, act: Callable[[], None], run_id: str, wakes_at: float = 0.0) -> Worker:
        worker = Worker(act, run_id)
        worker.wakes_at = wakes_at
        self.workers.append(worker)
        worker.thread.start()
        return worker

    def pause(self) -> None:
        """Let another worker continue. Outside of a worker, do nothing."""
        if self.current is not None and self.random.random() < self.pause_share:
            self._hand_back()

    def sleep(self, seconds: float) -> None:
        worker = self._worker()
        worker.wakes_at = self.clock.now + seconds
        self._hand_back()

    def join(self, others: Sequence[Worker]) -> None:
        """Waits until the others have ended."""
        worker = self._worker()
        worker.waits_for = others
        self._hand_back()
        worker.waits_for = ()

    def run(self) -> None:
        """Runs all workers to their end, in virtual time. Raises what one of them raised."""
        try:
            for _ in range(MAX_SWITCHES):
                if all(worker.done for worker in self.workers):
                    return
                self._run_next()
            raise AssertionError("the workers did not come to an end")
        finally:
            self._stop()

    def _run_next(self) -> None:
        left = [worker for worker in self.workers if not worker.done]
        able = [worker for worker in left if all(other.done for other in worker.waits_for)]
        awake = [worker for worker in able if worker.wakes_at <= self.clock.now]
        if not awake:
            self.clock.now = min(worker.wakes_at for worker in able)
            awake = [worker for worker in able if worker.wakes_at <= self.clock.now]
        self._resume(self.random.choice(awake))
        self.workers = [worker for worker in self.workers if not worker.done or worker.error]

    def _resume(self, worker: Worker) -> None:
        self.current = worker
        worker.resume.release()
        worker.paused.acquire()
        self.current = None
        if worker.error is not None:
            raise worker.error

    def _worker(self) -> Worker:
        assert self.current is not None
        return self.current

    def _hand_back(self) -> None:
        worker = self._worker()
        worker.paused.release()
        worker.resume.acquire()
        if self.is_over:
            raise WorkerStopped

    def _stop(self) -> None:
        self.is_over = True
        for worker in self.workers:
            if not worker.done:
                worker.resume.release()
                worker.thread.join()
