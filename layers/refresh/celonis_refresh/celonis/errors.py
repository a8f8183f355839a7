"""What can go wrong between this service and Celonis.

RefreshError
├── ConnectionInvalid         the secret of a connection makes no sense
└── CelonisError              one call did not succeed
    ├── CelonisUnavailable    no usable answer; may pass by itself
    │   └── ConnectionUnusable  nothing was sent: the secret of the connection cannot be used
    ├── CelonisThrottled      429: too many requests; ask again after ``retry_after``
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
    """What the error envelope of an answer says."""

    title: str | None
    detail: str | None
    error_code: str | None
    support_id: str | None


class Facts(_Required, ErrorDetails, total=False):
    """The facts of a failed call. ``path`` is the path without host and query."""

    status: int | None


class CelonisError(RefreshError):
    """A call to Celonis did not succeed.

    ``title``, ``detail`` and ``error_code`` come from the answer's error envelope, cut to a readable
    length, with everything that signs a request taken out. ``support_id`` is what Celonis support asks
    for.
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
    """No usable answer: no connection, a time-out, a 5xx, a redirect, or a body that cannot be read.

    ``may_have_started`` says for a POST whether Celonis may have acted on it all the same. It is False only
    where the request provably never left, and for every GET.
    """

    def __init__(self, message: str, *, may_have_started: bool = False, **facts: Unpack[Facts]) -> None:
        super().__init__(message, **facts)
        self.may_have_started = may_have_started


class ConnectionUnusable(CelonisUnavailable):
    """Nothing was sent: the secret of the connection cannot be used, and could be used before."""


class CelonisThrottled(CelonisError):
    """429: Celonis rate-limited the request. ``retry_after`` is in seconds from now."""

    def __init__(self, message: str, *, retry_after: float, **facts: Unpack[Facts]) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after


class AuthenticationFailed(CelonisError):
    """Celonis does not accept the credentials of the connection."""


class PermissionDenied(CelonisError):
    """The credentials are good, but do not allow this call."""


class NotFound(CelonisError):
    """Celonis knows no such thing, or does not show it to these credentials."""


class CelonisRejected(CelonisError):
    """Celonis understood the request and refuses it, for example 409: it is running already."""


class SecretProblem(NamedTuple):
    """What is wrong with one ``field`` of a secret, and what was ``expected``; never its value."""

    field: str
    problem: str
    expected: str


class ConnectionInvalid(RefreshError):
    """The secret of a connection is not valid. Names every field that is wrong, never a value.

    ``where``: the name of the secret in Secrets Manager; empty if that is not known.
    """

    def __init__(self, connection: str, problems: Sequence[SecretProblem], *, where: str = "") -> None:
        described = "; ".join(f"{one.field} {one.problem} (expected: {one.expected})" for one in problems)
        secret = f"The secret {where!r}" if where else "The secret"
        super().__init__(
            f"{secret} of connection {connection!r} is not valid: {described}.",
            hint="Correct the secret in Secrets Manager.",
        )
        self.connection = connection
        self.where = where
        self.problems = tuple(problems)
