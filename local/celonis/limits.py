"""The rate limit: a number of requests per window, then 429 until the window ends."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from local.celonis.setups import RateLimitSetup


class Window:
    """Counts requests in windows that begin with the first request. Times are seconds of the clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began = -math.inf
        self._used = 0

    def clear(self) -> None:
        """Start a new window with the next request."""
        with self._lock:
            self._began = -math.inf

    def admit(self, limit: RateLimitSetup, cost: int = 1) -> tuple[bool, dict[str, str]]:
        """Count a request as ``cost``. Returns whether it is within ``limit``, and the rate-limit headers."""
        with self._lock:
            now = self._clock()
            if now >= self._began + limit.seconds:
                self._began, self._used = now, 0
            self._used += cost
            reset = max(1, math.ceil(self._began + limit.seconds - now))
            headers = {
                "x-ratelimit-limit": str(limit.requests),
                "x-ratelimit-remaining": str(max(0, limit.requests - self._used)),
                "x-ratelimit-reset": str(reset),
            }
            return self._used <= limit.requests, headers
