"""A Celonis without sockets: notes every request that would go out and plays the answers given."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from urllib3 import BaseHTTPResponse, HTTPResponse, HTTPSConnectionPool, Timeout

from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.connection import ApiKey, Auth, Connection, OAuthClient
from celonis_refresh.wire import Pools

BASE = "https://team.eu-1.celonis.cloud"
CLIENT_SECRET = "client-secret-3141592653"
KEY = "api-key-2718281828"
OAUTH = OAuthClient("client-1", CLIENT_SECRET)
API_KEY = ApiKey(KEY)


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    method: str
    url: str
    headers: Mapping[str, str]
    body: str
    timeout: object

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.url).query)


Step: TypeAlias = Reply | Exception


class FakeCelonis:
    """Plays ``steps`` one after another and keeps what was sent. Each takes ``costs`` seconds."""

    def __init__(self, *steps: Step, clock: Clock | None = None, costs: float = 0.0) -> None:
        self.steps = list(steps)
        self.sent: list[Sent] = []
        self.closed = 0
        self._clock = clock
        self._costs = costs

    def answer(self, sent: Sent) -> BaseHTTPResponse:
        self.sent.append(sent)
        if self._clock is not None:
            self._clock.now += self._costs
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return HTTPResponse(
            io.BytesIO(step.body), status=step.status, headers=dict(step.headers), preload_content=False
        )


class _Pool(HTTPSConnectionPool):
    """In the place of the connections to one host: what would go out is what urllib3 makes of the request."""

    def __init__(self, celonis: FakeCelonis, host: str, port: int, **more: Any) -> None:
        super().__init__(host, port, **more)
        self._celonis = celonis

    def urlopen(self, method: str, url: str, *_: object, **how: Any) -> BaseHTTPResponse:
        timeout, body = how["timeout"], how["body"] or b""
        assert isinstance(timeout, Timeout)
        assert timeout.total == timeout.read_timeout
        assert how["retries"] is how["redirect"] is how["preload_content"] is False
        bounds = (timeout.connect_timeout, timeout.total)
        address = f"https://{self.host}{url}"
        return self._celonis.answer(Sent(method, address, how["headers"], body.decode(), bounds))


class _Pools(Pools):
    def __init__(self, celonis: FakeCelonis) -> None:
        super().__init__()
        self._celonis = celonis
        pools: Any = {"https": lambda *host, **more: _Pool(celonis, *host, **more)}
        self.pool_classes_by_scheme = pools

    def clear(self) -> None:
        self._celonis.closed += 1
        super().clear()


class Clock:
    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def pools_to(celonis: FakeCelonis) -> Pools:
    return _Pools(celonis)


def client_of(celonis: FakeCelonis, auth: Auth = API_KEY, clock: Clock | None = None) -> CelonisClient:
    clock = clock or Clock()
    connection = Connection("main", BASE, auth)
    return CelonisClient(connection, pools=pools_to(celonis), clock=clock, monotonic=clock)


def json_reply(value: object, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, json.dumps(value).encode(), {"content-type": "application/json", **named})


def token_reply(value: str = "token-1", **more: object) -> Reply:
    return json_reply({"access_token": value, "token_type": "Bearer", "expires_in": 899} | more)
