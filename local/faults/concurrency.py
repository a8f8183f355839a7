"""Limits the number of concurrent cases to what the machine can handle."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PER_CORE = 12
"""Maximum cases per core; cases spend most of their time waiting."""
FEW = 6
"""Minimum number of concurrent cases, also on a slow machine."""
TICK_SECONDS = 0.1
LATE_SECONDS = 0.05
"""Mean delay in seconds above which the machine is overloaded and no further case starts."""
WEIGHT = 0.1
"""Weight of the latest measurement in the moving average, which covers a few seconds."""


def default_concurrency() -> int:
    """Return the concurrency for an idle machine."""
    return PER_CORE * (os.cpu_count() or 2)


class CaseConcurrency:
    """Measures how late a short sleep ends, and starts cases accordingly."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._changed = threading.Condition()
        self._late, self._running, self.peak = 0.0, 0, 0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure while the ``with`` block runs."""
        over = threading.Event()

        def measure() -> None:
            while not over.is_set():
                self.tick()

        thread = threading.Thread(target=measure, name="pace", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def tick(self) -> None:
        """One measurement."""
        began = self._clock()
        self._sleep(TICK_SECONDS)
        late = self._clock() - began - TICK_SECONDS
        with self._changed:
            self._late += WEIGHT * (late - self._late)
            self._changed.notify_all()

    @contextmanager
    def case(self) -> Iterator[None]:
        """Wait until one more case may run, and count it while it runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._running < FEW or self._late < LATE_SECONDS)
            self._running += 1
            self.peak = max(self.peak, self._running)
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
