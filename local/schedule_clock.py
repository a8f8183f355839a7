"""Fires the due schedules of a local stack every minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from botocore.exceptions import ClientError

from local.aws.errors import LocalStackError
from local.stop_request import StopRequest

MINUTE = timedelta(minutes=1)


class ScheduledStack(Protocol):
    """The part of a stack that the clock uses."""

    def due_schedules(self, minute: datetime) -> list[tuple[str, str]]: ...

    def fire_schedule(self, name: str, *, group: str | None, at: datetime | None) -> dict[str, Any]: ...


def fire_due(stack: ScheduledStack, minute: datetime) -> Iterator[str]:
    """Fire the schedules that are due in a minute (UTC); return a line for each."""
    for group, name in stack.due_schedules(minute):
        try:
            stack.fire_schedule(name, group=group, at=minute)
        except (LocalStackError, ClientError) as error:
            yield f"{minute:%H:%M} UTC: the schedule {name} could not start its target: {error}"
        else:
            yield f"{minute:%H:%M} UTC: the schedule {name} fired"


def next_minute(last: datetime | None, now: datetime) -> datetime:
    """Return the next minute to fire schedules in; minutes in which the machine was asleep are skipped."""
    this = now.replace(second=0, microsecond=0)
    return this + MINUTE if last is None or last >= this else this


def run_clock(stack: ScheduledStack, stop: StopRequest, say: Callable[[str], None]) -> None:
    """Fire schedules by the clock until ``stop``."""
    minute = next_minute(None, datetime.now(UTC))
    while not stop.wait(max(0.0, (minute - datetime.now(UTC)).total_seconds())):
        for line in fire_due(stack, minute):
            say(line)
        minute = next_minute(minute, datetime.now(UTC))
