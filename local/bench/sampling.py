"""Sampling of a count while other code runs."""

from __future__ import annotations

import threading
from collections.abc import Callable

PAUSE_SECONDS = 0.05


def peak(count: Callable[[], int]) -> Callable[[], int]:
    """Sample ``count`` from now on; the yielded function returns the maximum so far."""
    ended, highest = threading.Event(), [0]

    def watch() -> None:
        while not ended.wait(PAUSE_SECONDS):
            highest[0] = max(highest[0], count())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()

    def stop() -> int:
        ended.set()
        thread.join()
        return highest[0]

    return stop
