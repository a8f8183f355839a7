"""Errors of calls to Celonis.

RefreshError
├── ConnectionInvalid         the secret of a connection is not valid
└── CelonisError              one call did not succeed
    ├── CelonisUnavailable    no usable answer; usually transient
    │   └── ConnectionUnusable  not sent: the secret of the connection cannot be used any more
    ├── CelonisThrottled      429; retry after ``retry_after``
    ├── AuthenticationFailed  401, or no access token for the OAuth client
    ├── PermissionDenied      403
    ├── NotFound              404
    └── CelonisRejected       any other 4xx
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypedDict, Unpack

from celonis_refresh.errors import RefreshError


class _Required(TypedDict):
    hint: str
    method: str
    path: str


class ErrorDetails(TypedDict, total=False):
    """Fields of the error body of an answer."""

    title: str | None
    detail: str | None
    error_code: str | None
    support_id: str | None


class Facts(_Required, ErrorDetails, total=False):
    """Facts of a failed call. ``path`` is without host and query."""

    status: int | None


class CelonisError(RefreshError):
    """A call to Celonis did not succeed.

    ``title``, ``detail`` and ``error_code`` come from the body of the answer, shortened and without
    credentials. ``support_id``: the id that Celonis support asks for.
    """

    def __init__(self, message: str, **facts: Unpack[Facts]) -> None:
        super().__init__(message, hint=facts["hint"])
        self.method = facts["method"]
        self.path = facts["path"]
        self.status = facts.get("status")
        self.title = facts.get("title")
        self.detail = facts.get("detail")
        self.error_code = facts.get("error_code")
        self.support_id = facts.get("support_id")


class CelonisUnavailable(CelonisError):
    """No usable answer: no connection, a timeout, a 5xx, a redirect, or a body that cannot be read.

    ``may_have_started``: whether Celonis may have acted on a POST. False for every GET, and if it is certain
    that the request was not sent.
    """

    def __init__(self, message: str, *, may_have_started: bool = False, **facts: Unpack[Facts]) -> None:
        super().__init__(message, **facts)
        self.may_have_started = may_have_started


class ConnectionUnusable(CelonisUnavailable):
    """Nothing was sent: the secret of the connection, which was usable before, cannot be used."""


class CelonisThrottled(CelonisError):
    """429: Celonis rate-limited the request. ``retry_after``: seconds."""

    def __init__(self, message: str, *, retry_after: float, **facts: Unpack[Facts]) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after


class AuthenticationFailed(CelonisError):
    """Celonis does not accept the credentials of the connection."""


class PermissionDenied(CelonisError):
    """The credentials do not permit this call."""


class NotFound(CelonisError):
    """The resource does not exist or is not visible to these credentials."""


class CelonisRejected(CelonisError):
    """Celonis refused the request, for example with 409 because something is running already."""


class SecretProblem(NamedTuple):
    """The problem of one ``field`` of a secret and the ``expected`` value; never the value itself."""

    field: str
    problem: str
    expected: str


class ConnectionInvalid(RefreshError):
    """The secret of a connection is not valid.

    ``where``: its name in Secrets Manager; empty if unknown.
    """

    def __init__(self, connection: str, problems: Sequence[SecretProblem], *, where: str = "") -> None:
        described = "; ".join(f"{each.field} {each.problem} (expected: {each.expected})" for each in problems)
        secret = f"The secret {where!r}" if where else "The secret"
        super().__init__(
            f"{secret} of connection {connection!r} is not valid: {described}.",
            hint="Correct the secret in Secrets Manager.",
        )
        self.connection = connection
        self.where = where
        self.problems = tuple(problems)
