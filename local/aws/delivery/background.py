"""Runs delayed tasks in threads, and can wait until all are done."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger(__name__)


class DelayedTasks:
    """Runs a function after a delay (seconds); `close` drops those that have not started."""

    def __init__(self, name: str, threads: int = 32) -> None:
        self._changed = threading.Condition()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._open = 0
        self._closed = False
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)
        self._thread = threading.Thread(target=self._loop, daemon=True, name=name)
        self._thread.start()

    def after(self, delay: float, function: Callable[[], None]) -> None:
        with self._changed:
            if self._closed:
                return
            self._open += 1
            heapq.heappush(self._queue, (time.monotonic() + delay, next(self._count), function))
            self._changed.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until all tasks are done; return False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._open == 0, timeout)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()
        self._thread.join(timeout=5)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._queue or self._queue[0][0] > time.monotonic()):
                    wait = self._queue[0][0] - time.monotonic() if self._queue else None
                    self._changed.wait(wait)
                if self._closed:
                    return
                function = heapq.heappop(self._queue)[2]
            self._pool.submit(self._run, function)

    def _run(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:
            if not self._closed:
                log.exception("a delivery failed")
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()
