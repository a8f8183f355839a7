"""Requests of the runs API: start, show and list runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from celonis_refresh.errors import WHOLE, Problem
from celonis_refresh.names import NAME_PATTERN, NAME_RULE
from celonis_refresh.pipelines.errors import InvalidTrigger
from celonis_refresh.runs.errors import PipelineSkips
from celonis_refresh.runs.queued import QueuedRun, RunLookup
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.runs.table import request_key
from celonis_refresh.timing import Deadline
from celonis_refresh.validation.convert import convert
from celonis_refresh.webhooks.errors import Malformed
from celonis_refresh.webhooks.request import parse_json
from celonis_refresh.workflow.accept import Trigger, TriggerAcceptor, response_body, start_execution_of
from celonis_refresh.workflow.executions import Executions
from celonis_refresh.workflow.listing import Listing, shown

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
    """The query of ``GET /runs``. ``before``: what the page before gave; empty is the first page."""

    pipeline: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    status: RunStatus | None = None
    before: Annotated[str, Meta(max_length=128)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


_refused = partial(InvalidTrigger, REQUEST)


class RunRequests(Struct, frozen=True):
    """Starts, shows and lists runs."""

    acceptor: TriggerAcceptor
    executions: Executions
    lookup: RunLookup
    listing: Listing

    def start(
        self, body: object, caller: str, idempotency_key: str | None, deadline: Deadline
    ) -> dict[str, Any]:
        """Start a run or join the follow-up run: ``{"runs": [{"pipeline", "run_id", "status"}]}``.

        Raises what accepting raises, and ``InvalidTrigger`` for an invalid body.
        """
        request = convert(StartRequest, body, _refused)
        trigger = Trigger(request.pipeline, request.mode, request.tables, caller, request.reason)
        deliveries = [_key(request, caller, idempotency_key)] if idempotency_key else []
        acceptance = self.acceptor.accept([trigger], deliveries, deadline)
        for accepted in acceptance.results:
            if accepted.status == "skipped":
                raise PipelineSkips(accepted.pipeline, accepted.run_id)
            if accepted.status == "started":
                start_execution_of(self.executions, accepted.run_id)
        return response_body(acceptance)

    def show(self, run_id: str) -> dict[str, Any]:
        """Return a run's record, or a pending run. Raises ``RunNotFound``."""
        found = self.lookup.get(run_id)
        return found.shown() if isinstance(found, QueuedRun) else shown(found)

    def list(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return ``{"runs": […], "before": …}``, newest first. Raises ``InvalidTrigger``."""
        request = convert(ListRequest, _with_number(query), _refused)
        page = self.listing.page(request.limit, request.pipeline, request.status, request.before or None)
        return {"runs": page.runs, "before": page.before}


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
    return convert(CancelRequest, read_json(text) if text else {}, _refused)


def _with_number(query: Mapping[str, str]) -> dict[str, object]:
    """Return the query with ``limit`` as a number."""
    limit = query.get("limit", "")
    return {**query, "limit": int(limit)} if re.fullmatch("[0-9]{1,9}", limit) else dict(query)
