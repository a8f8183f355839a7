"""The root of all errors that this service raises.

RefreshError
├── celonis.errors.CelonisError      a call to the Celonis API failed
├── pipelines.errors                 a definition or a trigger is not valid
├── runs.errors                      a write was rejected: closed, busy, contention
├── notifications                    a message was not sent, a channel cannot be used
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


class UnusableConfiguration(NamedTuple):
    """An error of the configuration, and where it was found.

    ``pipeline``: "" if it is about a source as a whole. ``delivery_id``: of an event that it kept from
    starting a run. ``field``: of the source, if the error itself names none.
    """

    error: RefreshError
    source: str = ""
    pipeline: str = ""
    delivery_id: str = ""
    field: str = ""


class RefreshError(Exception):
    """An error whose name Step Functions can match and whose message says what to do.

    The class name is the error name. ``str(error)`` is ``message`` and ``hint``. Facts are attributes of the
    subclasses. ``all_errors``: the texts of all errors for which a request is refused with this one.
    """

    all_errors: tuple[str, ...] = ()

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} {hint}".strip())

    @property
    def name(self) -> str:
        """The error name in Step Functions."""
        return type(self).__name__
