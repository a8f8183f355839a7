"""What people ask of runs: start one, show one, list them."""

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
"""What a trigger's mode and tables may be; ``make_options`` checks it."""
ASSUMED_ROLE: Final = re.compile(
    r"arn:(?P<partition>[^:]+):sts::(?P<account>[0-9]*):assumed-role/(?P<role>[^/]+)/[^/]+"
)
"""How IAM names the caller of a request that a session of a role has signed."""
NAME: Final = {"pattern": NAME_PATTERN, "description": f"the name of a pipeline: {NAME_RULE}"}
"""What a pipeline's name looks like; whoever reads its definition checks it."""


class StartRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /runs``. ``mode`` and ``tables`` as in a trigger."""

    pipeline: Annotated[str, Meta(max_length=64, extra_json_schema=NAME)]
    mode: Annotated[Any, Meta(extra_json_schema=MODE)] = None
    tables: Annotated[Any, Meta(extra_json_schema=TABLES)] = None
    reason: Annotated[str, Meta(max_length=256)] = ""


class CancelRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /runs/{run_id}/cancel``; it may be left out."""

    drop_pending: bool = False


class ListRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of ``GET /runs``. ``before``: what the page before gave; empty is the first page."""

    pipeline: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    status: RunStatus | None = None
    before: Annotated[str, Meta(max_length=128)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


_refused = partial(InvalidTrigger, REQUEST)


class RunRequests(Struct, frozen=True):
    """Serves the runs API."""

    acceptor: TriggerAcceptor
    executions: Executions
    lookup: RunLookup
    listing: Listing

    def start(
        self, body: object, caller: str, idempotency_key: str | None, deadline: Deadline
    ) -> dict[str, Any]:
        """Start a run or joins the one that follows: ``{"runs": [{"pipeline", "run_id", "status"}]}``.

        Raises what accepting raises, and ``InvalidTrigger`` for a body that makes no sense.
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
        """Return one run's record, or what is known of one that waits. Raises ``RunNotFound``."""
        found = self.lookup.get(run_id)
        return found.shown() if isinstance(found, QueuedRun) else shown(found)

    def list(self, query: Mapping[str, str]) -> dict[str, Any]:
        """``{"runs": […], "before": …}``, newest first. Raises ``InvalidTrigger``."""
        request = convert(ListRequest, _with_number(query), _refused)
        page = self.listing.page(request.limit, request.pipeline, request.status, request.before or None)
        return {"runs": page.runs, "before": page.before}


def _key(request: StartRequest, caller: str, idempotency_key: str) -> str:
    return request_key(principal(caller), request.pipeline, request.mode, request.tables, idempotency_key)


def principal(caller: str) -> str:
    """The ARN of the role behind an assumed-role session, which ends within hours; any other ARN as it is."""
    session = ASSUMED_ROLE.fullmatch(caller)
    return "arn:{partition}:iam::{account}:role/{role}".format(**session.groupdict()) if session else caller


def not_an_object() -> InvalidTrigger:
    """Return what a body is answered with that cannot be read as a JSON object."""
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
    """Return the query with its only number as one: everything in a query is a text."""
    limit = query.get("limit", "")
    return {**query, "limit": int(limit)} if re.fullmatch("[0-9]{1,9}", limit) else dict(query)
