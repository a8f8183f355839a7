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
from tests.fakes.parts import closing_over, reconciling_over, steering_over
from tests.fakes.service import Crashed
from tests.unit.workflow.webhook_harness import WebhookHarness

CALLER = "arn:aws:iam::123456789012:user/ann"
ROUND_SECONDS = 237.0
CLOSE_SECONDS = 117.0
LONG = 60.0
"""Seconds after which nobody who began something is at it still."""
MAX_TRIES = 3
Moment = Literal["before", "after"]


class Death(NamedTuple):
    """Where a function dies: before or after its so manieth call, which is to this; 0: the first to this."""

    number: int
    moment: Moment
    call: str

    def __str__(self) -> str:
        return f"{self.moment} {self.number} {self.call}"


@dataclass
class Calls:
    """The outgoing calls of a function. It dies at ``death``; None: never.

    ``seen``: where it could have died. After a question to Celonis is as good as before the next call.
    """

    death: Death | None = None
    seen: list[Death] = field(default_factory=list)

    def hook(self, name: str, when: Moment) -> None:
        number = self.seen[-1].number if self.seen else 0
        here = Death(number + 1, when, name) if when == "before" else Death(number, when, self.seen[-1].call)
        self.seen.append(here)
        if self.death in (here, here._replace(number=0)):
            raise Crashed


@dataclass
class TriggerHarness(WebhookHarness):
    """``inputs``: of executions that were started by hand; ``told``: the runs and executions of notices.

    ``unheard``: the ends of executions reach nobody.
    """

    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    reported: list[str] = field(default_factory=list)
    unheard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        bench = self.bench
        self.listen(Calls())
        self.closing = closing_over(bench, self.executions, self._notify, self._is_paused)
        self.listing = Listing(bench.table, bench.clock)
        self.opening = RunOpener(bench.context, self.accepting, self.tables, bench.clock)
        self.requests = RunRequests(
            self.accepting, self.executions, RunLookup(bench.table, bench.records), self.listing
        )

    @property
    def steering(self) -> RunCommands:
        return steering_over(self.bench, self.executions, self.accepting, self.definitions)

    def listen(self, calls: Calls) -> Calls:
        """From now on all calls are told to ``calls``."""
        self.calls = calls
        self.bench.dynamodb.before = lambda operation, request: calls.hook(
            _named(operation, request), "before"
        )
        self.bench.dynamodb.after = lambda operation, request: calls.hook(operation, "after")
        self.bench.celonis.hook = self.executions.hook = calls.hook
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
        return self.requests.start({"pipeline": pipeline}, CALLER, key, self.bench.deadline())

    def retry(self, run_id: str) -> dict[str, Any]:
        return self.steering.retry(run_id, CALLER, self.bench.deadline())

    def cancel(self, run_id: str) -> dict[str, Any]:
        return self.steering.cancel(run_id, CALLER, self.bench.deadline(), drop_pending=True)

    def close(self, run_id: str) -> None:
        self.closing.close(f"arn:{run_id}", self.bench.deadline(CLOSE_SECONDS))

    def open(self, name: str) -> Opened:
        document = self.inputs.get(name, {"run_id": name})
        return self.opening.open(
            document, ExecutionContext(id=f"arn:{name}", name=name), self.bench.deadline()
        )

    def reconcile(self) -> ReconcileFindings:
        """A round, once nobody is at work any more."""
        self.bench.clock.sleep(LONG)
        reconciling = reconciling_over(self.bench, self.executions, self.closing)
        return reconciling.reconcile(self.bench.deadline(ROUND_SECONDS))

    # ------------------------------------------------------------ the state machine

    def execute(self, name: str, **document: Any) -> None:
        """Somebody, or a schedule, starts an execution."""
        self.inputs[name] = document
        self.executions.start(name)

    def play(self) -> None:
        """Every execution that runs goes to its end, and so does what follows it."""
        while running := self.executions.running():
            for name in running:
                self.pass_through(name)

    def pass_through(self, name: str) -> None:
        """One execution as Step Functions runs it: a task that died is tried again."""
        try:
            opened = _tried(lambda: self.open(name))
            steps = [one["step"] for one in (*opened["jobs"], *opened["loads"])]
            failed = next(
                (ended for step in steps if (ended := self.bench.go(step, name)) != "SUCCEEDED"), ""
            )
        except RefreshError as error:
            failed = error.name
        self.end(name, failed)

    def end(self, name: str, error: str = "") -> None:
        """An execution ends, and EventBridge tells of it until it was heard."""
        self.executions.end(name, "FAILED" if error else "SUCCEEDED", error, error)
        if not self.unheard:
            _tried(lambda: self.close(name))

    # ------------------------------------------------------------ what became of it

    def runs(self, pipeline: str = "otc") -> dict[str, str]:
        """The statuses of a pipeline's runs, by id."""
        found = self.bench.dynamodb.documents("run#")
        return {one["run_id"]: str(one["status"]) for one in found if one["pipeline"] == pipeline}

    def started(self, job: str) -> int:
        """How often the job was started at Celonis."""
        return len(self.bench.celonis.jobs[job].mine)

    def left_over(self) -> list[str]:
        """What is still held, waits or was not told."""
        slots = self.bench.dynamodb.documents("slot#")
        held = [one["pk"] for one in slots if "run_id" in one or "pending" in one]
        kinds = ("lease#", "notice#")
        return held + [one["pk"] for kind in kinds for one in self.bench.dynamodb.documents(kind)]


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
    return " ".join([operation, *(str(key["pk"]["S"]).split("#")[0] for key in found)])
