"""The root of the errors that this service raises on purpose.

RefreshError
├── celonis.errors.CelonisError      an answer, or none, from the Celonis API
├── pipelines.errors                 a definition or a trigger that makes no sense
├── runs.errors                      the table says no: closed, busy, too much contention
├── webhooks.errors                  a request that is not authentic or cannot be read
└── steps.errors                     a job or a load that ended badly or cannot be proven ours
"""

from __future__ import annotations

from typing import NamedTuple

WHOLE = "(the whole document)"
"""Stands for a field where none can be named."""


class Problem(NamedTuple):
    """One field and what was expected of it. The value itself is never repeated: it may be a secret."""

    field: str
    expected: str


class RefreshError(Exception):
    """An error with a name that Step Functions can match and a sentence that a person can act on.

    The class name is the error name. ``str(error)`` says what happened and then what to do about it.
    Facts (status, field, support id …) are attributes of the subclasses, never words to search for.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} {hint}".strip())

    @property
    def name(self) -> str:
        """The error name as Step Functions sees it."""
        return type(self).__name__
