"""Asking less while little is left of a rate limit, so that nobody runs into it."""

from __future__ import annotations

LITTLE = 0.1
"""Below this share of the limit, what is left is spread over the time until the reset."""
PARTIES = 10
"""How many are taken to share what is left: other runs, other services, people."""


def pause(limit: float | None, remaining: float | None, reset: float | None) -> float:
    """Seconds to ask nothing, from the last answer's rate limit headers; 0 while enough is left.

    ``limit`` and ``remaining``: requests, of ``x-ratelimit-limit`` and ``x-ratelimit-remaining``. ``reset``:
    seconds, of ``x-ratelimit-reset``. None where an answer said nothing. Never longer than ``reset``.
    """
    if remaining is None or reset is None or reset <= 0:
        return 0.0
    if remaining > (PARTIES if limit is None else limit * LITTLE):
        return 0.0
    return reset * min(1.0, PARTIES / max(remaining, 1.0))
