"""The server of the page: static files, and the allowed requests of the runs API, signed for the viewer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, request, send_from_directory

from refresh_cli.page.backend import ApiAnswer, Backend, BackendError
from refresh_cli.page.guard import SECURITY_HEADERS, Guard

STATIC: Final = Path(__file__).parent / "static"
MAX_BODY: Final = 1024 * 1024 + 64 * 1024
"""Bytes: an event to try against the rules may have 1 MiB."""
NAME: Final = r"[A-Za-z][A-Za-z0-9_-]{0,47}"
RUN_ID: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}"

ALLOWED: Final[tuple[tuple[str, re.Pattern[str], frozenset[str]], ...]] = tuple(
    (method, re.compile(path), frozenset(query))
    for method, path, query in (
        ("GET", r"/pipelines", ("runs", "after")),
        ("GET", rf"/pipelines/{NAME}", ()),
        ("POST", rf"/pipelines/{NAME}/(pause|resume)", ()),
        ("GET", r"/runs", ("pipeline", "status", "limit", "before", "since", "until")),
        ("POST", r"/runs", ()),
        ("GET", rf"/runs/{RUN_ID}", ()),
        ("POST", rf"/runs/{RUN_ID}/(cancel|retry)", ()),
        ("GET", r"/sources", ("after",)),
        ("POST", rf"/sources/{NAME}/test", ()),
        ("GET", r"/deliveries", ("source", "limit", "before")),
    )
)
"""Method, path and query parameters of the requests that are passed on; everything else is refused."""
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
"""Types of static files. Windows has them in its registry, where other programs may have changed them."""
PASSED_ON: Final = ("Idempotency-Key",)
"""Headers of a request that are passed on."""


def is_allowed(method: str, path: str, query: Mapping[str, str]) -> bool:
    """Return whether a request may be passed on to the runs API."""
    return any(
        method == allowed and pattern.fullmatch(path) and set(query) <= parameters
        for allowed, pattern, parameters in ALLOWED
    )


def create_app(backend: Backend, guard: Guard, is_own_user: Callable[[int], bool] = lambda _: True) -> Flask:
    """Return the server. Static files need no token, because they hold no data.

    ``is_own_user``: whether the connection from this port comes from a program of this user.
    """
    app = Flask("refresh_page", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    views = _Views(backend, guard, is_own_user)
    app.before_request(views.refuse)
    app.after_request(add_security_headers)
    app.register_error_handler(BackendError, show_error)
    app.add_url_rule("/", view_func=views.index)
    app.add_url_rule("/static/<path:name>", view_func=views.static_file)
    app.add_url_rule("/aws/about", view_func=views.about)
    app.add_url_rule("/aws/schedules", view_func=views.schedules)
    app.add_url_rule("/api/<path:path>", view_func=views.api, methods=["GET", "POST"])
    return app


def add_security_headers(response: Response) -> Response:
    """Return the response with the headers that every answer has."""
    response.headers.update(SECURITY_HEADERS)
    return response


def show_error(error: BackendError) -> Response:
    """Return an error as JSON that the page shows."""
    return to_json(error.status, {"error": error.kind, "message": error.message, "action": error.action})


def _file(name: str) -> Response:
    """Return a file of the page, read whole: werkzeug leaves it open if the browser resets the connection."""
    response = send_from_directory(STATIC, name, mimetype=TYPES.get(Path(name).suffix))
    response.direct_passthrough = False
    response.get_data()
    response.close()
    return response


@dataclass(frozen=True)
class _Views:
    backend: Backend
    guard: Guard
    is_own_user: Callable[[int], bool]

    def refuse(self) -> Response | None:
        if not self.is_own_user(int(request.environ.get("REMOTE_PORT", 0))):
            return to_json(403, {"error": "OtherUser", "message": "This server is of another user."})
        needs_token = request.path.startswith(("/api/", "/aws/"))
        headers = {name.title(): value for name, value in request.headers.items()}
        refusal = self.guard.check(request.method, headers, needs_token=needs_token)
        if refusal is None:
            return None
        return to_json(refusal.status, {"error": refusal.error, "message": refusal.message})

    def index(self) -> Response:
        return _file("index.html")

    def static_file(self, name: str) -> Response:
        return _file(name)

    def about(self) -> Response:
        return to_json(200, self.backend.about())

    def schedules(self) -> Response:
        return to_json(200, {"schedules": list(self.backend.schedules())})

    def api(self, path: str) -> Response:
        query = request.args.to_dict()
        if not is_allowed(request.method, f"/{path}", query):
            return to_json(404, {"error": "NotAllowed", "message": "The page does not pass on this request."})
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        body = request.get_data()
        return _passed_on(self.backend.api(request.method, f"/{path}", query, headers, body))


def _passed_on(answer: ApiAnswer) -> Response:
    return Response(answer.body, answer.status, content_type="application/json")


def to_json(status: int, body: Mapping[str, Any]) -> Response:
    """Return a JSON response."""
    return Response(json.dumps(body), status, content_type="application/json")
