"""Verify a webhook, claim its runs, start the first data job and the execution."""

import os
import time
from functools import cache
from typing import Any

from celonis_refresh import wiring
from celonis_refresh.aws import environment
from celonis_refresh.aws.sns_certificates import SnsCertificates
from celonis_refresh.aws.webhook_configuration import WebhookConfiguration
from celonis_refresh.errors import RefreshError, UnusableConfiguration
from celonis_refresh.observability import collecting_metrics, count, logger
from celonis_refresh.responses import answer, answering
from celonis_refresh.steps.target import TABLES_SECONDS, ModelTables
from celonis_refresh.timing import Deadline
from celonis_refresh.webhooks.request import from_api_gateway
from celonis_refresh.workflow.webhook import RESPONSE_SECONDS, RequestTime, WebhookHandler

MAX_NAME = 48
"""Characters of a source's name that are logged; existing sources have shorter names."""
UNUSABLE = ("InvalidSource", "WebhookSecretUnreadable")
"""Errors of a source as a whole. Errors of its rules and pipelines are counted one by one; an unknown source
and a request that is not authentic are not counted, because anybody can cause them."""


@cache
def _webhook_handler() -> WebhookHandler:
    table = wiring.table()
    configuration = WebhookConfiguration.of(wiring.parameters(), wiring.stored_secrets(), table, time.time)
    return WebhookHandler(
        source=configuration.source,
        secrets=configuration.secrets.get,
        refreshed_secrets=configuration.secrets.refresh_if_allowed,
        acceptor=wiring.acceptor(configuration.definition),
        context=wiring.step_context(),
        tables=ModelTables(wiring.client_for, time.time, TABLES_SECONDS),
        executions=wiring.state_machine(),
        sns=SnsCertificates(time.time),
        clock=time.time,
        report=wiring.report_configuration,
        allow_http=environment.allows_http_callbacks(os.environ),
    )


@logger.inject_lambda_context(clear_state=True)
@collecting_metrics
@answering
def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    source = event["pathParameters"]["source"]
    logger.append_keys(source=source[:MAX_NAME])
    arrived = event["requestContext"]["timeEpoch"] / 1000
    request_time = RequestTime(Deadline(arrived + RESPONSE_SECONDS, time.time), wiring.deadline(context))
    try:
        reply = _webhook_handler().receive(source, from_api_gateway(event), request_time)
    except RefreshError as error:
        if error.name in UNUSABLE:
            count("ConfigurationErrors", source=source[:MAX_NAME])
            wiring.report_configuration([UnusableConfiguration(error, source[:MAX_NAME])])
        raise
    return answer(reply.status, reply.body, reply.headers)
