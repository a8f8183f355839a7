"""Webhook secrets that cannot work, in the log as soon as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from celonis_refresh.observability import logger
from celonis_refresh.webhooks.schemes import secret_problem
from celonis_refresh.webhooks.sources import Source

FIELDS: Final = ("current", "previous")
"""Of a webhook's secret, in the order in which its values are read."""


class SecretLog:
    """Logs each value that no request can fit, once for each change of a source or its secret."""

    def __init__(self) -> None:
        self._checked: dict[str, tuple[Source, tuple[str, ...]]] = {}

    def check(self, source_name: str, source: Source, secrets: Sequence[str]) -> None:
        """Log what is wrong with ``secrets`` for the scheme of ``source``, never the values."""
        seen = (source, tuple(secrets))
        if self._checked.get(source_name) == seen:
            return
        self._checked[source_name] = seen
        scheme = source.effective().scheme
        for name, secret in zip(FIELDS, secrets, strict=False):
            problem = secret_problem(scheme, secret)
            if problem:
                logger.error(
                    "a webhook secret cannot work",
                    extra={"source": source_name, "field": name, "why": problem},
                )
