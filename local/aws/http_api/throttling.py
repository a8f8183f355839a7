"""Token buckets: a burst of requests at once, then the rate per second."""

import threading
from collections.abc import Callable

from local.aws.http_api.routes import Throttling


class Buckets:
    """One bucket per key. `now` returns monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, key: str, throttling: Throttling) -> bool:
        """Return whether one more request is allowed."""
        with self._lock:
            now = self._now()
            level, since = self._levels.get(key, (float(throttling.burst), now))
            level = min(float(throttling.burst), level + (now - since) * throttling.rate)
            passes = level >= 1
            self._levels[key] = (level - 1 if passes else level, now)
            return passes
