"""Waiting for what happens elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 60.0
"""Seconds that a passage may take before its test fails; all of them take less than five."""
LOOK_SECONDS = 0.1

T = TypeVar("T")


def until(found: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """What ``found`` gives once that is something. Raises AssertionError after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(LOOK_SECONDS)
    raise AssertionError(f"{what}: not within {seconds} s")
