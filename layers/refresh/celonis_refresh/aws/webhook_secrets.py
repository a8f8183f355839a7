"""The secrets of webhooks, such that a rotation counts within seconds and strangers cost next to nothing.

A request that fits no known secret makes a process read the secret again, since it may have been rotated.
Anybody can send such a request, so a token bucket for each secret bounds the readings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from celonis_refresh.aws.configuration import is_transient_error
from celonis_refresh.aws.token_bucket import TokenBucket
from celonis_refresh.aws.ttl_cache import TtlCache
from celonis_refresh.timing import Clock

KEEP_SECONDS: Final = 60.0
"""A secret that was removed is refused after that, at the latest, in every process."""
READ_SECONDS: Final = 4.0
"""A rotated secret is accepted after that, at the latest, whatever strangers send."""
READS_AT_ONCE: Final = 4
"""Few strangers delay nobody; many cost ``READS_AT_ONCE`` readings, then one every ``READ_SECONDS``: at most
19 in any minute."""
SERVE_SECONDS: Final = 900.0
"""While Secrets Manager cannot be read, the known values count for so long after they were read."""


def webhook_secrets(read: Callable[[str], tuple[str, ...]], clock: Clock) -> TtlCache[tuple[str, ...]]:
    """The secrets that ``read`` gives by name, kept by the rules above."""
    limit = TokenBucket(READS_AT_ONCE, READ_SECONDS, clock)
    return TtlCache(read, KEEP_SECONDS, clock, is_transient_error, limit=limit, serves=SERVE_SECONDS)
