"""The parts of a run over fakes, and the state machine's part in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from celonis_refresh.aws.event_bus import EventBus
from celonis_refresh.errors import RefreshError
from celonis_refresh.notifications.channels import Channel
from celonis_refresh.pipelines.definition import Definition, read_definition
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.claims import Claim, Claims
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.records import Records, Run, RunStatus
from celonis_refresh.runs.table import Table
from celonis_refresh.steps.check import check_step
from celonis_refresh.steps.start import start_step
from celonis_refresh.steps.step import Progress, StepContext
from celonis_refresh.steps.target import DataJobTarget, DataModelTarget, StepTarget, resolved_load
from celonis_refresh.timing import Deadline
from tests.fakes.celonis import FakeCelonis, FakeTarget
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, table_of
from tests.fakes.events import FakeEvents
from tests.fakes.receiver import FakeReceiver

POOL, JOB, MODEL = "pool-1", "job-a", "model-a"
RUN = "otc-1"
TASK_SECONDS = 57.0
RETRIED = frozenset({"CelonisThrottled", "CelonisUnavailable", "TableBusy", "StepMoved"})
"""The errors that the state machine retries."""
MAX_TASKS = 400


class Crashed(BaseException):
    """The function was killed here. No code of the service catches it."""


@dataclass
class Crashes:
    """Kills the function at some of its calls to the table or to Celonis: before or after their effect.

    ``at``: the number of calls before the one at which it dies, and before or after which effect.
    """

    at: list[tuple[int, Literal["before", "after"]]]

    def hook(self, when: str) -> None:
        if not self.at:
            return
        calls, moment = self.at[0]
        if calls <= 0 and when == moment:
            self.at.pop(0)
            raise Crashed
        if when == "before":
            self.at[0] = (calls - 1, moment) if calls > 0 else self.at[0]


def job_definition(**fields: object) -> Definition:
    """A pipeline with one job."""
    return _definition({"jobs": [{"job": JOB}], **fields})


def load_definition(**fields: object) -> Definition:
    """A pipeline with one load."""
    return _definition({"loads": [{"data_model": MODEL}], **fields})


def _definition(fields: dict[str, object]) -> Definition:
    return read_definition("The definition", Definition, {"data_pool": POOL, **fields})


@dataclass
class ServiceHarness:
    """One table, one Celonis, one clock."""

    clock: FakeClock = field(default_factory=FakeClock)
    dynamodb: FakeDynamoDB = field(default_factory=FakeDynamoDB)
    seed: int = 1

    def __post_init__(self) -> None:
        self.celonis = FakeCelonis(self.clock)
        self.table: Table = table_of(self.dynamodb, self.clock, self.seed)
        self.records = Records(self.table, self.clock)
        self.leases = Leases(self.table, self.clock)
        self.claims = Claims(self.table, self.clock)
        random = Random(self.seed)  # noqa: S311
        self.events = FakeEvents()
        self.receiver = FakeReceiver()
        self.channels: dict[str, Channel] = {}
        self.celonis_names: dict[str, str] = {}
        self.bus = EventBus(lambda: self.events, "default", "shop", self.clock)
        self.context = StepContext(
            self.records, self.leases, self.target_for, self.clock, random, self.bus.announce
        )

    def crash(self, at: Iterable[tuple[int, Literal["before", "after"]]]) -> None:
        """Kill the function at these calls from now on."""
        crashes = Crashes(list(at))
        self.dynamodb.before = lambda operation, request: crashes.hook("before")
        self.dynamodb.after = lambda operation, request: crashes.hook("after")
        self.celonis.hook = self.events.hook = lambda name, when: crashes.hook(when)

    def deadline(self, seconds: float = TASK_SECONDS) -> Deadline:
        return Deadline.after(seconds, self.clock)

    def target_for(self, run: Run, step: str) -> StepTarget:
        client, pool = self.celonis.client, run.definition.data_pool_id
        if step.startswith("job-"):
            return DataJobTarget(client, pool, run.plan.job(step))
        return DataModelTarget(client, pool, run.plan.load(step), resolved_load(run, step))

    def job(self, job: str = JOB, **fields: object) -> FakeTarget:
        """A job that Celonis has; ``fields`` as in :class:`FakeTarget`."""
        target = FakeTarget(self.clock, **fields)  # type: ignore[arg-type]
        self.celonis.jobs[job] = target
        return target

    def model(self, model: str = MODEL, **fields: object) -> FakeTarget:
        """A data model that Celonis has."""
        target = FakeTarget(self.clock, **fields)  # type: ignore[arg-type]
        self.celonis.models[model] = target
        return target

    def open(self, definition: Definition, run_id: str = RUN, pipeline: str = "otc") -> Run:
        """A run that was claimed, has its tables resolved and holds no lease yet."""
        claim = Claim(pipeline, RunOptions(), run_id, f"{run_id}-next", definition)
        self.claims.accept([claim], [], self.deadline())
        loads = {
            load.step: {"kind": load.kind.value, "tables": {name: name for name in load.tables}}
            for load in self.records.get(run_id).plan.loads
        }
        facts = {"status": RunStatus.RUNNING, "loads": loads, "execution_arn": f"arn:{run_id}"}
        return self.records.set_facts(self.records.get(run_id), facts, self.deadline())

    def state(self, step: str, run_id: str = RUN) -> dict[str, object]:
        """The recorded state of a step."""
        return dict(self.records.get(run_id).steps.get(step, {}))

    def start(self, step: str, run_id: str = RUN) -> Progress:
        return start_step(self.context, run_id, step, self.deadline())

    def check(self, step: str, run_id: str = RUN) -> Progress:
        return check_step(self.context, run_id, step, self.deadline())

    def wait(self, progress: Progress) -> Progress:
        self.clock.sleep(progress["wait"])
        return progress

    def run_step(self, step: str, run_id: str = RUN, max_tasks: int = MAX_TASKS) -> str:
        """Runs one step as the state machine does: ``SUCCEEDED``, or the name of the error that ended it."""
        task = self.start
        for _ in range(max_tasks):
            try:
                progress = self._retried(task, step, run_id)
            except RefreshError as error:
                return error.name
            if progress["status"] == "SUCCEEDED":
                return "SUCCEEDED"
            self.clock.sleep(progress["wait"])
            task = self.start if task == self.check and progress["status"] == "WAITING" else self.check
        raise AssertionError(f"{step} did not end in {max_tasks} tasks: {self.state(step, run_id)}")

    def _retried(self, task: Callable[[str, str], Progress], step: str, run_id: str) -> Progress:
        """One task as Step Functions runs it: again after a crash or a transient error."""
        for _ in range(20):
            try:
                return task(step, run_id)
            except Crashed:
                self.clock.sleep(60.0)
            except RefreshError as error:
                if error.name not in RETRIED:
                    raise
                self.clock.sleep(2.0)
        raise AssertionError(f"{step} was tried 20 times")
