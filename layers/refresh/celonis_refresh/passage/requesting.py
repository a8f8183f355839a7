"""What people ask of runs: start one, show one, list them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue

from celonis_refresh.passage.accepting import Accepting, Trigger, told
from celonis_refresh.passage.closing import Executions
from celonis_refresh.passage.handover import hand_over
from celonis_refresh.pipelines.definition import NAME_PATTERN
from celonis_refresh.pipelines.errors import InvalidTrigger, Problem, problems_of
from celonis_refresh.runs import keys
from celonis_refresh.runs.errors import PipelineSkips
from celonis_refresh.runs.listing import Listing, shown
from celonis_refresh.runs.records import Records, RunStatus
from celonis_refresh.timing import Deadline
from celonis_refresh.webhooks.documents import parse_json
from celonis_refresh.webhooks.errors import Malformed

REQUEST = "The request"


TABLES: JsonSchemaValue = {
    "anyOf": [
        {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 256}, "minItems": 1},
        {"enum": ["all", None]},
    ]
}
"""What a trigger's tables may be; ``wishes`` checks it."""


NAME: JsonSchemaValue = {"type": "string", "pattern": NAME_PATTERN}
"""What a pipeline's name looks like; whoever reads its definition checks it."""


class StartRequest(BaseModel):
    """The body of ``POST /runs``. ``mode`` and ``tables`` as in a trigger."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    pipeline: Annotated[str, Field(strict=True, max_length=64), WithJsonSchema(NAME)]
    mode: Annotated[Any, WithJsonSchema({"enum": ["FULL", "DELTA", None]})] = None
    tables: Annotated[Any, WithJsonSchema(TABLES)] = None
    reason: Annotated[str, Field(max_length=256)] = ""


class CancelRequest(BaseModel):
    """The body of ``POST /runs/{run_id}/cancel``; it may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    drop_pending: Annotated[bool, Field(strict=True)] = False


class ListRequest(BaseModel):
    """The query of ``GET /runs``. ``before``: what the page before gave."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    pipeline: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    status: RunStatus | None = None
    before: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


@dataclass(frozen=True)
class Requests:
    """Serves the runs API."""

    accepting: Accepting
    executions: Executions
    records: Records
    listing: Listing

    def start(
        self, body: object, caller: str, idempotency_key: str | None, deadline: Deadline
    ) -> dict[str, Any]:
        """Starts a run or joins the one that follows: ``{"runs": [{"pipeline", "run_id", "status"}]}``.

        Raises what accepting raises, and ``InvalidTrigger`` for a body that makes no sense.
        """
        request = _read(StartRequest, body)
        trigger = Trigger(request.pipeline, request.mode, request.tables, caller, request.reason)
        deliveries = [_key(request, caller, idempotency_key)] if idempotency_key else []
        acceptance = self.accepting.accept([trigger], deliveries, deadline)
        for accepted in acceptance.results:
            if accepted.status == "skipped":
                raise PipelineSkips(accepted.pipeline, accepted.run_id)
            if accepted.status == "started":
                hand_over(self.executions, accepted.run_id)
        return told(acceptance)

    def show(self, run_id: str) -> dict[str, Any]:
        """One run's record. Raises ``RunNotFound``."""
        return shown(self.records.get(run_id))

    def list(self, query: Mapping[str, str]) -> dict[str, Any]:
        """``{"runs": […], "before": …}``, newest first. Raises ``InvalidTrigger``."""
        request = _read(ListRequest, dict(query))
        page = self.listing.page(request.limit, request.pipeline, request.status, request.before)
        return {"runs": page.runs, "before": page.before}


def _key(request: StartRequest, caller: str, idempotency_key: str) -> str:
    return keys.requested(caller, request.pipeline, request.mode, request.tables, idempotency_key)


def no_object() -> InvalidTrigger:
    """What a body is answered with that cannot be read as a JSON object."""
    return InvalidTrigger(REQUEST, [Problem("(the whole document)", "expected a JSON object")])


def read_json(text: str | None) -> object:
    """The JSON in a request's body. Raises ``InvalidTrigger``."""
    try:
        return parse_json(text or "")
    except Malformed:
        raise no_object() from None


def read_cancel(text: str | None) -> CancelRequest:
    """The request to cancel in a body. Raises ``InvalidTrigger``."""
    request: CancelRequest = _read(CancelRequest, read_json(text) if text else {})
    return request


def _read(model: type[Any], document: object) -> Any:
    if not isinstance(document, dict):
        raise no_object()
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        raise InvalidTrigger(REQUEST, problems_of(found)) from None
