"""The responses to unauthenticated requests, and what the log says."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from celonis_refresh import wiring
from celonis_refresh.aws.caching import SharedItems
from celonis_refresh.aws.webhook_configuration import INVALID_SECONDS, SharedParameters, SourceCache
from celonis_refresh.aws.webhook_secrets import webhook_secrets
from celonis_refresh.notifications.outbox import Outbox
from celonis_refresh.observability import logger
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.workflow.configuration_reports import ConfigurationReports
from celonis_refresh.workflow.webhook import WebhookHandler
from tests.unit.aws.test_configuration import FakeParameters, refusal
from tests.unit.workflow.test_deadlines import CONTEXT, load
from tests.unit.workflow.webhook_harness import SECRET, WebhookHarness

RULES = [{"pipeline": "otc"}]
SOURCES: dict[str, Any] = {
    "shop": {"sender": "standard_webhooks", "secret": "shop", "rules": RULES},
    "token": {"sender": "airbyte", "secret": "shop", "rules": RULES},
    "grid": {"sender": "azure_event_grid", "secret": "shop", "rules": RULES},
    "topic": {
        "sender": "aws_sns",
        "topics": ["arn:aws:sns:eu-central-1:123456789012:loads"],
        "rules": RULES,
    },
    "not-valid": {"sender": "nobody"},
    "no-json": "{",
    "no-secret": {"sender": "github", "secret": "none", "rules": RULES},
    "no-base64": {"sender": "standard_webhooks", "secret": "no-base64", "rules": RULES},
}
SECRETS = {"shop": {"current": SECRET}, "no-base64": {"current": "pl@in-text", "previous": SECRET}}
HEADERS: list[dict[str, str]] = [
    {},
    {"x-hub-signature-256": "sha256=é", "authorization": "Basic %%%"},
    {"webhook-id": "m", "webhook-timestamp": "nan", "webhook-signature": "v1,!"},
    {"webhook-id": "m", "webhook-timestamp": "1767225600", "webhook-signature": "v1," + "A" * 43 + "="},
]


@dataclass
class TriggerFunction:
    """The trigger's function over Parameter Store and Secrets Manager in memory."""

    harness: WebhookHarness = field(default_factory=WebhookHarness)
    aws: FakeParameters = field(default_factory=FakeParameters)

    def __post_init__(self) -> None:
        for name, document in SOURCES.items():
            text = document if isinstance(document, str) else json.dumps(document)
            self.aws.values[f"/stack/sources/{name}"] = text
        for name, values in SECRETS.items():
            self.aws.values[f"stack/webhooks/{name}"] = json.dumps(values)
        self.harness.service.job().add_past_start(600.0)
        clock = self.harness.service.clock
        self.app = load("trigger")
        table = self.harness.service.table
        secrets = webhook_secrets(self.aws.secrets.webhook, table, clock, clock.sleep)
        items = SharedItems(table, clock)
        self.shared = SharedParameters(self.aws.parameters, items, clock, clock.sleep, Thread.run)
        known = SourceCache(self.shared, clock)
        self.webhook_handler = WebhookHandler(
            source=lambda name: known.source(name).value,
            secrets=secrets.get,
            refreshed_secrets=secrets.refresh_if_allowed,
            acceptor=self.harness.acceptor,
            context=self.harness.service.context,
            tables=self.harness.tables,
            executions=self.harness.executions,
            sns=self.harness.sns,
            clock=clock,
        )
        vars(self.app)["time"] = SimpleNamespace(time=clock)
        vars(self.app)["_webhook_handler"] = lambda: self.webhook_handler

    def answer(self, source: str, request: WebhookRequest) -> dict[str, Any]:
        event = {
            "version": "2.0",
            "headers": dict(request.headers),
            "rawQueryString": "&".join(f"{name}={value}" for name, value in request.query.items()),
            "pathParameters": {"source": source},
            "requestContext": {
                "http": {"method": request.method},
                "timeEpoch": int(self.harness.service.clock.now * 1000),
            },
            "body": request.body.decode(),
            "isBase64Encoded": False,
        }
        answer: dict[str, Any] = self.app.handler(event, CONTEXT)
        return answer


@contextmanager
def lines() -> Iterator[list[dict[str, Any]]]:
    """The lines of the log as CloudWatch gets them."""
    found: list[dict[str, Any]] = []

    class LogRecorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(logger.registered_formatter.format(record)))

    kept, log = LogRecorder(), logging.getLogger(logger.name)
    log.addHandler(kept)
    try:
        yield found
    finally:
        log.removeHandler(kept)


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> TriggerFunction:
    made = TriggerFunction()
    service = made.harness.service
    reports = ConfigurationReports(Outbox(service.table, {}, service.clock), "stack", service.clock)
    monkeypatch.setattr(wiring, "configuration_reports", lambda: reports)
    return made


@pytest.mark.parametrize(("name", "number"), [("no-json", 1), ("no-secret", 1), ("shop", 0), ("unknown", 0)])
def test_a_source_that_cannot_be_used_is_notified_once(
    function: TriggerFunction, name: str, number: int
) -> None:
    for _ in range(3):
        function.answer(name, WebhookRequest({}, {}, b"{}"))
    messages = list(function.harness.service.dynamodb.documents("outbox#"))
    assert [message["facts"]["source"] for message in messages] == [name] * number


@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("body", [b"{}", b"", b"not JSON"])
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_an_unauthenticated_sender_cannot_distinguish_sources(
    function: TriggerFunction, headers: dict[str, str], body: bytes, method: str
) -> None:
    """Neither whether it exists, nor whether it is valid, nor which sender it is for."""
    origin = {"webhook-request-origin": "a.example; x=y"} if method == "OPTIONS" else {}
    request = WebhookRequest({**headers, **origin}, {}, body, method)
    answers = [function.answer(name, request) for name in (*SOURCES, "unknown", "a/b", "x" * 60)]
    assert answers == [answers[0]] * len(answers)
    assert answers[0]["statusCode"] == 401
    assert not any(name in json.dumps(answers[0]) for name in ("stack", "shop", "rules", "secret"))
    assert function.harness.executions.known == {}


@pytest.mark.parametrize(
    ("name", "error", "why"),
    [
        ("unknown", "UnknownSource", "/stack/sources/"),
        ("not-valid", "InvalidSource", "expected one of"),
        ("no-json", "InvalidSource", "must be JSON"),
        ("no-secret", "WebhookSecretUnreadable", "does not exist"),
        ("shop", "NotAuthentic", "webhook-signature"),
        ("x" * 60, "UnknownSource", "/stack/sources/"),
    ],
)
def test_the_log_names_the_source_and_the_reason(
    function: TriggerFunction, name: str, error: str, why: str
) -> None:
    with lines() as found:
        function.answer(name, WebhookRequest({}, {}, b"{}"))
    assert [line["source"] for line in found] == [name[:48]]
    assert found[0]["error"] == error
    assert why in found[0]["why"]


def test_every_line_of_a_refused_request_names_its_source(function: TriggerFunction) -> None:
    large = WebhookRequest({}, {}, b"x" * (1024 * 1024 + 1))
    with lines() as found:
        for name in SOURCES:
            function.answer(name, large)
            function.answer(name, WebhookRequest({}, {}, b"{}"))
        function.aws.error = refusal("InternalServerError", 500)
        function.answer("unknown", WebhookRequest({}, {}, b"{}"))
        function.aws.error = ZeroDivisionError()
        function.answer("unknown", WebhookRequest({}, {}, b"{}"))
    assert len(found) >= 2 * len(SOURCES) + 2
    assert all(line["source"] in (*SOURCES, "unknown") for line in found)
    assert not any(SECRET in json.dumps(line) or "pl@in" in json.dumps(line) for line in found)


def test_a_secret_that_cannot_work_is_logged_at_once_and_once(function: TriggerFunction) -> None:
    signed = function.harness.signed()
    with lines() as found:
        answers = [function.answer("no-base64", signed)["statusCode"] for _ in range(3)]
    assert answers == [202, 200, 200]  # the previous secret works
    (line,) = (each for each in found if each["level"] == "ERROR")
    assert (line["source"], line["field"]) == ("no-base64", "current")
    assert line["why"] == "expected whsec_ and then base64, as the sender shows it"


def test_a_secret_that_is_replaced_by_one_that_cannot_work_is_logged_when_it_is_read(
    function: TriggerFunction,
) -> None:
    function.answer("shop", function.harness.signed())
    function.aws.values["stack/webhooks/shop"] = json.dumps({"current": "whpk_MCowBQYDK2VwAyEA"})
    with lines() as found:
        function.answer("shop", WebhookRequest({}, {}, b"{}"))
    (line,) = (each for each in found if each["level"] == "ERROR")
    assert "Ed25519" in line["why"]
    assert "MCow" not in json.dumps(found)


def test_a_flood_on_a_source_that_is_not_valid_costs_few_reads(function: TriggerFunction) -> None:
    """Parameter Store answers 40 reads a second in all, also for the sources that work."""
    clock = function.harness.service.clock
    for _ in range(600):
        function.answer("not-valid", WebhookRequest({}, {}, b"{}"))
        clock.sleep(0.1)
    assert len(function.aws.reads) <= 20
    function.aws.values["/stack/sources/not-valid"] = json.dumps(SOURCES["shop"])
    clock.sleep(INVALID_SECONDS)
    assert function.answer("not-valid", function.harness.signed())["statusCode"] == 202


def test_a_proven_request_that_cannot_be_read_is_answered_as_its_sender_needs_it(
    function: TriggerFunction,
) -> None:
    proven = WebhookRequest({}, {"token": SECRET}, b"not JSON")
    assert function.answer("token", proven)["statusCode"] == 400
    handshake = WebhookRequest({"webhook-request-origin": "eventgrid.azure.net"}, {}, b"", "OPTIONS")
    assert function.answer("grid", handshake)["statusCode"] == 401
    with_token = WebhookRequest(handshake.headers, {"token": SECRET}, b"", "OPTIONS")
    assert function.answer("grid", with_token)["statusCode"] == 200
