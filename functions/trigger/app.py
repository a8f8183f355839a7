"""Takes a webhook, claims its runs, starts the first data job and hands over to the state machine."""

import time
from functools import cache
from typing import Any

from celonis_refresh import assembly
from celonis_refresh.aws.configuration import is_passing
from celonis_refresh.aws.kept import Kept
from celonis_refresh.aws.known_sources import KnownSources
from celonis_refresh.aws.sns_pages import SnsPages
from celonis_refresh.aws.webhook_secrets import webhook_secrets
from celonis_refresh.errors import RefreshError
from celonis_refresh.http_answers import answer, answering
from celonis_refresh.observability import count, logger
from celonis_refresh.passage import triggering
from celonis_refresh.passage.request_time import ANSWER_SECONDS, RequestTime
from celonis_refresh.passage.tables import KEPT_SECONDS, ModelTables
from celonis_refresh.timing import Deadline
from celonis_refresh.webhooks.request import from_api_gateway

SOURCE_SECONDS = 60
DEFINITION_SECONDS = 10
"""A burst of events is one read of its pipeline: Parameter Store takes 40 reads a second."""
LONGEST_NAME = 48
"""Characters of a source's name that are logged; none that exists has more."""
UNUSABLE = ("InvalidSource", "WebhookSecretUnreadable")
"""Errors of a source as a whole; those of its rules and pipelines are counted one by one. An unknown source
and a request that is not authentic are not counted: anybody can cause them."""


@cache
def _triggering() -> triggering.Triggering:
    known = KnownSources(assembly.parameters(), time.time)
    sources = Kept(known.source, SOURCE_SECONDS, time.time, is_passing)
    secrets = webhook_secrets(assembly.stored_secrets().webhook, time.time)
    return triggering.Triggering(
        source=sources.get,
        secrets=secrets.get,
        renewed=secrets.renew_seldom,
        accepting=assembly.accepting(DEFINITION_SECONDS),
        tasks=assembly.tasks(),
        tables=ModelTables(assembly.client_for, time.time, KEPT_SECONDS),
        records=assembly.records(),
        executions=assembly.state_machine(),
        sns=SnsPages(time.time),
        clock=time.time,
    )


@logger.inject_lambda_context(clear_state=True)
@answering
def handler(event: dict[str, Any], context: assembly.LambdaContext) -> dict[str, Any]:
    source = event["pathParameters"]["source"]
    logger.append_keys(source=source[:LONGEST_NAME])
    arrived = event["requestContext"]["timeEpoch"] / 1000
    given = RequestTime(Deadline(arrived + ANSWER_SECONDS, time.time), assembly.deadline(context))
    try:
        reply = _triggering().receive(source, from_api_gateway(event), given)
    except RefreshError as error:
        if error.name in UNUSABLE:
            count("ConfigurationErrors", source=source[:LONGEST_NAME])
        raise
    return answer(reply.status, reply.body, reply.headers)
