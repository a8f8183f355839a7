"""The state machine's executions in memory: started once per name, ended by the test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from celonis_refresh.workflow.executions import ExecutionDescription
from tests.fakes.celonis import Hook, no_hook


@dataclass
class FakeExecutions:
    """``start_requests``: every request to start, in order; ``known``: the executions by name.

    ``answers``: by name, what Celonis had answered to the start of a step.
    """

    known: dict[str, ExecutionDescription] = field(default_factory=dict)
    start_requests: list[str] = field(default_factory=list)
    answers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    hook: Hook = no_hook

    def start(self, run_id: str, answer: Mapping[str, Any] | None = None) -> bool:
        self.hook("StartExecution", "before")
        self.start_requests.append(run_id)
        is_new = run_id not in self.known
        if is_new:
            self.known[run_id] = ExecutionDescription(run_id, f"arn:{run_id}", "RUNNING")
            if answer is not None:
                self.answers[run_id] = answer
        self.hook("StartExecution", "after")
        return is_new

    def describe(self, arn: str) -> ExecutionDescription:
        self.hook("DescribeExecution", "before")
        return self.known[arn.removeprefix("arn:")]

    def find(self, run_id: str) -> ExecutionDescription | None:
        self.hook("DescribeExecution", "before")
        return self.known.get(run_id)

    def stop(self, run_id: str, error: str, cause: str) -> None:
        self.end(run_id, "ABORTED", error, cause)

    def end(self, run_id: str, status: str, error: str = "", cause: str = "") -> None:
        """The execution ends, if it has not yet."""
        if self.known[run_id].status == "RUNNING":
            self.known[run_id] = replace(self.known[run_id], status=status, error=error, cause=cause)

    def running(self) -> list[str]:
        return [name for name, execution in self.known.items() if execution.status == "RUNNING"]
