"""Runs a scenario: functions as Lambda runs them, events as EventBridge delivers them, and what users do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, NamedTuple

from celonis_refresh.errors import RefreshError
from celonis_refresh.runs.table import job_lease, model_lease, slot_key
from celonis_refresh.timing import Deadline
from tests.chaos.machine import StateMachineRunner, TaskFailed, failed_by
from tests.chaos.scenario import CALM, HOUR, FaultRates, Scenario, UserAction
from tests.chaos.service import CALLER, ChaosExecutions, ChaosHarness, ChaosService, ChaosTable, NotPublished
from tests.fakes.clock import START, FakeClock
from tests.fakes.interleaving import Interleaving, Worker
from tests.fakes.service import Crashed
from tests.unit.workflow.webhook_harness import source_of

LAMBDA_SECONDS = {"trigger": 10.0, "api": 15.0, "close_run": 300.0, "reconcile": 240.0}
"""The functions' timeouts in the template."""
TASK_SECONDS = 60.0
ANSWER_SECONDS = 3.0
RECONCILE_SECONDS = 300.0
HORIZON = 6 * 24 * HOUR
"""Everything must have ended this long after the last fault."""
ASYNC_PAUSES = (60.0, 120.0)
"""Lambda calls a function that failed again, twice."""
POLLS, POLL_SECONDS = 60, 120.0
"""For how long a user waits for a run to retry or to cancel."""
DROPS = " and what waits behind it"
OPEN_KINDS = ("slot#", "lease#", "outbox#", "batch#", "queue#")
OPEN = ("OPENING", "RUNNING")


class TriggerResponse(NamedTuple):
    """The response to a trigger. ``sent_at``: when the first request left.

    ``key``: the trigger's idempotency key, "" if there is none.
    """

    sent_at: float
    key: str
    pipeline: str
    run_id: str
    status: str
    mode: str | None
    tables: tuple[str, ...] | Literal["all"] | None


class CommandResponse(NamedTuple):
    """The answer to a cancel or retry; None where it was lost or failed.

    ``runs_on``: whether the run's execution was running when the answer came.
    """

    at: float
    kind: str
    run_id: str
    answer: Mapping[str, Any] | None
    runs_on: bool


@dataclass
class SimulationClock(FakeClock):
    """A clock whose sleepers let the other workers continue."""

    pause: Callable[[float], bool] = lambda seconds: False

    def sleep(self, seconds: float) -> None:
        if not self.pause(seconds):
            self.now += seconds


@dataclass
class FunctionCall:
    """One call of a function."""

    function: str
    label: str
    ends: float


@dataclass
class SimulationResult:
    """What happened. ``broken``: the violations seen while it happened."""

    scenario: Scenario
    simulation: Simulation
    acks: list[TriggerResponse] = field(default_factory=list)
    commands: list[CommandResponse] = field(default_factory=list)
    drops_asked: set[str] = field(default_factory=set)
    ended_by_aws: set[str] = field(default_factory=set)
    lost_events: set[str] = field(default_factory=set)
    others: list[tuple[float, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    log: list[tuple[float, str, str]] = field(default_factory=list)
    ended_at: float = 0.0

    def is_disturbed(self, target: str, sent_at: float) -> bool:
        """Whether another user started a job, or what loads a model, around a start of ours at ``sent_at``.

        Such a start cannot always be distinguished from ours: an assumption of the service.
        """
        names = {target, *(job.name for job in self.scenario.jobs if target in job.inner)}
        return any(name in names and -300.0 <= at - sent_at <= 600.0 for at, name in self.others)


class Simulation:
    """One scenario, run once."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.random = Random(f"chaos {scenario.seed}")  # noqa: S311
        self.clock = SimulationClock()
        self.clock.pause = self._sleep_in_worker
        self.workers = Interleaving(self.clock, Random(f"turns {scenario.seed}"))  # noqa: S311
        self.local = threading.local()
        self.result = SimulationResult(scenario, self)
        self.over = False
        self.actors = 0
        self.open_runs: dict[str, set[str]] = {}
        self.service = self._new_service()
        self.functions = self._service()
        self.machine = StateMachineRunner(self.functions, self, self._invoke, self.log, scenario.seed)
        self.service.dynamodb.on_write = self._written  # type: ignore[attr-defined]
        executions = self.functions.executions
        executions.begin, executions.ended = self.machine.begin, self._execution_ended
        executions.now = self.clock

    # ------------------------------------------------------------ the parts

    def _new_service(self) -> ChaosHarness:
        service = ChaosHarness(self.clock, ChaosTable(), self.scenario.seed)
        celonis = service.chaos
        celonis.random = Random(f"celonis {self.scenario.seed}")  # noqa: S311
        celonis.share = lambda: self.rates.celonis
        celonis.log = self.log
        for behaviour in (*self.scenario.jobs, *self.scenario.models):
            celonis.add(behaviour, f"lane {self.scenario.seed}")
        for behaviour in self.scenario.jobs:
            target = celonis.target(behaviour.name)
            target.inner = [celonis.target(model) for model in behaviour.inner]
        return service

    def _service(self) -> ChaosService:
        running = {each.name: each.definition(paused=False) for each in self.scenario.pipelines}
        pausing = {each.name: each.definition(paused=True) for each in self.scenario.pipelines}
        return ChaosService(
            service=self.service,
            definitions=running,
            executions=ChaosExecutions(),
            hook=self._call,
            fails=self._fails,
            running=running,
            pausing=pausing,
            log=self.log,
        )

    @property
    def rates(self) -> FaultRates:
        return self.scenario.rates if self.elapsed < self.scenario.calm_at else CALM

    @property
    def elapsed(self) -> float:
        return self.clock.now - START

    def now(self) -> float:
        return self.clock.now

    def log(self, text: str) -> None:
        worker = self.workers.current
        self.result.log.append((self.elapsed, worker.run_id if worker else "", text))

    # ------------------------------------------------------------ workers and calls

    def spawn(self, act: Callable[[], None], label: str, at: float = 0.0) -> Worker:
        def whole() -> None:
            try:
                act()
            except SimulationOver:
                return

        return self.workers.spawn(whole, label, at)

    def join(self, workers: Sequence[Worker]) -> None:
        self.workers.join(workers)

    def sleep(self, seconds: float) -> None:
        self.workers.sleep(seconds)
        if self.over:
            raise SimulationOver

    def _sleep_in_worker(self, seconds: float) -> bool:
        """A function sleeps: the others continue, and it may reach its timeout."""
        if self.workers.current is None:
            return False
        self.workers.sleep(seconds)
        self._check_timeout()
        return True

    @property
    def invocation(self) -> FunctionCall | None:
        found: FunctionCall | None = getattr(self.local, "invocation", None)
        return found

    def _check_timeout(self) -> None:
        invocation = self.invocation
        if invocation is not None and self.clock.now >= invocation.ends:
            self.log(f"{invocation.function} reaches its timeout")
            raise Crashed

    def _call(self, name: str, when: Literal["before", "after"]) -> None:
        """One moment around an outgoing call: others may continue, and the function may be killed."""
        invocation, rates = self.invocation, self.rates
        if invocation is None:
            return
        if self.random.random() < rates.pause:
            long = self.random.random() < rates.stall
            self.workers.sleep(
                self.random.uniform(5.0, 90.0) if long else self.random.choice((0.0, 0.05, 0.4))
            )
            self._check_timeout()
        if rates.kill and self.random.random() < rates.kill:
            self.log(f"{invocation.function} is killed {when} {name}")
            raise Crashed

    def _fails(self, kind: str) -> bool:
        rate: float = getattr(self.rates, kind)
        return self.invocation is not None and rate > 0 and self.random.random() < rate

    @contextmanager
    def _within(self, invocation: FunctionCall) -> Iterator[None]:
        self.local.invocation = invocation
        try:
            yield
        finally:
            self.local.invocation = None

    def _invoke(self, function: str, label: str, act: Callable[[Deadline], Any]) -> Any:
        """A function's call, which may lose its answer while it goes on. Raises ``TaskFailed``."""
        if not function.startswith(("open", "start", "check")) or self.random.random() >= self.rates.detached:
            return self._run(function, label, act)
        self.spawn(lambda: self._detached(function, label, act), f"{label} {function}")
        self.sleep(self.random.choice((0.0, 0.3, 5.0, 45.0)))
        self.log(f"{function} of {label}: its answer is lost")
        raise TaskFailed("Lambda.SdkClientException")

    def _detached(self, function: str, label: str, act: Callable[[Deadline], Any]) -> None:
        try:
            self._run(function, label, act)
        except TaskFailed:
            return

    def _run(self, function: str, label: str, act: Callable[[Deadline], Any]) -> Any:
        seconds = LAMBDA_SECONDS.get(function, TASK_SECONDS)
        invocation = FunctionCall(function, label, self.clock.now + seconds)
        try:
            with self._within(invocation):
                answer = act(Deadline.after(seconds - ANSWER_SECONDS, self.clock))
        except Crashed:
            raise TaskFailed(self.random.choice(("Sandbox.Timedout", "Runtime.ExitError"))) from None
        except RefreshError as error:
            self.log(f"{function} of {label} raises {error.name}: {error}")
            raise failed_by(error) from None
        except NotPublished:
            raise TaskFailed("NotPublished") from None
        except Exception as error:  # noqa: BLE001 - reported: no function may raise it
            self.result.broken.append(f"unexpected: {function} of {label} raises {error!r}")
            raise TaskFailed(type(error).__name__) from None
        self.log(f"{function} of {label}: {_short(answer)}")
        return answer

    # ------------------------------------------------------------ AWS around the functions

    def _execution_ended(self, name: str) -> None:
        """EventBridge delivers the end late, more than once, or not at all."""
        rates = self.rates
        if self.random.random() < rates.event_lost:
            self.log(f"the end of {name} is lost")
            self.result.lost_events.add(name)
            return
        copies = 2 if self.random.random() < rates.event_repeated else 1
        for _ in range(copies):
            late = self.random.choice((0.2, 1.0, 1.0, 30.0, 400.0 if rates is not CALM else 1.0))
            self.spawn(lambda: self._close(name), f"end of {name}", self.clock.now + late)

    def _close(self, name: str) -> None:
        arn = f"arn:{name}"
        for pause in (*ASYNC_PAUSES, None):
            try:
                self._run("close_run", name, lambda by: bool(self.functions.closer.close(arn, by)))
            except TaskFailed:
                if pause is None:
                    self.log(f"closing {name} is given up")
                    self.result.lost_events.add(name)
                    return
                self.sleep(pause)
            else:
                return

    def _reconcile(self) -> None:
        while True:
            self.sleep(RECONCILE_SECONDS)
            is_calm = self.elapsed > self.scenario.calm_at
            if is_calm and self._is_quiet():
                return
            if self.elapsed > self.scenario.calm_at + HORIZON:
                self.over = True
                return
            if self._has_open():
                self.spawn(self._round, "reconcile")

    def _round(self) -> None:
        with_findings = self.functions.reconciler.reconcile
        try:
            self._run("reconcile", "", lambda by: with_findings(by))
        except TaskFailed:
            return

    def _has_open(self) -> bool:
        """Whether there is anything for reconcile to list."""
        items = self.service.dynamodb.items
        return any(self.open_runs.values()) or any(
            "status" in items[key] for key in items if key[:3] != "run"
        )

    def _is_quiet(self) -> bool:
        return not (
            self.actors or self.functions.executions.running() or self._has_open() or self.left_over()
        )

    def left_over(self) -> list[str]:
        """What is still held or pending, and runs that are open."""
        items = self.service.dynamodb.items
        left = [run for runs in self.open_runs.values() for run in sorted(runs)]
        for key, item in items.items():
            is_slot = key.startswith("slot#")
            if key.startswith(OPEN_KINDS) and (not is_slot or {"run_id", "pending", "batch"} & item.keys()):
                left.append(key)
        return left

    def _written(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Counts open runs after each write: one a pipeline. A lease in use stays with its run."""
        for key, item in after.items():
            if key.startswith("run#") and item is not None:
                self._note_run(item)
            elif key.startswith("lease#"):
                self._note_lease(key, before.get(key), item)
            elif key.startswith("slot#"):
                self._note_drop(before.get(key) or {}, item or {})

    def _note_run(self, item: Mapping[str, Any]) -> None:
        pipeline, run_id = item["pipeline"]["S"], item["run_id"]["S"]
        runs = self.open_runs.setdefault(pipeline, set())
        if item["status"]["S"] in OPEN:
            runs.add(run_id)
        else:
            runs.discard(run_id)
        if len(runs) > 1:
            self.broken(f"one run at a time: {sorted(runs)} of pipeline {pipeline} are open together")

    def _note_lease(
        self, key: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
    ) -> None:
        holder, later = _holder(before), _holder(after)
        if holder is None or later == holder:
            return
        if not any(holder in runs for runs in self.open_runs.values()):
            return
        for sent in self.service.chaos.starts:
            if sent.who.run_id != holder or _lease(sent.target) != key or sent.start is None:
                continue
            if sent.start.ended_at > self.clock.now and not self.result.is_disturbed(sent.target, sent.at):
                self.broken(f"lease: {key} leaves {holder} while its {sent.start.id} runs")

    def _note_drop(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """A pending run may be dropped by the cancel that requests it, also if its response is lost."""
        if "pending" not in before or "pending" in after or self.invocation is None:
            return
        if self.invocation.label.endswith(DROPS):
            self.result.drops_asked.add(before["pending"]["M"]["run_id"]["S"])

    def broken(self, text: str) -> None:
        if text not in self.result.broken:
            self.log(f"BROKEN {text}")
            self.result.broken.append(text)

    # ------------------------------------------------------------ users and senders

    def run(self) -> SimulationResult:
        for action in self.scenario.actions:
            self._actor(lambda action=action: self._act(action), str(action), action.at)  # type: ignore[misc]
        self.spawn(self._calm, "calm", START + self.scenario.calm_at)
        self.spawn(self._reconcile, "reconcile timer", START)
        with _without_logs():
            try:
                self.workers.run()
            except AssertionError as error:
                self.broken(f"ends: {error}")
        self.result.ended_at = self.elapsed
        return self.result

    def _actor(self, act: Callable[[], None], label: str, at: float) -> None:
        def counted() -> None:
            try:
                act()
            finally:
                self.actors -= 1

        self.actors += 1
        self.spawn(counted, label, START + at)

    def _calm(self) -> None:
        self.functions.paused.clear()
        self.log("calm: no faults any more")

    def _act(self, action: UserAction) -> None:
        self.log("begins")
        acts: dict[str, Callable[[UserAction], None]] = {
            "webhook": self._webhook,
            "api": self._api,
            "execution": self._execution,
            "schedule": self._execution,
            "cancel": self._cancel,
            "retry": self._retry,
            "abort": self._end_early,
            "aws_failure": self._end_early,
            "pause": self._pause,
            "other_start": self._other_start,
            "other_cancel": self._other_cancel,
        }
        acts[action.kind](action)

    def _request(self, function: str, label: str, act: Callable[[Deadline], Any]) -> Any:
        """A request over HTTP: the answer, or None where it is lost or there is none."""
        try:
            answer = self._run(function, label, act)
        except TaskFailed as failed:
            if failed.name not in ("Sandbox.Timedout", "Runtime.ExitError"):
                return failed
            return None
        if self.random.random() < self.rates.answer:
            self.log(f"the answer to {label} is lost")
            return None
        return answer

    def _webhook(self, action: UserAction) -> None:
        sent_at = self.clock.now
        rules = [self._rule(name, action) for name in action.names]
        source, delivery = source_of(*rules), f"d-{action.number}"

        def send() -> None:
            for pause in (1.0, 10.0, 60.0, 600.0, 3600.0, 7200.0):
                reply = self._request(
                    "trigger", delivery, lambda by: self.functions.deliver(delivery, source)
                )
                if reply is not None and not isinstance(reply, TaskFailed) and reply.status < 300:
                    self._acknowledged(reply.body, sent_at, delivery, action)
                    return
                self.sleep(pause)

        copies = [self.spawn(send, f"{action}") for _ in range(action.copies - 1)]
        send()
        self.join(copies)
        if action.resent:
            self.sleep(self.random.choice((1.0, 100.0, 5000.0)))
            send()

    def _rule(self, name: str, action: UserAction) -> dict[str, Any]:
        rule: dict[str, Any] = {"pipeline": name}
        rule |= {"mode": action.mode} if action.mode else {}
        return rule | ({"tables": _json(action.tables)} if action.tables else {})

    def _acknowledged(self, body: Mapping[str, Any], sent_at: float, key: str, action: UserAction) -> None:
        for run in body.get("runs", ()):
            self.result.acks.append(
                TriggerResponse(
                    sent_at, key, run["pipeline"], run["run_id"], run["status"], action.mode, action.tables
                )
            )

    def _api(self, action: UserAction) -> None:
        sent_at = self.clock.now
        body: dict[str, Any] = {"pipeline": action.names[0]}
        body |= {"mode": action.mode} if action.mode else {}
        body |= {"tables": _json(action.tables)} if action.tables else {}
        key = f"k-{action.number}" if action.has_key else None
        for pause in (1.0, 30.0, 600.0, 7200.0):
            answer = self._request(
                "api",
                f"POST /runs {key or ''}",
                lambda by: self.functions.requests.start(body, CALLER, key, by),
            )
            if isinstance(answer, dict):
                self._acknowledged(answer, sent_at, key or "", action)
                return
            if key is None or (isinstance(answer, TaskFailed) and answer.name == "PipelineSkips"):
                return
            self.sleep(pause)

    def _execution(self, action: UserAction) -> None:
        """An execution by hand, or by a schedule that may deliver an occurrence twice."""
        document: dict[str, Any] = {"pipeline": action.names[0]}
        document |= {"mode": action.mode} if action.mode else {}
        document |= {"tables": _json(action.tables)} if action.tables else {}
        copies = 1
        if action.kind == "schedule":
            document |= {"delivery": f"occurrence-{action.number}"}
            copies = action.copies
        for copy in range(copies):
            name = f"{action.names[0]}-{action.kind}-{action.number:03}{copy}"
            self.functions.executions.start_with(name, document)
            self.sleep(self.random.choice((0.0, 0.3, 40.0)))

    def _some_run(self, action: UserAction) -> str | None:
        """A run of the pipeline that is open or waits, once there is one; now and then one that has ended."""
        pipeline, table = action.names[0], self.service.dynamodb
        for _ in range(POLLS):
            waiting = table.document(slot_key(pipeline)).get("pending")
            found = sorted(self.open_runs.get(pipeline, ())) + ([waiting["run_id"]] if waiting else [])
            if found:
                self.sleep(self.random.choice((0.0, 1.0, 30.0, 200.0)) * self.random.random())
                return str(self.random.choice(found))
            self.sleep(POLL_SECONDS)
        return None

    def _cancel(self, action: UserAction) -> None:
        run_id = self._some_run(action)
        if run_id is None:
            return
        self.result.drops_asked.add(run_id)
        label = f"cancel {run_id}{DROPS if action.drop_pending else ''}"
        for _ in range(action.copies):
            answer = self._request(
                "api",
                label,
                lambda by: self.functions.run_commands.cancel(
                    run_id, CALLER, by, drop_pending=action.drop_pending
                ),
            )
            self._reported("cancel", run_id, answer)

    def _reported(self, kind: str, run_id: str, answer: Any) -> None:
        found = answer if isinstance(answer, dict) else None
        runs_on = run_id in self.functions.executions.running()
        self.result.commands.append(CommandResponse(self.clock.now, kind, run_id, found, runs_on))

    def _retry(self, action: UserAction) -> None:
        """A user retries the newest run of a pipeline that failed, once there is one."""
        for _ in range(POLLS):
            found = [
                one for one in self.service.dynamodb.documents("run#") if one["pipeline"] == action.names[0]
            ]
            failed = [one for one in found if one["status"] in ("FAILED", "ABORTED", "TIMED_OUT")]
            if failed:
                self._retry_run(str(max(failed, key=lambda one: str(one["position"]))["run_id"]), action)
                return
            self.sleep(POLL_SECONDS)

    def _retry_run(self, run_id: str, action: UserAction) -> None:
        def ask() -> None:
            answer = self._request(
                "api", f"retry {run_id}", lambda by: self.functions.run_commands.retry(run_id, CALLER, by)
            )
            self._reported("retry", run_id, answer)

        self.join([self.spawn(ask, f"retry {run_id}") for _ in range(action.copies)])
        for _ in range(3 if action.resent else 0):
            self.sleep(action.seconds)
            ask()

    def _end_early(self, action: UserAction) -> None:
        """A user stops an execution in the console, or AWS ends it, once one is running."""
        executions, name = self.functions.executions, self._some_run(action)
        if name is None or name not in executions.running():
            return
        if action.kind == "abort":
            self.log(f"execution {name} is stopped in the console")
            executions.stopped.append(name)
            executions.end(name, "ABORTED")
        else:
            self.log(f"execution {name} is ended by AWS")
            self.result.ended_by_aws.add(name)
            executions.end(name, "FAILED", "States.Runtime", "The execution failed.")
            self.sleep(self.random.choice((5.0, 60.0, 900.0)))
            self._retry_run(name, action)

    def _pause(self, action: UserAction) -> None:
        """A user pauses a pipeline for a time: every other one by the API, the others by its definition."""
        if action.number % 2:
            name, pauses = action.names[0], self.functions.pauses
            self._until_answered(f"pause {name}", lambda by: pauses.pause(name, CALLER, None, by))
            self.sleep(action.seconds)
            resumes = [
                self.spawn(
                    lambda: self._until_answered(
                        f"resume {name}", lambda by: pauses.resume(name, CALLER, by)
                    ),
                    f"resume {name}",
                )
                for _ in range(2)
            ]
            self.join(resumes)
            return
        self.functions.paused.add(action.names[0])
        self.sleep(action.seconds)
        self.functions.paused.discard(action.names[0])

    def _until_answered(self, label: str, act: Callable[[Deadline], Any]) -> None:
        """Repeat a request to the API until it is answered; once the faults are over, it is."""
        while not isinstance(self._request("api", label, act), dict):
            self.sleep(60.0)

    def _other_start(self, action: UserAction) -> None:
        outcome = self.random.choice(("SUCCESS", "FAIL"))
        target = self.service.chaos.target(action.names[0])
        start = target.by_another_user(action.seconds, outcome)
        if start is not None:
            self.result.others.append((self.clock.now, target.name))
            self.log(f"another user starts {target.name}: {start.id} {outcome}")

    def _other_cancel(self, action: UserAction) -> None:
        self.service.chaos.target(action.names[0]).cancel(self.clock.now)


class SimulationOver(Exception):
    """The simulation is over: its horizon was reached."""


@contextmanager
def _without_logs() -> Iterator[None]:
    """The functions' log lines are not shown."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def run_scenario(scenario: Scenario) -> SimulationResult:
    return Simulation(scenario).run()


def _lease(target: str) -> str:
    return job_lease(target) if target.startswith("job-") else model_lease(target)


def _holder(lease: Mapping[str, Any] | None) -> str | None:
    return str(lease["run_id"]["S"]) if lease and "run_id" in lease else None


def _json(tables: tuple[str, ...] | Literal["all"] | None) -> object:
    return list(tables) if isinstance(tables, tuple) else tables


def _short(answer: object) -> str:
    text = str(answer)
    return text if len(text) < 300 else f"{text[:300]}…"
