"""A Celonis without sockets: records every request that would go out and returns the given responses."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.connection import ApiKey, Auth, Connection, OAuthClient
from celonis_refresh.celonis.transport import make_session

BASE = "https://team.eu-1.celonis.cloud"
CLIENT_SECRET = "client-secret-3141592653"
KEY = "api-key-2718281828"
OAUTH = OAuthClient("client-1", CLIENT_SECRET)
API_KEY = ApiKey(KEY)


@dataclass(frozen=True)
class ScriptedResponse:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SentRequest:
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


Step: TypeAlias = ScriptedResponse | Exception


class ScriptedCelonis:
    """Returns ``steps`` one after another and records what was sent. Each takes ``costs`` seconds."""

    def __init__(self, *steps: Step, clock: ExchangeClock | None = None, costs: float = 0.0) -> None:
        self.steps = list(steps)
        self.sent: list[SentRequest] = []
        self.closed = 0
        self._clock = clock
        self._costs = costs

    def answer(self, sent: SentRequest) -> HTTPResponse:
        self.sent.append(sent)
        if self._clock is not None:
            self._clock.now += self._costs
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return HTTPResponse(
            io.BytesIO(step.body), status=step.status, headers=dict(step.headers), preload_content=False
        )


class _Adapter(HTTPAdapter):
    """Replaces the connections: sees what requests prepares."""

    def __init__(self, celonis: ScriptedCelonis) -> None:
        super().__init__()
        self._celonis = celonis

    def send(self, request: PreparedRequest, *_: object, **how: Any) -> Response:
        assert how["stream"] is True
        assert how["proxies"] == {}
        body = request.body or b""
        text = body.decode() if isinstance(body, bytes) else body
        sent = SentRequest(str(request.method), str(request.url), dict(request.headers), text, how["timeout"])
        answered: Response = self.build_response(request, self._celonis.answer(sent))
        return answered

    def close(self) -> None:
        self._celonis.closed += 1
        super().close()


class ExchangeClock:
    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def session_to(celonis: ScriptedCelonis) -> Session:
    session = make_session()
    session.adapters.clear()
    session.mount("https://", _Adapter(celonis))
    return session


def client_of(
    celonis: ScriptedCelonis, auth: Auth = API_KEY, clock: ExchangeClock | None = None
) -> CelonisClient:
    clock = clock or ExchangeClock()
    connection = Connection("main", BASE, auth)
    return CelonisClient(connection, session=session_to(celonis), clock=clock, monotonic=clock)


def json_reply(value: object, status: int = 200, **headers: str) -> ScriptedResponse:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return ScriptedResponse(status, json.dumps(value).encode(), {"content-type": "application/json", **named})


def token_reply(value: str = "token-1", **more: object) -> ScriptedResponse:
    return json_reply({"access_token": value, "token_type": "Bearer", "expires_in": 899} | more)
