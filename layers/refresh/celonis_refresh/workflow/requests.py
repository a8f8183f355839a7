"""Requests of the runs API: start, show and list runs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Final, TypeVar

from msgspec import Meta, Struct

from celonis_refresh.errors import WHOLE, Problem
from celonis_refresh.names import NAME_PATTERN, NAME_RULE, is_name
from celonis_refresh.observability import logger
from celonis_refresh.pipelines.errors import InvalidTrigger
from celonis_refresh.runs.errors import PipelineSkips, TableBusy
from celonis_refresh.runs.queued import QueuedRun, RunLookup
from celonis_refresh.runs.records import Run, RunStatus
from celonis_refresh.runs.table import delivery_key, request_key
from celonis_refresh.steps.expected import duration_key, with_resolved_loads
from celonis_refresh.timing import Deadline, epoch, iso
from celonis_refresh.validation.convert import convert
from celonis_refresh.webhooks.errors import Malformed
from celonis_refresh.webhooks.request import parse_json
from celonis_refresh.workflow.accept import Trigger, TriggerAcceptor, response_body, start_execution_of
from celonis_refresh.workflow.executions import Executions
from celonis_refresh.workflow.listing import Listing, TimeSpan, shown
from celonis_refresh.workflow.pipeline_details import run_expectation, usual_durations
from celonis_refresh.workflow.run_report import can_retry

REQUEST = "The request"

MODE: Final = {"enum": ["FULL", "DELTA", None]}
TABLES: Final = {
    "anyOf": [
        {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 256}, "minItems": 1},
        {"enum": ["all", None]},
    ]
}
"""Valid modes and tables of a trigger; ``make_options`` checks them."""
ASSUMED_ROLE: Final = re.compile(
    r"arn:(?P<partition>[^:]+):sts::(?P<account>[0-9]*):assumed-role/(?P<role>[^/]+)/[^/]+"
)
"""The ARN of a caller that is a session of a role."""
TIME_PATTERN: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})$"
)
TIME: Final = {"pattern": TIME_PATTERN, "description": "a time with its zone: 2026-01-01T00:00:00Z"}
SOURCE_NAME: Final = {"pattern": NAME_PATTERN, "description": f"the name of a source: {NAME_RULE}"}
"""Schemas of a time and of a source's name, which are checked here."""
NAME: Final = {"pattern": NAME_PATTERN, "description": f"the name of a pipeline: {NAME_RULE}"}
"""Schema of a pipeline's name, which is checked when its definition is read."""


class StartRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /runs``."""

    pipeline: Annotated[str, Meta(max_length=64, extra_json_schema=NAME)]
    mode: Annotated[Any, Meta(extra_json_schema=MODE)] = None
    tables: Annotated[Any, Meta(extra_json_schema=TABLES)] = None
    reason: Annotated[str, Meta(max_length=256)] = ""


class CancelRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The optional body of ``POST /runs/{run_id}/cancel``."""

    drop_pending: bool = False


class ListRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of ``GET /runs``. ``before``: what the page before gave; empty is the first page.

    ``since`` and ``until``: bounds of ``created_at``; the second is excluded.
    """

    pipeline: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    status: RunStatus | None = None
    before: Annotated[str, Meta(max_length=128)] | None = None
    since: Annotated[str, Meta(extra_json_schema=TIME)] | None = None
    until: Annotated[str, Meta(extra_json_schema=TIME)] | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 20


class DeliveriesRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of ``GET /deliveries``. ``before``: what the page before gave; empty is the first page."""

    source: Annotated[str, Meta(extra_json_schema=SOURCE_NAME)]
    before: Annotated[str, Meta(max_length=128)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class SourcesRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of ``GET /sources``. ``after``: ``next`` of the page before; empty is the first page."""

    after: Annotated[str, Meta(max_length=4096)] | None = None


class PauseRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The optional body of ``POST /pipelines/{name}/pause``."""

    reason: Annotated[str, Meta(max_length=256)] | None = None


MAX_WAIT: Final = 25
"""Seconds that a request may wait: API Gateway answers 503 after 30 s, including the start of a process."""
WAIT_INTERVAL: Final = 1.0
"""Seconds between two reads of a run that a request waits for."""
READ_SECONDS: Final = 1.0
"""Time of the function that is reserved for the last read of a request that waits."""


class ShowRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of ``GET /runs/{run_id}``. ``wait``: seconds to wait for the end of the run."""

    wait: Annotated[int, Meta(ge=0, le=MAX_WAIT)] = 0


class PipelinesRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of ``GET /pipelines``. ``after``: ``next`` of the page before; empty is the first page.

    ``runs``: with the details of each pipeline and so many of its last runs.
    """

    after: Annotated[str, Meta(max_length=4096)] | None = None
    runs: Annotated[int, Meta(ge=0, le=30)] | None = None


_refused = partial(InvalidTrigger, REQUEST)


class RunRequests(Struct, frozen=True):
    """Starts, shows and lists runs."""

    acceptor: TriggerAcceptor
    executions: Executions
    lookup: RunLookup
    listing: Listing
    sleep: Callable[[float], None] = time.sleep

    def start(
        self, body: object, caller: str, idempotency_key: str | None, deadline: Deadline
    ) -> dict[str, Any]:
        """Start a run or join the follow-up run: ``{"runs": [{"pipeline", "run_id", "status"}]}``.

        Raises what accepting raises, and ``InvalidTrigger`` for an invalid body.
        """
        request = convert(StartRequest, body, _refused)
        trigger = Trigger(request.pipeline, request.mode, request.tables, caller, request.reason)
        deliveries = [_key(request, caller, idempotency_key)] if idempotency_key else []
        logger.append_keys(pipeline=request.pipeline, source=caller)
        acceptance = self.acceptor.accept([trigger], deliveries, deadline)
        logger.append_keys(run_id=acceptance.results[0].run_id)
        for accepted in acceptance.results:
            if accepted.status == "skipped":
                raise PipelineSkips(accepted.pipeline, accepted.run_id)
            if accepted.status == "started":
                start_execution_of(self.executions, accepted.run_id)
        return response_body(acceptance)

    def show(self, run_id: str, query: Mapping[str, str], deadline: Deadline) -> dict[str, Any]:
        """Return a run's record or a pending run, once it has ended or the ``wait`` of the query is over.

        Without ``wait``, or near the deadline, the run is returned as it is. Raises ``InvalidTrigger``, and
        ``RunNotFound``, also for a pending run that is dropped in the meantime.
        """
        request = convert(ShowRequest, _with_number(query, "wait"), _refused)
        run = self.lookup.get(run_id)
        seconds = min(float(request.wait), deadline.left(READ_SECONDS))
        wait = Deadline.after(seconds, deadline.clock)
        while not _has_ended(run) and (left := wait.left()) > 0:
            self.sleep(min(WAIT_INTERVAL, left))
            run = self.lookup.refresh(run)
        return _document(run) | self._expected(run, deadline) | self._retry_facts(run)

    def _retry_facts(self, found: Run | QueuedRun) -> dict[str, Any]:
        """Return whether a retry of a run that did not succeed can, and its retry of the last 14 days."""
        if not isinstance(found, Run) or found.is_open or found.status is RunStatus.SUCCEEDED:
            return {}
        retry = self.acceptor.claims.known(delivery_key("retry", found.run_id))
        retried_by = {"retried_by": retry.results[0].run_id} if retry else {}
        return {"can_retry": can_retry(found), **retried_by}

    def _expected(self, found: Run | QueuedRun, deadline: Deadline) -> dict[str, Any]:
        """Return how long an open run and its steps are expected to take, and its end, as far as known."""
        if not isinstance(found, Run) or not found.is_open or not found.has_definition:
            return {}
        now, plan = deadline.clock(), with_resolved_loads(found.plan, found.loads)
        try:
            usual = usual_durations(self.lookup.table, [plan], deadline, now)
        except TableBusy as error:
            logger.warning("durations were not read", extra={"run_id": found.run_id, "why": str(error)})
            return {}
        steps = shown(found)["steps"]
        keys = {job.step: duration_key(job) for job in plan.jobs}
        keys |= {load.step: duration_key(load) for load in plan.loads}
        for name, key in keys.items():
            if seconds := round(usual[key]):
                steps[name] = steps.get(name, {}) | {"expected_seconds": seconds}
        return run_expectation(plan, usual, found.steps, now) | {"steps": steps}

    def list(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return ``{"runs": […], "before": …}``, newest first. Raises ``InvalidTrigger``."""
        request = convert(ListRequest, _with_number(query, "limit"), _refused)
        span = TimeSpan(_time("since", request.since), _time("until", request.until))
        page = self.listing.page(
            request.limit, request.pipeline, request.status, request.before or None, span
        )
        return {"runs": page.runs, "before": page.before}


def read_pipelines_query(query: Mapping[str, str]) -> PipelinesRequest:
    """Raises ``InvalidTrigger``."""
    return convert(PipelinesRequest, _with_number(query, "runs"), _refused)


def read_deliveries_query(query: Mapping[str, str]) -> DeliveriesRequest:
    """Raises ``InvalidTrigger``."""
    request = convert(DeliveriesRequest, _with_number(query, "limit"), _refused)
    if not is_name(request.source):
        raise _refused([Problem("source", f"expected the name of a source: {NAME_RULE}")])
    return request


def read_sources_query(query: Mapping[str, str]) -> SourcesRequest:
    """Raises ``InvalidTrigger``."""
    return convert(SourcesRequest, query, _refused)


def _time(field: str, text: str | None) -> str | None:
    """Return a time of a query as records have it. Raises ``InvalidTrigger``."""
    if text is None:
        return None
    try:
        at = epoch(text) if re.fullmatch(TIME_PATTERN, text) else None
        if at is not None:
            return iso(at)
    except (ValueError, OverflowError):
        pass
    raise _refused([Problem(field, "expected a time with its zone, such as 2026-01-01T00:00:00Z")])


def _key(request: StartRequest, caller: str, idempotency_key: str) -> str:
    return request_key(principal(caller), request.pipeline, request.mode, request.tables, idempotency_key)


def principal(caller: str) -> str:
    """Return the ARN of the role of an assumed-role session; any other ARN unchanged."""
    session = ASSUMED_ROLE.fullmatch(caller)
    return "arn:{partition}:iam::{account}:role/{role}".format(**session.groupdict()) if session else caller


def not_an_object() -> InvalidTrigger:
    """Return the error for a body that is not a JSON object."""
    return _refused([Problem(WHOLE, "expected a JSON object")])


def read_json(text: str | None) -> object:
    """Return the JSON in a request's body. Raises ``InvalidTrigger``."""
    try:
        return parse_json(text or "")
    except Malformed:
        raise not_an_object() from None


def read_cancel(text: str | None) -> CancelRequest:
    """Return the request to cancel in a body. Raises ``InvalidTrigger``."""
    return read_body(CancelRequest, text or "{}")


M = TypeVar("M", bound=Struct)


def read_body(model: type[M], text: str | None) -> M:
    """Return the request in a body. Raises ``InvalidTrigger``."""
    return convert(model, read_json(text), _refused)


def _with_number(query: Mapping[str, str], name: str) -> dict[str, object]:
    """Return the query with the field ``name`` as a number."""
    number = query.get(name, "")
    return {**query, name: int(number)} if re.fullmatch("[0-9]{1,9}", number) else dict(query)


def _document(found: Run | QueuedRun) -> dict[str, Any]:
    return found.shown() if isinstance(found, QueuedRun) else shown(found)


def _has_ended(found: Run | QueuedRun) -> bool:
    return isinstance(found, Run) and not found.is_open
