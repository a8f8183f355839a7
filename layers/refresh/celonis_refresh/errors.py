"""The root of all errors that this service raises.

RefreshError
├── celonis.errors.CelonisError      a call to the Celonis API failed
├── pipelines.errors                 a definition or a trigger is not valid
├── runs.errors                      a write was rejected: closed, busy, contention
├── webhooks.errors                  a request is not authentic or cannot be read
└── steps.errors                     a job or a load failed or cannot be proven ours
"""

from __future__ import annotations

from typing import NamedTuple

WHOLE = "(the whole document)"
"""The field of a problem of the whole document."""


class Problem(NamedTuple):
    """A field and what was expected. The value is never repeated, because it may be a secret."""

    field: str
    expected: str


class RefreshError(Exception):
    """An error whose name Step Functions can match and whose message says what to do.

    The class name is the error name. ``str(error)`` is ``message`` and ``hint``. Facts are attributes of the
    subclasses.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} {hint}".strip())

    @property
    def name(self) -> str:
        """The error name in Step Functions."""
        return type(self).__name__
