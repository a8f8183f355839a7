"""Matches event patterns with moto's matcher, because moto does not offer TestEventPattern."""

import functools
from typing import Any, cast

from moto.events.models import EventPattern


def event_matches(pattern: str, event: dict[str, Any]) -> bool:
    """Return whether a rule's pattern (JSON) matches an event."""
    return bool(_loaded(pattern).matches_event(cast(Any, event)))


@functools.lru_cache(maxsize=256)
def _loaded(pattern: str) -> EventPattern:
    return EventPattern.load(pattern)
