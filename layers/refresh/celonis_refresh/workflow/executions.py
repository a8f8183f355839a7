"""The interface of the state machine's executions, and the description of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct


class ExecutionDescription(Struct, frozen=True):
    """An execution. ``status``: RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED."""

    name: str
    arn: str
    status: str
    error: str = ""
    cause: str = ""

    @property
    def was_stopped(self) -> bool:
        """Whether a user or the timeout of the state machine stopped it."""
        return self.status in ("ABORTED", "TIMED_OUT")


class Executions(Protocol):
    """The state machine's executions."""

    def describe(self, arn: str) -> ExecutionDescription: ...

    def find(self, run_id: str) -> ExecutionDescription | None: ...

    def stop(self, run_id: str, error: str, cause: str) -> None: ...

    def start(self, run_id: str, answer: Mapping[str, Any] | None = None) -> bool:
        """Start the execution of a run; return False if it exists and may not have got ``answer``.

        ``answer``: what Celonis answered to the start of a step, if it is not in the record.
        """
