"""Schedules of the local stack by the clock: when each is due, and what is fired."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.aws.delivery.schedule_times import UnreadableScheduleError, is_due
from local.aws.errors import LocalStackError
from local.schedule_clock import fire_due, next_minute

SUNDAY = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
CREATED = SUNDAY - timedelta(days=2, seconds=-20)


@pytest.mark.parametrize(
    "expression",
    [
        "cron(0 3 ? * SUN *)",
        "cron(0 3 ? * 1 *)",
        "cron(0 3 * * ? *)",
        "cron(0/15 1-5 29 NOV ? 2026-2030)",
        "cron(0 3 ? 1,11 SUN-MON *)",
        "cron(*/5 */3 29 * ? *)",
        "at(2026-11-29T03:00:17)",
        "rate(1 day)",
        "rate(2 hours)",
        "rate(20 minutes)",
    ],
)
def test_a_schedule_is_due(expression: str) -> None:
    assert is_due(expression, "UTC", CREATED, SUNDAY)


@pytest.mark.parametrize(
    "expression",
    [
        "cron(1 3 ? * SUN *)",
        "cron(0 3 ? * MON-SAT *)",
        "cron(0/15 4-5 * * ? *)",
        "cron(0 3 28 * ? *)",
        "cron(0 3 * * ? 2027)",
        "at(2026-11-29T03:01:00)",
        "at(2027-11-29T03:00:00)",
        "rate(7 hours)",
    ],
)
def test_a_schedule_is_not_due(expression: str) -> None:
    assert not is_due(expression, "UTC", CREATED, SUNDAY)


def test_a_rate_counts_from_when_the_schedule_was_created() -> None:
    minutes = [CREATED.replace(second=0) + timedelta(minutes=passed) for passed in range(16)]
    due = [minute for minute in minutes if is_due("rate(5 minutes)", "UTC", CREATED, minute)]
    assert due == minutes[5::5]


def test_a_schedule_has_a_time_zone() -> None:
    assert is_due("cron(0 4 * * ? *)", "Europe/Berlin", CREATED, SUNDAY)
    assert not is_due("cron(0 4 * * ? *)", "UTC", CREATED, SUNDAY)


def test_a_time_that_comes_twice_or_never_counts_as_in_aws() -> None:
    def count(day: datetime) -> int:
        minutes = (day + timedelta(minutes=passed) for passed in range(24 * 60))
        return sum(is_due("cron(30 2 * * ? *)", "Europe/Berlin", CREATED, minute) for minute in minutes)

    assert count(datetime(2027, 3, 27, 23, tzinfo=UTC)) == 0
    assert count(datetime(2027, 10, 30, 22, tzinfo=UTC)) == 1


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("every day", "no rate"),
        ("rate(five minutes)", "no number"),
        ("at(noon)", "no date"),
        ("cron(0 3 * * ?)", "6 fields"),
        ("cron(0 3 L * ? *)", "the day of the month 'L'"),
        ("cron(0 3 ? * FRI#2 *)", "the day of the week 'FRI#2'"),
        ("cron(60 3 * * ? *)", "from 0 to 59"),
        ("cron(0 3 ? * SAT-SUN *)", "from 1 to 7"),
    ],
)
def test_what_cannot_be_read_is_named(expression: str, why: str) -> None:
    with pytest.raises(UnreadableScheduleError, match=why):
        is_due(expression, "UTC", CREATED, SUNDAY)


def test_a_time_zone_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnreadableScheduleError, match="Nowhere"):
        is_due("cron(0 3 * * ? *)", "Nowhere", CREATED, SUNDAY)


@dataclass
class TwoScheduleStack:
    """Two schedules are due; the one that is named ``broken`` cannot start its target."""

    fired: list[tuple[str, str | None, datetime | None]] = field(default_factory=list)

    def due_schedules(self, minute: datetime) -> list[tuple[str, str]]:
        return [("default", "broken"), ("default", "nightly")] if minute == SUNDAY else []

    def fire_schedule(self, name: str, *, group: str | None, at: datetime | None) -> dict[str, Any]:
        if name == "broken":
            raise LocalStackError("not allowed")
        self.fired.append((name, group, at))
        return {}


def test_every_schedule_that_is_due_is_fired_for_its_minute() -> None:
    stack = TwoScheduleStack()
    assert list(fire_due(stack, SUNDAY)) == [
        "03:00 UTC: the schedule broken could not start its target: not allowed",
        "03:00 UTC: the schedule nightly fired",
    ]
    assert stack.fired == [("nightly", "default", SUNDAY)]
    assert list(fire_due(stack, SUNDAY + timedelta(minutes=1))) == []


def test_each_minute_comes_once_and_those_that_were_missed_do_not() -> None:
    now = SUNDAY + timedelta(seconds=20)
    first = next_minute(None, now)
    assert first == SUNDAY + timedelta(minutes=1)
    assert next_minute(first, first + timedelta(seconds=1)) == SUNDAY + timedelta(minutes=2)
    assert next_minute(first, first + timedelta(seconds=70)) == SUNDAY + timedelta(minutes=2)
    assert next_minute(first, first + timedelta(hours=1)) == first + timedelta(hours=1)
