"""A request as the calls see it, and the routes that lead to a call by its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from local.celonis.answers import ApiResponse


@dataclass(frozen=True)
class ApiRequest:
    """One request whose caller is known and allowed. ``params`` come from the path."""

    params: dict[str, str]
    query: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class RequestTarget:
    """The path and the query of a request line."""

    path: str
    query: str = ""


def read_target(text: str) -> RequestTarget | None:
    """The target in its forms ``/path?query``, ``http://host/path?query`` and ``*``; None for any other."""
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
    """A call: its name, method, path pattern, and whether Celonis documents it."""

    call: str
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    documented: bool = True


def route(call: str, method: str, path: str, handler: Handler, *, documented: bool = True) -> ApiRoute:
    """A route for ``path``, in which ``{name}`` matches one segment."""
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
    return ApiRoute(call, method, re.compile(f"^{pattern}$"), handler, documented)


@dataclass(frozen=True)
class RouteMatch:
    """Where a path leads. Without a route: ``allowed`` holds the methods that the path knows, if any."""

    route: ApiRoute | None
    params: dict[str, str]
    allowed: tuple[str, ...] = ()


def find(routes: list[ApiRoute], method: str, path: str) -> RouteMatch:
    """The route of ``method`` and ``path``. HEAD has the route of GET."""
    wanted = "GET" if method == "HEAD" else method
    allowed: list[str] = []
    for one in routes:
        found = one.pattern.match(path)
        if found is None:
            continue
        if one.method == wanted:
            return RouteMatch(one, found.groupdict())
        allowed.append(one.method)
    return RouteMatch(None, {}, tuple(allowed))
