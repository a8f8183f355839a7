"""Builds the RunCloser, RunCommands and Reconciler over a ServiceHarness."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any

from celonis_refresh.notifications.callbacks import CallbackSender
from celonis_refresh.notifications.channels import Channel, ChannelUnusable, NotificationSender
from celonis_refresh.notifications.http import HttpPost
from celonis_refresh.notifications.incidents import Incidents
from celonis_refresh.notifications.messages import Place
from celonis_refresh.notifications.outbox import Message, MessageKind, NotSent, Outbox, Sender
from celonis_refresh.pipelines.definition import Definition, DefinitionPage
from celonis_refresh.runs.queued import RunLookup
from celonis_refresh.steps.cancel import StepCanceller
from celonis_refresh.validation.convert import to_json
from celonis_refresh.workflow.accept import TriggerAcceptor
from celonis_refresh.workflow.close import RunCloser
from celonis_refresh.workflow.commands import RunCommands
from celonis_refresh.workflow.configuration_checks import ConfigurationChecks
from celonis_refresh.workflow.configuration_reports import ConfigurationReports
from celonis_refresh.workflow.freshness import ActivePipelines, FreshnessMonitor, ReadPage
from celonis_refresh.workflow.listing import Listing
from celonis_refresh.workflow.pipeline_details import PipelineDetails
from celonis_refresh.workflow.reconcile import Reconciler
from tests.fakes.executions import FakeExecutions
from tests.fakes.service import ServiceHarness

RETENTION_DAYS = 90
PLACE = Place("shop", "123456789012", "eu-central-1")
CELONIS = "https://team.eu-1.celonis.cloud"

Notify = Callable[[str, str, dict[str, Any]], None]
"""Takes the title, the text and the facts of a notification."""


def make_outbox(service: ServiceHarness, notify: Notify) -> Outbox:
    """An outbox that gives notifications to the topic to ``notify``, and events to the service's bus.

    Its threads run one after the other.
    """

    def publish(message: Message, title: str, text: str, attributes: Mapping[str, str]) -> None:
        try:
            notify(title, text, dict(message.facts))
        except ConnectionError:
            raise NotSent(message, "no connection") from None

    def channel(name: str) -> Channel:
        if name not in service.channels:
            raise ChannelUnusable(name, "there is none")
        return service.channels[name]

    post = HttpPost(service.receiver.session())
    incidents = Incidents(service.table)
    sender = NotificationSender(publish, channel, post, PLACE, service.clock, incidents)
    senders: dict[MessageKind, Sender] = {
        MessageKind.NOTIFICATION: sender,
        MessageKind.CALLBACK: CallbackSender(service.table, post),
        MessageKind.EVENT: service.bus.send,
    }
    return Outbox(service.table, senders, service.clock, start=Thread.run)


def make_run_closer(
    service: ServiceHarness, executions: FakeExecutions, notify: Notify, is_paused: Callable[[str], bool]
) -> RunCloser:
    return RunCloser(
        table=service.table,
        records=service.records,
        leases=service.leases,
        executions=executions,
        canceller=StepCanceller(service.target_for, service.clock, service.clock.sleep),
        outbox=make_outbox(service, notify),
        is_paused=is_paused,
        celonis_address=lambda _: CELONIS,
        celonis_name=lambda run, step: service.celonis_names.get(step, ""),
        clock=service.clock,
        retention_days=RETENTION_DAYS,
        stack=PLACE.stack,
    )


def make_run_commands(
    service: ServiceHarness,
    executions: FakeExecutions,
    acceptor: TriggerAcceptor,
    pipelines: Mapping[str, Definition],
) -> RunCommands:
    listing = Listing(service.table, service.clock)
    return RunCommands(
        table=service.table,
        lookup=RunLookup(service.table, service.records),
        listing=listing,
        acceptor=acceptor,
        executions=executions,
        pipelines=lambda after: (sorted(pipelines), None),
        details=PipelineDetails(service.table, listing, definition_pages(pipelines), service.clock),
        clock=service.clock,
    )


def definition_pages(definitions: Mapping[str, Definition], size: int = 10) -> ReadPage:
    """The pages of definitions as Parameter Store returns them."""

    def read(token: str | None) -> DefinitionPage:
        first = int(token or 0)
        texts = {name: to_json(each) for name, each in definitions.items()}
        after = first + size
        page = dict(list(texts.items())[first:after])
        return DefinitionPage(page, str(after) if after < len(texts) else None)

    return read


def make_freshness_monitor(service: ServiceHarness, outbox: Outbox, read_page: ReadPage) -> FreshnessMonitor:
    active = ActivePipelines(Listing(service.table, service.clock), service.clock)
    return FreshnessMonitor(
        service.table, service.records, outbox, read_page, active, PLACE.stack, service.clock
    )


def make_configuration_checks(service: ServiceHarness, outbox: Outbox) -> ConfigurationChecks:
    """Checks of configuration of which nothing was reported and whose channels can be used."""

    def read(name: str) -> Definition:
        raise AssertionError(f"nothing was reported of {name}")

    reports = ConfigurationReports(outbox, PLACE.stack, service.clock)
    return ConfigurationChecks(reports, read, lambda _: [], lambda _: None, service.clock)


def make_reconciler(
    service: ServiceHarness,
    executions: FakeExecutions,
    closer: RunCloser,
    definitions: Mapping[str, Definition] | None = None,
    configuration: ConfigurationChecks | None = None,
) -> Reconciler:
    return Reconciler(
        table=service.table,
        records=service.records,
        leases=service.leases,
        listing=Listing(service.table, service.clock),
        executions=executions,
        closer=closer,
        outbox=closer.outbox,
        freshness=make_freshness_monitor(service, closer.outbox, definition_pages(definitions or {})),
        configuration=configuration or make_configuration_checks(service, closer.outbox),
        target_for=service.target_for,
        clock=service.clock,
        sleep=service.clock.sleep,
    )
