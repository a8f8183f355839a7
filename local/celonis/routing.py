"""An authenticated request, and the routes to the calls."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from local.celonis.answers import ApiResponse


@dataclass(frozen=True)
class ApiRequest:
    """One request of an authenticated and authorized caller. ``params`` come from the path."""

    params: dict[str, str]
    query: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class RequestTarget:
    """The path and the query of a request line."""

    path: str
    query: str = ""


def read_target(text: str) -> RequestTarget | None:
    """Parse ``/path?query``, ``http://host/path?query`` or ``*``; return None for any other target."""
    if text.startswith("/"):
        path, _, query = text.partition("#")[0].partition("?")
        return RequestTarget(path, query)
    try:
        parts = urlsplit(text)
        has_host = parts.scheme in {"http", "https"} and bool(parts.netloc) and parts.port != 0
    except ValueError:
        return None
    if has_host:
        return RequestTarget(parts.path or "/", parts.query)
    return RequestTarget(text) if text == "*" else None


Handler = Callable[[ApiRequest], ApiResponse]


@dataclass(frozen=True)
class ApiRoute:
    """The route of a call: name, method, path pattern, and whether Celonis documents it."""

    call: str
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    documented: bool = True


def route(call: str, method: str, path: str, handler: Handler, *, documented: bool = True) -> ApiRoute:
    """Return a route for ``path``, in which ``{name}`` matches one segment."""
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
    return ApiRoute(call, method, re.compile(f"^{pattern}$"), handler, documented)


@dataclass(frozen=True)
class RouteMatch:
    """The result of routing. Without a route, ``allowed`` holds the methods of the path, if any."""

    route: ApiRoute | None
    params: dict[str, str]
    allowed: tuple[str, ...] = ()


def find(routes: list[ApiRoute], method: str, path: str) -> RouteMatch:
    """Return the route of ``method`` and ``path``. HEAD has the route of GET."""
    effective_method = "GET" if method == "HEAD" else method
    allowed: list[str] = []
    for one in routes:
        match = one.pattern.match(path)
        if match is None:
            continue
        if one.method == effective_method:
            return RouteMatch(one, match.groupdict())
        allowed.append(one.method)
    return RouteMatch(None, {}, tuple(allowed))
