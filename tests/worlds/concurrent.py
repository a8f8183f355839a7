"""Runs of ours that overlap, and those that a webhook opens: functions are interleaved at their calls.

A webhook's run goes the way of the service: the function that takes the webhook claims it, starts its first
job and hands it over; OpenRun writes the answer. The sender sends again, reconcile starts what was not handed
over, and any of these functions may die at any call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from celonis_refresh.aws.executions import ExecutionsUnavailable
from celonis_refresh.errors import RefreshError
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.steps.step import Progress
from celonis_refresh.workflow.open import ExecutionContext, RunOpener
from tests.fakes.clock import FakeClock
from tests.fakes.executions import FakeExecutions
from tests.fakes.interleaving import Interleaving, Worker
from tests.fakes.service import Crashed, Crashes, ServiceHarness
from tests.unit.workflow.webhook_harness import WebhookHarness, source_of
from tests.worlds.fake_celonis import ClientSession, WorldCelonis
from tests.worlds.run_driver import RunDriver, RunResult, StepRunner, definition_of, steps_of
from tests.worlds.world import Moment, World

RESENT_SECONDS = 30.0
"""Maximum time until a sender without an answer repeats the delivery."""
ROUND_SECONDS = 300.0
"""Seconds between two rounds of reconcile."""
SLOW_SHARE, SLOW_SECONDS = 0.3, 0.3
STUCK_SHARE, STUCK_SECONDS = 0.03, 5.0
"""How many calls to the table, or to the state machine, take longer than no time, and how long at most."""


class SharedClock(FakeClock):
    """A clock whose sleepers let the other workers continue."""

    interleaving: Interleaving | None = None

    def sleep(self, seconds: float) -> None:
        if self.interleaving is not None and self.interleaving.current is not None:
            self.interleaving.sleep(seconds)
        else:
            self.now += seconds


@dataclass
class WorldExecutions(FakeExecutions):
    """The state machine's executions. ``begin`` starts one; ``fails``: whether it cannot be reached now.

    ``handed``: called when the answer of a start is in the input of an execution.
    """

    begin: Callable[[str, Mapping[str, Any] | None], None] = lambda run_id, answer: None
    fails: Callable[[], bool] = lambda: False
    handed: Callable[[], None] = lambda: None

    def start(self, run_id: str, answer: Mapping[str, Any] | None = None) -> bool:
        self.hook("StartExecution", "before")
        if self.fails():
            raise ExecutionsUnavailable
        is_new = run_id not in self.known
        super_hook, self.hook = self.hook, lambda name, when: None
        super().start(run_id, answer)
        self.hook = super_hook
        if is_new:
            self.begin(run_id, answer)
            self.handed()
        self.hook("StartExecution", "after")
        return is_new


@dataclass
class WorldWebhooks(WebhookHarness):
    """Takes the webhooks of a world."""

    executions: FakeExecutions = field(default_factory=WorldExecutions)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.opener = RunOpener(self.service.context, self.acceptor, self.tables, self.service.clock)


class ConcurrentRuns:
    """All runs of one world, over one table."""

    def __init__(
        self, world: World, service: ServiceHarness, celonis: WorldCelonis, runner: StepRunner
    ) -> None:
        self.world, self.service, self.celonis = world, service, celonis
        assert isinstance(service.clock, SharedClock)
        self.random = Random(world.seed + 2)  # noqa: S311
        self.interleaving = service.clock.interleaving = Interleaving(service.clock, Random(world.seed + 3))  # noqa: S311
        self.sessions: dict[Worker, ClientSession] = {}
        celonis.at_work, celonis.wait_until = self._session, self._wait_until
        definitions = {
            f"pipeline-{number}": definition_of(world, run) for number, run in enumerate(world.runs)
        }
        executions = WorldExecutions(hook=self._call, fails=self._fails, handed=self._handed)
        executions.begin = lambda run_id, answer: self._driver(run_id).execute(run_id, answer)
        self.webhooks = WorldWebhooks(service, definitions, executions)
        self.drivers = [
            ConcurrentRunDriver(self, world, service, celonis, number, runner)
            for number in range(len(world.runs))
        ]
        service.dynamodb.before = lambda operation, request: self._call(operation, "before")
        service.dynamodb.after = lambda operation, request: self._call(operation, "after")
        celonis.hook = self._die

    def run(self) -> list[RunResult]:
        for driver in self.drivers:
            driver.begin()
        self.interleaving.run()
        return [result for driver in self.drivers for result in driver.results]

    def spawn(self, run: int, act: Callable[[], object], at: float) -> None:
        """Start another function for a run of ours at a future moment."""

        def whole() -> None:
            self.celonis.sleep(0.0)
            act()

        worker = self.interleaving.spawn(whole, f"run-{run}", at)
        self.sessions[worker] = self.celonis.session_of(run)

    def _session(self) -> ClientSession | None:
        return None if self.interleaving.current is None else self.sessions[self.interleaving.current]

    def _wait_until(self, until: float) -> None:
        if self.interleaving.current is None:
            self.service.clock.now = until
        else:
            self.interleaving.sleep(until - self.service.clock.now)

    def _driver(self, run_id: str) -> ConcurrentRunDriver:
        return self.drivers[int(run_id.removeprefix("pipeline-").split("-")[0])]

    def _call(self, name: str, when: str) -> None:
        """A call to the table or the state machine: it takes time, and the function may be killed."""
        if when == "before" and self.interleaving.current is not None:
            kind = self.random.random()
            if kind < STUCK_SHARE:
                self.interleaving.sleep(self.random.uniform(0.0, STUCK_SECONDS))
            elif kind < SLOW_SHARE:
                self.interleaving.sleep(self.random.uniform(0.0, SLOW_SECONDS))
            else:
                self.interleaving.pause()
        self._die(name, when)

    def _die(self, name: str, when: str) -> None:
        if self.interleaving.current is not None:
            self.drivers[self.celonis.run].crashes.hook("before" if when == "before" else "after")

    def _fails(self) -> bool:
        driver = self.drivers[self.celonis.run]
        failed, driver.is_unreachable = driver.is_unreachable, False
        return failed

    def _handed(self) -> None:
        self.celonis.session.posts.clear()


class ConcurrentRunDriver(RunDriver):
    """One run beside others."""

    def __init__(
        self,
        whole: ConcurrentRuns,
        world: World,
        service: ServiceHarness,
        celonis: WorldCelonis,
        number: int,
        runner: StepRunner,
    ) -> None:
        super().__init__(world, service, celonis, number, runner)
        self.whole = whole
        self.crashes = Crashes([])
        self.is_unreachable = self.ours.lost_handover
        self.has_execution = False
        self.tries = 0
        self.bug = ""

    def crash(self, at: Iterable[tuple[int, Moment]]) -> None:
        self.crashes = Crashes(list(at))

    def begin(self) -> None:
        """As the world says, from now on."""
        at = self.clock.now + self.ours.gap
        if self.ours.by == "execution":
            self.whole.spawn(self.number, self.run, at)
            return
        self.whole.spawn(self.number, self._deliver, at)
        for seconds in self.ours.again:
            self.whole.spawn(self.number, self._deliver, at + seconds)
        self.whole.spawn(self.number, self._reconcile, at + self.ours.reconciled)

    def _deliver(self) -> None:
        """The function that takes the webhook, from the request to its answer."""
        if self.tries == 0:
            self.celonis.begin_run(self.number)
            self.crash(self.ours.crashes)
            self.began = self.clock.now
        self.tries += 1
        source = source_of({"pipeline": self.pipeline})
        try:
            reply = self.whole.webhooks.deliver(f"d-{self.number}", source)
        except Crashed:
            self._note("webhook", "the function dies")
            if not self.is_answered:
                self.crashed.append(self.clock.now)
            self._lose()
            self._send_again()
        except RefreshError as error:
            self._note("webhook", f"{error.name}")
            self._lose()
            self._send_again()
        except Exception as error:  # noqa: BLE001 - a bug of the service is a finding
            self.bug = f"{type(error).__name__}: {error}"
        else:
            self._note("webhook", f"answered {reply.status}")
            self._lose_unsaved()

    def _send_again(self) -> None:
        if self.tries < 9:
            self.whole.spawn(self.number, self._deliver, self.clock.now + RESENT_SECONDS)

    def _lose(self) -> None:
        """The answers that the function received are lost with it."""
        for post in self.celonis.session.posts:
            post.is_lost = True
        self.celonis.drop()

    def _lose_unsaved(self) -> None:
        """The answer of a start is lost unless the input of the execution has it."""
        for post in self.celonis.session.posts:
            if not post.refused and post.fault not in ("429", "unsent"):
                post.is_lost = True
        self.celonis.commit()

    def _reconcile(self) -> None:
        """Starts the execution of a run that was claimed but has no execution."""
        if self.has_execution:
            return
        try:
            for item in list(self.service.dynamodb.documents("run#")):
                if item["pipeline"] == self.pipeline and item["status"] == RunStatus.OPENING:
                    self.whole.webhooks.executions.start(str(item["run_id"]))
        except (Crashed, ExecutionsUnavailable):
            self._note("reconcile", "dies")
        if not self.has_execution:
            self.whole.spawn(self.number, self._reconcile, self.clock.now + ROUND_SECONDS)

    def execute(self, run_id: str, answer: Mapping[str, Any] | None) -> None:
        """The state machine's execution of the run begins."""
        self.has_execution, self.run_id = True, run_id
        document = {"run_id": run_id, **({"answer": dict(answer)} if answer else {})}
        self._note("execution", f"begins with {document}")
        self.whole.spawn(self.number, lambda: self._execute(document), self.clock.now)

    def _execute(self, document: Mapping[str, Any]) -> None:
        first = steps_of(self.world, self.ours)[0]

        def open_run(step: str, run_id: str) -> Progress:
            execution = ExecutionContext(f"arn:{run_id}", run_id)
            opened = self.whole.webhooks.opener.open(document, execution, self.service.deadline())
            return {
                "status": "WAITING" if opened["status"] == "waiting" else "RUNNING",
                "wait": opened["wait"],
            }

        while True:
            try:
                progress = self._attempts(open_run, first)
            except RefreshError as error:
                began, now = self.began or self.clock.now, self.clock.now
                self.results.append(RunResult(self.number, began, outcome=error.name, ended=now))
                self.close()
                return
            if progress is None or progress["status"] == "RUNNING":
                break
            self.celonis.sleep(progress["wait"])
        self.go_on()
        self.results[-1].bug = self.results[-1].bug or self.bug


def run_concurrently(
    world: World, service: ServiceHarness, celonis: WorldCelonis, runner: StepRunner
) -> list[RunResult]:
    """Return the results of all runs of a world with concurrent functions."""
    return ConcurrentRuns(world, service, celonis, runner).run()
