"""Times and durations as people read them."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> float:
    """Return the current time in seconds since 1970."""
    return datetime.now(UTC).timestamp()


def epoch(moment: str) -> float:
    """Return an ISO 8601 time in seconds since 1970."""
    return datetime.fromisoformat(moment).timestamp()


def local_time(moment: str | None) -> str:
    """Return an ISO 8601 time in the time zone of this machine; empty for None."""
    if not moment:
        return ""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def zone() -> str:
    """Return the time zone of this machine, such as ``UTC`` or ``CET/CEST``."""
    return "/".join(dict.fromkeys(time.tzname if time.daylight else time.tzname[:1]))


def took(seconds: float | None) -> str:
    """Return a duration in its two largest units: ``48 s``, ``5 min 12 s``, ``2 h 05 min``, ``3 d 04 h``."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02} h"


def seconds_between(begin: str | None, end: str | None) -> float | None:
    """Return the seconds between two ISO 8601 times; None if one is missing."""
    return epoch(end) - epoch(begin) if begin and end else None
