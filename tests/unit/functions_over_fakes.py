"""The functions as Lambda calls them, over AWS and Celonis without sockets."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from importlib import import_module
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import boto3
import pytest

from celonis_refresh import wiring
from celonis_refresh.aws import clients
from celonis_refresh.celonis import client as client_module
from celonis_refresh.webhooks.senders import SENDERS
from celonis_refresh.webhooks.verification import Hmac
from tests.fakes.aws import FakeAws
from tests.fakes.service import JOB, POOL
from tests.fakes.signing import sign
from tests.template import documents
from tests.unit.celonis.exchange import KEY, ScriptedCelonis, ScriptedResponse, json_reply, session_to
from tests.unit.workflow.test_deadlines import CONTEXT as LAMBDA_CONTEXT
from tests.unit.workflow.test_deadlines import load
from tests.unit.workflow.webhook_harness import SECRET

SLOW_SECONDS = 60
"""Added to what Lambda and the sender give, so that a slow machine changes nothing."""
CONTEXT = SimpleNamespace(**{**vars(LAMBDA_CONTEXT), "get_remaining_time_in_millis": lambda: 60_000})
RECONCILE_CONTEXT = SimpleNamespace(
    **{**vars(LAMBDA_CONTEXT), "get_remaining_time_in_millis": lambda: 240_000}
)
LAYER = documents.PACKAGE
ENVIRONMENT = {
    "STACK_NAME": "stack",
    "TABLE_NAME": "runs",
    "CLIENT_TIMEOUTS": "response",
    "EVENT_BUS": "default",
    "STATE_MACHINE_ARN": "arn:aws:states:eu-central-1:1:stateMachine:refresh",
    "NOTIFICATION_CHANNELS": "topic",
    "NOTICES_TOPIC_ARN": "arn:aws:sns:eu-central-1:1:notices",
    "RUN_RETENTION_DAYS": "90",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
}
SOURCE = {"sender": "standard_webhooks", "secret": "shop", "rules": [{"pipeline": "otc"}]}
CONNECTION = {
    "base_url": "https://team.eu-1.celonis.cloud",
    "auth": {"type": "api_key", "key": KEY},
}


def executed(action: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """What ``action`` returns, and the modules of the layer of which it calls a function."""
    files: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            files.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        answer = action()
    finally:
        sys.setprofile(None)
    paths = (Path(name) for name in files)
    return answer, sorted(str(path.relative_to(LAYER)) for path in paths if path.is_relative_to(LAYER))


def import_all() -> None:
    """Import every module of the layer, so that no import is counted."""
    for path in documents.sources(LAYER):
        parts = path.relative_to(LAYER.parent).with_suffix("").parts
        import_module(".".join(part for part in parts if part != "__init__"))


def replies() -> tuple[ScriptedResponse, ...]:
    """What Celonis answers for one run: the job before its start, the start, then two polls."""
    date = formatdate(time.time(), usegmt=True)
    before = {"executionId": "e-1", "status": "SUCCESS", "startDate": 1, "endDate": 2}
    ours = {"executionId": "e-2", "status": "RUNNING", "startDate": int(time.time() * 1000)}
    running = json_reply({"id": JOB, "status": "RUNNING", "currentExecutionId": "e-2"}, date=date)
    return (
        json_reply({"id": JOB, "status": "SUCCESS", "latestExecutionItemId": "e-1"}, date=date),
        json_reply({"executionItems": [before]}, date=date),
        json_reply({"executionId": "e-2"}, date=date),
        running,
        json_reply({"executionItems": [ours, before]}, date=date),
        running,
    )


@dataclass
class Functions:
    """The functions as Lambda calls them, over AWS and Celonis without sockets."""

    aws: FakeAws = field(default_factory=FakeAws)
    delivered: int = 0

    def __post_init__(self) -> None:
        self.aws.parameters = {
            "/stack/sources/shop": SOURCE,
            "/stack/pipelines/otc": {"data_pool": POOL, "jobs": [{"job": JOB}]},
        }
        self.aws.secrets = {
            "stack/webhooks/shop": {"current": SECRET},
            "stack/connections/default": CONNECTION,
        }
        self.celonis = ScriptedCelonis(*replies())
        self.trigger, self.open_run, self.check_step = map(load, ("trigger", "open_run", "check_step"))
        self.start_step, self.close_run, self.reconciler = map(load, ("start_step", "close_run", "reconcile"))

    def empty_table(self) -> None:
        """As before the first delivery, for the same processes."""
        self.aws.dynamodb.items.clear()
        self.aws.attempts.clear()
        self.celonis.steps = list(replies())

    def deliver(self) -> list[str]:
        """One new webhook, whose modules are returned."""
        self.delivered += 1
        body = b'{"type": "orders.loaded"}'
        scheme = SENDERS["standard_webhooks"].scheme
        assert isinstance(scheme, Hmac)
        event = {
            "version": "2.0",
            "headers": sign(
                scheme, SECRET, body, message_id=f"d-{self.delivered}", timestamp=int(time.time())
            ),
            "rawQueryString": "",
            "pathParameters": {"source": "shop"},
            "requestContext": {
                "http": {"method": "POST"},
                "timeEpoch": int((time.time() + SLOW_SECONDS) * 1000),
            },
            "body": body.decode(),
            "isBase64Encoded": False,
        }
        answer, modules = executed(lambda: self.trigger.handler(event, CONTEXT))
        assert answer["statusCode"] == 202
        return modules

    def open(self) -> None:
        (started,) = self.aws.attempts_of("StartExecution")
        execution = {"id": f"arn:{started.body['name']}", "name": started.body["name"]}
        document = {"input": json.loads(started.body["input"]), "execution": execution}
        assert self.open_run.handler(document, CONTEXT)["status"] == "opened"

    @property
    def run_id(self) -> str:
        """The run that was started."""
        (started,) = self.aws.attempts_of("StartExecution")
        return str(started.body["name"])

    def start(self) -> None:
        """The job is started already."""
        event = {"run_id": self.run_id, "step": "job-0"}
        assert self.start_step.handler(event, CONTEXT)["status"] == "RUNNING"

    def end(self, status: str = "FAILED") -> None:
        """The execution ends, and its event arrives."""
        arn = f"arn:aws:states:eu-central-1:1:execution:refresh:{self.run_id}"
        self.aws.executions[arn] = {"name": self.run_id, "status": status, "error": "States.Runtime"}

    def close(self) -> None:
        (arn,) = self.aws.executions
        detail = {"name": self.run_id, "executionArn": arn}
        self.close_run.handler({"detail": detail}, CONTEXT)

    def reconcile(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = self.reconciler.handler({}, RECONCILE_CONTEXT)
        return found

    def poll(self) -> list[str]:
        """One poll of the running job, whose modules are returned."""
        event = {"run_id": self.run_id, "step": "job-0"}
        progress, modules = executed(lambda: self.check_step.handler(event, CONTEXT))
        assert progress["status"] == "RUNNING"
        return modules


def clear_caches() -> None:
    for value in (*vars(wiring).values(), *vars(clients).values()):
        if hasattr(value, "cache_clear"):
            value.cache_clear()


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Functions]:
    import_all()
    functions = Functions()
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    make_client = boto3.Session.client

    def client(*arguments: Any, **named: Any) -> Any:
        """A client whose requests the fake answers, before anything else may."""
        made = make_client(*arguments, **named)
        made.meta.events.register_first("before-send", functions.aws.send)
        return made

    monkeypatch.setattr(boto3.Session, "client", client)
    monkeypatch.setattr(client_module, "make_session", lambda: session_to(functions.celonis))
    clear_caches()
    yield functions
    clear_caches()
