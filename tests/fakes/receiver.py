"""A receiver of callbacks, without sockets."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any, Literal

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from celonis_refresh.celonis.transport import make_session
from celonis_refresh.notifications.http import is_success


class FakeReceiver(HTTPAdapter):
    """Answers with ``status``, or raises ``error``; keeps what was sent, and how.

    ``hook`` is called before and after a request has its effect. ``taken``: the requests that had one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.error: Exception | None = None
        self.headers: dict[str, str] = {}
        self.sent: list[PreparedRequest] = []
        self.how: list[dict[str, Any]] = []
        self.taken: list[PreparedRequest] = []
        self.hook: Callable[[Literal["before", "after"]], None] = lambda _: None

    def send(self, request: PreparedRequest, *_: object, **how: Any) -> Response:
        self.sent.append(request)
        self.how.append(how)
        if self.error is not None:
            raise self.error
        self.hook("before")
        if is_success(self.status):
            self.taken.append(request)
        self.hook("after")
        body = io.BytesIO(b"never read")
        answered = HTTPResponse(body, status=self.status, headers=self.headers, preload_content=False)
        response: Response = self.build_response(request, answered)
        return response

    @property
    def bodies(self) -> list[Any]:
        return [self.body_of(request) for request in self.sent]

    @staticmethod
    def body_of(request: PreparedRequest) -> Any:
        return json.loads(request.body or b"")

    def session(self) -> Session:
        """A session whose requests arrive here."""
        session: Session = make_session()
        session.adapters.clear()
        session.mount("https://", self)
        return session
