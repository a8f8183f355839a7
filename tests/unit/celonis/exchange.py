"""A Celonis without sockets: notes every request that would go out and plays the answers given."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.connection import ApiKey, Auth, Connection, OAuthClient

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


class FakeCelonis(BaseAdapter):
    """Plays ``steps`` one after another and keeps what was sent. Each takes ``costs`` seconds."""

    def __init__(self, *steps: Step, clock: Clock | None = None, costs: float = 0.0) -> None:
        super().__init__()
        self.steps = list(steps)
        self.sent: list[Sent] = []
        self.closed = 0
        self._clock = clock
        self._costs = costs

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: object = None,
        verify: bool | str = True,
        cert: object = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        body = request.body or b""
        text = body if isinstance(body, str) else bytes(body).decode()
        self.sent.append(Sent(str(request.method), str(request.url), dict(request.headers), text, timeout))
        if self._clock is not None:
            self._clock.now += self._costs
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return _response(step, request)

    def close(self) -> None:
        self.closed += 1


class Clock:
    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def session_with(celonis: FakeCelonis) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", celonis)
    return session


def client_of(celonis: FakeCelonis, auth: Auth = API_KEY, clock: Clock | None = None) -> CelonisClient:
    clock = clock or Clock()
    connection = Connection("main", BASE, auth)
    return CelonisClient(connection, session=session_with(celonis), clock=clock, monotonic=clock)


def json_reply(value: object, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, json.dumps(value).encode(), {"content-type": "application/json", **named})


def token_reply(value: str = "token-1", **more: object) -> Reply:
    return json_reply({"access_token": value, "token_type": "Bearer", "expires_in": 899} | more)


def _response(reply: Reply, request: requests.PreparedRequest) -> requests.Response:
    response = requests.Response()
    response.status_code = reply.status
    response.headers.update(reply.headers)
    response.request = request
    response.raw = HTTPResponse(io.BytesIO(reply.body), headers=dict(reply.headers), preload_content=False)
    return response
