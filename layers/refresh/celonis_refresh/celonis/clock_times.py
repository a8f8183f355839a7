"""The moment that a text names as a clock time: "try again at 06:10:41 UTC". Pure functions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

# Not compiled here: most processes never meet an error, and starting fast counts.
_DATED = r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?"
_CLOCK = (
    r"(?i)(\b(?:at|until|after)\s+)?(?<![\d:])(\d\d?):(\d\d)(?::(\d\d))?(?![\d:])(?:\.\d+)?(?:\s*([a-z]+))?"
)
_UTC = frozenset({"utc", "gmt", "z"})
_HALF_A_DAY = timedelta(hours=12)


def moment_in(text: str, now: float) -> float | None:
    """The moment named in ``text``, in epoch seconds; None where it names none. ``now``: epoch seconds.

    A time without a date is the one nearest to ``now``; a time without a zone is UTC.
    """
    dated = re.search(_DATED, text)
    if dated:
        return _from_iso(dated[0])
    return next((found for match in re.finditer(_CLOCK, text) if (found := _nearest(match, now))), None)


def _from_iso(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _nearest(match: re.Match[str], now: float) -> float | None:
    before, hour, minute, second, zone = match.groups()
    is_utc = zone is not None and zone.lower() in _UTC
    if not is_utc and (zone is not None or before is None):
        return None  # another zone, or no clock time: a duration, or a part of an id
    present = datetime.fromtimestamp(now, UTC)
    try:
        moment = present.replace(hour=int(hour), minute=int(minute), second=int(second or 0), microsecond=0)
    except ValueError:
        return None
    if moment - present > _HALF_A_DAY:
        moment -= timedelta(days=1)
    elif present - moment > _HALF_A_DAY:
        moment += timedelta(days=1)
    return moment.timestamp()
