"""The responses of the platform: JSON, an empty body, or one of the documented error formats."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    414: "URI Too Long",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}
CODES = {
    400: "GENERAL_BAD_REQUEST",
    401: "GENERAL_UNAUTHORIZED",
    403: "ADMIN_ACCESS_ERROR",
    404: "GENERAL_NOTFOUND_PATH",
    405: "GENERAL_METHOD_NOT_ALLOWED",
    409: "GENERAL_CONFLICT",
    429: "LIMIT_RATE_EXCEEDED",
    500: "ADMIN_FATAL_ERROR",
}
DETAILS = {
    403: "You do not have the permission for this.",
    404: "The requested resource was not found.",
    429: "Too many requests. Wait until the limit is reset.",
    500: "An unexpected error happened. Quote support id 7f1c9a52-03ab when you ask for help.",
}


@dataclass(frozen=True)
class ApiResponse:
    """One HTTP response. ``effect``: what it started, for the ledger; it is not sent."""

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    effect: dict[str, Any] | None = None


def as_json(value: object, status: int = 200, effect: dict[str, Any] | None = None) -> ApiResponse:
    """Return a JSON response."""
    return ApiResponse(status, json.dumps(value).encode(), "application/json", effect=effect)


def nothing(status: int = 200, effect: dict[str, Any] | None = None) -> ApiResponse:
    """Return a response without a body."""
    return ApiResponse(status, effect=effect)


def error(status: int, detail: str | None = None, code: str | None = None) -> ApiResponse:
    """Return an error with ``title``, ``status``, ``detail`` and ``errorCode``."""
    title = TITLES.get(status, "Error")
    return as_json(
        {
            "title": title,
            "status": status,
            "detail": detail or DETAILS.get(status, title),
            "errorCode": code or CODES.get(status, "GENERAL_ERROR"),
        },
        status,
    )


def refusal(status: int, shape: str, oauth_error: str = "invalid_client") -> ApiResponse:
    """Return a rejected sign-in in one of its formats: envelope, error, plain, empty or oauth (RFC 6749)."""
    title = TITLES.get(status, "Error")
    shapes = {
        "envelope": error(status),
        "error": as_json({"error": title}, status),
        "plain": ApiResponse(status, title.encode(), "text/plain;charset=UTF-8"),
        "empty": nothing(status),
        "oauth": as_json({"error": oauth_error, "error_description": f"{oauth_error} ({title})"}, status),
    }
    return shapes[shape]
