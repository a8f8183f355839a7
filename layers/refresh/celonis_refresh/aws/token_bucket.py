"""How often something may be done, by name: a few times at once, then at a steady rate."""

from __future__ import annotations

from msgspec import Struct, field

from celonis_refresh.timing import Clock


class TokenBucket(Struct):
    """``size`` tokens for each name at first, and one more every ``seconds`` up to ``size``."""

    size: int
    seconds: float
    clock: Clock
    _full_at: dict[str, float] = field(default_factory=dict)

    def take(self, name: str) -> bool:
        """Take a token of ``name``; False if there is none."""
        now, full = self.clock(), self.size * self.seconds
        # Bounded on both sides: a clock that is set back costs no more than an empty bucket.
        missing = min(max(self._full_at.get(name, now) - now, 0.0), full)
        has_token = missing + self.seconds <= full
        self._full_at[name] = now + missing + (self.seconds if has_token else 0.0)
        return has_token
