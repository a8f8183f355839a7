"""Creates the parts of the functions, each once per process on first use.

Parts that only some functions have are imported where they are created, so that others start faster.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import ClientError

from celonis_refresh.aws import clients, environment
from celonis_refresh.aws.caching import TtlCache
from celonis_refresh.aws.configuration import (
    ConfigurationUnavailable,
    Parameters,
    Secrets,
    SecretUnreadable,
    is_transient_error,
)
from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.connection import Connection
from celonis_refresh.celonis.errors import ConnectionInvalid
from celonis_refresh.celonis.transport import Answer, Call, rate_limit
from celonis_refresh.celonis.unusable_client import reload_or_wait, unusable_client
from celonis_refresh.errors import Problem, RefreshError, UnusableConfiguration
from celonis_refresh.observability import count, logger, measure
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.errors import InvalidDefinition, UnknownPipeline
from celonis_refresh.rate_limits.limiter import SharedRateLimiter
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.records import Records, Run, cut
from celonis_refresh.runs.table import Table, make_run_id
from celonis_refresh.steps.step import MAX_NAME, StepContext
from celonis_refresh.steps.target import DataJobTarget, DataModelTarget, StepTarget, resolved_load
from celonis_refresh.timing import Deadline

if TYPE_CHECKING:
    from celonis_refresh.aws.event_bus import EventBus
    from celonis_refresh.aws.executions import StateMachine
    from celonis_refresh.notifications.outbox import Outbox
    from celonis_refresh.workflow.accept import TriggerAcceptor
    from celonis_refresh.workflow.close import RunCloser
    from celonis_refresh.workflow.configuration_checks import ConfigurationChecks
    from celonis_refresh.workflow.configuration_reports import ConfigurationReports
    from celonis_refresh.workflow.freshness import FreshnessMonitor

CONNECTION_SECONDS = 300
CHANNEL_SECONDS = 3600
"""How long reconcile does not read the secret of a usable channel again to check it."""
MAX_KNOWN = 100
"""Names of pipelines that an error lists; at most ten requests."""
UNUSABLE = (SecretUnreadable, ConnectionInvalid, InvalidDefinition)
"""Errors of a secret that cannot be used; the last if it has another team than the definition."""
NAME_SECONDS = 5.0
"""Time limit of the request for the name of a job or model."""
RESERVED_SECONDS = 3.0
"""Time of a function that is reserved to report an error."""


class LambdaContext(Protocol):
    """The part of Lambda's context that is used."""

    def get_remaining_time_in_millis(self) -> int: ...


def deadline(context: LambdaContext) -> Deadline:
    """Return the deadline of this invocation, less the reserve."""
    return Deadline.after(context.get_remaining_time_in_millis() / 1000 - RESERVED_SECONDS, time.time)


def new_id(name: str) -> str:
    """Return a new run id, which is readable and sorts by time within a pipeline."""
    return make_run_id(name, datetime.now(UTC), secrets.token_hex(4))


@cache
def task_environment() -> environment.TaskEnvironment:
    return environment.read(environment.TaskEnvironment, os.environ)


def _client_timeouts() -> clients.ClientTimeouts:
    return clients.CLIENT_TIMEOUTS[task_environment().client_timeouts]


@cache
def table() -> Table:
    return Table(clients.dynamodb(_client_timeouts()), task_environment().table_name)


@cache
def records() -> Records:
    return Records(table(), time.time)


@cache
def leases() -> Leases:
    return Leases(table(), time.time)


@cache
def parameters() -> Parameters:
    return Parameters(clients.ssm(_client_timeouts()), task_environment().stack_name)


@cache
def stored_secrets() -> Secrets:
    return Secrets(clients.secretsmanager(_client_timeouts()), task_environment().stack_name)


@cache
def connections() -> TtlCache[Connection]:
    return TtlCache(stored_secrets().connection, CONNECTION_SECONDS, time.time, is_transient_error)


@cache
def _client(connection: str) -> CelonisClient:
    return CelonisClient(
        connections().get(connection),
        reload=lambda: reload_or_wait(lambda: connections().refresh(connection), UNUSABLE),
        rate_limiter=SharedRateLimiter(table(), connection, time.time),
        on_answer=_count_request,
    )


def _count_request(call: Call, answer: Answer | None) -> None:
    """Count a request to Celonis, and record what is left of its rate limit."""
    count("CelonisRequests", call=call.name, status="none" if answer is None else str(answer.status))
    limit = None if answer is None else rate_limit(answer)
    if limit is not None and limit.remaining is not None:
        measure("CelonisRemainingRequests", limit.remaining)


def client_for(definition: Definition) -> CelonisClient:
    """Return the client of the definition's connection, which must be the team of its page addresses.

    Clients are cached; the connection is refreshed from time to time.
    """
    connection = connections().get(definition.connection)
    host = definition.host()
    if host is not None and host != connection.host:
        place = next(place for place, address in definition.places() if address.host)
        raise InvalidDefinition("The definition", [Problem(place, other_host(host, connection))])
    client = _client(definition.connection)
    client.use(connection)
    return client


def celonis_address(definition: Definition) -> str | None:
    """Return the address of the definition's team, or None if its connection cannot be read."""
    host = definition.host()
    if host is not None:
        return f"https://{host}"
    try:
        return connections().get(definition.connection).base_url
    except (*UNUSABLE, ConfigurationUnavailable, ClientError) as error:
        logger.warning("a notification has no links to Celonis", extra={"why": str(error)})
        return None


def celonis_name(run: Run, step: str) -> str:
    """Return the name of a step's job or model in Celonis; "" if it cannot be read."""
    try:
        name = target_for(run, step).celonis_name(NAME_SECONDS)
    except (RefreshError, ClientError, ValueError) as error:  # ValueError: an id that is none
        logger.info("a notification has an id without a name", extra={"step": step, "why": str(error)})
        return ""
    return cut(name or "", MAX_NAME)


def other_host(host: str, connection: Connection) -> str:
    """Return the problem of page addresses of another team than the connection's."""
    return (
        f"the page address names {host}, but connection {connection.name!r} has {connection.host}: "
        "correct the address, or the base_url in the connection's secret, or name another connection"
    )


@contextmanager
def naming_pipelines() -> Iterator[None]:
    """Add existing pipelines to an ``UnknownPipeline``, for callers that IAM has authenticated."""
    try:
        yield
    except UnknownPipeline as error:
        try:
            existing = parameters().pipelines(MAX_KNOWN)
        except (ConfigurationUnavailable, ClientError) as listing_error:
            logger.warning("the pipelines could not be listed", extra={"why": str(listing_error)})
            raise error from None
        raise error.among(existing) from None


def target_for(run: Run, step: str) -> StepTarget:
    """Return the job or load of a step.

    An unusable secret fails a run that has done nothing yet; later, the steps wait as if Celonis were
    unavailable.
    """
    definition = run.definition
    pool = definition.data_pool_id
    try:
        client = client_for(definition)
    except UNUSABLE as reason:
        if not any(run.steps.values()):
            raise
        client = unusable_client(reason)
    if step.startswith("job-"):
        return DataJobTarget(client, pool, run.plan.job(step))
    return DataModelTarget(client, pool, run.plan.load(step), resolved_load(run, step))


@cache
def step_context() -> StepContext:
    return StepContext(records(), leases(), target_for, time.time, announce=_announce)


def _announce(run: Run, names: Sequence[str], deadline: Deadline) -> bool:
    return event_bus().announce(run, names, deadline)


@cache
def event_bus() -> EventBus:
    """Return the event bus; imported on first use, because most tasks send no event."""
    from celonis_refresh.aws.event_bus import EventBus

    settings = task_environment()
    return EventBus(clients.events, settings.event_bus, settings.stack_name, time.time)


@cache
def trigger_acceptor() -> TriggerAcceptor:
    """Return the acceptor, which reads definitions for every trigger and caches the last one for failures."""
    return acceptor(TtlCache(parameters().pipeline, 0, time.time, is_transient_error).get)


def acceptor(definition: Callable[[str], Definition]) -> TriggerAcceptor:
    """Return an acceptor. ``definition``: reads a pipeline by name."""
    from celonis_refresh.runs.claims import Claims
    from celonis_refresh.workflow.accept import TriggerAcceptor

    return TriggerAcceptor(Claims(table(), time.time), definition, new_id, time.time)


@cache
def starter_environment() -> environment.StarterEnvironment:
    return environment.read(environment.StarterEnvironment, os.environ)


@cache
def state_machine() -> StateMachine:
    from celonis_refresh.aws.executions import StateMachine

    return StateMachine(clients.stepfunctions(_client_timeouts()), starter_environment().state_machine_arn)


@cache
def unsent_outbox() -> Outbox:
    """Return the outbox of a function that sends nothing: reconcile sends what it puts there."""
    from celonis_refresh.notifications.outbox import Outbox

    settings = environment.read(environment.NotifierEnvironment, os.environ)
    return Outbox(table(), {}, time.time, tuple(settings.notification_channels.split(",")))


@cache
def configuration_reports() -> ConfigurationReports:
    from celonis_refresh.workflow.configuration_reports import ConfigurationReports

    return ConfigurationReports(unsent_outbox(), task_environment().stack_name, time.time)


def report_configuration(
    found: Sequence[UnusableConfiguration], definition: Callable[[str], Definition] | None = None
) -> None:
    """Report configuration that cannot be used. The answer to the sender never depends on it.

    ``definition``: reads a pipeline, for its channels.
    """
    try:
        configuration_reports().report(found, definition)
    except Exception:  # noqa: BLE001 - logged whole; the error itself is raised and counted by the caller
        logger.exception("unusable configuration was not reported")


@cache
def configuration_checks() -> ConfigurationChecks:
    from celonis_refresh.aws.channels import ChannelSecrets
    from celonis_refresh.workflow.configuration_checks import ConfigurationChecks
    from celonis_refresh.workflow.configuration_reports import ConfigurationReports

    channels = TtlCache(
        ChannelSecrets(stored_secrets()).channel, CHANNEL_SECONDS, time.time, is_transient_error
    )
    reports = ConfigurationReports(outbox(), task_environment().stack_name, time.time)
    read = parameters()
    return ConfigurationChecks(reports, read.pipeline, read.pipelines_of_source, channels.get, time.time)


@cache
def outbox() -> Outbox:
    """Return the outbox of the functions that send."""
    from celonis_refresh.aws.channels import ChannelSecrets
    from celonis_refresh.aws.topic import Topic
    from celonis_refresh.celonis.transport import make_session
    from celonis_refresh.notifications.callbacks import CALLBACK_SECONDS, CallbackSender
    from celonis_refresh.notifications.channels import Channel, NotificationSender
    from celonis_refresh.notifications.http import HttpPost
    from celonis_refresh.notifications.incidents import Incidents
    from celonis_refresh.notifications.messages import Place
    from celonis_refresh.notifications.outbox import MessageKind, Outbox, Sender

    settings = environment.read(environment.CloserEnvironment, os.environ)
    topic = Topic(clients.sns(_client_timeouts()), settings.notices_topic_arn)
    *_, region, account, _ = topic.arn.split(":")
    place = Place(settings.stack_name, account, region, is_local=environment.is_local_stack(os.environ))
    channels: TtlCache[Channel] = TtlCache(
        ChannelSecrets(stored_secrets()).channel, CONNECTION_SECONDS, time.time, is_transient_error
    )
    session = make_session()
    incidents = Incidents(table())
    sender = NotificationSender(topic.publish, channels.get, HttpPost(session), place, time.time, incidents)
    default_channels = tuple(settings.notification_channels.split(","))
    senders: dict[MessageKind, Sender] = {
        MessageKind.NOTIFICATION: sender,
        MessageKind.CALLBACK: CallbackSender(table(), HttpPost(session, CALLBACK_SECONDS)),
        MessageKind.EVENT: event_bus().send,
    }
    return Outbox(table(), senders, time.time, default_channels)


@cache
def run_closer() -> RunCloser:
    from celonis_refresh.steps.cancel import StepCanceller
    from celonis_refresh.workflow.close import RunCloser

    settings = environment.read(environment.CloserEnvironment, os.environ)
    return RunCloser(
        table=table(),
        records=records(),
        leases=leases(),
        executions=state_machine(),
        canceller=StepCanceller(target_for, time.time),
        outbox=outbox(),
        is_paused=parameters().is_paused,
        celonis_address=celonis_address,
        celonis_name=celonis_name,
        clock=time.time,
        retention_days=int(settings.run_retention_days),
        stack=settings.stack_name,
    )


@cache
def freshness_monitor() -> FreshnessMonitor:
    from celonis_refresh.workflow.freshness import ActivePipelines, FreshnessMonitor
    from celonis_refresh.workflow.listing import Listing

    active = ActivePipelines(Listing(table(), time.time), time.time)
    stack = task_environment().stack_name
    return FreshnessMonitor(
        table(), records(), outbox(), parameters().pipeline_page, active, stack, time.time
    )
