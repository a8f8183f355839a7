"""Many senders at once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests

from tests.stack.passages.service import WEBHOOK_SECRET
from tests.stack.triggers.signing import signed

AT_ONCE = 50
SECONDS = 60.0
"""A sender's patience here: on a slow machine, requests wait for each other."""
TRIES = 2


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
        self._url = url
        self._own = threading.local()

    def deliver(self, deliveries: Iterable[tuple[str, int]]) -> list[Told]:
        """Sends every delivery (source and number), ``AT_ONCE`` at a time; a 503 is sent once more."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda delivery: self._deliver(*delivery), deliveries))

    def _deliver(self, source: str, number: int) -> Told:
        event = {"action": "completed", "workflow_run": {"id": number, "conclusion": "success"}}
        headers = {"x-github-event": "workflow_run", "x-github-delivery": f"delivery-{number}"}
        call = signed("github", event, WEBHOOK_SECRET, headers)
        before: list[int] = []
        while True:
            url = f"{self._url}/webhooks/{source}"
            answer = self._session().post(url, data=call.body, headers=call.headers, timeout=SECONDS)
            if answer.status_code != 503 or len(before) + 1 == TRIES:
                return Told(answer.status_code, json.loads(answer.text), time.time(), tuple(before))
            before.append(answer.status_code)
            time.sleep(float(answer.headers["retry-after"]))

    def _session(self) -> requests.Session:
        if not hasattr(self._own, "session"):
            self._own.session = requests.Session()
            self._own.session.trust_env = False
        session: requests.Session = self._own.session
        return session


def most(count: Callable[[], int]) -> Callable[[], int]:
    """Watches ``count`` from now on; gives the greatest number that was seen once it is called."""
    ended, seen = threading.Event(), [0]

    def watch() -> None:
        while not ended.wait(0.02):
            seen[0] = max(seen[0], count())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()

    def stop() -> int:
        ended.set()
        thread.join()
        return seen[0]

    return stop
