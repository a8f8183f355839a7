"""The tasks of an execution and their logs: one failed task with its errors among ordinary lines."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from local.celonis import parameters, views
from local.celonis.operations import JobExecution, Phase
from local.celonis.setups import LogOrder
from local.celonis.targets import JobTarget

TASKS = (
    ("Extract tables", "EXTRACTION"),
    ("Clean up and join", "TRANSFORMATION"),
    ("Build activities", "TRANSFORMATION"),
)
FAILING = 1  # the task that fails if the job fails
PAGE = 100
TYPES = ("SCHEDULE", "JOB", "TASK", "STEP")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def execution_type(query: Mapping[str, str]) -> str:
    """Return the parameter ``type``: the kind of executions or logs."""
    return parameters.choice(query, "type", TYPES, default="TASK")


def task_id(job: JobTarget, name: str) -> str:
    """Return the id of a task, which is the same in every execution."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{job.id}/{name}"))


def tasks(job: JobTarget) -> list[views.Record]:
    """Return the tasks of a job."""
    return [
        {
            "id": task_id(job, name),
            "taskId": task_id(job, name),
            "poolId": job.pool_id,
            "jobId": job.id,
            "name": name,
            "taskType": kind,
            "disabled": False,
        }
        for name, kind in TASKS
    ]


def task_items(job: JobTarget, execution: JobExecution, now: float, form: str) -> list[views.Record]:
    """Return the tasks of one execution with their status."""
    items = []
    for index, (name, _) in enumerate(TASKS):
        item = views.execution_item(job, execution, now, form)
        status = _task_status(index, execution, now)
        changes = {
            "taskId": task_id(job, name),
            "name": name,
            "status": status,
            "type": "TASK",
            "executionOrder": index,
        }
        record = {**item, **changes, "id": f"{execution.item_id}-{index}"}
        items.append(views.mask(record, "task", job.setup))
    return items


def _task_status(index: int, execution: JobExecution, now: float) -> str:
    phase = execution.phase(now)
    if phase is not Phase.ENDED:
        return "RUNNING" if phase is Phase.RUNNING and index == 0 else "QUEUED"
    if execution.result != "FAIL":
        return execution.result
    return "SUCCESS" if index < FAILING else "FAIL" if index == FAILING else "CANCEL"


def messages(
    job: JobTarget, execution: JobExecution, query: Mapping[str, str], now: float, form: str
) -> list[views.Record]:
    """Return the log of the task named by ``id``, or of the execution for ``type=JOB`` and the job's id.

    Filtered by ``logLevels`` (comma separated).
    """
    kind = execution_type(query)
    levels = parameters.choices(query, "logLevels", LEVELS)
    if kind == "JOB" and query.get("id") == job.id:
        return _execution_log(job, execution, levels, now, form)
    names = {task_id(job, name): (index, name) for index, (name, _) in enumerate(TASKS)}
    if query.get("id") not in names or execution.start_shown(now) is None:
        return []
    index, name = names[query["id"]]
    lines = [("INFO", f"Starting task '{name}'."), ("WARNING", "Statistics of 2 tables are out of date.")]
    if _task_status(index, execution, now) == "FAIL":
        lines += [("ERROR", text) for text in job.setup.error_messages]
    lines.append(("INFO", f"Task '{name}' ended.") if execution.end_shown(now) else ("INFO", "Working."))
    at = execution.started_at
    records = [
        {
            "executionItemId": execution.item_id,
            "level": level,
            "date": views.date(at + number / 1000, form),
            "logMessage": text,
        }
        for number, (level, text) in enumerate(lines)
        if level in levels
    ]
    return _ordered(records, job.setup.log_order)


def _execution_log(
    job: JobTarget, execution: JobExecution, levels: frozenset[str], now: float, form: str
) -> list[views.Record]:
    """One line for each message code of the setup, once the execution has ended."""
    if execution.end_shown(now) is None or "WARNING" not in levels:
        return []
    records = []
    for message_code in job.setup.message_codes:
        code, _, value = message_code.partition(":")
        records.append(
            {
                "executionItemId": execution.item_id,
                "level": "WARNING",
                "date": views.date(execution.ended_at, form),
                "logMessage": f"{code.replace('_', ' ').capitalize()}.",
                "logTranslationCode": code,
                "logTranslationParameters": [{"key": "value", "value": value}] if value else [],
            }
        )
    return records


def _ordered(records: list[views.Record], order: LogOrder) -> list[views.Record]:
    if order == "newest_first":
        return records[::-1]
    if order == "errors_first":
        return sorted(records, key=lambda record: record["level"] != "ERROR")
    return records


def page(name: str, records: Sequence[views.Record], query: Mapping[str, str]) -> dict[str, Any]:
    """Return one page of ``records``: ``limit`` per page, ``page`` counts from 0."""
    limit = parameters.number(query, "limit", default=PAGE, minimum=1)
    first = parameters.number(query, "page", default=0) * limit
    pages = max(1, math.ceil(len(records) / limit))
    return {name: list(records[first : first + limit]), "numOfPages": pages}
