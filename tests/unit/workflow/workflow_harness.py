"""All functions of the service around one table and one Celonis; one of them dies at one of its calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.queued import RunLookup
from celonis_refresh.workflow.commands import RunCommands
from celonis_refresh.workflow.listing import Listing
from celonis_refresh.workflow.open import ExecutionContext, Opened, RunOpener
from celonis_refresh.workflow.reconcile import ReconcileFindings
from celonis_refresh.workflow.requests import RunRequests
from tests.fakes.service import Crashed
from tests.fakes.wiring import make_reconciler, make_run_closer, make_run_commands
from tests.unit.workflow.webhook_harness import WebhookHarness

CALLER = "arn:aws:iam::123456789012:user/ann"
ROUND_SECONDS = 237.0
CLOSE_SECONDS = 117.0
LONG = 60.0
"""Seconds after which no function can still be working."""
MAX_TRIES = 3
Moment = Literal["before", "after"]


class CrashPoint(NamedTuple):
    """Where a function dies: before or after call ``number``, to ``call``; 0: the first to ``call``."""

    number: int
    moment: Moment
    call: str

    def __str__(self) -> str:
        return f"{self.moment} {self.number} {self.call}"


@dataclass
class CallRecorder:
    """The outgoing calls of a function. It dies at ``crash_point``; None: never.

    ``seen``: its crash points. After a poll of Celonis is the same as before the next call.
    """

    crash_point: CrashPoint | None = None
    seen: list[CrashPoint] = field(default_factory=list)

    def hook(self, name: str, when: Moment) -> None:
        number = self.seen[-1].number if self.seen else 0
        here = (
            CrashPoint(number + 1, when, name)
            if when == "before"
            else CrashPoint(number, when, self.seen[-1].call)
        )
        self.seen.append(here)
        if self.crash_point in (here, here._replace(number=0)):
            raise Crashed


@dataclass
class WorkflowHarness(WebhookHarness):
    """``inputs``: of executions started by hand; ``reported``: the runs and executions of notifications.

    ``drop_events``: end events of executions are not delivered.
    """

    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    reported: list[str] = field(default_factory=list)
    drop_events: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        service = self.service
        self.listen(CallRecorder())
        self.closer = make_run_closer(service, self.executions, self._notify, self._is_paused)
        self.listing = Listing(service.table, service.clock)
        self.opener = RunOpener(service.context, self.acceptor, self.tables, service.clock)
        self.requests = RunRequests(
            self.acceptor, self.executions, RunLookup(service.table, service.records), self.listing
        )

    @property
    def run_commands(self) -> RunCommands:
        return make_run_commands(self.service, self.executions, self.acceptor, self.definitions)

    def show(self, run_id: str) -> dict[str, Any]:
        """Return a run without waiting for its end."""
        return self.requests.show(run_id, {}, self.service.deadline())

    def listen(self, calls: CallRecorder) -> CallRecorder:
        """From now on ``calls`` records all calls."""
        self.calls = calls
        self.service.dynamodb.before = lambda operation, request: calls.hook(
            _named(operation, request), "before"
        )
        self.service.dynamodb.after = lambda operation, request: calls.hook(operation, "after")
        self.service.celonis.hook = self.executions.hook = self.service.events.hook = calls.hook
        return calls

    def _notify(self, subject: str, text: str, facts: dict[str, Any]) -> None:
        self.calls.hook("Publish", "before")
        self.reported.append(str(facts.get("run_id") or facts["execution"]))
        self.calls.hook("Publish", "after")

    def _is_paused(self, pipeline: str) -> bool:
        return self._definition(pipeline).paused

    def _definition(self, name: str) -> Definition:
        self.calls.hook("GetParameter", "before")
        definition = super()._definition(name)
        self.calls.hook("GetParameter", "after")
        return definition

    # ------------------------------------------------------------ the functions

    def post(self, pipeline: str = "otc", key: str | None = None) -> dict[str, Any]:
        """``POST /runs``."""
        return self.requests.start({"pipeline": pipeline}, CALLER, key, self.service.deadline())

    def retry(self, run_id: str) -> dict[str, Any]:
        return self.run_commands.retry(run_id, CALLER, self.service.deadline())

    def cancel(self, run_id: str) -> dict[str, Any]:
        return self.run_commands.cancel(run_id, CALLER, self.service.deadline(), drop_pending=True)

    def close(self, run_id: str) -> None:
        self.closer.close(f"arn:{run_id}", self.service.deadline(CLOSE_SECONDS))

    def open(self, name: str) -> Opened:
        document = self.inputs.get(name, {"run_id": name})
        return self.opener.open(
            document, ExecutionContext(id=f"arn:{name}", name=name), self.service.deadline()
        )

    def reconcile(self) -> ReconcileFindings:
        """A round, once no function is working any more."""
        self.service.clock.sleep(LONG)
        reconciler = make_reconciler(self.service, self.executions, self.closer, self.definitions)
        return reconciler.reconcile(self.service.deadline(ROUND_SECONDS))

    # ------------------------------------------------------------ the state machine

    def execute(self, name: str, **document: Any) -> None:
        """A user, or a schedule, starts an execution."""
        self.inputs[name] = document
        self.executions.start(name)

    def run_executions(self) -> None:
        """Runs every execution to its end, and those that follow."""
        while running := self.executions.running():
            for name in running:
                self.pass_through(name)

    def pass_through(self, name: str) -> None:
        """One execution as Step Functions runs it: a task that died is retried."""
        try:
            opened = _tried(lambda: self.open(name))
            steps = [one["step"] for one in (*opened["jobs"], *opened["loads"])]
            failed = next(
                (ended for step in steps if (ended := self.service.run_step(step, name)) != "SUCCEEDED"), ""
            )
        except RefreshError as error:
            failed = error.name
        self.end(name, failed)

    def end(self, name: str, error: str = "") -> None:
        """An execution ends, and EventBridge delivers its event until the function succeeds."""
        self.executions.end(name, "FAILED" if error else "SUCCEEDED", error, error)
        if not self.drop_events:
            _tried(lambda: self.close(name))

    # ------------------------------------------------------------ results

    def runs(self, pipeline: str = "otc") -> dict[str, str]:
        """The statuses of a pipeline's runs, by id."""
        found = self.service.dynamodb.documents("run#")
        return {one["run_id"]: str(one["status"]) for one in found if one["pipeline"] == pipeline}

    def started(self, job: str) -> int:
        """How often the job was started at Celonis."""
        return len(self.service.celonis.jobs[job].mine)

    def left_over(self) -> list[str]:
        """What is still held, pending or not notified."""
        slots = self.service.dynamodb.documents("slot#")
        held = [one["pk"] for one in slots if "run_id" in one or "pending" in one]
        kinds = ("lease#", "outbox#")
        return held + [one["pk"] for kind in kinds for one in self.service.dynamodb.documents(kind)]


def _tried(act: Callable[[], Any]) -> Any:
    for _ in range(MAX_TRIES):
        try:
            return act()
        except Crashed:
            continue
    raise AssertionError("it died every time")


def _named(operation: str, request: dict[str, Any]) -> str:
    """The operation, and the kinds of the items that it is about."""
    bodies = [body for action in request.get("TransactItems", [{"": request}]) for body in action.values()]
    found = [body.get("Key") or body.get("Item") for body in bodies if "Key" in body or "Item" in body]
    return " ".join([operation, *(_kind(str(key["pk"]["S"])) for key in found)])


def _kind(pk: str) -> str:
    """The kind of an item; the message with the events of a run is one of its own."""
    return "events" if pk.startswith("outbox#") and pk.endswith("/events") else pk.split("#")[0]
