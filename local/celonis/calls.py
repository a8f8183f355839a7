"""The seven calls that the product makes: jobs, models, tables, loads."""

from __future__ import annotations

import uuid
from typing import Any

from local.celonis import parameters, views
from local.celonis.answers import ApiResponse, as_json, error, nothing
from local.celonis.model import Platform
from local.celonis.operations import JobExecution, LoadOperation, Operation
from local.celonis.routing import ApiRequest, ApiRoute, route
from local.celonis.starts import RequestedStart, StartResult
from local.celonis.targets import JobTarget, ModelTarget

MODES = ("FULL", "DELTA")


class UnknownObjectError(Exception):
    """A pool, job or model that does not exist, or exists in another pool."""


class CallHandlers:
    """Finds the objects that a path names."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    @property
    def dates(self) -> str:
        """The current format of dates."""
        return self.platform.settings.dates

    def pool(self, request: ApiRequest) -> str:
        """The id of the pool in the path."""
        if request.params["pool"] not in self.platform.pools:
            raise UnknownObjectError
        return request.params["pool"]

    def job(self, request: ApiRequest) -> JobTarget:
        """The job in the path; it must belong to the pool in the path."""
        job = self.platform.jobs.get(request.params["job"])
        if job is None or job.is_gone or job.pool_id != self.pool(request):
            raise UnknownObjectError
        return job

    def model(self, request: ApiRequest) -> ModelTarget:
        """The model in the path; it must belong to the pool in the path."""
        model = self.platform.models.get(request.params["model"])
        if model is None or model.is_gone or model.pool_id != self.pool(request):
            raise UnknownObjectError
        return model


class ProductCalls(CallHandlers):
    """Handlers of the seven calls."""

    def routes(self) -> list[ApiRoute]:
        """The calls by name."""
        jobs = "/integration/api/pools/{pool}/jobs/{job}"
        models = "/integration/api/v1/data-pools/{pool}/data-models/{model}"
        start = "/integration/api/v2/data-pools/{pool}/data-jobs/{job}/execute"
        return [
            route("execute", "POST", start, self.execute),
            route("job", "GET", jobs, self.show_job),
            route("cancel", "POST", f"{jobs}/cancel", self.cancel, documented=False),
            route("load", "POST", f"{models}/load", self.load),
            route("load_tables", "POST", f"{models}/load/partial-sync", self.load_tables),
            route("tables", "GET", f"{models}/tables", self.show_tables),
            route("last_load", "GET", f"{models}/last-load", self.show_last_load),
        ]

    def execute(self, request: ApiRequest) -> ApiResponse:
        """Start a job; ``mode`` is FULL or DELTA."""
        job = self.job(request)
        return self.start_job(job, request.query.get("mode"))

    def start_job(self, job: JobTarget, mode: object) -> ApiResponse:
        """Start ``job`` in ``mode`` and answer as configured in its setup."""
        if mode not in MODES:
            return error(400, "Parameter 'mode' must be FULL or DELTA.")
        before = self._job_record(job) if job.setup.execute_answer == "job_before" else None
        start = self.platform.request(job, RequestedStart(mode=str(mode)))
        effect = effect_of(start)
        if start.effect == "refused":
            refused = error(job.setup.refuse_status, "The data job is already running.")
            return ApiResponse(refused.status, refused.body, refused.content_type, effect=effect)
        body = before or self._execute_body(job, start.operation)
        status = job.setup.execute_status
        return nothing(status, effect) if body is None else as_json(body, status, effect)

    def _execute_body(self, job: JobTarget, operation: Operation) -> Any:
        answer = job.setup.execute_answer
        if answer == "job":
            return self._job_record(job)
        bodies = {
            "execution_id": {"executionId": operation.id},
            "item_id": {"executionId": operation.item_id if isinstance(operation, JobExecution) else None},
            "other_id": {"executionId": _other_id(operation)},
            "no_id": {"message": "The data job was triggered."},
        }
        return bodies.get(answer)

    def _job_record(self, job: JobTarget) -> views.Record:
        return views.job_record(job, self.platform.clock(), self.dates)

    def show_job(self, request: ApiRequest) -> ApiResponse:
        """The job and its current status."""
        return as_json(self._job_record(self.job(request)))

    def cancel(self, request: ApiRequest) -> ApiResponse:
        """Cancel the running execution of the job. The response has no body."""
        job = self.job(request)
        cancelled = self.platform.cancel_job(job)
        if cancelled is not None:
            return nothing(effect={"cancelled": cancelled.id})
        status = job.setup.cancel_idle_status
        return nothing(status) if status < 400 else error(status, "The data job is not running.")

    def load(self, request: ApiRequest) -> ApiResponse:
        """Load a model completely, or from its cache with ``fullReload=false``."""
        model = self.model(request)
        complete = parameters.flag(request.query, "fullReload", default=True)
        return self.start_load(model, RequestedStart(kind="COMPLETE" if complete else "FROM_CACHE"))

    def load_tables(self, request: ApiRequest) -> ApiResponse:
        """Load some tables of a model; the body is a JSON list of their ids."""
        model = self.model(request)
        ids = parameters.json_body(request.body)
        if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
            return error(400, "The body must be a list of table ids.")
        table_ids = {table.id for table in model.setup.tables}
        unknown = [one for one in ids if one not in table_ids]
        if unknown:
            return error(model.setup.unknown_table_status, f"Unknown table: {unknown[0]}")
        return self.start_load(model, RequestedStart(kind="PARTIAL", tables=tuple(ids)))

    def start_load(self, model: ModelTarget, options: RequestedStart) -> ApiResponse:
        """Start a load and answer as configured in the model's setup."""
        before = self._last_load(model) if model.setup.load_answer == "record_before" else None
        start = self.platform.request(model, options)
        effect = effect_of(start)
        if start.effect == "refused":
            refused = error(model.setup.refuse_status, "A data load is already running.")
            return ApiResponse(refused.status, refused.body, refused.content_type, effect=effect)
        body = before or self._load_body(model, start.operation)
        status = model.setup.load_status
        return nothing(status, effect) if body is None else as_json(body, status, effect)

    def _load_body(self, model: ModelTarget, operation: Operation) -> Any:
        answer = model.setup.load_answer
        if answer == "record" and isinstance(operation, LoadOperation):
            return views.load_record(model, operation, self.platform.clock(), self.dates)
        bodies = {
            "load_id": {"dataLoadId": operation.id},
            "other_id": {"dataLoadId": _other_id(operation)},
            "no_id": {"message": "The data load was triggered."},
        }
        return bodies.get(answer)

    def _last_load(self, model: ModelTarget) -> views.Record | None:
        return views.last_load(model, self.platform.clock(), self.dates)

    def show_tables(self, request: ApiRequest) -> ApiResponse:
        """The tables of a model."""
        model = self.model(request)
        return as_json(views.table_records(model.id, model.setup.tables))

    def show_last_load(self, request: ApiRequest) -> ApiResponse:
        """The last load of a model."""
        model = self.model(request)
        record = self._last_load(model)
        if record is not None:
            return as_json(record)
        never = model.setup.never_loaded
        answers = {
            "not_found": error(404),
            "empty": nothing(),
            "no_content": nothing(204),
            "null": as_json(None),
        }
        return answers[never]


def _other_id(operation: Operation) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, operation.id))


def effect_of(start: StartResult) -> dict[str, Any]:
    """Return the effect of a start, for the ledger."""
    kind = "execution" if isinstance(start.operation, JobExecution) else "load"
    began = start.effect in {"started", "queued"}
    return {"effect": start.effect, "kind": kind, "id": start.operation.id if began else None}
