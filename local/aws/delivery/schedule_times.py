"""Computes when a schedule of EventBridge Scheduler fires: `rate(…)`, `cron(…)` and `at(…)`, to the minute.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

import calendar
import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MINUTES = {"minute": 1, "hour": 60, "day": 24 * 60}
_MONTHS = {calendar.month_abbr[number].upper(): str(number) for number in range(1, 13)}
_DAYS = {calendar.day_abbr[(number - 2) % 7].upper(): str(number) for number in range(1, 8)}
"""Sunday is 1."""
_FIELDS: tuple[tuple[str, int, int, dict[str, str]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 1, 7, _DAYS),
    ("year", 1970, 2199, {}),
)


class UnreadableScheduleError(ValueError):
    """An expression or time zone that the local stack does not support; AWS may support it."""


def is_due(expression: str, zone: str, created: datetime, minute: datetime) -> bool:
    """Return whether a schedule fires in a minute.

    `created` and `minute` are in UTC, `minute` without seconds.

    Raises UnreadableScheduleError.
    """
    match = re.fullmatch(r"(rate|cron|at)\((.+)\)", expression.strip())
    if match is None:
        raise UnreadableScheduleError(f"{expression!r} is no rate(…), cron(…) or at(…)")
    kind, text = match.groups()
    if kind == "rate":
        return _rate_is_due(text, created, minute)
    try:
        local = minute.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UnreadableScheduleError(f"the time zone {zone!r} is not known on this machine") from error
    if local.fold:  # a local time that occurs twice, when clocks change, counts once
        return False
    return _cron_is_due(text, local) if kind == "cron" else _at_is_due(text, local)


def _rate_is_due(text: str, created: datetime, minute: datetime) -> bool:
    match = re.fullmatch(r"([1-9][0-9]*) (minute|hour|day)s?", text)
    if match is None:
        raise UnreadableScheduleError(f"rate({text}) has no number of minutes, hours or days")
    period = int(match[1]) * _MINUTES[match[2]]
    passed = (minute - created.replace(second=0, microsecond=0)) // timedelta(minutes=1)
    return passed > 0 and passed % period == 0


def _at_is_due(text: str, local: datetime) -> bool:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UnreadableScheduleError(f"at({text}) has no date") from error
    return at.replace(second=0) == local.replace(tzinfo=None)


def _cron_is_due(text: str, local: datetime) -> bool:
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise UnreadableScheduleError(f"cron({text}) has not {len(_FIELDS)} fields")
    now = (local.minute, local.hour, local.day, local.month, local.isoweekday() % 7 + 1, local.year)
    return all(
        value in _values(field, *allowed) for field, allowed, value in zip(fields, _FIELDS, now, strict=True)
    )


def _values(field: str, name: str, minimum: int, maximum: int, names: dict[str, str]) -> set[int]:
    """Return the numbers of a field: `*`, `?`, `2`, `2-5`, `2/10`, `MON-FRI`, or a list of these."""
    values: set[int] = set()
    for part in field.upper().split(","):
        text = re.sub("[A-Z]{3}", lambda word: names.get(word[0], word[0]), part)
        match = re.fullmatch(r"(?:[*?]|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?", text)
        if match is None:
            raise UnreadableScheduleError(f"the {name} {part!r} is not read here")
        first = minimum if match[1] is None else int(match[1])
        last = int(match[2]) if match[2] else maximum if match[1] is None or match[3] else first
        if not minimum <= first <= last <= maximum:
            raise UnreadableScheduleError(f"the {name} {part!r} is not from {minimum} to {maximum}")
        values.update(range(first, last + 1, int(match[3] or 1)))
    return values
