"""What the page's server needs from AWS, and the errors that the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class BackendError(Exception):
    """A request that could not be answered. ``kind`` decides what the page advises.

    ``credentials``: none, or expired. ``permission``: they do not allow this. ``unreachable``: no answer.
    ``configuration``: there is no such stack, profile or region.
    """

    def __init__(self, kind: str, message: str, action: str, status: int) -> None:
        self.kind = kind
        self.message = message
        self.action = action
        self.status = status
        super().__init__(f"{message} {action}")


@dataclass(frozen=True)
class ApiAnswer:
    """An answer of the runs API. ``body``: JSON as it came, also of its errors."""

    status: int
    body: bytes


class Backend(Protocol):
    """Requests with the viewer's credentials. Every method raises ``BackendError``."""

    def about(self) -> Mapping[str, Any]:
        """Return the stack's name, region, and the addresses of its consoles."""
        ...

    def api(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> ApiAnswer:
        """Return the answer of the runs API."""
        ...

    def schedules(self) -> Sequence[Mapping[str, Any]]:
        """Return the schedules of the stack's pipelines with their next times."""
        ...
