"""Sends run events to EventBridge."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from celonis_refresh.notifications.events import SOURCE, BusEvent, events_in, events_of
from celonis_refresh.notifications.outbox import Message, NotSent
from celonis_refresh.observability import logger
from celonis_refresh.runs.records import Run
from celonis_refresh.timing import Clock, Deadline, epoch

MAX_ENTRIES = 10
"""Entries of one PutEvents."""
MIN_SECONDS = 5.0
"""With less of a task's time left, it sends no events: they stay due."""
PAUSE_SECONDS = 60.0
"""How long the tasks of this process send nothing after a failure, so that EventBridge delays no step."""


class EventsClient(Protocol):
    """The part of boto3's client of EventBridge that is used."""

    def put_events(self, *, Entries: Sequence[dict[str, Any]]) -> Any: ...  # noqa: N803


class EventsNotSent(Exception):
    """EventBridge did not take all of these events. ``reason``."""

    def __init__(self, event_ids: Sequence[str], reason: str) -> None:
        self.event_ids, self.reason = event_ids, reason
        super().__init__(f"The events {', '.join(event_ids)} were not sent: {reason}")


class EventBus(Struct):
    """The bus of the stack. ``client``: returns the client, which is created when it is needed first."""

    client: Callable[[], EventsClient]
    name: str
    stack: str
    clock: Clock
    paused_until: float = 0.0

    def announce(self, run: Run, names: Sequence[str], deadline: Deadline) -> bool:
        """Send events of a run by name; return whether all were sent. Raises nothing for AWS's errors."""
        if 0.0 < self.paused_until - self.clock() <= PAUSE_SECONDS or deadline.left() < MIN_SECONDS:
            return False
        try:
            self.put(events_of(self.stack, run, names))
        except EventsNotSent as error:
            self.paused_until = self.clock() + PAUSE_SECONDS
            logger.warning("events are sent later", extra={"why": str(error)})
            return False
        return True

    def send(self, message: Message, _: Deadline) -> None:
        """Send the events of a message. Raises ``NotSent``."""
        try:
            self.put(events_in(message))
        except EventsNotSent as error:
            raise NotSent(message, error.reason) from None

    def put(self, events: Sequence[BusEvent]) -> None:
        """Send events in the order of their times. Raises ``EventsNotSent``."""
        for first in range(0, len(events), MAX_ENTRIES):
            part = events[first : first + MAX_ENTRIES]
            ids = [event.event_id for event in part]
            try:
                answer = self.client().put_events(Entries=[self._entry(event) for event in part])
            except (ClientError, BotoCoreError) as error:
                raise EventsNotSent(ids, str(error)) from None
            if answer["FailedEntryCount"]:
                codes = sorted(
                    {str(entry["ErrorCode"]) for entry in answer["Entries"] if "ErrorCode" in entry}
                )
                raise EventsNotSent(ids, ", ".join(codes))

    def _entry(self, event: BusEvent) -> dict[str, Any]:
        return {
            "Source": SOURCE,
            "DetailType": event.detail_type,
            "Detail": json.dumps(dict(event.detail), ensure_ascii=False),
            "Time": epoch(event.time),
            "EventBusName": self.name,
        }
