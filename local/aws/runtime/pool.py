"""A pool of processes per function: one per concurrent call, kept warm for later calls."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from local.aws.errors import LocalStackError
from local.aws.runtime.functions import Function
from local.aws.runtime.outcomes import InvocationResult
from local.aws.runtime.worker import FunctionWorker, WorkerGoneError, WorkerInvocation

_Key = tuple[str, str]


class ThrottledError(LocalStackError):
    """The limit of concurrent calls is reached; Lambda answers TooManyRequestsException."""


@dataclass(frozen=True)
class Limits:
    """Maximum processes per function, in all, and starting at the same time.

    `requests_at_once`: concurrent requests of API Gateway; others wait before their arrival. `tasks_at_once`:
    concurrent tasks of state machines and events; a task's timeout runs while it waits. In AWS each
    invocation has its own vCPU; here all share a few, so more concurrency delays all responses.
    """

    per_function: int = 64
    total: int = 300
    starting: int = max(2, os.cpu_count() or 2)
    requests_at_once: int = 1000
    tasks_at_once: int = 1000


class WorkerPool:
    """Invokes functions; `start` makes a worker for a function."""

    def __init__(self, start: Callable[[Function], FunctionWorker], limits: Limits) -> None:
        self._start = start
        self._limits = limits
        self._lock = threading.RLock()
        self._waiting: dict[_Key, threading.Condition] = {}
        self._idle: dict[_Key, list[FunctionWorker]] = {}
        self._busy: dict[_Key, int] = {}
        self._starting = 0
        self._workers: set[FunctionWorker] = set()
        self._closed = False

    def invoke(self, function: Function, invocation: WorkerInvocation) -> InvocationResult:
        """Run one event in a process that handles nothing else. Raises ThrottledError at a limit."""
        while True:
            worker = self._acquire(function)
            try:
                return worker.invoke(invocation)
            except WorkerGoneError:
                continue
            finally:
                self._release(worker, keep=worker.alive)

    def warm(self, function: Function, count: int) -> None:
        """Start `count` processes, so that as many calls run concurrently from their first line."""
        threads = [threading.Thread(target=self._warm_one, args=(function, count)) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def retire(self, name: str, version: str) -> None:
        """End the idle processes of a function whose settings changed."""
        with self._lock:
            retired = self._idle.pop((name, version), [])
            self._workers.difference_update(retired)
        for worker in retired:
            worker.close()

    def workers(self) -> list[FunctionWorker]:
        with self._lock:
            return list(self._workers)

    def close(self) -> None:
        """End every process."""
        with self._lock:
            self._closed = True
            workers, self._workers = list(self._workers), set()
            self._idle.clear()
            for waiting in self._waiting.values():
                waiting.notify_all()
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.close()

    def _acquire(self, function: Function) -> FunctionWorker:
        key = (function.name, function.version)
        limit = self._limits.per_function if function.concurrency is None else function.concurrency
        with self._lock:
            if self._busy.get(key, 0) >= limit or sum(self._busy.values()) >= self._limits.total:
                raise ThrottledError(f"{function.name}: Rate Exceeded.")
            self._busy[key] = self._busy.get(key, 0) + 1
            worker = self._idle_or_slot(key)
        return worker or self._started(function, key)

    def _idle_or_slot(self, key: _Key) -> FunctionWorker | None:
        """Return an idle worker, or None with permission to start one."""
        while True:
            if self._closed:
                raise ThrottledError("the local stack is shutting down")
            while self._idle.get(key):
                worker = self._idle[key].pop()
                if worker.alive:
                    self._offer_start()
                    return worker
                self._workers.discard(worker)
                worker.close()
            if self._starting < self._limits.starting:
                self._starting += 1
                self._offer_start()
                return None
            self._waiting.setdefault(key, threading.Condition(self._lock)).wait()

    def _offer_start(self) -> None:
        """Wake one waiting call, of any function, if another process may be started.

        Hundreds may wait: waking all of them at each change would be expensive.
        """
        if self._starting < self._limits.starting:
            for waiting in self._waiting.values():
                waiting.notify()

    def _started(self, function: Function, key: _Key) -> FunctionWorker:
        try:
            self._make_room()
            worker = self._start(function)
            with self._lock:
                self._workers.add(worker)
                closed = self._closed
            if closed:
                worker.close()
            worker.wait_ready()
        except BaseException:
            with self._lock:
                self._busy[key] -= 1
            raise
        finally:
            with self._lock:
                self._starting -= 1
                self._offer_start()
        return worker

    def _make_room(self) -> None:
        with self._lock:
            if len(self._workers) < self._limits.total:
                return
            key = next((key for key, idle in self._idle.items() if idle), None)
            oldest = self._idle[key].pop(0) if key else None
            if oldest:
                self._workers.discard(oldest)
        if oldest:
            oldest.close()

    def _release(self, worker: FunctionWorker, *, keep: bool) -> None:
        key = (worker.function.name, worker.function.version)
        with self._lock:
            self._busy[key] -= 1
            if keep and not self._closed:
                self._idle.setdefault(key, []).append(worker)
            else:
                self._workers.discard(worker)
                keep = False
            if key in self._waiting:
                self._waiting[key].notify()
        if not keep:
            worker.close()

    def _warm_one(self, function: Function, count: int) -> None:
        key = (function.name, function.version)
        with self._lock:
            if len(self._idle.get(key, [])) + self._starting >= count:
                return
            while self._starting >= self._limits.starting:
                self._waiting.setdefault(key, threading.Condition(self._lock)).wait()
            if len(self._idle.get(key, [])) >= count:
                self._offer_start()
                return
            self._starting += 1
            self._busy[key] = self._busy.get(key, 0) + 1
        self._release(self._started(function, key), keep=True)
