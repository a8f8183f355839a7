"""Fewer requests while little is left of a rate limit, so that no run exceeds it."""

from __future__ import annotations

LITTLE = 0.1
"""Below this share of the limit, what is left is spread over the time until the reset."""
PARTIES = 10
"""How many are taken to share what is left: other runs, other services, people."""

WINDOWS = (1.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0)
"""Seconds that rate limits are counted by."""
SHARE = 0.8
"""What all turns together use of a limit; the rest is for those who take none."""
LONGEST_TURN = 60.0
SHORT_RESET = 60.0
"""Seconds until the reset that everybody can wait for; over longer ones what is left is spread by turns."""
LONGEST_SPREAD = 300.0
"""Seconds between two requests, at most, that what is left is spread with."""


def pause(limit: float | None, remaining: float | None, reset: float | None) -> float:
    """Seconds to ask nothing, from the last answer's rate limit headers; 0 while enough is left.

    ``limit`` and ``remaining``: requests, of ``x-ratelimit-limit`` and ``x-ratelimit-remaining``. ``reset``:
    seconds, of ``x-ratelimit-reset``. None where an answer said nothing. Never longer than ``reset``. A long
    way to the reset is no reason to ask nothing before nothing is left: turns spread what is.
    """
    if remaining is None or reset is None or reset <= 0 or (reset > SHORT_RESET and remaining >= 1):
        return 0.0
    if remaining > (PARTIES if limit is None else limit * LITTLE):
        return 0.0
    return reset * min(1.0, PARTIES / max(remaining, 1.0))


def is_scarce(limit: float | None, remaining: float | None) -> bool:
    """Whether so little is left that all who ask should take turns; sooner than that a pause is needed."""
    if remaining is None:
        return False
    return remaining <= (PARTIES if limit is None else max(limit * LITTLE, min(PARTIES, limit / 2)))


def spread(remaining: float | None, reset: float | None) -> float:
    """Seconds between two requests with which what is left lasts until a reset that is far away; else 0."""
    if not remaining or remaining < 1 or reset is None or reset <= SHORT_RESET:
        return 0.0
    return min(LONGEST_SPREAD, reset / remaining)


def turn(limit: float | None, reset: float | None) -> float:
    """Seconds between two requests that stay below the limit; ``PARTIES`` a second where none was told.

    A limit counts by one of ``WINDOWS``: by the shortest that ``reset`` fits in, or by a longer one, which
    the next answer shows.
    """
    if not limit or limit <= 0:
        return 1 / PARTIES
    window = next((window for window in WINDOWS if (reset or 0.0) <= window), WINDOWS[-1])
    return min(LONGEST_TURN, window / (limit * SHARE))
