"""The Celonis of a scenario: it knows which run's step sent what, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import NamedTuple

from celonis_refresh.celonis.records import ModelTable, StartAnswer
from tests.chaos.scenario import TABLES, TargetBehaviour
from tests.fakes.celonis import (
    FakeCelonis,
    FakeStart,
    FakeTarget,
    Lags,
    Lost,
    ShownFields,
    denied,
    throttled,
    unavailable,
)

POST_FAULTS: tuple[Lost, ...] = ("before", "after", "unsent", "throttled", "refused")


class StepIdentity(NamedTuple):
    """The step of a run for which a request is sent."""

    run_id: str
    step: str


NOBODY = StepIdentity("", "")


@dataclass
class ReceivedStart:
    """A start that arrived at Celonis. ``start``: what it began, None where it was refused or lost.

    ``running``: what was running there then.
    """

    at: float
    who: StepIdentity
    call: str
    target: str
    detail: str
    running: FakeStart | None
    start: FakeStart | None = None


@dataclass
class ReceivedCancel:
    """A cancel that arrived, and what it hit."""

    at: float
    who: StepIdentity
    job: str
    hit: FakeStart | None


@dataclass
class ChaosTarget(FakeTarget):
    """A job or model whose executions differ. ``inner``: the models that a job loads by itself."""

    name: str = ""
    random: Random = field(default_factory=Random)
    between: tuple[float, float] = (60.0, 60.0)
    failing: float = 0.0
    inner: list[ChaosTarget] = field(default_factory=list)
    inner_loads: dict[str, list[FakeStart]] = field(default_factory=dict)
    on_start: Callable[[FakeTarget, FakeStart], None] = lambda target, start: None

    @property
    def is_job(self) -> bool:
        return self.name.startswith("job-")

    def _mine(self, at: float, detail: str) -> FakeStart:
        self.seconds = self.random.uniform(*self.between)
        self.outcome = "FAIL" if self.random.random() < self.failing else "SUCCESS"
        start = super()._mine(at, detail)
        self.begin_inner(start)
        self.on_start(self, start)
        return start

    def begin_inner(self, start: FakeStart) -> None:
        """The loads that an execution of this job begins by itself."""
        for target in self.inner:
            seconds = target.random.uniform(*target.between)
            at = start.at + start.queue + start.seconds * 0.6
            load = target.begin(mine=False, at=at, seconds=seconds, outcome="SUCCESS")
            self.inner_loads.setdefault(start.id, []).append(load)

    def cancel(self, at: float) -> None:
        """As for any target; the loads that the execution has not begun by then never begin."""
        running = self.running(at)
        super().cancel(at)
        if running is None:
            return
        end = at + self.cancel_seconds
        for target, load in zip(self.inner, self.inner_loads.get(running.id, ()), strict=False):
            if load.at > end:
                target.starts.remove(load)

    def inner_loads_of(self, start: FakeStart, model: str) -> list[FakeStart]:
        """The loads of a model that an execution of this job began."""
        names = [target.name for target in self.inner]
        return [
            load
            for name, load in zip(names, self.inner_loads.get(start.id, ()), strict=False)
            if name == model
        ]

    def by_another_user(self, seconds: float, outcome: str) -> FakeStart | None:
        """Another user starts an execution, unless one is running; the start."""
        if self.running(self.clock.now) is not None:
            return None
        start = self.begin(mine=False, at=self.clock.now, seconds=seconds, outcome=outcome)
        self.begin_inner(start)
        return start


@dataclass
class ChaosCelonis(FakeCelonis):
    """``who``: for which step its requests are sent; ``share``: of the calls that fail, by name."""

    who: StepIdentity = NOBODY
    random: Random = field(default_factory=Random)
    share: Callable[[], float] = lambda: 0.0
    starts: list[ReceivedStart] = field(default_factory=list)
    cancels: list[ReceivedCancel] = field(default_factory=list)
    odd: dict[StepIdentity, float] = field(default_factory=dict)
    log: Callable[[str], None] = lambda text: None

    def sent_for(self, who: StepIdentity) -> ChaosCelonis:
        """The same Celonis, asked for a step of a run."""
        return replace(self, who=who)

    def add(self, behaviour: TargetBehaviour, seed: str) -> ChaosTarget:
        target = ChaosTarget(
            self.clock,
            shows=ShownFields(latest="same"),
            lags=Lags(behaviour.lags),
            busy=behaviour.busy,
            name=behaviour.name,
            random=Random(f"{seed} {behaviour.name}"),  # noqa: S311
            between=behaviour.seconds,
            failing=behaviour.failing,
        )
        target.add_past_start(6000.0)
        (self.jobs if target.is_job else self.models)[behaviour.name] = target
        if not target.is_job:
            self.model_tables[behaviour.name] = [ModelTable(f"{name}-id", name=name) for name in TABLES]
        return target

    def target(self, name: str) -> ChaosTarget:
        target = (self.jobs if name.startswith("job-") else self.models)[name]
        assert isinstance(target, ChaosTarget)
        return target

    def _fault(self, name: str) -> Exception | Lost | None:
        self.hook(name, "before")
        if self.random.random() >= self.share():
            return None
        if name in ("execute_job", "load_model", "load_tables"):
            fault = self.random.choice(POST_FAULTS)
            self.log(f"{name}: fault {fault}")
            return fault
        fault_raised = self._poll_fault()
        self.log(f"{name}: {type(fault_raised).__name__}")
        return fault_raised

    def _poll_fault(self) -> Exception:
        """One odd refusal at a time, so that two do not follow each other."""
        if self.clock.now - self.odd.get(self.who, 0.0) > 3600.0 and self.random.random() < 0.3:
            self.odd[self.who] = self.clock.now
            return denied()
        return throttled(self.random.choice((2.0, 30.0))) if self.random.random() < 0.3 else unavailable()

    def _post(
        self, name: str, target_id: str, what: object, target: FakeTarget, timeout: float
    ) -> StartAnswer:
        watched = _ObservedTarget(target, self, name, target_id, what)
        return super()._post(name, target_id, what, watched, timeout)  # type: ignore[arg-type]

    def cancel_job(self, pool: str, job: str, *, timeout: float) -> None:
        self._arrive("cancel_job", job, None, timeout)
        hit = self.jobs[job].running(self.clock.now)
        self.cancels.append(ReceivedCancel(self.clock.now, self.who, job, hit))
        self.log(f"Celonis cancels {job} for {self.who.run_id}: {hit.id if hit else 'nothing'}")
        self.jobs[job].cancel(self.clock.now)
        self.hook("cancel_job", "after")
        self.clock.sleep(self.down)


class _ObservedTarget(NamedTuple):
    """A target that records who starts what."""

    target: FakeTarget
    celonis: ChaosCelonis
    name: str
    target_id: str
    what: object

    def post(self, at: float, detail: str) -> tuple[str, FakeStart]:
        celonis = self.celonis
        sent = ReceivedStart(at, celonis.who, self.name, self.target_id, detail, self.target.running(at))
        celonis.starts.append(sent)
        try:
            effect, start = self.target.post(at, detail)
        except Exception as refusal:
            celonis.log(f"Celonis refuses {self.name} {self.target_id} for {celonis.who}: {refusal}")
            raise
        sent.start = start if effect != "ignored" else None
        celonis.log(
            f"Celonis {effect} {self.name} {self.target_id} {detail} for {tuple(celonis.who)}: {start.id}"
        )
        return effect, start
