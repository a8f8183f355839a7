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


def is_transient(error: Exception) -> bool:
    """Whether there was no answer, or one that passes."""
    if not isinstance(error, ClientError):
        return isinstance(error, NoConnection | HTTPClientError)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return is_transient_status(status, error.response["Error"]["Code"])


def is_transient_status(status: int, code: str | None) -> bool:
    """Whether an answer is an error of the server, or tells of too many requests."""
    return status >= SERVER_ERROR or code in THROTTLED


def asked(unavailable: Callable[[], Exception], call: Callable[..., A], **request: Any) -> A:
    """Return the answer of AWS. Raise ``unavailable`` for a transient error, any other as it is."""
    try:
        return call(**request)
    except Exception as error:
        if is_transient(error):
            raise unavailable() from None
        raise
