"""The runs API: start, show, list, cancel and retry runs; list and show pipelines."""

import time
from functools import cache
from http import HTTPStatus
from typing import Any, NoReturn

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.utilities.typing import LambdaContext

from celonis_refresh import wiring
from celonis_refresh.observability import logger
from celonis_refresh.responses import answering, to_text
from celonis_refresh.runs.errors import RunNotFound
from celonis_refresh.runs.queued import RunLookup
from celonis_refresh.workflow.commands import RunCommands
from celonis_refresh.workflow.listing import Listing
from celonis_refresh.workflow.requests import RunRequests, not_an_object, read_cancel, read_json

app = APIGatewayHttpResolver(serializer=to_text)


@cache
def _requests() -> RunRequests:
    table = wiring.table()
    lookup, listing = RunLookup(table, wiring.records()), Listing(table, time.time)
    return RunRequests(wiring.trigger_acceptor(), wiring.state_machine(), lookup, listing)


@cache
def _commands() -> RunCommands:
    table = wiring.table()
    return RunCommands(
        table=table,
        lookup=RunLookup(table, wiring.records()),
        listing=Listing(table, time.time),
        acceptor=wiring.trigger_acceptor(),
        executions=wiring.state_machine(),
        pipelines=wiring.parameters().pipelines,
        clock=time.time,
    )


@app.post("/runs")
def start_run() -> tuple[dict[str, Any], int]:
    event = app.current_event
    key = event.headers.get("idempotency-key")
    deadline = wiring.deadline(app.lambda_context)
    response = _requests().start(read_json(_body()), _caller(), key, deadline)
    return response, HTTPStatus.OK if response.get("duplicate") else HTTPStatus.ACCEPTED


@app.get("/runs")
def list_runs() -> dict[str, Any]:
    return _requests().list(app.current_event.query_string_parameters)


@app.get("/runs/<run_id>")
def show_run(run_id: str) -> dict[str, Any]:
    return _requests().show(run_id)


@app.post("/runs/<run_id>/cancel")
def cancel_run(run_id: str) -> tuple[dict[str, Any], int]:
    request = read_cancel(_body())
    deadline = wiring.deadline(app.lambda_context)
    response = _commands().cancel(run_id, _caller(), deadline, drop_pending=request.drop_pending)
    return response, HTTPStatus.OK if response["status"] == "dropped" else HTTPStatus.ACCEPTED


@app.post("/runs/<run_id>/retry")
def retry_run(run_id: str) -> tuple[dict[str, Any], int]:
    response = _commands().retry(run_id, _caller(), wiring.deadline(app.lambda_context))
    return response, HTTPStatus.OK if response.get("duplicate") else HTTPStatus.ACCEPTED


@app.get("/pipelines")
def list_pipelines() -> dict[str, Any]:
    return _commands().list_pipelines()


@app.get("/pipelines/<name>")
def show_pipeline(name: str) -> dict[str, Any]:
    return _commands().show_pipeline(name)


@app.not_found
def show_nothing(_: Exception) -> NoReturn:
    """Answer a path of this API whose id or name is not valid."""
    event = app.current_event.raw_event
    (found,) = event.get("pathParameters", {"": ""}).values()
    if event["routeKey"].endswith("{name}"):
        wiring.parameters().pipeline(found)
    raise RunNotFound(found)


def _body() -> str | None:
    """Return the body as text. Raises ``InvalidTrigger`` for bytes that are not text."""
    try:
        return app.current_event.decoded_body
    except ValueError:
        raise not_an_object() from None


def _caller() -> str:
    """Return the ARN of the IAM user or role that signed the request."""
    context = app.current_event.raw_event["requestContext"]
    return str(context.get("authorizer", {}).get("iam", {}).get("userArn", "api"))


@logger.inject_lambda_context(clear_state=True)
@answering
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    with wiring.naming_pipelines():
        return app.resolve(event, context)
