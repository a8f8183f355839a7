"""The routes of an HTTP API, read from the OpenAPI body that SAM writes."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

_METHODS = {"get", "post", "put", "delete", "patch", "head", "options"}
_ANY = "x-amazon-apigateway-any-method"
_FUNCTION_URI = re.compile(r":lambda:path/[\d-]+/functions/(?P<function>[^/]+)/invocations$")


@dataclass(frozen=True)
class Throttling:
    """Requests per second on average, and the burst."""

    rate: float
    burst: int


@dataclass(frozen=True)
class Route:
    """One method and path. `path` is the template, such as `/runs/{id}` or `/files/{proxy+}`."""

    method: str
    path: str
    function: str
    iam: bool
    timeout: float = 30.0

    @property
    def key(self) -> str:
        return "$default" if self.path == "$default" else f"{self.method} {self.path}"

    def match(self, method: str, raw_path: str) -> dict[str, str] | None:
        """Return the decoded path parameters, or None if the route does not match the request."""
        if self.method not in ("ANY", method):
            return None
        if self.path == "$default":
            return {}
        match = re.fullmatch(_pattern(self.path), raw_path)
        return None if match is None else {_name(k): unquote(v) for k, v in match.groupdict().items()}


@dataclass
class HttpApi:
    """One API and the settings of its default stage."""

    api_id: str
    routes: list[Route]
    throttling: Throttling | None = None
    route_throttling: dict[str, Throttling] = field(default_factory=dict)
    access_log_group: str | None = None
    access_log_format: str | None = None

    def route_of(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the most specific route: full paths before parameters, then `{proxy+}`, then `$default`."""
        for route in sorted(self.routes, key=_breadth):
            parameters = route.match(method, raw_path)
            if parameters is not None:
                return route, parameters
        return None

    def throttling_of(self, route: Route) -> Throttling | None:
        return self.route_throttling.get(route.key, self.throttling)


def routes_of(body: dict[str, Any]) -> list[Route]:
    """Return all routes of a resolved OpenAPI body with Lambda proxy integrations."""
    return [
        _route("ANY" if method == _ANY else method.upper(), path, operation, body)
        for path, operations in body.get("paths", {}).items()
        for method, operation in operations.items()
        if method in _METHODS or method == _ANY
    ]


def _route(method: str, path: str, operation: dict[str, Any], body: dict[str, Any]) -> Route:
    integration = operation["x-amazon-apigateway-integration"]
    match = _FUNCTION_URI.search(integration["uri"])
    if match is None or integration.get("payloadFormatVersion") != "2.0":
        raise ValueError(f"{method} {path}: only Lambda proxy integrations with payload 2.0 are served here")
    timeout = float(integration.get("timeoutInMillis", 30_000)) / 1000
    return Route(
        method,
        "$default" if path == "/$default" else path,
        match["function"],
        _is_iam(operation, body),
        timeout,
    )


def _is_iam(operation: dict[str, Any], body: dict[str, Any]) -> bool:
    schemes = body.get("components", {}).get("securitySchemes", {})
    required = operation.get("security", body.get("security", []))
    names = [name for requirement in required for name in requirement if name != "NONE"]
    for name in names:
        if schemes.get(name, {}).get("x-amazon-apigateway-authtype") != "awsSigv4":
            raise ValueError(f"authorizer {name}: only IAM authorisation is served here")
    return bool(names)


def _pattern(path: str) -> str:
    parts = re.split(r"(\{[^}]+\})", path)
    return "".join(_part(part) for part in parts)


def _part(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    name = part[1:-1]
    return f"(?P<{_group(name.rstrip('+'))}>{'.+' if name.endswith('+') else '[^/]+'})"


def _group(name: str) -> str:
    return "p_" + name.encode().hex()


def _name(group: str) -> str:
    return bytes.fromhex(group[2:]).decode()


def _breadth(route: Route) -> tuple[int, int, int]:
    if route.path == "$default":
        return (3, 0, 0)
    breadth = 2 if "+}" in route.path else 1 if "{" in route.path else 0
    return (breadth, -len(route.path.split("/")), 1 if route.method == "ANY" else 0)
