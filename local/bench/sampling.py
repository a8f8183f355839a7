"""Counts that are watched while something else goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

PAUSE_SECONDS = 0.05


def peak(count: Callable[[], int]) -> Callable[[], int]:
    """Watches ``count`` from now on; gives the greatest number that was seen once it is called."""
    ended, seen = threading.Event(), [0]

    def watch() -> None:
        while not ended.wait(PAUSE_SECONDS):
            seen[0] = max(seen[0], count())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()

    def stop() -> int:
        ended.set()
        thread.join()
        return seen[0]

    return stop
