"""The JSON records that the API shows of jobs, executions, loads and tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from local.celonis.operations import JobExecution, LoadOperation, Phase
from local.celonis.setups import Setup, TableSetup
from local.celonis.targets import JobTarget, ModelTarget, ReadMoment

Record = dict[str, Any]
LISTED_AS = {
    Phase.WAITING: "queued",
    Phase.QUEUED: "queued",
    Phase.RUNNING: "running",
    Phase.ENDED: "ended",
}
CONFIGURED_AT = 1_700_000_000.0  # last change of every job by a user


def date(at: float | None, form: str) -> int | str | None:
    """Return a date as the platform writes it: epoch milliseconds, or ISO 8601 in UTC with milliseconds."""
    if at is None:
        return None
    milliseconds = round(at * 1000)
    if form == "epoch_ms":
        return milliseconds
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def mask(record: Record, kind: str, setup: Setup) -> Record:
    """Set fields to null or omit them; a setup names ``field`` or, for one kind of record, ``kind.field``."""
    nulls, gone = set(setup.null_fields), set(setup.omit_fields)
    kept = {key: value for key, value in record.items() if not {key, f"{kind}.{key}"} & gone}
    return {key: None if {key, f"{kind}.{key}"} & nulls else value for key, value in kept.items()}


def execution_status(execution: JobExecution | None, at: float, job: JobTarget) -> str | None:
    """Return the status of an execution at ``at``; None if there is none."""
    if execution is None:
        return None
    phase = execution.phase(at)
    if phase is Phase.ENDED:
        return execution.result
    return job.setup.running_status if phase is Phase.RUNNING else "QUEUED"


def job_record(job: JobTarget, now: float, form: str) -> Record:
    """Return the record of a job (``GET …/jobs/{jobId}``): its current state, not that of an execution."""
    status_moment, ids_moment, dates_moment = (
        job.moment_of(aspect, now) for aspect in ("status", "ids", "dates")
    )
    shown = job.shown(ids_moment)
    is_running = shown is not None and ids_moment.at < shown.ended_at
    latest = shown if job.setup.latest_item_moves == "start" else job.newest_ended(ids_moment)
    record = {
        "id": job.id,
        "name": job.name,
        "dataPoolId": job.pool_id,
        "dataSourceId": None,
        "timeStamp": date(_changed_at(job, dates_moment), form),
        "status": execution_status(job.shown(status_moment), status_moment.at, job),
        "currentExecutionId": shown.id if shown and (is_running or job.setup.current_id_after_end) else None,
        "latestExecutionItemId": latest.item_id if latest else None,
        "dagBasedExecutionEnabled": False,
    }
    return mask(record, "job", job.setup)


def _changed_at(job: JobTarget, moment: ReadMoment) -> float:
    shown = job.shown(moment)
    if not job.setup.time_stamp_moves or shown is None:
        return CONFIGURED_AT
    dates = (shown.requested_at, shown.start_shown(moment.at), shown.end_shown(moment.at))
    return max(one for one in dates if one is not None)


def job_status_record(job: JobTarget, now: float, form: str) -> Record:
    """Return one entry of ``GET …/logs/status``."""
    status_moment, dates_moment = job.moment_of("status", now), job.moment_of("dates", now)
    latest = job.shown(dates_moment)
    record = {
        "id": job.id,
        "status": execution_status(job.shown(status_moment), status_moment.at, job),
        "lastExecutionStartDate": date(latest.start_shown(dates_moment.at) if latest else None, form),
    }
    return mask(record, "logs", job.setup)


def execution_items(job: JobTarget, now: float, form: str) -> list[Record]:
    """Return the list of executions of a job (``GET …/logs/{jobId}/executions``)."""
    moment = job.moment_of("list", now)
    listed = _listed(job, moment)
    if job.setup.list_order == "newest_first":
        listed.reverse()
    return [mask(execution_item(job, one, moment.at, form), "execution", job.setup) for one in listed]


def _listed(job: JobTarget, moment: ReadMoment) -> list[JobExecution]:
    """Return the executions in the list, oldest first."""
    executions, setup = job.visible(moment), job.setup
    if setup.list_hides:
        executions = [one for one in executions if LISTED_AS[one.phase(moment.at)] not in setup.list_hides]
    if setup.list_limit is None:
        return executions
    first = 0 if setup.list_limit_keeps == "oldest" else max(0, len(executions) - setup.list_limit)
    return executions[first : first + setup.list_limit]


def execution_item(job: JobTarget, execution: JobExecution, at: float, form: str) -> Record:
    """Return one execution of a job, with all its fields."""
    return {
        "id": execution.item_id,
        "poolId": job.pool_id,
        "executionId": execution.id,
        "schedulingId": None,
        "jobId": job.id,
        "taskId": None,
        "name": job.name,
        "status": execution_status(execution, at, job),
        "startDate": date(execution.start_shown(at), form),
        "endDate": date(execution.end_shown(at), form),
        "type": "JOB",
        "mode": execution.mode,
    }


def load_status(load: LoadOperation, at: float, model: ModelTarget) -> str:
    """Return the status of a load at ``at``."""
    if load.phase(at) is Phase.ENDED:
        return load.result
    return model.setup.cancelling_status if load.is_ending(at) else model.setup.running_status


def last_load(model: ModelTarget, now: float, form: str) -> Record | None:
    """Return the record of the last load (``GET …/last-load``); None if the model was never loaded."""
    moments = {aspect: model.moment_of(aspect, now) for aspect in ("status", "ids", "dates")}
    shown = {aspect: _last(model, moment) for aspect, moment in moments.items()}
    by_id, by_status, by_date = shown["ids"], shown["status"], shown["dates"]
    if by_id is None and by_status is None and by_date is None:
        return None
    at = moments["dates"].at
    record = {
        "dataLoadId": by_id.id if by_id else None,
        "dataModelId": model.id,
        "startDate": date(by_date.start_shown(at), form) if by_date else None,
        "endDate": date(by_date.end_shown(at), form) if by_date else None,
        "loadStatus": load_status(by_status, moments["status"].at, model) if by_status else None,
        "message": _message(by_status, moments["status"].at),
        "loadType": by_status.kind if by_status else None,
        "dataPoolVersion": None,
    }
    return mask(record, "load", model.setup)


def load_record(model: ModelTarget, load: LoadOperation, at: float, form: str) -> Record:
    """Return the record of one load, as in the history and in the response to a start."""
    record = {
        "dataLoadId": load.id,
        "dataModelId": model.id,
        "startDate": date(load.start_shown(at), form),
        "endDate": date(load.end_shown(at), form),
        "loadStatus": load_status(load, at, model),
        "message": _message(load, at),
        "loadType": load.kind,
        "dataPoolVersion": None,
    }
    return mask(record, "load", model.setup)


def _last(model: ModelTarget, moment: ReadMoment) -> LoadOperation | None:
    return model.shown(moment) if model.setup.last_load_shows == "start" else model.newest_ended(moment)


def _message(load: LoadOperation | None, at: float) -> str | None:
    return load.message if load is not None and at >= load.ended_at else None


def table_records(model_id: str, tables: Iterable[TableSetup]) -> list[Record]:
    """Return the tables of a model (``GET …/tables``)."""
    return [
        {
            "id": table.id,
            "dataModelId": model_id,
            "dataSourceId": table.data_source_id,
            "name": table.name,
            "alias": table.alias,
            "aliasOrName": table.alias or table.name,
        }
        for table in tables
    ]
