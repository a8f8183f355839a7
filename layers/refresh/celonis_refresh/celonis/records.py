"""Jobs, executions, loads and tables, parsed from JSON whose shape is only partly documented.

Dates are epoch milliseconds, or None if they cannot be read: nothing is concluded from a missing date. A
status is kept as Celonis wrote it; an unknown one is neither active nor terminal. Missing, null and
additional fields are accepted. Any other invalid value is a ShapeError.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

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


ACTIVE_JOB_STATUSES: frozenset[str] = frozenset({JobStatus.QUEUED, JobStatus.RUNNING})
ACTIVE_LOAD_STATUSES: frozenset[str] = frozenset(
    {LoadStatus.RUNNING, LoadStatus.LOST_CONNECTION, LoadStatus.CANCELLING}
)


class _State:
    __slots__ = ()
    _known: ClassVar[frozenset[str]]
    _active: ClassVar[frozenset[str]]
    status: str | None

    @property
    def is_known(self) -> bool:
        """Whether the status is one of the known ones."""
        return self.status in self._known

    @property
    def is_active(self) -> bool:
        """Whether it is queued or running, being cancelled, or a load that lost its connection."""
        return self.status in self._active

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended. False for an unknown status and for none."""
        return self.is_known and not self.is_active


class _JobState(_State):
    __slots__ = ()
    _known = frozenset(JobStatus)
    _active = ACTIVE_JOB_STATUSES


class _LoadState(_State):
    __slots__ = ()
    _known = frozenset(LoadStatus)
    _active = ACTIVE_LOAD_STATUSES


class Job(_JobState, Struct, frozen=True):
    """A data job and its current status, which is not that of one particular execution."""

    id: str
    name: str | None = None
    status: str | None = None
    current_execution_id: str | None = None
    latest_execution_item_id: str | None = None


class JobExecution(_JobState, Struct, frozen=True):
    """One execution of a data job. ``mode`` as Celonis wrote it."""

    execution_id: str
    job_id: str | None = None
    status: str | None = None
    start_date: int | None = None
    end_date: int | None = None
    mode: str | None = None


class ModelTable(Struct, frozen=True):
    """A table of a data model. ``alias_or_name``: as shown in Celonis."""

    id: str
    name: str | None = None
    alias: str | None = None
    alias_or_name: str | None = None


class Load(_LoadState, Struct, frozen=True):
    """One load of a data model. ``kind`` as Celonis wrote it."""

    load_id: str | None = None
    status: str | None = None
    kind: str | None = None
    start_date: int | None = None
    end_date: int | None = None
    message: str | None = None


class LoadHistory(Struct, frozen=True):
    """Earlier loads of a data model, and the average duration of its loads by type, in seconds."""

    loads: tuple[Load, ...] = ()
    average_seconds: Mapping[str, float] = {}


class TaskFailure(Struct, frozen=True):
    """Why a task of a data job failed. ``message``: empty if its log has no line of level ERROR."""

    task: str
    message: str


class LogLine(Struct, frozen=True):
    """A line of an execution's log: its message code, the parameter values and the text."""

    code: str | None
    values: tuple[str, ...] = ()
    message: str | None = None


class StartAnswer(Struct, frozen=True):
    """The answer to a start: the id of the execution or load, if it has one.

    ``answered_by``: the latest time at which Celonis can have received the start, by its own clock in epoch
    milliseconds: the ``Date`` of the answer, which has whole seconds, plus the duration of the exchange.
    """

    execution_id: str | None = None
    answered_by: int | None = None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_DATE = 253_402_300_799_999  # the end of the year 9999
_ERROR_LEVELS = frozenset({"ERROR", "FATAL"})
_EXECUTION_IDS = ("executionId", "currentExecutionId")
_LOAD_IDS = ("dataLoadId", "loadId")
_LOAD_KEYS = frozenset({"dataLoadId", "loadId", "id", "dataModelId", "loadStatus", "startDate"})
"""Fields of a load; an error body, whose status is a number, has none of them."""

MAX_ID = 64
"""Bytes of the id of an execution or load that is stored with a run. A longer one is stored as a digest."""
MAX_STATUS, MAX_TEXT = 32, 2048
"""Characters of a status and of any other text; longer ones are cut."""

_Record = TypeVar("_Record")


class ShapeError(ValueError):
    """The JSON does not have the expected shape. The text names the field, never the value."""


def read_job(data: object, job_id: str) -> Job:
    """Parse ``GET …/jobs/{job}``. ``job_id``: the id of the job that was requested."""
    fields = _object(data, "a data job")
    id_ = _id(fields, "id")
    if id_ is None or id_.lower() != job_id.lower():
        raise ShapeError("a data job has no id, or another one")
    if "status" not in fields and "currentExecutionId" not in fields:
        raise ShapeError("a data job has neither status nor currentExecutionId")
    return Job(
        id=id_,
        name=_text(fields, "name"),
        status=_status(fields, "status"),
        current_execution_id=_short_id(fields, "currentExecutionId"),
        latest_execution_item_id=_short_id(fields, "latestExecutionItemId"),
    )


def read_name(data: object) -> str | None:
    """Parse the name in ``GET …/data-models/{model}``."""
    return _text(_object(data, "a data model"), "name")


def read_executions(data: object) -> list[JobExecution]:
    """Parse ``GET …/logs/{job}/executions``: ``{"executionItems": […]}`` or the list, in that order.

    An object without the list is a ShapeError.
    """
    if isinstance(data, Mapping) and data.get("executionItems") is None:
        raise ShapeError("executionItems is missing")
    return _items(data, "executionItems", _execution)


def read_tables(data: object) -> list[ModelTable]:
    """Parse ``GET …/tables``."""
    return _items(data, None, _table)


def read_load(data: object) -> Load | None:
    """Parse ``GET …/last-load``; None (never loaded) for null and an empty object."""
    if data is None or data == {}:
        return None
    fields = _object(data, "a load")
    if not _LOAD_KEYS & fields.keys():
        raise ShapeError("a load has none of the fields of a load")
    record = Load(
        load_id=_short_id(fields, "dataLoadId", "loadId", "id"),
        status=_status(fields, "loadStatus", "status"),
        kind=_text(fields, "loadType", "type"),
        start_date=read_date(fields.get("startDate")),
        end_date=read_date(fields.get("endDate")),
        message=_text(fields, "message"),
    )
    if record.load_id is None and record.status is None and record.start_date is None:
        raise ShapeError("a load has neither id nor status nor start date")
    return record


def read_load_history(data: object) -> LoadHistory:
    """``GET …/load-history/load-info-sync``: ``dataLoadHistory`` and ``averageLoadTime`` in ``loadHistory``.

    The unit of the average is not documented: it is read as milliseconds, like the dates. An entry that
    cannot be read is left out, because nothing depends on a complete history.
    """
    history = _object(_object(data, "a load history").get("loadHistory"), "loadHistory")
    listed, averages = history.get("dataLoadHistory"), history.get("averageLoadTime")
    loads = [_load_or_none(entry) for entry in (listed if isinstance(listed, list) else ())]
    return LoadHistory(
        loads=tuple(load for load in loads if load is not None),
        average_seconds=dict(_averages(averages if isinstance(averages, list) else ())),
    )


def _load_or_none(entry: object) -> Load | None:
    try:
        return read_load(entry)
    except ShapeError:
        return None


def _averages(entries: Iterable[object]) -> Iterator[tuple[str, float]]:
    for entry in entries:
        if not isinstance(entry, Mapping):
            continue
        kind, average = entry.get("type"), entry.get("averageLoadingTime")
        if not isinstance(kind, str) or isinstance(average, bool) or not isinstance(average, int | float):
            continue
        if 0 < average < _LAST_DATE:
            yield kind.upper(), average / 1000


def read_failed_tasks(data: object) -> list[tuple[str, str]]:
    """Parse ``GET …/logs/executions``; return id and name of each task with status FAIL."""
    items = _items(data, "executionItems", lambda fields: fields)
    failed = [fields for fields in items if fields.get("status") == JobStatus.FAIL]
    tasks = ((_id(fields, "taskId", "id"), _text(fields, "name", "taskName")) for fields in failed)
    return [(task_id, name or task_id) for task_id, name in tasks if task_id is not None]


def read_unsuccessful_tasks(status: str, data: object) -> list[str]:
    """Parse ``GET …/logs/executions``; return the ids of tasks without success, ``status`` first."""
    items = _items(data, "executionItems", lambda fields: fields)
    others = [fields for fields in items if fields.get("status") != JobStatus.SUCCESS]
    others.sort(key=lambda fields: fields.get("status") != status)
    return [task_id for fields in others if (task_id := _id(fields, "taskId", "id")) is not None]


def read_error_messages(data: object) -> list[str]:
    """Parse ``GET …/logs/executions/detail``; return the distinct messages of level ERROR in order."""
    lines = _items(data, "logMessages", lambda fields: fields)
    errors = (_text(line, "logMessage", "message") for line in lines if _text(line, "level") in _ERROR_LEVELS)
    return list(dict.fromkeys(message for message in errors if message))


def read_log_lines(data: object) -> list[LogLine]:
    """Parse ``GET …/logs/executions/detail``; return all lines."""
    return _items(data, "logMessages", _log_line)


def read_job_start(data: object) -> StartAnswer:
    """Parse the answer to the start of a job, whose shape is not documented."""
    return _start(data, _EXECUTION_IDS)


def read_load_start(data: object) -> StartAnswer:
    """Parse the answer to the start of a load, whose shape is not documented."""
    return _start(data, _LOAD_IDS)


def read_date(value: object) -> int | None:
    """Return epoch milliseconds for a number or an ISO 8601 text (UTC without a zone), or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        moment = _from_text(value.strip()) if isinstance(value, str) else int(value)
    except (ValueError, OverflowError):
        return None
    return moment if abs(moment) <= _LAST_DATE else None


def _from_text(value: str) -> int:
    if value.lstrip("-").isdecimal():
        return int(value)
    moment = datetime.fromisoformat(value)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _start(data: object, names: tuple[str, ...]) -> StartAnswer:
    if not isinstance(data, Mapping):
        return StartAnswer()
    try:
        return StartAnswer(_short_id(data, *names))
    except ShapeError:
        # The start succeeded even if its id cannot be read.
        return StartAnswer()


def _execution(fields: Mapping[str, Any]) -> JobExecution:
    return JobExecution(
        execution_id=_shortened(_needed(fields, "executionId")),
        job_id=_id(fields, "jobId"),
        status=_status(fields, "status"),
        start_date=read_date(fields.get("startDate")),
        end_date=read_date(fields.get("endDate")),
        mode=_text(fields, "mode"),
    )


def _log_line(fields: Mapping[str, Any]) -> LogLine:
    listed = fields.get("logTranslationParameters")
    parameters = listed if isinstance(listed, list) else []
    values = [each.get("value") for each in parameters if isinstance(each, Mapping)]
    return LogLine(
        code=_text(fields, "logTranslationCode"),
        values=tuple(str(value) for value in values if value is not None),
        message=_text(fields, "logMessage", "message"),
    )


def _table(fields: Mapping[str, Any]) -> ModelTable:
    name, alias = _text(fields, "name"), _text(fields, "alias")
    return ModelTable(
        id=_needed(fields, "id"),
        name=name,
        alias=alias,
        alias_or_name=_text(fields, "aliasOrName") or alias or name,
    )


def _items(data: object, key: str | None, read: Callable[[Mapping[str, Any]], _Record]) -> list[_Record]:
    if key is not None and isinstance(data, Mapping):
        data = data.get(key)
        data = [] if data is None else data
    if not isinstance(data, list):
        raise ShapeError("a list was expected")
    return [read(_object(item, "an item of a list")) for item in data if item is not None]


def _object(data: object, what: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise ShapeError(f"{what} is not an object")
    return data


def _needed(fields: Mapping[str, Any], name: str) -> str:
    value = _id(fields, name)
    if value is None:
        raise ShapeError(f"{name} is missing")
    return value


def _id(fields: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float | None):
            raise ShapeError(f"{name} is no id")
        if value is not None and value != "":
            return str(value)
    return None


def _short_id(fields: Mapping[str, Any], *names: str) -> str | None:
    value = _id(fields, *names)
    return None if value is None else _shortened(value)


def _shortened(value: str) -> str:
    """Return the id, or its digest if it is too long."""
    written = value.encode(errors="surrogatepass")
    return value if len(written) <= MAX_ID else f"sha256:{hashlib.sha256(written).hexdigest()[:32]}"


def _status(fields: Mapping[str, Any], *names: str) -> str | None:
    status = _text(fields, *names)
    return None if status is None else _cut(status, MAX_STATUS)


def _text(fields: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        value = fields.get(name)
        if not isinstance(value, str | None):
            raise ShapeError(f"{name} is no text")
        if value is not None:
            return _cut(value, MAX_TEXT)
    return None


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
