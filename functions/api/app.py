"""The runs API: runs, pipelines, sources and deliveries. docs/api.md describes every request."""

import time
from functools import cache
from http import HTTPStatus
from typing import Any, NoReturn

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.utilities.typing import LambdaContext

from celonis_refresh import wiring
from celonis_refresh.observability import collecting_metrics, logger
from celonis_refresh.responses import answering, path_log_keys, to_text
from celonis_refresh.runs.errors import RunNotFound
from celonis_refresh.runs.queued import RunLookup
from celonis_refresh.workflow.commands import RunCommands
from celonis_refresh.workflow.delivery_list import DeliveryList
from celonis_refresh.workflow.listing import Listing
from celonis_refresh.workflow.pause import PipelinePauses
from celonis_refresh.workflow.pipeline_check import CheckRequest, PipelineChecker
from celonis_refresh.workflow.pipeline_details import PipelineDetails
from celonis_refresh.workflow.requests import (
    PauseRequest,
    RunRequests,
    not_an_object,
    read_body,
    read_cancel,
    read_deliveries_query,
    read_json,
    read_sources_query,
)
from celonis_refresh.workflow.source_test import SourceTester, SourceTestRequest

app = APIGatewayHttpResolver(serializer=to_text)


@cache
def _requests() -> RunRequests:
    table = wiring.table()
    lookup, listing = RunLookup(table, wiring.records()), Listing(table, time.time)
    return RunRequests(wiring.trigger_acceptor(), wiring.state_machine(), lookup, listing)


@cache
def _commands() -> RunCommands:
    table, listing = wiring.table(), Listing(wiring.table(), time.time)
    return RunCommands(
        table=table,
        lookup=RunLookup(table, wiring.records()),
        listing=listing,
        acceptor=wiring.trigger_acceptor(),
        executions=wiring.state_machine(),
        pipelines=wiring.parameters().pipeline_names,
        details=PipelineDetails(table, listing, wiring.parameters().pipeline_page, time.time),
        clock=time.time,
    )


@cache
def _pauses() -> PipelinePauses:
    return PipelinePauses(wiring.table(), wiring.state_machine(), wiring.parameters().pipeline, time.time)


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
    query = app.current_event.query_string_parameters
    return _requests().show(run_id, query, wiring.deadline(app.lambda_context))


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
    query = app.current_event.query_string_parameters
    return _commands().list_pipelines(query, wiring.deadline(app.lambda_context))


@app.get("/pipelines/<name>")
def show_pipeline(name: str) -> dict[str, Any]:
    return _commands().show_pipeline(name, wiring.deadline(app.lambda_context))


@app.post("/pipelines/<name>/pause")
def pause_pipeline(name: str) -> dict[str, Any]:
    request = read_body(PauseRequest, _body() or "{}")
    return _pauses().pause(name, _caller(), request.reason, wiring.deadline(app.lambda_context))


@app.post("/pipelines/<name>/resume")
def resume_pipeline(name: str) -> dict[str, Any]:
    return _pauses().resume(name, _caller(), wiring.deadline(app.lambda_context))


@app.post("/pipelines/<name>/check")
def check_pipeline(name: str) -> dict[str, Any]:
    checker = PipelineChecker(wiring.parameters().pipeline, wiring.client_for)
    request = read_body(CheckRequest, _body() or "{}")
    return checker.check(name, request, wiring.deadline(app.lambda_context))


@app.get("/sources")
def list_sources() -> dict[str, Any]:
    query = read_sources_query(app.current_event.query_string_parameters)
    names, token = wiring.parameters().source_names(query.after or None)
    return {"sources": names, "next": token}


@app.post("/sources/<name>/test")
def test_source(name: str) -> dict[str, Any]:
    tester = SourceTester(wiring.parameters().source, wiring.trigger_acceptor(), wiring.table())
    return tester.test(name, read_body(SourceTestRequest, _body()))


@app.get("/deliveries")
def list_deliveries() -> dict[str, Any]:
    query = read_deliveries_query(app.current_event.query_string_parameters)
    return DeliveryList(wiring.table(), time.time).page(query.source, query.limit, query.before or None)


@app.not_found
def show_nothing(_: Exception) -> NoReturn:
    """Answer a path of this API whose id or name is not valid."""
    event = app.current_event.raw_event
    (name,) = event.get("pathParameters", {"": ""}).values()
    if " /pipelines/" in event["routeKey"]:
        wiring.parameters().pipeline(name)
    if " /sources/" in event["routeKey"]:
        wiring.parameters().source(name)
    raise RunNotFound(name)


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
@collecting_metrics
@answering
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    logger.append_keys(**path_log_keys(event))
    with wiring.naming_pipelines():
        return app.resolve(event, context)
