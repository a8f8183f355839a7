"""The field ``fresh_within`` of a pipeline: how old its data may be, or by when it is refreshed.

The age of data counts from the start of the run that extracted it. docs/freshness.md describes the rules.
"""

# No annotations from __future__: msgspec would compile the text of each at a cold start.
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from celonis_refresh.validation.convert import ValidatedType

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

MIN_SECONDS: Final = 300
"""Time between two evaluations: a shorter age could not be seen in time."""
MAX_SECONDS: Final = 366 * 86_400
EXAMPLE: Final = '"06:30 Europe/Berlin, Monday to Friday"'
EXPECTED: Final = (
    f"expected seconds (a whole number from {MIN_SECONDS} to {MAX_SECONDS}) or a deadline such as {EXAMPLE}"
)
EXPECTED_ZONE: Final = f"expected a time zone of the IANA database after the time, as in {EXAMPLE}"
EXPECTED_DAYS: Final = (
    'expected days after the comma, such as "Monday to Friday" or "Monday, Wednesday and Saturday", '
    "or no comma for every day"
)
DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DEADLINE: Final = re.compile(
    r"([01][0-9]|2[0-3]):([0-5][0-9]) +([A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*) *(?:,(.*))?", re.ASCII
)
SEPARATOR: Final = re.compile(r" *, *(?:and +)?| +and +", re.IGNORECASE | re.ASCII)
RANGE: Final = re.compile(r"([a-z]+)(?: +to +([a-z]+))?", re.ASCII)
WEEK: Final = 7
MAX_DAYS_AHEAD: Final = WEEK + 3
"""Days after a date within which there is a deadline that data of that date does not meet."""


class MaxAge(Struct, frozen=True):
    """Data may be ``seconds`` old at any time."""

    seconds: int

    def due(self, data_from: float) -> float:
        """Return when data of a run that started at ``data_from`` becomes stale. Epoch seconds."""
        return data_from + self.seconds

    def first_due(self, seen_at: float) -> float:
        """Return when a pipeline without any success becomes stale. ``seen_at``: first evaluation."""
        return seen_at + self.seconds


class DailyDeadline(Struct, frozen=True):
    """At a local time on some days, data must come from a run that started less than a day before.

    ``days``: numbers from 0 (Monday). When clocks are set forward, a skipped time moves by the same amount;
    when they are set back, the first of two equal times counts.
    """

    at: time
    zone: "ZoneInfo"
    days: frozenset[int]

    def due(self, data_from: float) -> float:
        """Return the first deadline that data of a run that started at ``data_from`` does not meet."""
        return self._instant(next(day for day in self._days(data_from) if self._begin(day) > data_from))

    def first_due(self, seen_at: float) -> float:
        """Return the first deadline after ``seen_at``, for a pipeline without any success."""
        instants = (self._instant(day) for day in self._days(seen_at))
        return next(instant for instant in instants if instant > seen_at)

    def _days(self, at: float) -> Iterator[date]:
        """Yield the days with a deadline, from the day before ``at``."""
        today = datetime.fromtimestamp(at, UTC).astimezone(self.zone).date()
        days = (today + timedelta(days=ahead) for ahead in range(-1, MAX_DAYS_AHEAD))
        return (day for day in days if day.weekday() in self.days)

    def _begin(self, day: date) -> float:
        """Return the same local time a day before. A zone that crosses the date line skips a day."""
        before, instant = self._instant(day - timedelta(days=1)), self._instant(day)
        return before if before < instant else self._instant(day - timedelta(days=2))

    def _instant(self, day: date) -> float:
        return datetime.combine(day, self.at, self.zone).timestamp()


FreshnessRule: TypeAlias = MaxAge | DailyDeadline


class FreshWithin(ValidatedType):
    """Seconds, or a deadline with a time zone. The text of a whole number is stored for seconds."""

    @classmethod
    def checked(cls, text: str) -> str:
        parse_deadline(text)
        return text

    @classmethod
    def read(cls, value: object) -> "FreshWithin":
        if isinstance(value, str):
            return cls(cls.checked(value))
        if isinstance(value, int) and not isinstance(value, bool) and MIN_SECONDS <= value <= MAX_SECONDS:
            return cls(str(value))
        raise ValueError(EXPECTED)

    def to_json(self) -> str | int:
        return int(self) if self.isdigit() else str(self)

    def rule(self) -> FreshnessRule:
        """Return when data becomes stale."""
        return MaxAge(int(self)) if self.isdigit() else parse_deadline(self)


def parse_deadline(text: str) -> DailyDeadline:
    """Return the deadline in a text. Raises ValueError with what was expected, without the text."""
    found = DEADLINE.fullmatch(text.strip())
    if found is None:
        raise ValueError(EXPECTED)
    hour, minute, zone, days = found.groups()
    return DailyDeadline(time(int(hour), int(minute)), _zone(zone), _weekdays(days))


def _zone(name: str) -> "ZoneInfo":
    """Return a time zone. zoneinfo is imported on first use: few pipelines need it, and no poll does."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a zone; a folder of zones
        raise ValueError(EXPECTED_ZONE) from None


def _weekdays(text: str | None) -> frozenset[int]:
    """Return the numbers of the days in ``Monday to Friday and Sunday``; None is every day."""
    if text is None:
        return frozenset(range(WEEK))
    return frozenset(day for part in SEPARATOR.split(text.strip().lower()) for day in _range(part))


def _range(text: str) -> Sequence[int]:
    found = RANGE.fullmatch(text)
    names = [name for name in found.groups() if name] if found else []
    if not names or any(name not in DAYS for name in names):
        raise ValueError(EXPECTED_DAYS)
    first, last = DAYS.index(names[0]), DAYS.index(names[-1])
    return [(first + ahead) % WEEK for ahead in range((last - first) % WEEK + 1)]
