"""A tap on the wire: passes requests on, and keeps what passed, to count it or to send it again."""

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
    """Serves in a ``with`` block at ``url`` and passes on to ``target``.

    ``own``: answers some requests itself, and None for all others.
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
        """What has passed since it was last asked for."""
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


def only_noted(request: HttpRequest) -> HttpResponse | None:
    """Step Functions that starts nothing: what is measured ends with the hand-over."""
    if not (request.header("X-Amz-Target") or "").endswith(".StartExecution"):
        return None
    answer = {
        "executionArn": "arn:aws:states:eu-central-1:123456789012:execution:refresh:run",
        "startDate": 0,
    }
    return HttpResponse(200, json.dumps(answer).encode(), [("Content-Type", "application/x-amz-json-1.0")])


def aws_call(request: HttpRequest) -> Call:
    """A request as boto3 is asked for it: service, operation, parameters; boto3 makes a new token itself."""
    call = parse_call(request)
    service = "stepfunctions" if call.service == "states" else call.service
    given = {name: value for name, value in call.parameters.items() if name != "ClientRequestToken"}
    return {"service": service, "operation": xform_name(call.operation), "parameters": given}


def http_call(request: HttpRequest) -> Call:
    """A request as ``requests`` is asked for it; who signs it is not part of it."""
    return {"method": request.method, "target": request.target, "body": request.body.decode()}
