"""What each call says on the wire, and what it is called when it fails. Pure: builds, sends nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal, TypeAlias
from urllib.parse import quote

from msgspec import Struct

from celonis_refresh.celonis.addresses import safe_id

Mode: TypeAlias = Literal["FULL", "DELTA"]
MODES: tuple[Mode, ...] = ("FULL", "DELTA")

_SCOPE = "an OAuth client needs the scope integration.data-pools as well"
_JOB_PERMISSION = f"view and manage the data pool; {_SCOPE}"
_LOAD_PERMISSION = f"Edit on the data pool; {_SCOPE}"


class Call(Struct, frozen=True):
    """One request, without address and signature.

    ``doing`` completes "while …" in an error, ``subject`` is what a 404 did not find, ``permission`` what a
    403 lacks. ``acts`` is true where a request that arrived changes something at Celonis, ``signs_in`` where
    any refusal is about the credentials, ``follows`` where it completes what another call began.
    """

    method: Literal["GET", "POST"]
    path: str
    doing: str
    subject: str
    permission: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    content_type: str | None = None
    acts: bool = False
    signs_in: bool = False
    follows: bool = False

    def __repr__(self) -> str:
        return f"Call({self.method} {self.path})"  # the body may hold a secret


def get_job(pool: str, job: str) -> Call:
    """``GET /integration/api/pools/{pool}/jobs/{job}``: the job and its current status (documented)."""
    subject = _job(pool, job)
    path = _path("/integration/api/pools/{}/jobs/{}", pool, job)
    return Call("GET", path, f"reading {subject}", subject, _JOB_PERMISSION)


def execute_job(pool: str, job: str, mode: Mode) -> Call:
    """``POST /integration/api/v2/data-pools/{pool}/data-jobs/{job}/execute?mode=…`` (documented)."""
    if mode not in MODES:
        raise ValueError(f"mode is one of {', '.join(MODES)}")
    subject = _job(pool, job)
    path = _path("/integration/api/v2/data-pools/{}/data-jobs/{}/execute", pool, job)
    query = (("mode", mode),)
    return Call("POST", path, f"starting {subject}", subject, _JOB_PERMISSION, query, acts=True, follows=True)


def cancel_job(pool: str, job: str) -> Call:
    """``POST /integration/api/pools/{pool}/jobs/{job}/cancel``, without a body (observed, not documented)."""
    subject = _job(pool, job)
    path = _path("/integration/api/pools/{}/jobs/{}/cancel", pool, job)
    return Call("POST", path, f"cancelling {subject}", subject, _JOB_PERMISSION, acts=True, follows=True)


def load_model(pool: str, model: str, *, from_cache: bool) -> Call:
    """``POST …/api/v1/data-pools/{pool}/data-models/{model}/load[?fullReload=false]`` (documented)."""
    subject = _model(pool, model)
    path = _path("/integration/api/v1/data-pools/{}/data-models/{}/load", pool, model)
    query = (("fullReload", "false"),) if from_cache else ()
    return Call("POST", path, f"loading {subject}", subject, _LOAD_PERMISSION, query, acts=True, follows=True)


def load_tables(pool: str, model: str, table_ids: Sequence[str]) -> Call:
    """``POST …/data-models/{model}/load/partial-sync`` with a JSON array of table ids (documented)."""
    if isinstance(table_ids, str) or not table_ids:
        # Nobody knows what an empty array does; it is never what somebody meant.
        raise ValueError("a partial load needs the id of one table at least")
    subject = _model(pool, model)
    path = _path("/integration/api/v1/data-pools/{}/data-models/{}/load/partial-sync", pool, model)
    doing = f"loading {len(table_ids)} {'table' if len(table_ids) == 1 else 'tables'} of {subject}"
    body = json.dumps(list(table_ids)).encode()
    json_type = "application/json"
    return Call("POST", path, doing, subject, _LOAD_PERMISSION, (), body, json_type, acts=True, follows=True)


def get_tables(pool: str, model: str) -> Call:
    """``GET …/data-models/{model}/tables`` (documented)."""
    subject = _model(pool, model)
    path = _path("/integration/api/v1/data-pools/{}/data-models/{}/tables", pool, model)
    return Call("GET", path, f"listing the tables of {subject}", subject, _LOAD_PERMISSION)


def get_last_load(pool: str, model: str) -> Call:
    """``GET …/data-models/{model}/last-load`` (documented; the fields of its answer are not)."""
    subject = _model(pool, model)
    path = _path("/integration/api/v1/data-pools/{}/data-models/{}/last-load", pool, model)
    return Call("GET", path, f"reading the last load of {subject}", subject, _LOAD_PERMISSION)


def get_executions(pool: str, job: str) -> Call:
    """``GET /integration/api/pools/{pool}/logs/{job}/executions`` (not documented, seen in Celonis's SDK)."""
    subject = _job(pool, job)
    path = _path("/integration/api/pools/{}/logs/{}/executions", pool, job)
    return Call("GET", path, f"listing the executions of {subject}", subject, _JOB_PERMISSION, follows=True)


def get_task_executions(pool: str, job: str, execution_id: str) -> Call:
    """``GET …/logs/executions?executionId=…&type=TASK&id={job}`` (not documented, seen in Celonis's SDK)."""
    subject = _job(pool, job)
    path = _path("/integration/api/pools/{}/logs/executions", pool)
    query = (("executionId", execution_id), ("type", "TASK"), ("id", job))
    return Call("GET", path, f"listing the tasks of {subject}", subject, _JOB_PERMISSION, query)


def get_task_log(pool: str, job: str, execution_id: str, task_id: str) -> Call:
    """``GET …/logs/executions/detail?executionId=…&type=TASK&id={task}`` (not documented, seen there too)."""
    subject = _job(pool, job)
    path = _path("/integration/api/pools/{}/logs/executions/detail", pool)
    query = (("executionId", execution_id), ("type", "TASK"), ("id", task_id))
    return Call("GET", path, f"reading the log of a task of {subject}", subject, _JOB_PERMISSION, query)


def get_job_log(pool: str, job: str, execution_id: str) -> Call:
    """``GET …/logs/executions/detail?executionId=…&type=JOB&id={job}`` (not documented, seen there too)."""
    subject = _job(pool, job)
    path = _path("/integration/api/pools/{}/logs/executions/detail", pool)
    query = (("executionId", execution_id), ("type", "JOB"), ("id", job))
    return Call("GET", path, f"reading the log of {subject}", subject, _JOB_PERMISSION, query)


def _path(template: str, *ids: str) -> str:
    # Quoting alone would let ".." through, and urllib3 resolves it.
    return template.format(*(quote(safe_id(value), safe="") for value in ids))


def _job(pool: str, job: str) -> str:
    return f"data job {job} of data pool {pool}"


def _model(pool: str, model: str) -> str:
    return f"data model {model} of data pool {pool}"
