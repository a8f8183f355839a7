"""Rate limiters as a client uses them: entered before a request, given the answer after it."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from celonis_refresh.celonis.transport import Call, RateLimit


class RateLimiter(Protocol):
    """What many clients of one connection share, so that together they stay within its limits."""

    def enter(self, call: Call, seconds: float) -> None:
        """Return when ``call`` may be sent, which has ``seconds`` left in all.

        Raises ``CelonisThrottled`` where that is too long to wait for; nothing is sent then.
        """

    def answered(self, limit: RateLimit | None, retry_after: float | None) -> None:
        """What the answer said of the limit. ``retry_after``: seconds, of a 429; None for any other."""


class NoRateLimit:
    """For a client that shares its connection with nobody."""

    def enter(self, call: Call, seconds: float) -> None:
        """At once."""

    def answered(self, limit: RateLimit | None, retry_after: float | None) -> None:
        """Is of no matter."""


class IgnoredRateLimit(Struct, frozen=True):
    """For requests that cannot wait: they are sent at once, and ``rate_limiter`` learns from the answers."""

    rate_limiter: RateLimiter

    def enter(self, call: Call, seconds: float) -> None:
        """At once: Celonis alone may refuse it."""

    def answered(self, limit: RateLimit | None, retry_after: float | None) -> None:
        """Is of matter to all others."""
        self.rate_limiter.answered(limit, retry_after)
