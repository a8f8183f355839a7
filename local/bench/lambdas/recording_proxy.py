"""A recording proxy: forwards requests and stores them, to count or repeat them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import requests
from botocore import xform_name

from local.aws.gateway.calls import parse_call
from local.aws.http_server import HttpRequest, HttpResponse, LoopbackServer

SECONDS = 30.0
HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "keep-alive", "date", "server"}
Call = dict[str, Any]
Answering = Callable[[HttpRequest], HttpResponse | None]


class RecordingProxy:
    """Serves at ``url`` in a ``with`` block and forwards to ``target``.

    ``own``: answers a request itself, or returns None to forward it.
    """

    def __init__(self, target: str, own: Answering = lambda _: None) -> None:
        self._target, self._own = target, own
        self._passed: list[HttpRequest] = []
        self._threads = threading.local()
        self._server = LoopbackServer(self._serve, name="tap")
        self.url = self._server.url

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    def taken(self) -> list[HttpRequest]:
        """Return the requests recorded since the last call."""
        passed, self._passed = self._passed, []
        return passed

    def _serve(self, request: HttpRequest) -> HttpResponse:
        self._passed.append(request)
        return self._own(request) or self._pass_on(request)

    def _pass_on(self, request: HttpRequest) -> HttpResponse:
        if not hasattr(self._threads, "session"):
            self._threads.session = requests.Session()
            self._threads.session.trust_env = False
        answer = self._threads.session.request(
            request.method,
            self._target + request.target,
            data=request.body,
            headers=dict(request.headers),
            timeout=SECONDS,
            allow_redirects=False,
        )
        kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP]
        return HttpResponse(answer.status_code, answer.content, kept)


def accept_start_execution(request: HttpRequest) -> HttpResponse | None:
    """Answer StartExecution without starting anything: the measurement ends with this call."""
    if not (request.header("X-Amz-Target") or "").endswith(".StartExecution"):
        return None
    answer = {
        "executionArn": "arn:aws:states:eu-central-1:123456789012:execution:refresh:run",
        "startDate": 0,
    }
    return HttpResponse(200, json.dumps(answer).encode(), [("Content-Type", "application/x-amz-json-1.0")])


def aws_call(request: HttpRequest) -> Call:
    """Return a request as arguments of boto3: service, operation, parameters; boto3 adds a new token."""
    call = parse_call(request)
    service = "stepfunctions" if call.service == "states" else call.service
    parameters = {name: value for name, value in call.parameters.items() if name != "ClientRequestToken"}
    return {"service": service, "operation": xform_name(call.operation), "parameters": parameters}


def http_call(request: HttpRequest) -> Call:
    """Return a request as the arguments of ``requests``, without its credentials."""
    return {"method": request.method, "target": request.target, "body": request.body.decode()}
