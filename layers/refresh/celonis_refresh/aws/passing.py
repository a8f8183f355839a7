"""Which errors of AWS pass: asking again later helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

A = TypeVar("A")

THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TooManyRequestsException",
        "TooManyUpdates",
    }
)
SERVER_ERROR = 500


def may_pass(error: Exception) -> bool:
    """Whether there was no answer, or one that passes."""
    if not isinstance(error, ClientError):
        return isinstance(error, NoConnection | HTTPClientError)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return passes(status, error.response["Error"]["Code"])


def passes(status: int, code: str | None) -> bool:
    """Whether an answer is an error of the server, or tells of too many requests."""
    return status >= SERVER_ERROR or code in THROTTLED


def asked(unavailable: Callable[[], Exception], call: Callable[..., A], **request: Any) -> A:
    """The answer of AWS. Raises ``unavailable`` for an error that passes, and any other as it is."""
    try:
        return call(**request)
    except Exception as error:
        if may_pass(error):
            raise unavailable() from None
        raise
