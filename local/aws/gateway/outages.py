"""Outages: calls of an operation that AWS does not serve, because it is down, throttles or hangs."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from local.aws.gateway.calls import AwsCall
from local.aws.gateway.errors import error_response
from local.aws.gateway.gateway import Next
from local.aws.http_server import HttpRequest, HttpResponse


@dataclass
class Outage:
    """Calls of `operation` whose request mentions a text are answered with an error after `seconds`.

    `calls`: how many were not served so far.
    """

    operation: str
    mentions: str = ""
    code: str = "ServiceUnavailable"
    status: int = 503
    seconds: float = 0.0
    calls: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def fits(self, call: AwsCall, request: HttpRequest) -> bool:
        return call.operation == self.operation and self.mentions.encode() in request.body


class Outages:
    """A layer of the gateway."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outages: list[Outage] = []

    @contextlib.contextmanager
    def begin(self, outage: Outage) -> Iterator[Outage]:
        """The outage lasts until the end of the block."""
        with self._lock:
            self._outages.append(outage)
        try:
            yield outage
        finally:
            with self._lock:
                self._outages.remove(outage)
            outage.ended.set()

    def __call__(self, call: AwsCall, request: HttpRequest, proceed: Next) -> HttpResponse:
        with self._lock:
            outage = next((each for each in self._outages if each.fits(call, request)), None)
            if outage is not None:
                outage.calls += 1
        if outage is None:
            return proceed()
        outage.ended.wait(outage.seconds)
        return error_response(call, outage.code, "an outage of a test", status=outage.status)
