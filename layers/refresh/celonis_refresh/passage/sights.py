"""One look at a data job or a data model, in the terms that the proof needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct


class Activity(StrEnum):
    """``UNCLEAR``: a status that is null or not known. It is never taken for an end."""

    AT_REST = "AT_REST"
    UNDER_WAY = "UNDER_WAY"
    UNCLEAR = "UNCLEAR"


class Listed(NamedTuple):
    """One entry of a history, newest first. ``started``, ``ended``: Celonis's dates, epoch milliseconds."""

    id: str
    status: str | None
    activity: Activity
    started: int | None
    ended: int | None = None


class Sight(Struct, frozen=True):
    """What one look showed.

    ``current``: the id that is under way now; ``latest``: the id of the newest, under way or not (perhaps of
    another id space); ``started`` and ``ended``: Celonis's dates of the newest, epoch milliseconds;
    ``history``: newest first, None where it was not asked for or is not served; ``single``: there is no more
    to it than this record, and all its ids are of one id space.
    """

    status: str | None
    activity: Activity
    current: str | None = None
    latest: str | None = None
    started: int | None = None
    history: tuple[Listed, ...] | None = None
    message: str | None = None
    single: bool = False
    ended: int | None = None

    @property
    def ids(self) -> frozenset[str]:
        """Every id in sight."""
        listed = {entry.id for entry in self.history or ()}
        return frozenset(listed | {found for found in (self.current, self.latest) if found})

    @property
    def newest_start(self) -> int | None:
        """The latest start date in sight."""
        dates = [self.started, *(entry.started for entry in self.history or ())]
        return max((date for date in dates if date is not None), default=None)

    def seconds_of(self, ours: Collection[str]) -> float | None:
        """How long ours took, as Celonis dates it; None where it does not tell. ``ours``: its ids, if any."""
        entry = next((entry for entry in self.history or () if entry.id in ours), None)
        began, ended = (entry.started, entry.ended) if entry else (self.started, self.ended)
        return None if began is None or ended is None else (ended - began) / 1000

    @property
    def is_busy(self) -> bool:
        """Whether something is under way, or an id says so of which no list says that it has ended."""
        listed = self.history or ()
        ended = {entry.id for entry in listed if entry.activity is Activity.AT_REST}
        newest = listed[0].activity if listed else self.activity
        under_way = Activity.UNDER_WAY in (self.activity, newest)
        return under_way or (self.current is not None and self.current not in ended)

    @property
    def tells_starts_apart(self) -> bool:
        """Whether a start after this sight would have to show: an id, a date or a history to compare."""
        return self.history is not None or bool(self.ids) or self.started is not None


class Baseline(Struct, frozen=True):
    """What was there before the start, as it is noted in the record."""

    status: str | None
    activity: Activity
    ids: frozenset[str]
    started: int | None
    listed: bool
    tells_starts_apart: bool
    ended: int | None = None

    @staticmethod
    def of(sight: Sight) -> Baseline:
        return Baseline(
            status=sight.status,
            activity=sight.activity,
            ids=sight.ids,
            started=sight.newest_start,
            listed=sight.history is not None,
            tells_starts_apart=sight.tells_starts_apart,
            ended=sight.ended,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "activity": self.activity,
            "ids": sorted(self.ids),
            "started": self.started,
            "listed": self.listed,
            "tells_starts_apart": self.tells_starts_apart,
            "ended": self.ended,
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Baseline:
        return Baseline(
            **{
                **document,
                "activity": Activity(document["activity"]),
                "ids": frozenset(document["ids"]),
            }
        )
