"""Many senders at once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from tests.stack.passages.service import WEBHOOK_SECRET
from tests.stack.triggers.signing import signed

AT_ONCE = 50
SECONDS = 60.0
"""A sender's patience here: on a slow machine, requests wait for each other."""
TRIES = 2
"""Of a delivery: where a 503 is answered, the second is what counts."""


@dataclass(frozen=True)
class Told:
    """What a sender was told in the end, when (seconds since 1970), and what it was told before that."""

    status: int
    body: dict[str, Any]
    at: float
    before: tuple[int, ...]


class Crowd:
    """``url``: where the API answers."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc
        self._own = threading.local()
        self._connections: list[HTTPConnection] = []

    def deliver(self, deliveries: Iterable[tuple[str, int]]) -> list[Told]:
        """Sends every delivery (source and number), ``AT_ONCE`` at a time; a 503 is sent again."""
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                return list(pool.map(lambda delivery: self._deliver(*delivery), deliveries))
        finally:
            for connection in self._connections:
                connection.close()

    def _deliver(self, source: str, number: int) -> Told:
        event = {"action": "completed", "workflow_run": {"id": number, "conclusion": "success"}}
        headers = {"x-github-event": "workflow_run", "x-github-delivery": f"delivery-{number}"}
        call = signed("github", event, WEBHOOK_SECRET, headers)
        before: list[int] = []
        while True:
            connection = self._connection()
            connection.request("POST", f"/webhooks/{source}", call.body, call.headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 503 or len(before) + 1 == TRIES:
                return Told(answer.status, json.loads(text), time.time(), tuple(before))
            before.append(answer.status)
            time.sleep(float(answer.headers.get("retry-after") or 1))

    def _connection(self) -> HTTPConnection:
        """One for each sender; a client that does more would take a tenth of what it all costs."""
        if not hasattr(self._own, "connection"):
            self._own.connection = HTTPConnection(self._address, timeout=SECONDS)
            self._connections.append(self._own.connection)
        connection: HTTPConnection = self._own.connection
        return connection
