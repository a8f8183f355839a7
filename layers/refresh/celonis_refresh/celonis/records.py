"""Jobs, executions, loads and tables, as far as this service needs them.

Dates are epoch milliseconds, or None. A status is kept as Celonis wrote it, known or not: an unknown one
is neither running nor at an end, and it is never a success.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from msgspec import Struct


class JobStatus(StrEnum):
    """Statuses of data jobs and their executions that Celonis's SDK knows."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    CANCEL = "CANCEL"
    FAIL = "FAIL"
    SKIPPED = "SKIPPED"


class LoadStatus(StrEnum):
    """Statuses of data model loads that Celonis's SDK knows."""

    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    WARNING = "WARNING"
    LOST_CONNECTION = "LOST_CONNECTION"
    CANCELED = "CANCELED"
    CANCELLING = "CANCELLING"


class LoadKind(StrEnum):
    """Kinds of data model loads that Celonis's SDK knows."""

    FROM_CACHE = "FROM_CACHE"
    COMPLETE = "COMPLETE"
    PARTIAL = "PARTIAL"


JOB_UNDER_WAY: frozenset[str] = frozenset({JobStatus.QUEUED, JobStatus.RUNNING})
LOAD_UNDER_WAY: frozenset[str] = frozenset(
    {LoadStatus.RUNNING, LoadStatus.LOST_CONNECTION, LoadStatus.CANCELLING}
)


class _State:
    __slots__ = ()
    _known: ClassVar[frozenset[str]]
    _under_way: ClassVar[frozenset[str]]
    status: str | None

    @property
    def is_known(self) -> bool:
        """Whether the status is one that this service can read."""
        return self.status in self._known

    @property
    def is_under_way(self) -> bool:
        """Waiting or at work; a load also while it is being cancelled or has lost its connection."""
        return self.status in self._under_way

    @property
    def is_terminal(self) -> bool:
        """At an end, good or bad. False for an unknown status and for none."""
        return self.is_known and not self.is_under_way


class _JobState(_State):
    __slots__ = ()
    _known = frozenset(JobStatus)
    _under_way = JOB_UNDER_WAY


class _LoadState(_State):
    __slots__ = ()
    _known = frozenset(LoadStatus)
    _under_way = LOAD_UNDER_WAY


class Job(_JobState, Struct, frozen=True):
    """A data job and its current status, which is not the status of any one execution."""

    id: str
    name: str | None = None
    status: str | None = None
    current_execution_id: str | None = None
    latest_execution_item_id: str | None = None
    data_pool_id: str | None = None
    data_source_id: str | None = None


class Execution(_JobState, Struct, frozen=True):
    """One execution of a data job. ``mode`` as Celonis wrote it."""

    execution_id: str
    job_id: str | None = None
    status: str | None = None
    start_date: int | None = None
    end_date: int | None = None
    mode: str | None = None


class ModelTable(Struct, frozen=True):
    """A table of a data model. ``alias_or_name`` is what people see in Celonis."""

    id: str
    name: str | None = None
    alias: str | None = None
    alias_or_name: str | None = None
    data_source_id: str | None = None


class Load(_LoadState, Struct, frozen=True):
    """One load of a data model. ``kind`` is a LoadKind, or what Celonis wrote instead."""

    load_id: str | None = None
    model_id: str | None = None
    status: str | None = None
    kind: str | None = None
    start_date: int | None = None
    end_date: int | None = None
    message: str | None = None


class TaskFailure(Struct, frozen=True):
    """Why a task of a data job failed. ``message`` is empty where its log holds no line of level ERROR."""

    task: str
    message: str


class LogLine(Struct, frozen=True):
    """A line of an execution's log: its message code, where it has one, the values in it, and its text."""

    code: str | None
    values: tuple[str, ...] = ()
    message: str | None = None


class StartAnswer(Struct, frozen=True):
    """The answer to a start: the id of the execution, or of the load, where it carries one.

    ``answered_by``: when Celonis had the start at the latest, by its own clock in epoch milliseconds: the
    ``Date`` of the answer, which has whole seconds, and the time of the exchange. None without a date.
    """

    execution_id: str | None = None
    answered_by: int | None = None
