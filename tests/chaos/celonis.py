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
    on_start: Callable[[FakeTarget, FakeStart], None] = lambda lane, start: None

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
        for lane in self.inner:
            seconds = lane.random.uniform(*lane.between)
            at = start.at + start.queue + start.seconds * 0.6
            load = lane.begin(mine=False, at=at, seconds=seconds, outcome="SUCCESS")
            self.inner_loads.setdefault(start.id, []).append(load)

    def inner_loads_of(self, start: FakeStart, model: str) -> list[FakeStart]:
        """The loads of a model that an execution of this job began."""
        names = [lane.name for lane in self.inner]
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

    def add(self, target: TargetBehaviour, seed: str) -> ChaosTarget:
        lane = ChaosTarget(
            self.clock,
            shows=ShownFields(latest="same"),
            lags=Lags(target.lags),
            busy=target.busy,
            name=target.name,
            random=Random(f"{seed} {target.name}"),  # noqa: S311
            between=target.seconds,
            failing=target.failing,
        )
        lane.before(6000.0)
        (self.jobs if lane.is_job else self.models)[target.name] = lane
        if not lane.is_job:
            self.model_tables[target.name] = [ModelTable(f"{name}-id", name=name) for name in TABLES]
        return lane

    def lane(self, name: str) -> ChaosTarget:
        lane = (self.jobs if name.startswith("job-") else self.models)[name]
        assert isinstance(lane, ChaosTarget)
        return lane

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

    def _post(self, name: str, target: str, what: object, lane: FakeTarget, timeout: float) -> StartAnswer:
        watched = _ObservedTarget(lane, self, name, target, what)
        return super()._post(name, target, what, watched, timeout)  # type: ignore[arg-type]

    def cancel_job(self, pool: str, job: str, *, timeout: float) -> None:
        self._arrive("cancel_job", job, None, timeout)
        hit = self.jobs[job].running(self.clock.now)
        self.cancels.append(ReceivedCancel(self.clock.now, self.who, job, hit))
        self.log(f"Celonis cancels {job} for {self.who.run_id}: {hit.id if hit else 'nothing'}")
        self.jobs[job].cancel(self.clock.now)
        self.hook("cancel_job", "after")
        self.clock.sleep(self.down)


class _ObservedTarget(NamedTuple):
    """A lane that notes who starts what."""

    lane: FakeTarget
    celonis: ChaosCelonis
    name: str
    target: str
    what: object

    def post(self, at: float, detail: str) -> tuple[str, FakeStart]:
        celonis = self.celonis
        sent = ReceivedStart(at, celonis.who, self.name, self.target, detail, self.lane.running(at))
        celonis.starts.append(sent)
        try:
            effect, start = self.lane.post(at, detail)
        except Exception as refusal:
            celonis.log(f"Celonis refuses {self.name} {self.target} for {celonis.who}: {refusal}")
            raise
        sent.start = start if effect != "ignored" else None
        celonis.log(
            f"Celonis {effect} {self.name} {self.target} {detail} for {tuple(celonis.who)}: {start.id}"
        )
        return effect, start
