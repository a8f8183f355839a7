"""Converts HTTP to Lambda events and back, in payload format 2.0 of API Gateway's HTTP APIs."""

import base64
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from local.aws.http_api.routes import Route
from local.aws.http_server import HttpRequest, HttpResponse

# The content types whose bodies arrive as text; all others, including forms, are Base64-encoded.
_TEXT = ("application/json", "application/javascript", "application/xml")


@dataclass(frozen=True)
class RoutedRequest:
    """One request with its route. `time` is epoch seconds; `caller` is set on IAM routes."""

    request: HttpRequest
    route: Route
    path_parameters: dict[str, str]
    api_id: str
    account: str
    region: str
    request_id: str
    time: float
    caller: dict[str, Any] | None = None


def to_event(arrival: RoutedRequest) -> dict[str, Any]:
    """Return the event for the function."""
    request = arrival.request
    headers, cookies = _headers(request)
    headers.setdefault("x-forwarded-for", request.source_ip)
    headers.setdefault("x-forwarded-proto", "https")
    headers.setdefault("x-forwarded-port", "443")
    text, encoded = _body(request, headers.get("content-type", ""))
    parts: dict[str, Any] = {
        "version": "2.0",
        "routeKey": arrival.route.key,
        "rawPath": unquote(request.path),
        "rawQueryString": request.query,
        "cookies": cookies or None,
        "headers": headers,
        "queryStringParameters": _query(request.query) or None,
        "requestContext": _context(arrival, headers),
        "pathParameters": arrival.path_parameters or None,
        "body": text,
        "isBase64Encoded": encoded,
    }
    return {key: value for key, value in parts.items() if value is not None}


def _context(arrival: RoutedRequest, headers: dict[str, str]) -> dict[str, Any]:
    request = arrival.request
    domain = f"{arrival.api_id}.execute-api.{arrival.region}.amazonaws.com"
    context: dict[str, Any] = {
        "accountId": arrival.account,
        "apiId": arrival.api_id,
        "domainName": domain,
        "domainPrefix": arrival.api_id,
        "http": {
            "method": request.method,
            "path": unquote(request.path),
            "protocol": "HTTP/1.1",
            "sourceIp": request.source_ip,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": arrival.request_id,
        "routeKey": arrival.route.key,
        "stage": "$default",
        "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(arrival.time)),
        "timeEpoch": int(arrival.time * 1000),
    }
    if arrival.caller is not None:
        context["authorizer"] = {"iam": arrival.caller}
    return context


def _headers(request: HttpRequest) -> tuple[dict[str, str], list[str]]:
    """Return lower-case names with repeated headers joined by commas, and the cookies separately."""
    joined: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in request.headers:
        key = name.lower()
        if key == "cookie":
            cookies.extend(cookie.strip() for cookie in value.split(";"))
        elif key in joined:
            joined[key] += f",{value}"
        else:
            joined[key] = value
    return joined, cookies


def _query(query: str) -> dict[str, str]:
    joined: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        joined[key] = f"{joined[key]},{value}" if key in joined else value
    return joined


def _body(request: HttpRequest, content_type: str) -> tuple[str | None, bool]:
    if not request.body:
        return None, False
    kind = content_type.split(";")[0].strip().lower()
    if kind in _TEXT or kind.startswith("text/"):
        try:
            return request.body.decode("utf-8"), False
        except UnicodeDecodeError:
            return base64.b64encode(request.body).decode(), True
    return base64.b64encode(request.body).decode(), True


def to_response(payload: bytes) -> HttpResponse:
    """Return the HTTP response for the function's answer. Raises ValueError for a malformed answer."""
    answer = json.loads(payload)
    if not isinstance(answer, dict) or "statusCode" not in answer:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return HttpResponse(200, text.encode(), [("Content-Type", "application/json")])
    headers = _answer_headers(answer)
    body = answer.get("body") or ""
    if not isinstance(body, str):
        raise ValueError("the body must be a string")  # noqa: TRY004 - malformed, whatever its type
    content = base64.b64decode(body, validate=True) if answer.get("isBase64Encoded") else body.encode()
    return HttpResponse(_status(answer["statusCode"]), content, headers)


def _status(value: Any) -> int:
    status = int(value)
    if not 100 <= status <= 599:
        raise ValueError(f"{status} is no HTTP status")
    return status


def _answer_headers(answer: dict[str, Any]) -> list[tuple[str, str]]:
    headers = answer.get("headers") or {}
    if not isinstance(headers, dict):
        raise ValueError("the headers must be an object")  # noqa: TRY004 - malformed, whatever its type
    kept = [
        (str(name), _header_text(value))
        for name, value in headers.items()
        if name.lower() != "content-length"
    ]
    if not any(name.lower() == "content-type" for name, _ in kept):
        kept.append(("Content-Type", "text/plain;charset=UTF-8"))
    return [*kept, *(("Set-Cookie", str(cookie)) for cookie in answer.get("cookies") or [])]


def _header_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
