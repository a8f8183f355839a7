"""Interrupts executions: a stop, a failure in another branch or a timeout ends every wait at once."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from local.aws.states.errors import BranchStopped, ExecutionTimedOut


class StatesClock:
    """Real time; `factor` shortens all waits, retry intervals and timeouts of the state machines."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def shortened(self, seconds: float) -> float:
        return seconds * self.factor


class Branch:
    """One branch of an execution: the whole, an iteration of a Map, or a branch of a Parallel."""

    def __init__(
        self, clock: StatesClock, *, timeout: float | None = None, parent: "Branch | None" = None
    ) -> None:
        self.clock = clock
        self._parent = parent
        self._changed: threading.Condition = parent._changed if parent else threading.Condition()
        self._stopped = False
        self._deadline = None if timeout is None else clock.monotonic() + clock.shortened(timeout)

    def child(self) -> "Branch":
        return Branch(self.clock, parent=self)

    def stop(self) -> None:
        """End every wait in this branch and in those below it."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def check(self) -> None:
        """Raises BranchStopped or ExecutionTimedOut if this branch must end."""
        branch: Branch | None = self
        while branch is not None:
            if branch._stopped:
                raise BranchStopped
            if branch._deadline is not None and self.clock.monotonic() >= branch._deadline:
                raise ExecutionTimedOut
            branch = branch._parent

    def sleep(self, seconds: float) -> None:
        """Wait until the time has passed or the branch must end."""
        self._wait(lambda: False, self.clock.shortened(seconds))

    def sleep_until(self, epoch_seconds: float) -> None:
        self.sleep(max(0.0, epoch_seconds - self.clock.now()))

    def result_of(self, future: "Future[Any]", timeout: float | None = None) -> Any:
        """The result of a running call. Raises TimeoutError after `timeout` seconds; the call goes on."""
        future.add_done_callback(lambda _: self._notify())
        limit = None if timeout is None else self.clock.shortened(timeout)
        if not self._wait(future.done, limit):
            raise TimeoutError
        return future.result()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _wait(self, done: Callable[[], bool], seconds: float | None) -> bool:
        end = None if seconds is None else self.clock.monotonic() + seconds
        with self._changed:
            while True:
                self.check()
                if done():
                    return True
                now = self.clock.monotonic()
                if end is not None and now >= end:
                    return False
                limits = [limit - now for limit in (end, self._earliest_deadline()) if limit is not None]
                self._changed.wait(max(0.0, min(limits)) if limits else None)

    def _earliest_deadline(self) -> float | None:
        branch: Branch | None = self
        earliest: float | None = None
        while branch is not None:
            if branch._deadline is not None:
                earliest = branch._deadline if earliest is None else min(earliest, branch._deadline)
            branch = branch._parent
        return earliest


def in_thread(name: str, function: Callable[[], Any]) -> "Future[Any]":
    """Run `work` in its own thread."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name=name).start()
    return future
