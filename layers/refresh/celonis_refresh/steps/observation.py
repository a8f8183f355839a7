"""The result of one poll of a data job or data model, and the baseline recorded before a start."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct


class Activity(StrEnum):
    """``UNKNOWN``: a status that is null or not known; it never counts as an end."""

    IDLE = "IDLE"
    RUNNING = "RUNNING"
    UNKNOWN = "UNKNOWN"


class ListedExecution(NamedTuple):
    """An entry of the list of executions. ``started``, ``ended``: Celonis's dates in epoch milliseconds."""

    id: str
    status: str | None
    activity: Activity
    started: int | None
    ended: int | None = None


class Observation(Struct, frozen=True):
    """What one poll showed.

    ``current``: the id of the running execution; ``latest``: the id of the newest one, which may be of
    another id space; ``started`` and ``ended``: dates of the record in epoch milliseconds; ``executions``:
    the list in Celonis's order, None if it was not requested or is not served; ``single``: the record is one
    row, the last load; ``requested_at``: the earliest time of the request by Celonis's clock;
    ``durations``: of earlier executions, as ``listed_durations`` returns them; they prove nothing.
    ``name``: of the job.
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
    name: str | None = None

    @property
    def identity(self) -> str | None:
        """The id of a last load or, without one, its start date."""
        if self.latest is not None or self.started is None:
            return self.latest
        return f"{BY_DATE}{self.started}"

    @property
    def ids(self) -> frozenset[str]:
        """All ids shown, and the start date of a last load without id."""
        listed = {entry.id for entry in self.executions or ()}
        identity = self.identity if self.single else self.latest
        return frozenset(listed | {id_ for id_ in (self.current, identity) if id_})

    @property
    def newest_ids(self) -> frozenset[str]:
        """The ids at both ends of the list, whose order is not known; without a list, those of the record."""
        if self.executions:
            return frozenset({self.executions[0].id, self.executions[-1].id})
        identity = self.identity if self.single else self.latest
        return frozenset(id_ for id_ in (self.current, identity) if id_)

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
        """Whether something runs or may run: an id without a known end, or contradicting parts.

        A load without an end date may be running, as its status may be that of the load before. A target with
        an id and without a status has been started.
        """
        listed = self.executions or ()
        ended = {entry.id for entry in listed if entry.activity is Activity.IDLE}
        active = any(entry.activity is Activity.RUNNING for entry in listed)
        running = active or self.activity is Activity.RUNNING
        named = self.current is not None and self.current not in ended
        return running or named or self.is_contradictory

    @property
    def is_contradictory(self) -> bool:
        """Whether one part shows a start that another, perhaps older part does not show."""
        if self.single:
            return self.started is not None and self.ended is None
        if self.status is None:
            return self.latest is not None and not self.executions
        return self.executions == () and self.latest is None and self.current is None

    @property
    def running_rows(self) -> frozenset[str]:
        """Ids that one row shows as running. A job's record is not one row: its parts may differ in age."""
        rows = {entry.id for entry in self.executions or () if entry.activity is Activity.RUNNING}
        is_row = self.single and self.identity is not None and self.started is not None and self.ended is None
        return frozenset(rows | ({str(self.identity)} if is_row else set()))

    @property
    def names_what_runs(self) -> bool:
        """Whether ``running_rows`` is complete. A record beside the list may be of another execution."""
        rows = self.running_rows
        if not rows or self.single:
            return bool(rows)
        return self.current in rows or (self.current is None and self.activity is not Activity.RUNNING)

    @property
    def ended_rows(self) -> frozenset[str]:
        """Ids that one row shows as ended."""
        rows = {entry.id for entry in self.executions or () if entry.activity is Activity.IDLE}
        is_row = self.single and self.identity is not None and self.ended is not None
        return frozenset(rows | ({str(self.identity)} if is_row else set()))

    @property
    def running_ids(self) -> frozenset[str]:
        """All ids shown as running."""
        listed = {entry.id for entry in self.executions or () if entry.activity is Activity.RUNNING}
        return frozenset(listed | ({self.current} if self.current else set()))

    @property
    def shows_ended_starts(self) -> bool:
        """Whether a start after this observation would be visible even if it ended at once."""
        if self.single:
            return self.identity is not None
        return self.latest is not None or self.executions == ()

    def seconds_of(self, ours: Collection[str]) -> float | None:
        """Return how long our execution took by Celonis's dates, or None. ``ours``: its ids, if any."""
        entry = next((entry for entry in self.executions or () if entry.id in ours), None)
        began, ended = (entry.started, entry.ended) if entry else (self.started, self.ended)
        return None if began is None or ended is None else (ended - began) / 1000


BY_DATE = "started:"
"""Prefix of the identity of a load without an id."""


class Baseline(Struct, frozen=True):
    """The state before a start, as stored in the record of the run.

    ``newest``: the latest start date; ``ended``: the end date of the record; ``listed``: the ids of the list,
    None if it is not served; ``one_space``: ``latest`` is known to be an id of the list.
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
        """Return the baseline. ``earlier``: ids of executions of our earlier runs."""
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
        """Whether executions had ids of their own, not only start dates."""
        return any(not id_.startswith(BY_DATE) for id_ in self.ids)

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
