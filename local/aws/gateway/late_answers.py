"""Delayed responses: the operation takes place, but the caller may have timed out by then."""

import threading
import time
from dataclasses import dataclass

from local.aws.gateway.calls import AwsCall
from local.aws.gateway.gateway import Next
from local.aws.http_server import HttpRequest, HttpResponse


@dataclass(frozen=True)
class Delay:
    """Delays the next response to `operation` whose request contains a text by `seconds`."""

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
        """Return the delays that no request has matched yet."""
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
            taken = next((delay for delay in self._delays if delay.fits(call, request)), None)
            if taken is not None:
                self._delays.remove(taken)
            return taken
