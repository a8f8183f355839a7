"""How many cases run at the same time: as many as the machine keeps up with."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PER_CORE = 12
"""Cases for each core at most: most of what they do is wait."""
FEW = 6
"""The number of cases that run however slow the machine is."""
TICK_SECONDS = 0.1
LATE_SECONDS = 0.15
"""Later than this on average, the machine does not keep up, and no further case begins."""
WEIGHT = 0.1
"""The weight of the latest tick in the average, which covers some seconds."""


def most_at_once() -> int:
    """What suits the machine when it has nothing else to do."""
    return PER_CORE * (os.cpu_count() or 2)


class CaseConcurrency:
    """Measures how late a short sleep ends, and lets cases begin accordingly."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._changed = threading.Condition()
        self._late, self._running, self.peak = 0.0, 0, 0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measures all the while."""
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
        """Waits until one more case may run, and counts it while it runs."""
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
