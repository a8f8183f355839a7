"""A harness for the runs API and for reconcile, with one open run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.errors import UnknownPipeline
from celonis_refresh.runs.queued import RunLookup
from celonis_refresh.runs.records import Run, RunStatus
from celonis_refresh.timing import iso
from celonis_refresh.workflow.accept import TriggerAcceptor
from celonis_refresh.workflow.commands import RunCommands
from celonis_refresh.workflow.listing import Listing
from celonis_refresh.workflow.reconcile import ReconcileFindings, Reconciler
from celonis_refresh.workflow.requests import RunRequests
from tests.fakes.service import RUN
from tests.fakes.wiring import make_reconciler, make_run_commands
from tests.unit.workflow.close_harness import CloseHarness

ROUND_SECONDS = 237.0
"""What a round of reconcile has, less what its answer needs."""
CALLER = "arn:aws:iam::123456789012:user/ann"


@dataclass
class CommandsHarness(CloseHarness):
    """``definitions``: the current definitions of the pipelines; the open run is of "otc".

    ``slept``: seconds of each sleep of a request. ``while_sleeping``: what happens in a sleep, by its number.
    """

    definitions: dict[str, Definition] = field(default_factory=dict)
    slept: list[float] = field(default_factory=list)
    while_sleeping: dict[int, Callable[[], object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.definitions.setdefault("otc", self.definition)
        self._ids = itertools.count(100)
        service = self.service
        self.acceptor = TriggerAcceptor(service.claims, self.defined, self._new_id, service.clock)
        self.listing = Listing(service.table, service.clock)

    def defined(self, name: str) -> Definition:
        if name not in self.definitions:
            raise UnknownPipeline(name, where=f"/stack/pipelines/{name}")
        return self.definitions[name]

    def _new_id(self, name: str) -> str:
        return f"{name}-{next(self._ids)}"

    @property
    def requests(self) -> RunRequests:
        service = self.service
        lookup = RunLookup(service.table, service.records)
        return RunRequests(self.acceptor, self.executions, lookup, self.listing, self.sleep)

    def show(self, run_id: str) -> dict[str, Any]:
        """Return a run without waiting for its end."""
        return self.requests.show(run_id, {}, self.service.deadline())

    def sleep(self, seconds: float) -> None:
        """Advance the clock; run what is to happen by then."""
        self.slept.append(seconds)
        self.service.clock.sleep(seconds)
        if actions := self.while_sleeping.pop(len(self.slept), None):
            actions()

    @property
    def run_commands(self) -> RunCommands:
        return make_run_commands(self.service, self.executions, self.acceptor, self.definitions)

    @property
    def reconciler(self) -> Reconciler:
        return make_reconciler(self.service, self.executions, self.closer, self.definitions)

    def round(self, seconds: float = ROUND_SECONDS) -> ReconcileFindings:
        """One round of reconcile."""
        return self.reconciler.reconcile(self.service.deadline(seconds))

    def start(self, pipeline: str = "otc", **body: Any) -> dict[str, Any]:
        """``POST /runs``."""
        return self.requests.start({"pipeline": pipeline, **body}, CALLER, None, self.service.deadline())

    def retry(self, run_id: str = RUN) -> dict[str, Any]:
        return self.run_commands.retry(run_id, CALLER, self.service.deadline())

    def fail(self, run_id: str = RUN) -> Run:
        """The run ends with a failure."""
        return self.end("FAILED", "JobFailed", "It failed.", run_id)

    def slot(self, pipeline: str = "otc") -> dict[str, Any]:
        return self.service.table.get(f"slot#{pipeline}") or {}

    def status(self, run_id: str) -> RunStatus | None:
        run = self.service.records.find(run_id)
        return run.status if run else None

    def done(self) -> dict[str, str]:
        """The state of a step that has just succeeded."""
        return {"outcome": "SUCCEEDED", "ended_at": iso(self.service.clock.now)}

    def succeed(self, run_id: str) -> None:
        """Every step of an open run has a proven, good end, and the run is closed."""
        records, deadline = self.service.records, self.service.deadline()
        for job in records.get(run_id).plan.jobs:
            records.save_step(records.get(run_id), job.step, self.done(), deadline)
        self.executions.start(run_id)
        self.end("SUCCEEDED", run_id=run_id)
