"""What the functions meet when they are measured: one pipeline of one job, and nothing else going on."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.aws.http_api.events import RoutedRequest, to_event
from local.aws.http_api.routes import Route
from local.aws.http_server import HttpRequest
from local.aws.runtime.environment import function_environment
from local.aws.settings import Settings
from local.bench.lambdas.artifacts import Artifacts
from local.bench.lambdas.process import FunctionProcess
from local.bench.lambdas.recording_proxy import Call, RecordingProxy, aws_call, http_call, only_noted
from local.bench.service import Json, MeasuredService, serving
from local.celonis import world

BARE = Path(__file__).with_name("bare")
LONG = 86_400.0
"""Seconds: a job that only ends when the measurement ends it."""
MAX_WAIT = 60.0
"""Seconds that an event seems to come from the future: on a slow machine too, the whole way is measured, not
the short one of a trigger that has run out of time."""
SELDOM = {"poll": {"floor": 600}}
"""The poll interval is so long that the state machine does nothing during another measurement."""
SIGN_IN = "/oauth2/token"
WEBHOOK = Route("POST", "/webhooks/{source}", "Trigger", iam=False)


@dataclass
class LambdaEnvironment:
    """``aws`` and ``celonis``: taps on the way to both. Step Functions notes starts and starts nothing."""

    service: MeasuredService
    artifacts: Artifacts
    aws: RecordingProxy
    celonis: RecordingProxy
    deliveries: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.job = self.service.job(LONG)
        self.pipeline = self.service.pipeline(self.job, **SELDOM)
        self.source = self.service.source(self.pipeline)

    def ours(self, function: str, *, tapped: bool = False) -> FunctionProcess:
        """A new process of one of our functions, by its logical id."""
        code = self.artifacts.functions / function
        environment = self._environment(function, code, self.artifacts.layer, tapped)
        return FunctionProcess(self.artifacts.python, code, environment)

    def bare(self, function: str) -> FunctionProcess:
        """A new process of the bare handler, with the settings and the role of one of our functions."""
        environment = self._environment(function, BARE, self.artifacts.bare, tapped=False)
        return FunctionProcess(self.artifacts.python, BARE, environment)

    def webhook(self, number: int | None = None) -> Json:
        """The trigger's event of a delivery: a new one, or the one of that number."""
        body, headers = self.service.delivery(next(self.deliveries) if number is None else number)
        request = HttpRequest("POST", f"/webhooks/{self.source}", list(headers.items()), body)
        stack = self.service.stack
        arrival = RoutedRequest(
            request, WEBHOOK, {"source": self.source}, "api", stack.account, stack.region,
            str(uuid.uuid4()), time.time() + MAX_WAIT,
        )  # fmt: skip
        return to_event(arrival)

    def make_idle(self) -> None:
        """The pipeline and its job are free again, and no delivery is known."""
        self.service.empty_table()
        self.service.finish(self.job)

    def calls(self) -> list[Call]:
        """What has passed the taps, as the bare handler makes it: AWS first, then Celonis."""
        token = {"authorization": f"AppKey {world.APP_KEY}", "content-type": "application/json"}
        calls = [http_call(request) for request in self.celonis.taken()]
        celonis = [
            {"method": call["method"], "url": self.service.celonis.url + call["target"], "body": call["body"],
             "headers": token}
            for call in calls
        ]  # fmt: skip
        return [*(aws_call(request) for request in self.aws.taken()), *celonis]

    def _environment(self, function: str, code: Path, packages: Path, tapped: bool) -> dict[str, str]:
        stack = self.service.stack
        (found,) = (each for each in stack.functions if each.logical_id == function)
        role = stack.client("sts").assume_role(RoleArn=found.role_arn, RoleSessionName="bench")["Credentials"]
        variables = function_environment(
            found,
            region=stack.region,
            endpoint_url=self.aws.url if tapped else stack.aws_endpoint_url,
            credentials={
                "id": role["AccessKeyId"],
                "secret": role["SecretAccessKey"],
                "token": role["SessionToken"],
            },
            state_dir=stack.state_dir,
            runtime_api="",
            log_stream="bench",
        )
        path = (code, packages, self.artifacts.runtime)
        return {
            **variables,
            "AWS_ENDPOINT_URL_SFN": self.aws.url,
            "LAMBDA_TASK_ROOT": str(code),
            "PYTHONPATH": os.pathsep.join(str(place) for place in path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }


@contextlib.contextmanager
def scenario(artifacts: Artifacts) -> Iterator[LambdaEnvironment]:
    """Everything up; everything gone at the end."""
    with (
        serving(Settings()) as service,
        RecordingProxy(service.stack.aws_endpoint_url, only_noted) as aws,
        RecordingProxy(service.celonis.url) as celonis,
    ):
        yield LambdaEnvironment(service, artifacts, aws, celonis)


def first_of_each(calls: list[Call]) -> list[Call]:
    """The first call of every service. The bare handler has a key for Celonis and needs no sign-in."""
    found: dict[Any, Call] = {}
    for call in calls:
        if not str(call.get("url")).endswith(SIGN_IN):
            found.setdefault(call.get("service"), call)
    return list(found.values())
