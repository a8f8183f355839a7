"""HTTP responses, also for errors."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger

STATUS: Mapping[str, int] = {
    "NotAuthentic": 401,
    "Malformed": 400,
    "TooLarge": 413,
    "InvalidTrigger": 400,
    "UnknownSource": 401,
    "SourceNotFound": 404,
    "UnknownPipeline": 404,
    "RunNotFound": 404,
    "PipelineBusy": 409,
    "RunClosed": 409,
    "RunOpen": 409,
    "RunSuperseded": 409,
    "RunTooOld": 409,
    "RunInline": 409,
    "PipelineSkips": 409,
    "PipelinePaused": 409,
    "InvalidDefinition": 422,
    "InvalidSource": 401,
    "RuleError": 422,
    "TableBusy": 503,
    "ConfigurationUnavailable": 503,
    "ExecutionsUnavailable": 503,
    "SecretUnreadable": 503,
    "WebhookSecretUnreadable": 401,
    "SnsUnavailable": 503,
}
"""The status by the name of an error; any other error of this service is a 500."""
RETRY_SECONDS = "2"
MAX_LOGGED = 80
"""Characters of a path parameter that are logged; ids and names are not longer."""
REFUSED_ALIKE = frozenset({"NotAuthentic", "UnknownSource", "InvalidSource", "WebhookSecretUnreadable"})
"""Errors with the same status and body, so that a caller cannot find out what exists."""
REFUSED = {
    "error": "NotAuthentic",
    "message": "The request is not authentic, or its source is not set up. The function log has the reason.",
}
UNAVAILABLE = "A part of the configuration could not be read in time. Try again."
"""Replaces the name of the parameter or secret, which is only in the log."""

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


def to_text(body: Any) -> str:
    """Return JSON that ends with a newline, so that a shell prompt starts on its own line."""
    return json.dumps(body) + "\n"


def answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a response in payload format 2.0; ``body`` is JSON unless ``headers`` have a type.

    JSON ends with a newline, also if ``body`` is its text.
    """
    named = {name.lower(): value for name, value in (headers or {}).items()}
    if "content-type" in named and isinstance(body, str):
        is_json = body and named["content-type"].startswith("application/json")
        text = body.rstrip("\n") + "\n" if is_json else body
    else:
        text = to_text(body)
    return {"statusCode": status, "headers": {"content-type": "application/json", **named}, "body": text}


def error_answer(error: RefreshError) -> dict[str, Any]:
    """Return the response to an error: its name, its message, all errors and problems of invalid fields.

    ``hint``: what to do, if the error says it; the message ends with it.
    """
    status = STATUS.get(error.name, 500)
    if error.name in REFUSED_ALIKE:
        return answer(status, REFUSED)
    message = UNAVAILABLE if error.name == "ConfigurationUnavailable" else str(error)
    body: dict[str, Any] = {"error": error.name, "message": message}
    if error.hint:
        body["hint"] = error.hint
    if error.all_errors:
        body["errors"] = list(error.all_errors)
    problems = getattr(error, "problems", None)
    if problems:
        body["fields"] = [
            {"field": problem.field, "expected": problem.expected.removeprefix("expected ")}
            for problem in problems
        ]
    return answer(status, body, {"retry-after": RETRY_SECONDS} if status == 503 else None)


def answering(handler: Handler) -> Handler:
    """Return a handler that responds to errors of ``handler``; 500 for unexpected ones."""

    @functools.wraps(handler)
    def answer_or_error(event: dict[str, Any], context: Any) -> dict[str, Any]:
        try:
            answered = handler(event, context)
        except RefreshError as error:
            logger.warning("refused", extra={"error": error.name, "why": str(error)})
            return error_answer(error)
        except Exception:  # noqa: BLE001 - logged whole; no stack trace leaves the service
            logger.exception("unexpected error")
            hint = "See the log for this request id."
            body = {"error": "InternalError", "message": f"Unexpected error. {hint}", "hint": hint}
            return answer(500, body | {"request_id": getattr(context, "aws_request_id", "")})
        logger.debug("answered", extra={"status": answered.get("statusCode")})
        return answered

    return answer_or_error


def path_log_keys(event: Mapping[str, Any]) -> dict[str, str]:
    """Return the run or the pipeline that a path of the runs API names, for log lines."""
    path, keys = event.get("pathParameters") or {}, {"run_id": "run_id", "name": "pipeline"}
    return {key: path[name][:MAX_LOGGED] for name, key in keys.items() if name in path}
