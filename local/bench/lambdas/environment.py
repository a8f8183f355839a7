"""The environment in which functions are measured: one pipeline of one job, and no other load."""

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
from local.bench.lambdas.recording_proxy import (
    Call,
    RecordingProxy,
    accept_start_execution,
    aws_call,
    http_call,
)
from local.bench.service import Json, MeasuredService, serving
from local.celonis import world

BARE = Path(__file__).with_name("bare")
LONG = 86_400.0
"""Duration in seconds of a job that only the measurement ends."""
MAX_WAIT = 60.0
"""Seconds by which the time of an event lies in the future, so that also on a slow machine the full path of a
trigger is measured and not the one that is used when little time is left."""
RARE_POLLS = {"poll": {"floor": 600}}
"""The poll interval is so long that the state machine does nothing during another measurement."""
SIGN_IN = "/oauth2/token"
WEBHOOK = Route("POST", "/webhooks/{source}", "Trigger", iam=False)


@dataclass
class LambdaEnvironment:
    """``aws`` and ``celonis``: recording proxies in front of both. Executions are recorded, not started."""

    service: MeasuredService
    artifacts: Artifacts
    aws: RecordingProxy
    celonis: RecordingProxy
    deliveries: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.job = self.service.job(LONG)
        self.pipeline = self.service.pipeline(self.job, **RARE_POLLS)
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
        """Return the trigger's event of a delivery: a new one, or the one with this number."""
        body, headers = self.service.delivery(next(self.deliveries) if number is None else number)
        request = HttpRequest("POST", f"/webhooks/{self.source}", list(headers.items()), body)
        stack = self.service.stack
        arrival = RoutedRequest(
            request, WEBHOOK, {"source": self.source}, "api", stack.account, stack.region,
            str(uuid.uuid4()), time.time() + MAX_WAIT,
        )  # fmt: skip
        return to_event(arrival)

    def make_idle(self) -> None:
        """Release the pipeline and its job, and forget all deliveries."""
        self.service.empty_table()
        self.service.finish(self.job)

    def calls(self) -> list[Call]:
        """Return the recorded calls as the bare handler makes them: AWS first, then Celonis."""
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
        (match,) = (each for each in stack.functions if each.logical_id == function)
        role = stack.client("sts").assume_role(RoleArn=match.role_arn, RoleSessionName="bench")["Credentials"]
        variables = function_environment(
            match,
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
    """Start everything; stop everything at the end."""
    with (
        serving(Settings()) as service,
        RecordingProxy(service.stack.aws_endpoint_url, accept_start_execution) as aws,
        RecordingProxy(service.celonis.url) as celonis,
    ):
        yield LambdaEnvironment(service, artifacts, aws, celonis)


def first_call_per_service(calls: list[Call]) -> list[Call]:
    """Return the first call of every service. The bare handler has a key for Celonis and needs no sign-in."""
    first: dict[Any, Call] = {}
    for call in calls:
        if not str(call.get("url")).endswith(SIGN_IN):
            first.setdefault(call.get("service"), call)
    return list(first.values())
