"""When a schedule fires next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from local.aws.delivery.schedule_times import is_due
from refresh_cli.page.schedule_times import next_times

NOW = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)
CREATED = datetime(2026, 3, 1, 9, 7, tzinfo=UTC)


def times(expression: str, zone: str = "UTC", count: int = 3) -> list[str] | None:
    found = next_times(expression, zone, CREATED, NOW, count)
    return None if found is None else [f"{at:%m-%d %H:%M}" for at in found]


@pytest.mark.parametrize(
    ("expression", "zone", "expected"),
    [
        ("rate(1 hour)", "UTC", ["03-27 12:07", "03-27 13:07", "03-27 14:07"]),
        ("rate(5 minutes)", "UTC", ["03-27 12:02", "03-27 12:07", "03-27 12:12"]),
        ("cron(30 2 * * ? *)", "UTC", ["03-28 02:30", "03-29 02:30", "03-30 02:30"]),
        ("cron(0 8 ? * MON-FRI *)", "Europe/Berlin", ["03-30 06:00", "03-31 06:00", "04-01 06:00"]),
        ("cron(0 8-10 27,28 3 ? 2026)", "UTC", ["03-28 08:00", "03-28 09:00", "03-28 10:00"]),
        ("cron(0 3 ? * SUN *)", "Europe/Berlin", ["03-29 01:00", "04-05 01:00", "04-12 01:00"]),
        ("at(2026-04-01T10:00:00)", "Europe/Berlin", ["04-01 08:00"]),
        ("at(2026-01-01T10:00:00)", "UTC", []),
        ("cron(0 10 L * ? *)", "UTC", None),
        ("cron(0 10 * *)", "UTC", None),
        ("cron(0 10 * * ? *)", "Mars/Base", None),
        ("every day", "UTC", None),
    ],
)
def test_next_times(expression: str, zone: str, expected: list[str] | None) -> None:
    assert times(expression, zone) == expected


@pytest.mark.parametrize(
    "expression", ["cron(7/15 6-18/3 ? * 2-6 *)", "cron(0,30 4 1-10 * ? *)", "rate(7 hours)"]
)
def test_the_local_scheduler_fires_at_these_times(expression: str) -> None:
    found = next_times(expression, "Europe/Berlin", CREATED, NOW, 40)
    assert found
    minutes = int((found[-1] - NOW) / timedelta(minutes=1))
    every = [NOW + timedelta(minutes=number) for number in range(1, minutes + 1)]
    assert found == [at for at in every if is_due(expression, "Europe/Berlin", CREATED, at)]
