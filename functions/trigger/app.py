"""Takes a webhook, claims its runs, starts the first data job and hands over to the state machine."""

import time
from functools import cache
from typing import Any

from celonis_refresh import wiring
from celonis_refresh.aws.configuration import is_transient_error
from celonis_refresh.aws.sns_certificates import SnsCertificates
from celonis_refresh.aws.source_cache import SourceCache
from celonis_refresh.aws.ttl_cache import TtlCache
from celonis_refresh.aws.webhook_secrets import webhook_secrets
from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import count, logger
from celonis_refresh.responses import answer, answering
from celonis_refresh.timing import Deadline
from celonis_refresh.webhooks.request import from_api_gateway
from celonis_refresh.workflow.model_tables import KEPT_SECONDS, ModelTables
from celonis_refresh.workflow.webhook import ANSWER_SECONDS, RequestTime, WebhookHandler

SOURCE_SECONDS = 60
DEFINITION_SECONDS = 10
"""A burst of events is one read of its pipeline: Parameter Store takes 40 reads a second."""
LONGEST_NAME = 48
"""Characters of a source's name that are logged; none that exists has more."""
UNUSABLE = ("InvalidSource", "WebhookSecretUnreadable")
"""Errors of a source as a whole; those of its rules and pipelines are counted one by one. An unknown source
and a request that is not authentic are not counted: anybody can cause them."""


@cache
def _webhook_handler() -> WebhookHandler:
    known = SourceCache(wiring.parameters(), time.time)
    sources = TtlCache(known.source, SOURCE_SECONDS, time.time, is_transient_error)
    secrets = webhook_secrets(wiring.stored_secrets().webhook, time.time)
    return WebhookHandler(
        source=sources.get,
        secrets=secrets.get,
        refreshed_secrets=secrets.refresh_if_allowed,
        acceptor=wiring.trigger_acceptor(DEFINITION_SECONDS),
        context=wiring.step_context(),
        tables=ModelTables(wiring.client_for, time.time, KEPT_SECONDS),
        executions=wiring.state_machine(),
        sns=SnsCertificates(time.time),
        clock=time.time,
    )


@logger.inject_lambda_context(clear_state=True)
@answering
def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    source = event["pathParameters"]["source"]
    logger.append_keys(source=source[:LONGEST_NAME])
    arrived = event["requestContext"]["timeEpoch"] / 1000
    given = RequestTime(Deadline(arrived + ANSWER_SECONDS, time.time), wiring.deadline(context))
    try:
        reply = _webhook_handler().receive(source, from_api_gateway(event), given)
    except RefreshError as error:
        if error.name in UNUSABLE:
            count("ConfigurationErrors", source=source[:LONGEST_NAME])
        raise
    return answer(reply.status, reply.body, reply.headers)
