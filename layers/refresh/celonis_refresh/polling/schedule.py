"""The wait before the next look at something under way.

Nothing is known of how long it takes, so the wait grows with the time that has passed: the lateness stays
a fixed share of the duration, and the number of looks grows with its logarithm only.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from random import Random

SHARE = 0.08
"""The wait as a share of the time that has passed: on average half of it is the lateness."""
JITTER = 0.1
"""Each wait is spread by this share, so that runs started together do not ask together."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """``floor`` and ``ceiling``: bounds of a wait in whole seconds."""

    floor: int
    ceiling: int

    def next_wait(self, elapsed: float, random: Random, at_least: float = 0.0) -> int:
        """Whole seconds until the next look, ``elapsed`` seconds after the start.

        ``at_least``: what the server asked for (``x-ratelimit-reset``); it may exceed the ceiling.
        """
        wait = elapsed * SHARE * random.uniform(1 - JITTER, 1 + JITTER)
        bounded = min(max(wait, self.floor), self.ceiling)
        return max(1, ceil(max(bounded, at_least)))
