"""Concurrent requests: as many at once as the machine serves; the others wait."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local.aws.delivery.asynchronous import AsyncInvocations
from local.aws.gateway.calls import AwsCall
from local.aws.gateway.lambda_invocations import LambdaInvocations
from local.aws.http_api.routes import HttpApi, Route
from local.aws.http_api.server import HttpApiServer
from local.aws.http_server import HttpRequest
from local.aws.metrics import Metrics
from local.aws.runtime.fault_injector import FaultInjector
from local.aws.runtime.invoker import Invoker
from local.aws.runtime.outcomes import InvocationResult
from local.aws.runtime.pool import Limits
from local.aws.settings import EventSettings
from tests.fakes.clock import FakeClock

SENT = 6
REQUEST = HttpRequest("POST", "/", [], b"{}")


class SlowFunction:
    """A function that takes a second of ``clock``, and counts who is served beside it."""

    def __init__(self, at_once: int) -> None:
        self.clock, self.most, self.arrivals = FakeClock(), 0, list[float]()
        self._serving, self._lock = 0, threading.Lock()
        self._full = threading.Barrier(at_once)

    def serve(self, payload: bytes) -> InvocationResult:
        with self._lock:
            self._serving += 1
            self.most = max(self.most, self._serving)
        self._full.wait(10)
        event: dict[str, Any] = json.loads(payload)
        with self._lock:
            self.arrivals.append(event.get("requestContext", {}).get("timeEpoch", 0) / 1000)
            self.clock.sleep(1.0)
            self._serving -= 1
        return InvocationResult(b"{}", "id")


def through_api_gateway(busy: SlowFunction, at_once: int, _folder: Path) -> Callable[[], int]:
    api_server = HttpApiServer(
        region="eu-central-1",
        account="123456789012",
        apis={"api": HttpApi("api", [Route("POST", "/", "function", iam=False)])},
        invoke=lambda _function, payload, _request_id: busy.serve(payload),
        identify=lambda *_: None,
        may_invoke=lambda *_: True,
        clock=busy.clock,
        at_once=at_once,
        write_access_log=print,
        metrics=Metrics(),
    )
    return lambda: api_server(REQUEST).status


class SlowInvoker(Invoker):
    """Every function of it is the slow one."""

    busy: SlowFunction

    def invoke(
        self, reference: str, payload: bytes, *, qualifier: str | None = None, request_id: str = ""
    ) -> InvocationResult:
        return self.busy.serve(payload)


def invoker(busy: SlowFunction, at_once: int, folder: Path) -> SlowInvoker:
    nothing: Any = None
    made = SlowInvoker(
        nothing, nothing, nothing, folder, Limits(tasks_at_once=at_once), FaultInjector(), Metrics()
    )
    made.busy = busy
    return made


def through_the_lambda_api(busy: SlowFunction, at_once: int, folder: Path) -> Callable[[], int]:
    functions: Any = SimpleNamespace(resolve=lambda *_: SimpleNamespace(version="1"))
    events: Any = None
    layer = LambdaInvocations(functions, invoker(busy, at_once, folder), events)
    call = AwsCall("lambda", "Invoke", None, "rest-json", {"FunctionName": "function"})
    return lambda: layer(call, REQUEST, lambda: pytest.fail("nobody else invokes")).status


def through_the_queue_of_events(busy: SlowFunction, at_once: int, folder: Path) -> Callable[[], int]:
    settings = SimpleNamespace(on_success_arn=None)
    functions: Any = SimpleNamespace(resolve=lambda *_: None, async_settings=lambda *_: settings)
    delayed_tasks: Any = SimpleNamespace(after=lambda _, act: act())
    sender: Any = None
    queue = AsyncInvocations(
        functions, invoker(busy, at_once, folder), sender, delayed_tasks, EventSettings()
    )

    def accepted() -> int:
        queue.accept("function", b"{}")
        return 200

    return accepted


@pytest.mark.parametrize(
    "ways_in", [through_api_gateway, through_the_lambda_api, through_the_queue_of_events]
)
@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_are_served_at_once_and_all_are_served(
    ways_in: Callable[[SlowFunction, int, Path], Callable[[], int]], at_once: int, tmp_path: Path
) -> None:
    busy = SlowFunction(at_once)
    send = ways_in(busy, at_once, tmp_path)
    with ThreadPoolExecutor(SENT) as pool:
        assert [one.result(20) for one in [pool.submit(send) for _ in range(SENT)]] == [200] * SENT
    assert busy.most == at_once


def test_a_request_arrives_when_it_is_let_in(tmp_path: Path) -> None:
    busy = SlowFunction(1)
    send, begun = through_api_gateway(busy, 1, tmp_path), busy.clock()
    with ThreadPoolExecutor(SENT) as pool:
        for one in [pool.submit(send) for _ in range(SENT)]:
            one.result(20)
    assert [round(arrival - begun) for arrival in busy.arrivals] == list(range(SENT))
