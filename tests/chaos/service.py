"""The real functions of the service over the fakes of a scenario."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from botocore.exceptions import ClientError

from celonis_refresh.aws.executions import ExecutionsUnavailable
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.queued import RunLookup
from celonis_refresh.runs.records import Run
from celonis_refresh.steps.target import DataJobTarget, DataModelTarget, StepTarget, resolved_load
from celonis_refresh.workflow.executions import ExecutionDescription
from celonis_refresh.workflow.listing import Listing
from celonis_refresh.workflow.open import RunOpener
from celonis_refresh.workflow.pause import PipelinePauses
from celonis_refresh.workflow.requests import RunRequests
from tests.chaos.celonis import ChaosCelonis, StepIdentity
from tests.fakes.dynamodb import FakeDynamoDB, client_error
from tests.fakes.executions import FakeExecutions
from tests.fakes.service import ServiceHarness
from tests.fakes.wiring import make_reconciler, make_run_closer, make_run_commands
from tests.unit.workflow.webhook_harness import WebhookHarness

CALLER = "arn:aws:iam::123456789012:user/ann"
TABLE_FAULTS = ("InternalServerError", "ThrottlingException", "TransactionConflictException")


@dataclass
class ChaosTable(FakeDynamoDB):
    """``on_write``: called with the items before and after each write."""

    on_write: Callable[[Mapping[str, Any], Mapping[str, Any]], None] = lambda before, after: None

    def _write(self, after: dict[str, Any]) -> None:
        before = {key: self.items.get(key) for key in after}
        super()._write(after)
        self.on_write(before, after)


@dataclass
class ChaosHarness(ServiceHarness):
    """Each step asks Celonis in its own name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.chaos = ChaosCelonis(self.clock)
        self.celonis = self.chaos

    def target_for(self, run: Run, step: str) -> StepTarget:
        client, pool = self.chaos.sent_for(StepIdentity(run.run_id, step)).client, run.definition.data_pool_id
        if step.startswith("job-"):
            return DataJobTarget(client, pool, run.plan.job(step))
        return DataModelTarget(client, pool, run.plan.load(step), resolved_load(run, step))


@dataclass
class ChaosExecutions(FakeExecutions):
    """``begin`` and ``ended``: called at the start and at the end of an execution.

    An execution is found only a moment after its start.
    """

    begin: Callable[[str, dict[str, Any]], None] = lambda name, document: None
    ended: Callable[[str], None] = lambda name: None
    fails: Callable[[], bool] = lambda: False
    visible_from: dict[str, float] = field(default_factory=dict)
    now: Callable[[], float] = lambda: 0.0
    stopped: list[str] = field(default_factory=list)

    def start(self, run_id: str, answer: Mapping[str, Any] | None = None) -> bool:
        return self.start_with(run_id, {"run_id": run_id, **({"answer": dict(answer)} if answer else {})})

    def start_with(self, name: str, document: dict[str, Any]) -> bool:
        self.hook("StartExecution", "before")
        if self.fails():
            raise ExecutionsUnavailable
        is_new = name not in self.known
        if is_new:
            given = json.dumps(document)
            self.known[name] = ExecutionDescription(name, f"arn:{name}", "RUNNING", input=given)
            self.visible_from[name] = self.now() + 1.0
            self.begin(name, document)
        self.hook("StartExecution", "after")
        return is_new

    def find(self, run_id: str) -> ExecutionDescription | None:
        found = super().find(run_id)
        if self.fails():
            raise ExecutionsUnavailable
        return found if self.visible_from.get(run_id, 0.0) <= self.now() else None

    def describe(self, arn: str) -> ExecutionDescription:
        found = super().describe(arn)
        if self.fails():
            raise ExecutionsUnavailable
        return found

    def stop(self, run_id: str, error: str, cause: str) -> None:
        self.hook("StopExecution", "before")
        if self.fails():
            raise ExecutionsUnavailable
        if self.known[run_id].status == "RUNNING":
            self.stopped.append(run_id)
        self.end(run_id, "ABORTED", error, cause)
        self.hook("StopExecution", "after")

    def end(self, run_id: str, status: str, error: str = "", cause: str = "") -> None:
        if self.known[run_id].status == "RUNNING":
            super().end(run_id, status, error, cause)
            self.ended(run_id)


class NotPublished(Exception):
    """SNS did not take the notification."""


@dataclass
class ChaosService(WebhookHarness):
    """All functions. ``paused``: the pipelines that are; ``hook``: called before and after each call."""

    service: ChaosHarness = field(default_factory=ChaosHarness)
    executions: ChaosExecutions = field(default_factory=ChaosExecutions)
    hook: Callable[[str, Literal["before", "after"]], None] = lambda name, when: None
    fails: Callable[[str], bool] = lambda kind: False
    paused: set[str] = field(default_factory=set)
    running: dict[str, Definition] = field(default_factory=dict)
    pausing: dict[str, Definition] = field(default_factory=dict)
    notified: list[str] = field(default_factory=list)
    log: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        super().__post_init__()
        service = self.service
        self.random = Random(f"table {service.seed}")  # noqa: S311
        service.dynamodb.before = lambda operation, request: self._table(operation, "before")
        service.dynamodb.after = lambda operation, request: self._table(operation, "after")
        service.chaos.hook = lambda name, when: self.hook(name, when)
        self.executions.hook = lambda name, when: self.hook(name, when)
        self.executions.fails = lambda: self.fails("config")
        self.closer = make_run_closer(service, self.executions, self._notify, self._is_paused)
        listing = Listing(service.table, service.clock)
        lookup = RunLookup(service.table, service.records)
        self.opener = RunOpener(service.context, self.acceptor, self.tables, service.clock)
        self.requests = RunRequests(self.acceptor, self.executions, lookup, listing)
        self.run_commands = make_run_commands(service, self.executions, self.acceptor, self.definitions)
        self.pauses = PipelinePauses(service.table, self.executions, self._definition, service.clock)
        self.reconciler = make_reconciler(service, self.executions, self.closer)

    def _table(self, operation: str, when: Literal["before", "after"]) -> None:
        self.hook(operation, when)
        if self.fails("table"):
            raise self._table_error(operation, when)

    def _table_error(self, operation: str, when: str) -> ClientError:
        """After its effect a call can only have lost its answer; the client repeats what it can."""
        code = self.random.choice(TABLE_FAULTS) if when == "before" else TABLE_FAULTS[0]
        self.log(f"{operation}: {code} {when} its effect")
        retries = {"RetryAttempts": 1} if when == "after" else {}
        status = {"HTTPStatusCode": 500 if code == TABLE_FAULTS[0] else 400}
        return client_error(code, operation, ResponseMetadata={**status, **retries})

    def _notify(self, subject: str, text: str, facts: dict[str, Any]) -> None:
        self.hook("Publish", "before")
        if self.fails("config"):
            raise NotPublished
        name = str(facts.get("run_id") or facts["execution"])
        self.notified.append(name)
        self.log(f"notified: {subject} ({name})")
        self.hook("Publish", "after")

    def _definition(self, name: str) -> Definition:
        self.hook("GetParameter", "before")
        return (self.pausing if name in self.paused else self.running)[name]

    def _is_paused(self, pipeline: str) -> bool:
        return self._definition(pipeline).paused

    def _new_id(self, name: str) -> str:
        self.ids += 1
        return f"{name}-run-{self.ids:04}"
