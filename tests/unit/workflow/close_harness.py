"""A harness for the end of a run: one open run, its execution, and the RunCloser."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.claims import Claim
from celonis_refresh.runs.records import Run
from celonis_refresh.workflow.close import RunCloser
from celonis_refresh.workflow.executions import ExecutionDescription
from tests.fakes.executions import FakeExecutions
from tests.fakes.service import RUN, ServiceHarness, job_definition
from tests.fakes.wiring import make_run_closer

CLOSE_SECONDS = 117.0
"""What CloseRun has, less what its answer needs."""


@dataclass
class CloseHarness:
    """One open run, its execution, and what closes it. ``notices``: subject, text and facts of each."""

    definition: Definition = field(default_factory=job_definition)
    service: ServiceHarness = field(default_factory=ServiceHarness)
    executions: FakeExecutions = field(default_factory=FakeExecutions)
    notices: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    paused: bool = False

    def __post_init__(self) -> None:
        for target in (self.service.job(), self.service.model()):
            target.add_past_start(6000.0)
        self.service.open(self.definition)
        self.executions.start(RUN)
        self.executions.start_requests.clear()

    @property
    def closer(self) -> RunCloser:
        return make_run_closer(self.service, self.executions, self._notify, lambda _: self.paused)

    def _notify(self, subject: str, text: str, facts: dict[str, Any]) -> None:
        self.notices.append((subject, text, facts))

    def join(self, run_id: str = "otc-2") -> None:
        """A trigger joins the next run."""
        claim = Claim("otc", RunOptions(), "unused", run_id, self.definition)
        self.service.claims.accept([claim], [], self.service.deadline())

    def close(self, run_id: str = RUN, seconds: float = CLOSE_SECONDS) -> Run | None:
        return self.closer.close(f"arn:{run_id}", self.service.deadline(seconds))

    def end(self, status: str, error: str = "", cause: str = "", run_id: str = RUN) -> Run:
        """The execution ends with ``status``, and its run is closed."""
        self.executions.end(run_id, status, error, cause)
        run = self.close(run_id)
        assert run is not None
        return run

    def ended(self, name: str, status: str, cause: str = "") -> None:
        """An execution without a run."""
        self.executions.known[name] = ExecutionDescription(name, f"arn:{name}", status, "Some", cause)

    def outcome(self, run_id: str = RUN) -> str:
        return str(self.service.records.get(run_id).item["outcome"])
