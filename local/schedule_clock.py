"""Schedules of a local stack fired by the clock, each minute those that are due."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from botocore.exceptions import ClientError

from local.aws.errors import LocalStackError

MINUTE = timedelta(minutes=1)


class ScheduledStack(Protocol):
    """What the clock needs of a stack."""

    def due_schedules(self, minute: datetime) -> list[tuple[str, str]]: ...

    def fire_schedule(self, name: str, *, group: str | None, at: datetime | None) -> dict[str, Any]: ...


def fire_due(stack: ScheduledStack, minute: datetime) -> Iterator[str]:
    """Fire what is due in a minute (UTC); gives a line for each."""
    for group, name in stack.due_schedules(minute):
        try:
            stack.fire_schedule(name, group=group, at=minute)
        except (LocalStackError, ClientError) as error:
            yield f"{minute:%H:%M} UTC: the schedule {name} could not start its target: {error}"
        else:
            yield f"{minute:%H:%M} UTC: the schedule {name} fired"


def next_minute(last: datetime | None, now: datetime) -> datetime:
    """The next minute to fire schedules in; minutes that passed while the machine was asleep are left out."""
    this = now.replace(second=0, microsecond=0)
    return this + MINUTE if last is None or last >= this else this


def run_clock(stack: ScheduledStack, ended: threading.Event, say: Callable[[str], None]) -> None:
    """Fire schedules by the clock until ``ended``."""
    minute = next_minute(None, datetime.now(UTC))
    while not ended.wait(max(0.0, (minute - datetime.now(UTC)).total_seconds())):
        for line in fire_due(stack, minute):
            say(line)
        minute = next_minute(minute, datetime.now(UTC))
