"""Delayed responses: the operation takes place, but the caller may have timed out by then."""

import threading
import time
from dataclasses import dataclass

from local.aws.gateway.calls import AwsCall
from local.aws.gateway.gateway import Next
from local.aws.http_server import HttpRequest, HttpResponse


@dataclass(frozen=True)
class Delay:
    """The next answer to `operation` whose request mentions a text is held back for `seconds`."""

    operation: str
    seconds: float
    mentions: str = ""

    def fits(self, call: AwsCall, request: HttpRequest) -> bool:
        return call.operation == self.operation and self.mentions.encode() in request.body


class LateAnswers:
    """A layer of the gateway."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._delays: list[Delay] = []

    def hold(self, delay: Delay) -> None:
        with self._lock:
            self._delays.append(delay)

    @property
    def expected(self) -> list[Delay]:
        """The delays that no request has matched yet."""
        with self._lock:
            return list(self._delays)

    def __call__(self, call: AwsCall, request: HttpRequest, proceed: Next) -> HttpResponse:
        delay = self._taken(call, request)
        answer = proceed()
        if delay is not None:
            time.sleep(delay.seconds)
        return answer

    def _taken(self, call: AwsCall, request: HttpRequest) -> Delay | None:
        with self._lock:
            found = next((delay for delay in self._delays if delay.fits(call, request)), None)
            if found is not None:
                self._delays.remove(found)
            return found
