"""Token buckets: as many requests at once as the burst, then as many a second as the rate."""

import threading
from collections.abc import Callable

from local.aws.http_api.routes import Throttling


class Buckets:
    """One bucket per key. `now` gives seconds that only grow."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, key: str, throttling: Throttling) -> bool:
        """Whether one more request may pass."""
        with self._lock:
            now = self._now()
            level, since = self._levels.get(key, (float(throttling.burst), now))
            level = min(float(throttling.burst), level + (now - since) * throttling.rate)
            passes = level >= 1
            self._levels[key] = (level - 1 if passes else level, now)
            return passes
