"""The state machine's executions, as far as runs need to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct


class ExecutionDescription(Struct, frozen=True):
    """What Step Functions says of an execution: ``status`` RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED."""

    name: str
    arn: str
    status: str
    error: str = ""
    cause: str = ""

    @property
    def was_stopped(self) -> bool:
        """Whether a user stopped it, or the timeout of the state machine; one that failed was not stopped."""
        return self.status in ("ABORTED", "TIMED_OUT")


class Executions(Protocol):
    """The state machine's executions."""

    def describe(self, arn: str) -> ExecutionDescription: ...

    def find(self, run_id: str) -> ExecutionDescription | None: ...

    def stop(self, run_id: str, error: str, cause: str) -> None: ...

    def start(self, run_id: str, answer: Mapping[str, Any] | None = None) -> bool:
        """Start the execution of a run; False if it exists already, and has not got this ``answer``.

        ``answer``: what Celonis answered to the start of a step, where the record does not have it yet.
        """
