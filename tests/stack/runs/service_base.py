"""The base of all parts of the deployed service."""

from __future__ import annotations

import itertools

from local.aws.stack import LocalStack
from tests.stack.runs.documents import WEBHOOK_SECRET


class ServiceBase:
    """``celonis_url``: where the simulator's API is."""

    def __init__(self, stack: LocalStack, celonis_url: str) -> None:
        self.stack = stack
        self.celonis_url = celonis_url
        self.secrets: list[str] = [WEBHOOK_SECRET]
        """Everything that must never be seen anywhere."""
        self._numbers = itertools.count(1)

    def name(self, of: str) -> str:
        """A new unique name."""
        return f"{of}-{next(self._numbers)}"
