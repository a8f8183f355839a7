"""Which errors of AWS pass: asking again later helps."""

from __future__ import annotations

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

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
    """Whether there was no answer, an error of the server, or too many requests."""
    if not isinstance(error, ClientError):
        return isinstance(error, NoConnection | HTTPClientError)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= SERVER_ERROR or error.response["Error"]["Code"] in THROTTLED
