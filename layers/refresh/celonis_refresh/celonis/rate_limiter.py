"""The interface of rate limiters: called before each request and after its answer."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from celonis_refresh.celonis.transport import Call, RateLimit


class RateLimiter(Protocol):
    """Limits the requests of all clients of one connection."""

    def enter(self, call: Call, seconds: float) -> None:
        """Return when ``call`` may be sent; its time limit is ``seconds``.

        Raises ``CelonisThrottled`` if the wait would be too long; nothing is sent then.
        """

    def answered(self, limit: RateLimit | None, retry_after: float | None) -> None:
        """Record the rate limit of an answer. ``retry_after``: seconds of a 429; None for other answers."""


class NoRateLimit:
    """For a client that does not share its connection."""

    def enter(self, call: Call, seconds: float) -> None:
        """Return at once."""

    def answered(self, limit: RateLimit | None, retry_after: float | None) -> None:
        """Do nothing."""


class IgnoredRateLimit(Struct, frozen=True):
    """For requests that cannot wait: sent at once; ``rate_limiter`` records their answers."""

    rate_limiter: RateLimiter

    def enter(self, call: Call, seconds: float) -> None:
        """Return at once."""

    def answered(self, limit: RateLimit | None, retry_after: float | None) -> None:
        self.rate_limiter.answered(limit, retry_after)
