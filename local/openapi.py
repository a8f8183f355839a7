"""Generates ``docs/openapi.json`` from the code: request and response models, statuses of errors."""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

from celonis_refresh.names import NAME_PATTERN
from celonis_refresh.responses import STATUS
from celonis_refresh.runs.table import MAX_RUN_ID
from celonis_refresh.workflow.pipeline_check import CheckRequest
from celonis_refresh.workflow.requests import (
    CancelRequest,
    DeliveriesRequest,
    ListRequest,
    PauseRequest,
    PipelinesRequest,
    ShowRequest,
    SourcesRequest,
    StartRequest,
)
from celonis_refresh.workflow.source_test import SourceTestRequest
from local import api_shapes as shapes

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"
REFERENCE = "#/components/schemas/{name}"
Json = dict[str, Any]

ANYWHERE = {500: "An error of this service; its log has it", 503: "Not now: try again"}
"""Statuses that every operation may return, from us or API Gateway."""
GATEWAY = {403: "Not signed, or not allowed", 429: "Too many requests"}
"""Statuses that only API Gateway returns; 403 only if a signature is required."""
BOTH = (404, 413)
"""Statuses of our own errors that API Gateway also uses."""
PATH = {
    "run_id": {"type": "string", "minLength": 1, "maxLength": MAX_RUN_ID},
    "name": {"type": "string", "pattern": NAME_PATTERN},
    "source": {"type": "string", "pattern": NAME_PATTERN},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "The same request with the same key is accepted once in 14 days; an empty key is none. "
        "It belongs to the IAM user or role that signs. The request of another user or role under the same "
        "key is another, and so is one for another pipeline, mode or tables."
    ),
    "schema": {"type": "string"},
}
RETRY_AFTER = {"Retry-After": {"description": "Seconds", "schema": {"type": "string"}}}


@dataclass(frozen=True)
class ApiOperation:
    """One route: description, request, response, and the statuses of its own errors."""

    method: str
    path: str
    name: str
    summary: str
    answers: dict[int, Any]
    errors: tuple[int, ...] = ()
    body: type[msgspec.Struct] | None = None
    body_required: bool = True
    query: type[msgspec.Struct] | None = None
    headers: tuple[Json, ...] = ()
    is_open: bool = False


OPERATIONS = (
    ApiOperation(
        "POST",
        "/runs",
        "StartRun",
        "Start a run, or join the one that follows",
        {202: shapes.Started, 200: shapes.Started},
        (400, 404, 409, 413, 422),
        body=StartRequest,
        headers=(IDEMPOTENCY_KEY,),
    ),
    ApiOperation(
        "GET", "/runs", "ListRuns", "Runs, newest first", {200: shapes.RunsPage}, (400,), query=ListRequest
    ),
    ApiOperation(
        "GET",
        "/runs/{run_id}",
        "ShowRun",
        "The record of a run",
        {200: shapes.Record | shapes.Waiting},
        (400, 404),
        query=ShowRequest,
    ),
    ApiOperation(
        "POST",
        "/runs/{run_id}/cancel",
        "CancelRun",
        "Cancel a current run, or drop a pending one",
        {202: shapes.Cancelling, 200: shapes.Dropped},
        (400, 404, 409, 413),
        body=CancelRequest,
        body_required=False,
    ),
    ApiOperation(
        "POST",
        "/runs/{run_id}/retry",
        "RetryRun",
        "A new run without what the old one is done with",
        {202: shapes.Started, 200: shapes.Started},
        (404, 409, 422),
    ),
    ApiOperation(
        "GET",
        "/pipelines",
        "ListPipelines",
        "The names of the pipelines",
        {200: shapes.Pipelines},
        (400,),
        query=PipelinesRequest,
    ),
    ApiOperation(
        "GET",
        "/pipelines/{name}",
        "ShowPipeline",
        "What runs, what waits, how fresh the model is",
        {200: shapes.PipelineView},
        (400, 404, 422),
    ),
    ApiOperation(
        "POST",
        "/pipelines/{name}/pause",
        "PausePipeline",
        "Start nothing for a pipeline until it is resumed; triggers wait",
        {200: shapes.Paused},
        (400, 404, 413),
        body=PauseRequest,
        body_required=False,
    ),
    ApiOperation(
        "POST",
        "/pipelines/{name}/resume",
        "ResumePipeline",
        "End the pause of a pipeline and start its pending run",
        {200: shapes.Resumed},
        (400, 404),
    ),
    ApiOperation(
        "POST",
        "/pipelines/{name}/check",
        "CheckPipeline",
        "What exists in Celonis and which permission is missing; starts nothing",
        {200: shapes.Checked},
        (400, 404, 413),
        body=CheckRequest,
        body_required=False,
    ),
    ApiOperation(
        "GET",
        "/sources",
        "ListSources",
        "The names of the sources",
        {200: shapes.Sources},
        (400,),
        query=SourcesRequest,
    ),
    ApiOperation(
        "POST",
        "/sources/{name}/test",
        "TestSource",
        "What an event would start, and why not, rule by rule; starts nothing",
        {200: shapes.SourceTested},
        (400, 404, 413),
        body=SourceTestRequest,
    ),
    ApiOperation(
        "GET",
        "/deliveries",
        "ListDeliveries",
        "What became of the webhook events of a source in the last 14 days, newest first",
        {200: shapes.Deliveries},
        (400,),
        query=DeliveriesRequest,
    ),
    ApiOperation(
        "POST",
        "/webhooks/{source}",
        "Webhook",
        "An event of a source system, proven as the source says",
        {202: shapes.Delivered, 200: shapes.Handled},
        (400, 401, 404, 413, 422),
        is_open=True,
    ),
    ApiOperation(
        "OPTIONS",
        "/webhooks/{source}",
        "WebhookOptions",
        "The question of CloudEvents whether events may be sent here; the answer is in the headers",
        {200: None},
        (400, 401, 404, 413, 422),
        is_open=True,
    ),
)


def document() -> Json:
    """Return the OpenAPI document."""
    schemas: Json = {}
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    scheme = {"type": "apiKey", "name": "Authorization", "in": "header", "description": "AWS SigV4"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Celonis Refresh", "version": "1", "description": _statuses()},
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items())), "securitySchemes": {"sigv4": scheme}},
    }


def _operation(operation: ApiOperation, schemas: Json) -> Json:
    parameters = [*_path_parameters(operation), *_query_parameters(operation), *operation.headers]
    document: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": _responses(operation, schemas),
    }
    if operation.body is not None:
        content = {"application/json": {"schema": _schema(operation.body, schemas)}}
        document["requestBody"] = {"required": operation.body_required, "content": content}
    return document if operation.is_open else document | {"security": [{"sigv4": []}]}


def _responses(operation: ApiOperation, schemas: Json) -> Json:
    """Return the success response, the errors of this operation, and the common errors."""
    responses = {status: _answer(_schema(shape, schemas)) for status, shape in operation.answers.items()}
    if operation.name == "Webhook":
        responses[200]["content"]["text/xml"] = {"schema": {"type": "string"}}
    reported, turned_away = _schema(shapes.ErrorBody, schemas), _schema(shapes.RefusedRequest, schemas)
    either = {"anyOf": [reported, turned_away]}
    responses |= {status: _answer(either if status in BOTH else reported) for status in operation.errors}
    responses |= {status: _answer(either, why) for status, why in ANYWHERE.items()}
    needed = {status: why for status, why in GATEWAY.items() if status != 403 or not operation.is_open}
    responses |= {status: _answer(turned_away, why) for status, why in needed.items()}
    responses[503]["headers"] = RETRY_AFTER
    return {str(status): answer for status, answer in sorted(responses.items())}


def _answer(schema: Json, description: str = "") -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _schema(shape: Any, schemas: Json) -> Json:
    """Return the schema of a model; named schemas are added to the components and referenced."""
    if shape is None:
        return {}
    if is_typeddict(shape):
        schemas[shape.__name__] = _object(shape, schemas)
        return {"$ref": REFERENCE.format(name=shape.__name__)}
    if get_origin(shape) in (Union, UnionType):
        return {"anyOf": [_schema(each, schemas) for each in get_args(shape)]}
    if get_origin(shape) is list:
        return {"type": "array", "items": _schema(get_args(shape)[0], schemas)}
    (schema,), named = msgspec.json.schema_components([shape], ref_template=REFERENCE)
    schemas |= named
    return schema


def _object(shape: Any, schemas: Json) -> Json:
    """Return the schema of a response. It is made here, because msgspec supports no union of two structs."""
    hints = get_type_hints(shape, include_extras=True)
    optional = {name: get_args(hint)[0] for name, hint in hints.items() if get_origin(hint) is NotRequired}
    return {
        "description": inspect.getdoc(shape),
        "type": "object",
        "properties": {name: _schema(each, schemas) for name, each in {**hints, **optional}.items()},
        "required": [name for name in hints if name not in optional],
    }


def _path_parameters(operation: ApiOperation) -> list[Json]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": PATH[name]} for name in names]


def _query_parameters(operation: ApiOperation) -> list[Json]:
    """Return the parameters of a query, which has no null: an optional parameter is omitted."""
    if operation.query is None:
        return []
    named: Json = {}
    _schema(operation.query, named)
    parameters = []
    required = named[operation.query.__name__].get("required", [])
    for name, field in named[operation.query.__name__]["properties"].items():
        choices = [choice for choice in field.pop("anyOf", [{}]) if choice.get("type") != "null"]
        inlined = {**field, **choices[0]}
        reference = inlined.pop("$ref", "")
        inlined |= named.get(reference.rsplit("/", 1)[-1], {})
        inlined.pop("default", None)
        parameters.append({"name": name, "in": "query", "required": name in required, "schema": inlined})
    return parameters


def _statuses() -> str:
    return "Errors by name: " + ", ".join(f"{name} {status}" for name, status in sorted(STATUS.items())) + "."


def text() -> str:
    return json.dumps(document(), indent=2) + "\n"


def main() -> int:
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
