"""Further calls of the public SDK: caller, pools, jobs and models, logs, the load history."""

from __future__ import annotations

from statistics import fmean

from local.celonis import parameters, task_logs, views
from local.celonis.answers import ApiResponse, as_json
from local.celonis.calls import CallHandlers, ProductCalls, UnknownObjectError
from local.celonis.model import Platform
from local.celonis.operations import GOOD_LOADS, Phase
from local.celonis.routing import ApiRequest, ApiRoute, route
from local.celonis.starts import RequestedStart
from local.celonis.targets import ModelTarget

TEAM = {"id": "local-team", "name": "Local team", "domain": "local-team", "trackingEnabled": False}
USER = {"id": "local-user", "name": "Local user", "email": "local@example.org", "teamDomain": "local-team"}
PERMISSIONS = [
    {"serviceName": "event-collection", "permissions": ["USE_ALL_DATA_MODELS", "EDIT_ALL_DATA_POOLS"]}
]


class SdkCalls(CallHandlers):
    """Handlers of the calls that only the public SDK shows."""

    def __init__(self, platform: Platform, calls: ProductCalls) -> None:
        super().__init__(platform)
        self._calls = calls

    def routes(self) -> list[ApiRoute]:
        """Return the calls by name."""
        pool = "/integration/api/pools/{pool}"
        model = pool + "/data-models/{model}"
        table = [
            ("user", "GET", "/api/cloud", lambda _: as_json(USER)),
            ("permissions", "GET", "/api/cloud/permissions", lambda _: as_json(PERMISSIONS)),
            ("team", "GET", "/api/team", lambda _: as_json(TEAM)),
            ("pools", "GET", "/integration/api/pools", self.show_pools),
            ("pool", "GET", pool, self.show_pool),
            ("jobs", "GET", f"{pool}/jobs", self.show_jobs),
            ("tasks", "GET", pool + "/jobs/{job}/tasks/?", self.show_tasks),
            ("job_loads", "GET", pool + "/jobs/{job}/loads", self.show_job_loads),
            ("sdk_execute", "POST", pool + "/jobs/{job}/execute", self.execute),
            ("models", "GET", f"{pool}/data-models", self.show_models),
            ("model", "GET", model, self.show_model),
            ("sdk_tables", "GET", pool + "/data-model/{model}/tables", self.show_tables),
            ("sdk_table", "GET", pool + "/data-model/{model}/tables/{table}", self.show_table),
            ("sdk_load", "POST", f"{model}/reload", self.load),
            ("load_history", "GET", f"{model}/load-history/load-info-sync", self.show_load_history),
            ("job_statuses", "GET", f"{pool}/logs/status", self.show_statuses),
            ("execution_tasks", "GET", f"{pool}/logs/executions", self.show_execution_tasks),
            ("execution_log", "GET", f"{pool}/logs/executions/detail", self.show_execution_log),
            ("executions", "GET", pool + "/logs/{job}/executions", self.show_executions),
        ]
        return [route(call, method, path, handler, documented=False) for call, method, path, handler in table]

    def show_pools(self, _: ApiRequest) -> ApiResponse:
        """All pools."""
        return as_json([{"id": id_, "name": name} for id_, name in self.platform.pools.items()])

    def show_pool(self, request: ApiRequest) -> ApiResponse:
        """One pool."""
        pool_id = self.pool(request)
        return as_json({"id": pool_id, "name": self.platform.pools[pool_id]})

    def show_jobs(self, request: ApiRequest) -> ApiResponse:
        """The jobs of a pool."""
        pool_id, now = self.pool(request), self.platform.clock()
        jobs = [job for job in self.platform.jobs.values() if job.pool_id == pool_id and not job.is_gone]
        return as_json([views.job_record(job, now, self.dates) for job in jobs])

    def show_tasks(self, request: ApiRequest) -> ApiResponse:
        """The tasks of a job."""
        return as_json(task_logs.tasks(self.job(request)))

    def show_job_loads(self, request: ApiRequest) -> ApiResponse:
        """The loads that a job contains."""
        job = self.job(request)
        if job.setup.loads_model is None:
            return as_json([])
        tables = [{"id": one, "selected": True} for one in job.setup.loads_tables]
        record = {
            "id": f"load-{job.id}",
            "dataModelId": job.setup.loads_model,
            "jobId": job.id,
            "tables": tables,
        }
        return as_json([{**record, "partialLoad": bool(tables), "disabled": False}])

    def execute(self, request: ApiRequest) -> ApiResponse:
        """Start a job with the older call, with the mode in the body."""
        job = self.job(request)
        body = parameters.json_body(request.body)
        return self._calls.start_job(job, body.get("mode") if isinstance(body, dict) else None)

    def show_models(self, request: ApiRequest) -> ApiResponse:
        """The models of a pool."""
        pool_id = self.pool(request)
        models = [one for one in self.platform.models.values() if one.pool_id == pool_id and not one.is_gone]
        return as_json([_model_record(one) for one in models])

    def show_model(self, request: ApiRequest) -> ApiResponse:
        """One model."""
        return as_json(_model_record(self.model(request)))

    def show_tables(self, request: ApiRequest) -> ApiResponse:
        """The tables of a model, with the older call."""
        return self._calls.show_tables(request)

    def show_table(self, request: ApiRequest) -> ApiResponse:
        """One table of a model."""
        model = self.model(request)
        for record in views.table_records(model.id, model.setup.tables):
            if record["id"] == request.params["table"]:
                return as_json(record)
        raise UnknownObjectError

    def load(self, request: ApiRequest) -> ApiResponse:
        """Load a model with the older call; ``forceComplete=false`` loads from the cache."""
        complete = parameters.flag(request.query, "forceComplete", default=True)
        return self._calls.start_load(
            self.model(request), RequestedStart(kind="COMPLETE" if complete else "FROM_CACHE")
        )

    def show_load_history(self, request: ApiRequest) -> ApiResponse:
        """The current load, the live data model and earlier loads."""
        model, now = self.model(request), self.platform.clock()
        moment = model.moment_of("list", now)
        loads = [
            one for one in reversed(model.visible(moment)) if one.started_at <= min(moment.at, one.ended_at)
        ]
        records = [views.load_record(model, one, moment.at, self.dates) for one in loads]
        good = [one for one in records if one.get("loadStatus") in {"SUCCESS", "WARNING"}]
        current = views.last_load(model, now, self.dates)
        live = {"dataModelId": model.id, "dataModelName": model.name, "done": bool(good)}
        history = {"lastSuccessfulDataModel": good[0] if good else None, "dataLoadHistory": records}
        return as_json(
            {
                "loadInfo": {"currentComputeLoad": current, "liveDataModel": live},
                "loadHistory": {**history, "averageLoadTime": _average_times(model, now)},
            }
        )

    def show_statuses(self, request: ApiRequest) -> ApiResponse:
        """The status of every job of a pool."""
        pool_id, now = self.pool(request), self.platform.clock()
        jobs = [job for job in self.platform.jobs.values() if job.pool_id == pool_id and not job.is_gone]
        return as_json([views.job_status_record(job, now, self.dates) for job in jobs])

    def show_executions(self, request: ApiRequest) -> ApiResponse:
        """The executions of a job in pages, newest first by default."""
        job = self.job(request)
        items = views.execution_items(job, self.platform.clock(), self.dates)
        return as_json(task_logs.page("executionItems", items, request.query))

    def show_execution_tasks(self, request: ApiRequest) -> ApiResponse:
        """The tasks of one execution (``executionId``, ``type=TASK``, ``id`` of the job)."""
        job = self.platform.jobs.get(request.query.get("id", ""))
        if job is None or job.is_gone or job.pool_id != self.pool(request):
            raise UnknownObjectError
        kind = task_logs.execution_type(request.query)
        for execution in job.operations:
            if execution.id == request.query.get("executionId"):
                items = task_logs.task_items(job, execution, self.platform.clock(), self.dates)
                return as_json(items if kind == "TASK" else [])
        raise UnknownObjectError

    def show_execution_log(self, request: ApiRequest) -> ApiResponse:
        """The log of one task of an execution (``executionId``, ``type=TASK``, ``id`` of the task)."""
        self.pool(request)
        now = self.platform.clock()
        for job in self.platform.jobs.values():
            for execution in job.operations:
                if (
                    execution.id == request.query.get("executionId")
                    and execution.phase(now) is not Phase.WAITING
                ):
                    messages = task_logs.messages(job, execution, request.query, now, self.dates)
                    return as_json(task_logs.page("logMessages", messages, request.query))
        raise UnknownObjectError


def _average_times(model: ModelTarget, now: float) -> list[views.Record]:
    """Return the mean milliseconds of successful loads by type."""
    took: dict[str, list[float]] = {}
    for load in model.operations:
        if load.phase(now) is Phase.ENDED and load.result in GOOD_LOADS:
            took.setdefault(load.kind, []).append(load.ended_at - load.started_at)
    return [{"type": kind, "averageLoadingTime": round(fmean(times) * 1000)} for kind, times in took.items()]


def _model_record(model: ModelTarget) -> views.Record:
    return {"id": model.id, "name": model.name, "poolId": model.pool_id, "unavailable": False}
