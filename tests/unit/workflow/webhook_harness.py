"""A harness for triggers: webhooks, and executions that open their own runs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.errors import UnknownPipeline
from celonis_refresh.steps.target import ModelTables
from celonis_refresh.timing import Deadline
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.senders import SENDERS
from celonis_refresh.webhooks.sources import Source, parse_source
from celonis_refresh.webhooks.verification import Hmac
from celonis_refresh.workflow.accept import TriggerAcceptor
from celonis_refresh.workflow.webhook import Reply, Report, RequestTime, WebhookHandler
from tests.fakes.executions import FakeExecutions
from tests.fakes.service import ServiceHarness, job_definition
from tests.fakes.signing import sign
from tests.unit.webhooks.sns_messages import certificate

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
FUNCTION_SECONDS = 7.0
"""What Lambda gives the function, less what its answer needs."""
NEW_SECRET = "whsec_" + base64.b64encode(b"n" * 32).decode()


@dataclass
class FakeSns:
    """Amazon SNS. ``confirmed``: the addresses that were asked for."""

    confirmed: list[str] = field(default_factory=list)

    def certificate(self, url: str) -> bytes:
        return certificate()

    def confirm(self, url: str) -> None:
        self.confirmed.append(url)


@dataclass
class WebhookHarness:
    """The webhook function without its HTTP. ``secret_refreshes``: how often secrets were read again."""

    service: ServiceHarness = field(default_factory=ServiceHarness)
    definitions: dict[str, Definition] = field(default_factory=lambda: {"otc": job_definition()})
    executions: FakeExecutions = field(default_factory=FakeExecutions)
    sns: FakeSns = field(default_factory=FakeSns)
    secrets: list[str] = field(default_factory=lambda: [SECRET])
    refreshed_secrets: list[str] = field(default_factory=lambda: [SECRET])
    secret_refreshes: int = 0
    ids: int = 0
    report: Report = lambda found, definition: None

    def __post_init__(self) -> None:
        self.tables = ModelTables(lambda _: self.service.celonis.client, self.service.clock)
        self.acceptor = TriggerAcceptor(
            self.service.claims, self._definition, self._new_id, self.service.clock
        )

    def _definition(self, name: str) -> Definition:
        if name not in self.definitions:
            raise UnknownPipeline(name, where=f"/stack/pipelines/{name}")
        return self.definitions[name]

    def _new_id(self, name: str) -> str:
        self.ids += 1
        return f"{name}-{self.ids}"

    def _refresh_secrets(self, name: str) -> Sequence[str]:
        self.secret_refreshes += 1
        return self.refreshed_secrets

    def forget(self) -> None:
        """Continue as another process, which does not remember what this one has accepted."""
        self.service.claims.remembered.clear()

    def receive(self, request: WebhookRequest, source: Source | None = None, seconds: float = 2.5) -> Reply:
        """Answers one request that has ``seconds`` left until its answer must be out."""
        known = source or source_of()
        webhook_handler = WebhookHandler(
            source=lambda _: known,
            secrets=lambda _: self.secrets,
            refreshed_secrets=self._refresh_secrets,
            acceptor=self.acceptor,
            context=self.service.context,
            tables=self.tables,
            executions=self.executions,
            sns=self.sns,
            clock=self.service.clock,
            report=self.report,
        )
        clock = self.service.clock
        given = RequestTime(Deadline.after(seconds, clock), Deadline.after(FUNCTION_SECONDS, clock))
        return webhook_handler.receive("shop", request, given)

    def deliver(
        self,
        delivery: str = "d-1",
        source: Source | None = None,
        *,
        seconds: float = 2.5,
        secret: str = SECRET,
    ) -> Reply:
        """Receives one event, signed as its sender signs it."""
        return self.receive(self.signed(delivery, secret=secret), source, seconds)

    def signed(self, delivery: str = "d-1", body: object = None, *, secret: str = SECRET) -> WebhookRequest:
        raw = json.dumps({"type": "orders.loaded"} if body is None else body).encode()
        scheme = SENDERS["standard_webhooks"].scheme
        assert isinstance(scheme, Hmac)
        at = int(self.service.clock.now)
        return WebhookRequest(sign(scheme, secret, raw, message_id=delivery, timestamp=at), {}, raw)


def source_of(*rules: Mapping[str, Any], sender: str = "standard_webhooks", **fields: Any) -> Source:
    """A source with these rules; one for the pipeline "otc" if there are none."""
    secret = {} if sender == "aws_sns" else {"secret": "stack/shop"}
    document = {"sender": sender, "rules": list(rules) or [{"pipeline": "otc"}], **secret, **fields}
    return parse_source("shop", document)
