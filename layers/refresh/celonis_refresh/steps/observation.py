"""What one poll of Celonis shows of a data job or a data model, and the baseline recorded before a start."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct


class Activity(StrEnum):
    """``UNKNOWN``: a status that is null or not in the lists. It is never taken for an end."""

    IDLE = "IDLE"
    RUNNING = "RUNNING"
    UNKNOWN = "UNKNOWN"


class ListedExecution(NamedTuple):
    """One entry of the list of executions. ``started``, ``ended``: Celonis's dates, epoch milliseconds."""

    id: str
    status: str | None
    activity: Activity
    started: int | None
    ended: int | None = None


class Observation(Struct, frozen=True):
    """What one poll showed.

    ``current``: the id that runs now; ``latest``: the id of the newest, running or not (perhaps of another id
    space); ``started`` and ``ended``: Celonis's dates of the record, epoch milliseconds; ``executions``: the
    list in Celonis's order, None where it was not asked for or is not served; ``single``: the record is one
    row, the last load; ``requested_at``: when it was asked for at the earliest, by Celonis's clock;
    ``durations``: of earlier executions, as ``listed_durations`` returns them; they prove nothing.
    """

    status: str | None
    activity: Activity
    current: str | None = None
    latest: str | None = None
    started: int | None = None
    executions: tuple[ListedExecution, ...] | None = None
    message: str | None = None
    single: bool = False
    ended: int | None = None
    requested_at: int | None = None
    durations: Mapping[str, Any] | None = None

    @property
    def identity(self) -> str | None:
        """What tells a last load from another one: its id, else its start date."""
        if self.latest is not None or self.started is None:
            return self.latest
        return f"{BY_DATE}{self.started}"

    @property
    def ids(self) -> frozenset[str]:
        """Every id shown; of a last load without id its start date."""
        listed = {entry.id for entry in self.executions or ()}
        identity = self.identity if self.single else self.latest
        return frozenset(listed | {found for found in (self.current, identity) if found})

    @property
    def newest_ids(self) -> frozenset[str]:
        """The ids at both ends of the list, which may be sorted either way; else those of the record."""
        if self.executions:
            return frozenset({self.executions[0].id, self.executions[-1].id})
        identity = self.identity if self.single else self.latest
        return frozenset(found for found in (self.current, identity) if found)

    @property
    def newest_start(self) -> int | None:
        """The latest start date shown."""
        dates = [self.started, *(entry.started for entry in self.executions or ())]
        return max((date for date in dates if date is not None), default=None)

    @property
    def has_run(self) -> bool:
        """Whether anything shows that the target has ever been started."""
        return bool(self.status or self.ids or self.started or self.executions)

    @property
    def is_busy(self) -> bool:
        """Whether something runs, or an id says so of which no list says that it has ended.

        A load without an end date may run: its status may be that of the load before. What has an id, and no
        status, has been started.
        """
        listed = self.executions or ()
        ended = {entry.id for entry in listed if entry.activity is Activity.IDLE}
        active = any(entry.activity is Activity.RUNNING for entry in listed)
        running = active or self.activity is Activity.RUNNING
        named = self.current is not None and self.current not in ended
        return running or named or self.is_contradictory

    @property
    def is_contradictory(self) -> bool:
        """Whether one part shows a start of which another part, perhaps older, shows nothing."""
        if self.single:
            return self.started is not None and self.ended is None
        if self.status is None:
            return self.latest is not None and not self.executions
        return self.executions == () and self.latest is None and self.current is None

    @property
    def running_rows(self) -> frozenset[str]:
        """The ids that one row, of one moment, shows as running; a job's record is of several moments."""
        rows = {entry.id for entry in self.executions or () if entry.activity is Activity.RUNNING}
        is_row = self.single and self.identity is not None and self.started is not None and self.ended is None
        return frozenset(rows | ({str(self.identity)} if is_row else set()))

    @property
    def names_what_runs(self) -> bool:
        """Whether rows show all that may run. A record beside them may be of another execution."""
        rows = self.running_rows
        if not rows or self.single:
            return bool(rows)
        return self.current in rows or (self.current is None and self.activity is not Activity.RUNNING)

    @property
    def ended_rows(self) -> frozenset[str]:
        """The ids that one row shows as ended."""
        rows = {entry.id for entry in self.executions or () if entry.activity is Activity.IDLE}
        is_row = self.single and self.identity is not None and self.ended is not None
        return frozenset(rows | ({str(self.identity)} if is_row else set()))

    @property
    def running_ids(self) -> frozenset[str]:
        """The ids shown as running."""
        listed = {entry.id for entry in self.executions or () if entry.activity is Activity.RUNNING}
        return frozenset(listed | ({self.current} if self.current else set()))

    @property
    def shows_ended_starts(self) -> bool:
        """Whether a start after this observation would show even if it ended at once."""
        if self.single:
            return self.identity is not None
        return self.latest is not None or self.executions == ()

    def seconds_of(self, ours: Collection[str]) -> float | None:
        """How long ours took, by Celonis's dates; None where it shows none. ``ours``: its ids, if any."""
        entry = next((entry for entry in self.executions or () if entry.id in ours), None)
        began, ended = (entry.started, entry.ended) if entry else (self.started, self.ended)
        return None if began is None or ended is None else (ended - began) / 1000


BY_DATE = "started:"
"""Marks the identity of a load whose record has no id."""


class Baseline(Struct, frozen=True):
    """What was there before the start, as the record of the run keeps it.

    ``newest``: the latest start date shown; ``ended``: the record's end date; ``listed``: the ids of the
    list, None where it is not served; ``one_space``: ``latest`` is known to be an id of the list.
    """

    status: str | None
    activity: Activity
    ids: frozenset[str]
    newest: int | None
    listed: frozenset[str] | None
    one_space: bool
    shows_ended_starts: bool
    ended: int | None = None
    requested_at: int | None = None

    @staticmethod
    def of(observation: Observation, earlier: Iterable[str] = ()) -> Baseline:
        """``earlier``: ids of executions that earlier runs of ours started."""
        listed = observation.executions
        ids = None if listed is None else frozenset(entry.id for entry in listed)
        return Baseline(
            status=observation.status,
            activity=observation.activity,
            ids=observation.ids | frozenset(earlier),
            newest=observation.newest_start,
            listed=ids,
            one_space=observation.single or (ids is not None and observation.latest in ids),
            shows_ended_starts=observation.shows_ended_starts,
            ended=observation.ended,
            requested_at=observation.requested_at,
        )

    @property
    def has_ids(self) -> bool:
        """Whether executions had ids of their own, rather than start dates only."""
        return any(not known.startswith(BY_DATE) for known in self.ids)

    def to_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "activity": self.activity,
            "ids": sorted(self.ids),
            "newest": self.newest,
            "listed": None if self.listed is None else sorted(self.listed),
            "one_space": self.one_space,
            "shows_ended_starts": self.shows_ended_starts,
            "ended": self.ended,
            "requested_at": self.requested_at,
        }

    @staticmethod
    def from_json(document: Mapping[str, Any], earlier: Iterable[str] = ()) -> Baseline:
        listed = document["listed"]
        changed = {
            "activity": Activity(document["activity"]),
            "ids": frozenset(document["ids"]) | frozenset(earlier),
            "listed": None if listed is None else frozenset(listed),
        }
        return Baseline(**{**document, **changed})
