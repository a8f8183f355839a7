"""When a schedule of EventBridge Scheduler fires next: ``rate(…)``, ``cron(…)`` and ``at(…)``.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MINUTES: Final = {"minute": 1, "hour": 60, "day": 24 * 60}
MONTHS: Final = {calendar.month_abbr[number].upper(): number for number in range(1, 13)}
WEEKDAYS: Final = {calendar.day_abbr[(number - 2) % 7].upper(): number for number in range(1, 8)}
"""Sunday is 1."""
MAX_DAYS: Final = 4 * 366
"""Days that are searched for the next time of a ``cron(…)``."""


def next_times(
    expression: str, zone: str, created: datetime, after: datetime, count: int
) -> list[datetime] | None:
    """Return the next ``count`` times after ``after``, in UTC; fewer if it ends, None if it cannot be read.

    AWS knows expressions that are not read here: ``L``, ``W`` and ``#``.
    """
    match = re.fullmatch(r"(rate|cron|at)\((.+)\)", expression.strip())
    if match is None:
        return None
    kind, text = match.groups()
    try:
        if kind == "rate":
            return list(islice(_rate(text, created, after), count))
        where = ZoneInfo(zone)
        if kind == "at":
            at = datetime.fromisoformat(text).replace(tzinfo=where).astimezone(UTC)
            return [at] if at > after else []
        return list(islice(_cron(text, where, after), count))
    except (ValueError, ZoneInfoNotFoundError):
        return None


def _rate(text: str, created: datetime, after: datetime) -> Iterator[datetime]:
    match = re.fullmatch(r"([1-9][0-9]*) (minute|hour|day)s?", text)
    if match is None:
        raise ValueError(text)
    period = timedelta(minutes=int(match[1]) * MINUTES[match[2]])
    passed = max(0, (after - created) // period)
    at = created + period * (passed + 1)
    while True:
        yield at.astimezone(UTC)
        at += period


def _cron(text: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    fields = text.split()
    if len(fields) != 6:
        raise ValueError(text)
    minutes, hours = _values(fields[0], 0, 59), _values(fields[1], 0, 23)
    days, months = _values(fields[2], 1, 31), _values(fields[3], 1, 12, MONTHS)
    weekdays, years = _values(fields[4], 1, 7, WEEKDAYS), _values(fields[5], 1970, 2199)
    first = after.astimezone(zone).date()
    for offset in range(MAX_DAYS):
        day = first + timedelta(days=offset)
        weekday = day.isoweekday() % 7 + 1
        if not (day.day in days and day.month in months and weekday in weekdays and day.year in years):
            continue
        for hour in sorted(hours):
            for minute in sorted(minutes):
                at = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)
                if at > after:
                    yield at


def _values(field: str, minimum: int, maximum: int, names: dict[str, int] | None = None) -> set[int]:
    """Return the numbers of a field: ``*``, ``?``, ``2``, ``2-5``, ``2/10``, ``MON-FRI``, or a list."""
    values: set[int] = set()
    for part in field.upper().split(","):
        text = re.sub("[A-Z]{3}", lambda word: str((names or {}).get(word[0], word[0])), part)
        match = re.fullmatch(r"(?:[*?]|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?", text)
        if match is None:
            raise ValueError(part)
        first = minimum if match[1] is None else int(match[1])
        last = int(match[2]) if match[2] else maximum if match[1] is None or match[3] else first
        values.update(range(first, min(last, maximum) + 1, int(match[3] or 1)))
    return values
