"""Checks a pipeline in Celonis: what exists, and which permission is missing. Starts nothing.

Every request is a GET and respects the rate limit that all runs of the connection share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from celonis_refresh.celonis.errors import (
    AuthenticationFailed,
    CelonisError,
    CelonisThrottled,
    CelonisUnavailable,
    NotFound,
)
from celonis_refresh.celonis.records import Job, JobExecution, Load, ModelTable
from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition, read_definition
from celonis_refresh.pipelines.errors import InvalidDefinition
from celonis_refresh.pipelines.plan import AS_DEFINED, UnknownTable, make_plan, resolve
from celonis_refresh.timing import Deadline

R = TypeVar("R")

MIN_SECONDS = 1.0
"""With less time than this, nothing more is read."""
MAX_SECONDS = 10.0
"""Time for one request."""
NOT_CHECKED = "The permission to execute jobs and loads is not checked: Celonis has no call that shows it."


class CheckRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The optional body of ``POST /pipelines/{name}/check``.

    ``definition``: to be checked instead of the stored one.
    """

    definition: dict[str, Any] | None = None


class ReadingClient(Protocol):
    """The calls of the Celonis client that start nothing."""

    def job(self, pool: str, job: str, *, timeout: float | None = None) -> Job: ...

    def executions(
        self, pool: str, job: str, *, timeout: float | None = None
    ) -> list[JobExecution] | None: ...

    def tables(self, pool: str, model: str, *, timeout: float | None = None) -> list[ModelTable]: ...

    def last_load(self, pool: str, model: str, *, timeout: float | None = None) -> Load | None: ...


class PipelineChecker(Struct, frozen=True):
    """Checks pipelines. ``definition``: reads a pipeline by name; ``client_for``: signs in for it."""

    definition: Callable[[str], Definition]
    client_for: Callable[[Definition], ReadingClient]

    def check(self, name: str, request: CheckRequest, deadline: Deadline) -> dict[str, Any]:
        """Return ``{"pipeline", "ok", "findings"}``. Raises ``UnknownPipeline``."""
        findings = _Findings()
        if (definition := self._definition(name, request, findings)) is not None:
            self._check(definition, findings, deadline)
        is_ok = all(finding["level"] != "error" for finding in findings.found)
        return {"pipeline": name, "ok": is_ok, "findings": findings.found}

    def _definition(self, name: str, request: CheckRequest, findings: _Findings) -> Definition | None:
        try:
            if request.definition is None:
                return self.definition(name)
            what = f"The definition of pipeline {name!r}"
            return read_definition(what, Definition, request.definition)
        except InvalidDefinition as error:
            for problem in error.problems:
                findings.add("error", problem.field, name, problem.expected)
            return None

    def _check(self, definition: Definition, findings: _Findings, deadline: Deadline) -> None:
        connection = str(definition.connection)
        try:
            client = self.client_for(definition)
        except RefreshError as error:
            findings.add_error("connection", connection, error)
            return
        try:
            _CelonisCheck(client, definition, findings, deadline).run()
        except AuthenticationFailed as error:
            findings.add_error("connection", connection, error)
        except (CelonisUnavailable, CelonisThrottled) as error:
            findings.add_error("connection", connection, error, "The rest was not checked.")
        except _OutOfTime:
            findings.add(
                "warning", "", connection, "There was no time to check the rest: repeat the request."
            )


class _OutOfTime(Exception):
    """The function has no time for another request."""


class _Findings(Struct):
    found: list[dict[str, Any]] = field(default_factory=list)

    def add(self, level: Literal["ok", "warning", "error"], field: str, subject: str, message: str) -> None:
        self.found.append({"level": level, "field": field, "subject": subject, "message": message})

    def add_error(self, field: str, subject: str, error: RefreshError, note: str = "") -> None:
        """Add an error with its name, what to do, and the status with which Celonis answered, if it did."""
        self.add("error", field, subject, " ".join(filter(None, (error.message, note, error.hint))))
        status = getattr(error, "status", None)
        details = {"error": error.name, "hint": error.hint, "status": status}
        self.found[-1] |= {name: value for name, value in details.items() if value}


class _CelonisCheck(Struct):
    """One check of a definition in Celonis. ``visible``: whether anything of the pool could be read."""

    client: ReadingClient
    definition: Definition
    findings: _Findings
    deadline: Deadline
    visible: bool = False
    _models: dict[str, list[ModelTable]] = field(default_factory=dict)

    def run(self) -> None:
        """Raises ``AuthenticationFailed``, ``CelonisUnavailable``, ``CelonisThrottled``, ``_OutOfTime``."""
        self._jobs()
        self._loads()
        self._tables()
        pool = self.definition.data_pool_id
        if self.visible:
            self.findings.add("ok", "connection", str(self.definition.connection), "Celonis accepts it.")
            self.findings.add("ok", "data_pool", pool, f"The data pool is visible. {NOT_CHECKED}")
        else:
            hint = "Nothing in this data pool is visible: check its id and the permission to view it."
            self.findings.add("error", "data_pool", pool, hint)

    def _jobs(self) -> None:
        pool, seen = self.definition.data_pool_id, set[str]()
        for place, job in _jobs(self.definition):
            if job in seen:
                continue
            found = self._read(place, job, partial(self.client.job, pool, job))
            if found is not None:
                status = f"its status is {found.status}" if found.status else "Celonis shows no status"
                text = f"Data job {found.name or job} exists; {status}."
                self.findings.add("ok", place, found.name or job, text)
                if not seen:
                    self._executions(place, job)
            seen.add(job)

    def _executions(self, place: str, job: str) -> None:
        """Check once whether Celonis lists executions, which makes it quicker to identify ours."""
        pool = self.definition.data_pool_id
        is_read, listed = self._tried(place, job, partial(self.client.executions, pool, job))
        if is_read and listed is None:
            text = "Celonis does not serve the list of executions, so that a run continues later after a job."
            self.findings.add("warning", place, job, text)

    def _loads(self) -> None:
        pool = self.definition.data_pool_id
        for number, load in enumerate(self.definition.loads):
            place, model = f"loads.{number}.data_model", load.data_model_id
            tables = self._read(place, model, partial(self.client.tables, pool, model))
            if tables is None:
                continue
            self._models[model] = tables
            text = f"The data model exists and has {len(tables)} tables."
            self.findings.add("ok", place, model, text)
            self._last_load(place, model)

    def _last_load(self, place: str, model: str) -> None:
        """Check that the last load may be read; of a model that was never loaded, there may be none (404)."""
        pool = self.definition.data_pool_id

        def last_load(timeout: float) -> Load | None:
            try:
                return self.client.last_load(pool, model, timeout=timeout)
            except NotFound:
                return None

        self._read(place, model, last_load)

    def _tables(self) -> None:
        """Check that every named table exists, as a run resolves it."""
        plan = make_plan(self.definition, AS_DEFINED)
        for number, load in enumerate(plan.loads):
            if not load.names_tables or load.data_model not in self._models:
                continue
            one = {load.data_model: self._models[load.data_model]}
            place, model = f"loads.{number}.tables", load.data_model
            try:
                resolved = resolve(replace(plan, loads=(load,)), one).loads[load.step]
            except UnknownTable as error:
                self.findings.add("error", place, model, str(error).replace(" Nothing was started.", ""))
            else:
                self.findings.add("ok", place, model, f"All {len(resolved.tables)} tables exist.")

    def _read(self, place: str, subject: str, call: Callable[..., R]) -> R | None:
        """Return what a request shows; None if it was refused, which is a finding."""
        return self._tried(place, subject, call)[1]

    def _tried(self, place: str, subject: str, call: Callable[..., R]) -> tuple[bool, R | None]:
        """Return whether a request was answered, and what it shows; a refusal is a finding."""
        try:
            found = call(timeout=self._seconds())
        except (AuthenticationFailed, CelonisUnavailable, CelonisThrottled):
            raise
        except CelonisError as error:
            self.visible = self.visible or not isinstance(error, NotFound)
            self.findings.add_error(place, subject, error)
            return False, None
        except ValueError as error:
            self.findings.add("error", place, subject, str(error))
            return False, None
        self.visible = True
        return True, found

    def _seconds(self) -> float:
        left = self.deadline.left()
        if left < MIN_SECONDS:
            raise _OutOfTime
        return min(MAX_SECONDS, left)


def _jobs(definition: Definition) -> list[tuple[str, str]]:
    """Return the fields of the definition that name a data job, and the ids."""
    places = [(place, address) for place, address in definition.places() if place.startswith("jobs.")]
    ids = [step.job_id for stage in definition.stages() for step in stage]
    return [(place, job) for (place, _), job in zip(places, ids, strict=True)]
