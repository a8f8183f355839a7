"""Waiting for what happens elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

MAX_WAIT = 60.0
"""Seconds that something may take before it counts as never; nearly all takes less than five."""
POLL_SECONDS = 0.05

T = TypeVar("T")


def until(
    found: Callable[[], T | None], what: str, seconds: float = MAX_WAIT, pause: float = POLL_SECONDS
) -> T:
    """What ``found`` gives once that is true. Raises ``TimeoutError`` after ``seconds``."""
    end = time.monotonic() + seconds
    while not (value := found()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(pause)
    return value
