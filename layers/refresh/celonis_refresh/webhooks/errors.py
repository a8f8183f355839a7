"""Errors of a webhook request and of the configuration of a source.

WebhookError
├── NotAuthentic      401: no valid signature or token of the source
├── Malformed         400: the signature or the body cannot be read
│   └── TooLarge      413
├── RuleError         a rule of the source cannot be applied to an authentic event
└── InvalidSource     the configuration of a source is not valid

No message contains a secret, a signature or a token, or says which part of a comparison failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from celonis_refresh.errors import Problem, RefreshError


class WebhookError(RefreshError):
    """Root of the errors of webhooks."""


class NotAuthentic(WebhookError):
    """It is not proven that the request comes from the source. ``status``: of the HTTP response."""

    status: ClassVar[int] = 401


class Malformed(WebhookError):
    """The request cannot be read. ``status``: of the HTTP response."""

    status: ClassVar[int] = 400


class TooLarge(Malformed):
    """The body is too large. ``status``: of the HTTP response."""

    status: ClassVar[int] = 413


class RuleError(WebhookError):
    """The rule with index ``rule_index`` cannot be applied to an event, because of its ``field``."""

    def __init__(self, rule_index: int, field: str, problem: str, *, hint: str = "") -> None:
        self.rule_index = rule_index
        self.field = field
        super().__init__(f"rule {rule_index + 1}: {field} {problem}.", hint=hint)


class InvalidSource(WebhookError):
    """The configuration of a source is not valid. ``problems``: in the order of the document."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        text = "; ".join(f"{problem.field}: {problem.expected}" for problem in problems)
        super().__init__(f"The configuration of source {source!r} is not valid: {text}.")
