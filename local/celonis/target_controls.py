"""The controls of jobs and models: their setup, and starts, cancels and ends by other users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from local.celonis import knobs, ledger
from local.celonis.fields import FieldError, Reader, parse, read, text
from local.celonis.model import Platform
from local.celonis.routing import ApiRequest
from local.celonis.setups import ASPECTS, JobSetup, ModelSetup
from local.celonis.starts import RequestedStart
from local.celonis.targets import JobTarget, ModelTarget

Handlers = list[tuple[str, str, Callable[[ApiRequest], Any]]]
OTHER_USER = "another user"


class TargetControls:
    """Handlers for ``/jobs`` and ``/models``. They raise FieldError, and LookupError for an unknown id."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def handlers(self) -> Handlers:
        """Return method, path and handler of every control."""
        shared: Handlers = []
        for path in ("/jobs/{job}", "/models/{model}"):
            shared += [
                ("GET", path, lambda request: self._show(self._target(request))),
                ("PUT", path, self._change),
                ("DELETE", path, self._delete),
                ("POST", f"{path}/finish", self._finish),
                ("POST", f"{path}/stale", self._stale),
            ]
        return [
            *shared,
            ("POST", "/jobs", self._add_job),
            ("POST", "/models", self._add_model),
            ("POST", "/jobs/{job}/start", self._start_job),
            ("POST", "/jobs/{job}/cancel", self._cancel_job),
            ("POST", "/models/{model}/load", self._start_load),
            ("POST", "/models/{model}/cancel", self._cancel_load),
        ]

    def jobs(self) -> list[dict[str, Any]]:
        """Return every job as the controls show it."""
        return [self._show(job) for job in self._platform.jobs.values()]

    def models(self) -> list[dict[str, Any]]:
        """Return every model as the controls show it."""
        return [self._show(model) for model in self._platform.models.values()]

    def _target(self, request: ApiRequest) -> JobTarget | ModelTarget:
        return self._model(request) if "model" in request.params else self._job(request)

    def _job(self, request: ApiRequest) -> JobTarget:
        job = self._platform.jobs.get(request.params["job"])
        if job is None:
            raise LookupError(f"job {request.params['job']}")
        return job

    def _model(self, request: ApiRequest) -> ModelTarget:
        model = self._platform.models.get(request.params["model"])
        if model is None:
            raise LookupError(f"model {request.params['model']}")
        return model

    def _show(self, target: JobTarget | ModelTarget) -> dict[str, Any]:
        self._platform.settle()
        now = self._platform.clock()
        return {
            "id": target.id,
            "pool_id": target.pool_id,
            "name": target.name,
            "is_gone": target.is_gone,
            "setup": asdict(target.setup),
            "running": [ledger.describe(operation, now) for operation in target.busy(now)],
            "started": len(target.operations),
        }

    def _change(self, request: ApiRequest) -> Any:
        target = self._target(request)
        changes = read(parse(request.body), knobs.JOB if isinstance(target, JobTarget) else knobs.MODEL)
        if isinstance(target, JobTarget):
            self._check_load_inside(changes, target.setup)
        target.name = changes.pop("name", target.name)
        target.change(**changes)
        return self._show(target)

    def _check_load_inside(self, changes: Mapping[str, Any], setup: JobSetup) -> None:
        model_id = changes.get("loads_model", setup.loads_model)
        table_ids = changes.get("loads_tables", setup.loads_tables)
        model = self._platform.models.get(model_id) if model_id is not None else None
        if model_id is not None and model is None:
            raise FieldError("loads_model", "must be the id of a model")
        existing = {table.id for table in model.setup.tables} if model is not None else set()
        if set(table_ids) - existing:
            raise FieldError("loads_tables", "must be ids of tables of the model that the job loads")

    def _delete(self, request: ApiRequest) -> Any:
        target = self._target(request)
        target.is_gone = True
        return self._show(target)

    def _finish(self, request: ApiRequest) -> Any:
        fields = read(parse(request.body), knobs.FINISH)
        target = self._target(request)
        operation = self._platform.finish(
            target, fields.get("outcome", "SUCCESS"), fields.get("in_seconds", 0.0)
        )
        return {"ended": None if operation is None else operation.id}

    def _stale(self, request: ApiRequest) -> Any:
        fields = read(parse(request.body), knobs.STALE_READS)
        target = self._target(request)
        chosen = dict.fromkeys(fields.get("aspects", ASPECTS), fields.get("reads", 1))
        target.stale_reads = {**target.stale_reads, **chosen}
        return {"stale_reads": target.stale_reads}

    def _add_job(self, request: ApiRequest) -> Any:
        fields, pool_id = self._new(request, knobs.JOB)
        self._check_load_inside(fields, JobSetup())
        name = fields.pop("name")
        return self._show(self._platform.add_job(self._platform.new_id(), pool_id, name, JobSetup(**fields)))

    def _add_model(self, request: ApiRequest) -> Any:
        fields, pool_id = self._new(request, knobs.MODEL)
        name = fields.pop("name")
        return self._show(
            self._platform.add_model(self._platform.new_id(), pool_id, name, ModelSetup(**fields))
        )

    def _new(self, request: ApiRequest, readers: Mapping[str, Reader]) -> tuple[dict[str, Any], str]:
        fields = read(parse(request.body), {**readers, "pool_id": text})
        if "name" not in fields:
            raise FieldError("name", "is needed")
        pool_id = fields.pop("pool_id", next(iter(self._platform.pools)))
        if pool_id not in self._platform.pools:
            raise FieldError("pool_id", "must be the id of a pool")
        return fields, pool_id

    def _start_job(self, request: ApiRequest) -> Any:
        job, fields = self._job(request), read(parse(request.body), knobs.JOB_START)
        return self._other_user_starts(job, fields, mode=fields.get("mode", "FULL"))

    def _start_load(self, request: ApiRequest) -> Any:
        model, fields = self._model(request), read(parse(request.body), knobs.MODEL_START)
        tables = fields.get("tables", ())
        if set(tables) - {table.id for table in model.setup.tables}:
            raise FieldError("tables", "must be ids of tables of the model")
        kind = fields.get("type", "PARTIAL" if tables else "COMPLETE")
        return self._other_user_starts(model, fields, kind=kind, tables=tables)

    def _other_user_starts(
        self, target: JobTarget | ModelTarget, fields: Mapping[str, Any], **start_options: Any
    ) -> Any:
        by = fields.get("by", OTHER_USER)
        options = RequestedStart(
            by=by, seconds=fields.get("seconds"), outcome=fields.get("outcome"), **start_options
        )
        if "ago" in fields:
            return self._other_user_started(target, options, fields["ago"])
        when = fields.get("when", "in" if "in_seconds" in fields else "now")
        if when != "now":
            self._platform.arm(target, options, when, fields.get("in_seconds", 0.0))
            return {"armed": when}
        start = self._platform.start(target, options)
        return {
            "effect": start.effect,
            "id": start.operation.id if start.effect in {"started", "queued"} else None,
        }

    def _other_user_started(
        self, target: JobTarget | ModelTarget, options: RequestedStart, ago: float
    ) -> Any:
        setup, seconds = target.setup, options.seconds
        if seconds is None:
            is_job = isinstance(setup, JobSetup)
            seconds = setup.run_seconds(options.mode if is_job else options.kind)
        if ago < setup.queue_seconds + seconds:
            raise FieldError("ago", "must not be less than it takes: what was added has ended")
        past = self._platform.add_past(target, options, self._platform.clock() - ago)
        return {"effect": "started", "id": past.id}

    def _cancel_job(self, request: ApiRequest) -> Any:
        operation = self._platform.cancel_job(self._job(request))
        return {"cancelled": None if operation is None else operation.id}

    def _cancel_load(self, request: ApiRequest) -> Any:
        model = self._model(request)
        operation = self._platform.finish(model, model.setup.cancel_status, model.setup.cancel_seconds)
        return {"cancelled": None if operation is None else operation.id}
