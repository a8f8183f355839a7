"""Starts a run, shows one, lists them."""

from functools import cache
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.utilities.typing import LambdaContext

from celonis_refresh import assembly
from celonis_refresh.http_answers import answering
from celonis_refresh.observability import logger
from celonis_refresh.passage.requesting import Requests, read_json
from celonis_refresh.runs.listing import Listing

app = APIGatewayHttpResolver()


@cache
def _requests() -> Requests:
    records, listing = assembly.records(), Listing(assembly.table())
    return Requests(assembly.accepting(), assembly.state_machine(), records, listing)


@app.post("/runs")
def start_run() -> tuple[dict[str, Any], int]:
    event = app.current_event
    key = event.headers.get("idempotency-key")
    deadline = assembly.deadline(app.lambda_context)
    told = _requests().start(read_json(event.decoded_body), "api", key, deadline)
    return told, HTTPStatus.OK if told.get("duplicate") else HTTPStatus.ACCEPTED


@app.get("/runs")
def list_runs() -> dict[str, Any]:
    return _requests().list(app.current_event.query_string_parameters)


@app.get("/runs/<run_id>")
def show_run(run_id: str) -> dict[str, Any]:
    return _requests().show(run_id)


@logger.inject_lambda_context(clear_state=True)
@answering
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return app.resolve(event, context)
