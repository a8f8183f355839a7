"""Makes ``docs/openapi.json`` from the code: models of requests, shapes of answers, statuses of errors."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from celonis_refresh.http_answers import STATUS
from celonis_refresh.passage import shapes
from celonis_refresh.passage.requesting import CancelRequest, ListRequest, StartRequest

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"
REFERENCE = "#/components/schemas/{model}"


@dataclass(frozen=True)
class Operation:
    """One route: what it does, what it takes and what it answers."""

    method: str
    path: str
    name: str
    summary: str
    answers: dict[int, Any]
    errors: tuple[int, ...]
    body: type[BaseModel] | None = None
    body_required: bool = True
    query: type[BaseModel] | None = None
    is_open: bool = False


OPERATIONS = (
    Operation(
        "POST",
        "/runs",
        "StartRun",
        "Start a run, or join the one that follows",
        {202: shapes.Started, 200: shapes.Started},
        (400, 404, 409, 422, 503),
        body=StartRequest,
    ),
    Operation(
        "GET", "/runs", "ListRuns", "Runs, newest first", {200: shapes.RunsPage}, (400,), query=ListRequest
    ),
    Operation("GET", "/runs/{run_id}", "ShowRun", "The record of a run", {200: dict[str, Any]}, (404,)),
    Operation(
        "POST",
        "/runs/{run_id}/cancel",
        "CancelRun",
        "Cancel a run that is under way",
        {202: shapes.Cancelling},
        (400, 404, 409, 503),
        body=CancelRequest,
        body_required=False,
    ),
    Operation(
        "POST",
        "/runs/{run_id}/retry",
        "RetryRun",
        "A new run without what the old one is done with",
        {202: shapes.Started, 200: shapes.Started},
        (404, 409, 422, 503),
    ),
    Operation(
        "GET", "/pipelines", "ListPipelines", "The names of the pipelines", {200: shapes.Pipelines}, ()
    ),
    Operation(
        "GET",
        "/pipelines/{name}",
        "ShowPipeline",
        "What runs, what waits, how fresh the model is",
        {200: shapes.PipelineView},
        (400, 404, 422),
    ),
    Operation(
        "POST",
        "/webhooks/{source}",
        "Webhook",
        "An event of a source system, proven as the source says",
        {202: shapes.Delivered, 200: shapes.Delivered},
        (400, 401, 404, 413, 422, 503),
        is_open=True,
    ),
)


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Celonis Refresh", "version": "1", "description": _statuses()},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "name": "Authorization",
                    "in": "header",
                    "description": "AWS SigV4",
                }
            },
        },
    }


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {
        str(status): _answer(_schema(shape, schemas)) for status, shape in operation.answers.items()
    }
    answers |= {str(status): _answer(_schema(shapes.ErrorTold, schemas)) for status in operation.errors}
    made: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation), *_query_parameters(operation)],
        "responses": answers,
    }
    if operation.body is not None:
        content = {"application/json": {"schema": _schema(operation.body, schemas)}}
        made["requestBody"] = {"required": operation.body_required, "content": content}
    return made if operation.is_open else made | {"security": [{"sigv4": []}]}


def _answer(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "", "content": {"application/json": {"schema": schema}}}


def _schema(shape: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """A reference to the shape's schema, which is put among the components."""
    made = TypeAdapter(shape).json_schema(ref_template=REFERENCE)
    schemas |= made.pop("$defs", {})
    if "title" not in made:
        return made
    schemas[made["title"]] = made
    return {"$ref": REFERENCE.format(model=made["title"])}


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = operation.query.model_json_schema(ref_template=REFERENCE)
    inlined = json.loads(json.dumps(schema["properties"]))
    definitions = schema.get("$defs", {})
    for field in inlined.values():
        for choice in field.get("anyOf", []):
            reference = choice.pop("$ref", None)
            choice |= definitions[reference.rsplit("/", 1)[1]] if reference else {}
    return [
        {"name": name, "in": "query", "required": False, "schema": field} for name, field in inlined.items()
    ]


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
