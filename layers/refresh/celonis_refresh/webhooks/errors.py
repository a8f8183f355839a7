"""What can be wrong with a webhook request, and with the configuration of a source.

WebhookError
├── NotAuthentic      401: no proof, or none that fits a secret of the source
├── Malformed         400: proof or body cannot be read
│   └── TooLarge      413
├── RuleError         a rule of the source cannot be applied to an authentic event
└── InvalidSource     the configuration of a source makes no sense

None of the texts carries a secret, a signature or a token, nor which part of a comparison failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from celonis_refresh.errors import Problem, RefreshError


class WebhookError(RefreshError):
    """The root of the errors around webhooks."""


class NotAuthentic(WebhookError):
    """The request does not prove that it comes from the source. ``status`` is the HTTP answer."""

    status: ClassVar[int] = 401


class Malformed(WebhookError):
    """The request cannot be read. ``status`` is the HTTP answer."""

    status: ClassVar[int] = 400


class TooLarge(Malformed):
    """The body is larger than what this service reads. ``status`` is the HTTP answer."""

    status: ClassVar[int] = 413


class RuleError(WebhookError):
    """Rule ``rule_index`` (counted from 0) cannot be applied to an event: ``field`` says which part of it."""

    def __init__(self, rule_index: int, field: str, problem: str, *, hint: str = "") -> None:
        self.rule_index = rule_index
        self.field = field
        super().__init__(f"rules.{rule_index}.{field} {problem}.", hint=hint)


class InvalidSource(WebhookError):
    """The configuration of source ``source`` makes no sense; ``problems`` in the order of the document."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        text = "; ".join(f"{problem.field}: {problem.expected}" for problem in problems)
        super().__init__(f"The configuration of source {source!r} is not valid: {text}.")
