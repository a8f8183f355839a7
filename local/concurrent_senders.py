"""Many concurrent senders that repeat a delivery after a 503."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from local.aws.runtime.pool import Limits
from local.aws.settings import EventSettings, Settings

AT_ONCE = 50
SERVED_AT_ONCE = 10
"""Maximum of concurrent requests in the stack; others wait before their time starts. In AWS each would have
its own vCPU."""
TASKS_AT_ONCE = 4
"""Maximum of concurrent tasks of executions and events, which are not urgent."""
MAX_WAIT = 120.0
"""Timeout of a sender in seconds: on a slow machine, requests wait for each other."""
TRIES = 2
"""Attempts of a delivery that is answered with a 503; the last one counts."""
UNAVAILABLE = 503

Request = tuple[bytes, Mapping[str, str]]
"""Body and headers of a delivery."""


def crowd_settings(time_factor: float, arrival_lead: float = 0.0) -> Settings:
    """Settings of a stack with many concurrent senders, including all AWS faults."""
    return Settings(
        time_factor=time_factor,
        arrival_lead=arrival_lead,
        events=EventSettings(late_seconds=0.6),
        limits=Limits(100, starting=1, requests_at_once=SERVED_AT_ONCE, tasks_at_once=TASKS_AT_ONCE),
    )


@dataclass(frozen=True)
class SenderResult:
    """The last response to a sender with its time (seconds since 1970), and the earlier responses.

    ``seconds``: the duration of the slowest response.
    """

    status: int
    body: dict[str, Any]
    at: float
    before: tuple[int, ...]
    seconds: float

    @property
    def run_id(self) -> str:
        """Return the id of the run of the delivery; empty if the delivery was rejected."""
        runs = self.body.get("runs", [])
        return str(runs[0]["run_id"]) if runs else ""


class ConcurrentSenders:
    """``url``: the URL of the API; ``signed``: returns the delivery of a number."""

    def __init__(self, url: str, signed: Callable[[int], Request]) -> None:
        self._address = urlsplit(url).netloc
        self._signed = signed
        self._own = threading.local()
        self._connections: list[HTTPConnection] = []

    def deliver(self, deliveries: Iterable[tuple[str, int]]) -> list[SenderResult]:
        """Send every delivery (source and number), ``AT_ONCE`` at a time."""
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                return list(pool.map(lambda delivery: self._deliver(*delivery), deliveries))
        finally:
            for connection in self._connections:
                connection.close()

    def _deliver(self, source: str, number: int) -> SenderResult:
        body, headers = self._signed(number)
        before: list[int] = []
        slowest = 0.0
        while True:
            began = time.perf_counter()
            connection = self._connection()
            connection.request("POST", f"/webhooks/{source}", body, dict(headers))
            answer = connection.getresponse()
            text = answer.read()
            slowest = max(slowest, time.perf_counter() - began)
            if answer.status != UNAVAILABLE or len(before) + 1 == TRIES:
                return SenderResult(answer.status, json.loads(text), time.time(), tuple(before), slowest)
            before.append(answer.status)
            time.sleep(float(answer.headers.get("retry-after") or 1))

    def _connection(self) -> HTTPConnection:
        """Open one connection per sender; a full client would need a tenth of the processor time."""
        if not hasattr(self._own, "connection"):
            self._own.connection = HTTPConnection(self._address, timeout=MAX_WAIT)
            self._connections.append(self._own.connection)
        connection: HTTPConnection = self._own.connection
        return connection
