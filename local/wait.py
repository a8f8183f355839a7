"""Waits until a condition is true."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

MAX_WAIT = 60.0
"""Default timeout in seconds; nearly all conditions are true within five."""
POLL_SECONDS = 0.05

T = TypeVar("T")


def until(
    condition: Callable[[], T | None], what: str, seconds: float = MAX_WAIT, pause: float = POLL_SECONDS
) -> T:
    """Return the value of ``condition`` once it is true. Raises ``TimeoutError`` after ``seconds``."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(pause)
    return value
