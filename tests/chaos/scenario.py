"""A scenario: what there is, what users and senders do, and how often what fails. All of it from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from celonis_refresh.pipelines.definition import Definition, read_definition
from tests.fakes.service import POOL

TABLES = ("orders", "items", "invoices")
"""The tables of every data model."""
HOUR = 3600.0
Kind = Literal[
    "webhook",
    "api",
    "execution",
    "schedule",
    "cancel",
    "retry",
    "abort",
    "aws_failure",
    "pause",
    "other_start",
    "other_cancel",
]


SHARES: dict[Kind, int] = {
    "webhook": 8,
    "api": 3,
    "execution": 1,
    "schedule": 2,
    "cancel": 3,
    "retry": 3,
    "abort": 1,
    "aws_failure": 1,
    "pause": 1,
    "other_start": 1,
    "other_cancel": 1,
}
"""How often each kind of action is drawn."""


@dataclass(frozen=True)
class ScenarioLoad:
    """One load of a pipeline. ``tables``: of a partial load."""

    model: str
    kind: str = "complete"
    tables: tuple[str, ...] = ()
    started_by: str = "run"

    def document(self, timeout: int) -> dict[str, Any]:
        fields: dict[str, Any] = {"data_model": self.model, "timeout": timeout}
        if self.started_by == "job":
            return {**fields, "started_by": "job"}
        return {**fields, "kind": self.kind, **({"tables": list(self.tables)} if self.tables else {})}


@dataclass(frozen=True)
class ScenarioPipeline:
    """One pipeline; the fields are those of its definition."""

    name: str
    stages: tuple[tuple[str, ...], ...]
    loads: tuple[ScenarioLoad, ...] = ()
    mode: str = "FULL"
    timeout: int = 7200
    settle: int = 60
    when_running: str = "join"
    when_busy: str = "wait"
    cancel_on_stop: bool = True

    @property
    def jobs(self) -> list[str]:
        return [job for stage in self.stages for job in stage]

    @property
    def takes_tables(self) -> bool:
        return any(load.started_by == "run" for load in self.loads)

    def definition(self, *, paused: bool) -> Definition:
        document = {
            "data_pool": POOL,
            "jobs": [
                [{"job": job, "mode": self.mode, "timeout": self.timeout} for job in stage]
                for stage in self.stages
            ],
            "loads": [load.document(self.timeout) for load in self.loads],
            "settle": self.settle,
            "when_running": self.when_running,
            "when_busy": self.when_busy,
            "cancel_on_stop": self.cancel_on_stop,
            "paused": paused,
        }
        return read_definition("The definition", Definition, document)


@dataclass(frozen=True)
class TargetBehaviour:
    """A job or a model at Celonis. ``seconds``: how long an execution takes, at least and at most.

    ``failing``: how many of them fail; ``inner``: the models that a job loads by itself; ``lags``: how old
    answers are; ``busy``: the result of a start while one is running.
    """

    name: str
    seconds: tuple[float, float] = (30.0, 300.0)
    failing: float = 0.0
    inner: tuple[str, ...] = ()
    lags: tuple[float, ...] = (0.0,)
    busy: Literal["refuse", "queue"] = "refuse"


@dataclass(frozen=True)
class UserAction:
    """One thing that a user, a sender or a schedule does, ``at`` seconds from the beginning.

    ``names``: the pipelines, or the job or model; ``number``: a delivery's, or which of the runs it is about.
    ``copies``: requests at once; ``resent``: sent once more, later, although it was answered.
    """

    at: float
    kind: Kind
    names: tuple[str, ...] = ()
    mode: str | None = None
    tables: tuple[str, ...] | Literal["all"] | None = None
    number: int = 0
    copies: int = 1
    resent: bool = False
    has_key: bool = False
    drop_pending: bool = False
    seconds: float = 0.0

    def __str__(self) -> str:
        facts = {
            name: value
            for name, value in vars(self).items()
            if name not in ("at", "kind", "names") and value not in (None, 0, 0.0, False)
        }
        values = " ".join(f"{name}={value}" for name, value in facts.items())
        return f"{self.kind} {'+'.join(self.names)} {values}".strip()


@dataclass(frozen=True)
class FaultRates:
    """The share of calls, answers or events at which something goes wrong."""

    pause: float = 0.3
    """A call lasts a moment longer, so that other functions continue."""
    stall: float = 0.0
    """A call lasts so long that its function may reach its timeout."""
    kill: float = 0.0
    """The function is killed before or after the effect of a call."""
    table: float = 0.0
    """The table answers 5xx or a conflict, before or after the effect of a call."""
    celonis: float = 0.0
    """Celonis does not answer, answers 429, 5xx or one odd 403, or the answer to a start is lost."""
    config: float = 0.0
    """Step Functions or SNS does not answer."""
    detached: float = 0.0
    """Step Functions gets no response of a function that keeps running, and calls it again."""
    answer: float = 0.0
    """An answer to a sender or a user is lost."""
    event_lost: float = 0.0
    event_repeated: float = 0.0


CALM = FaultRates(pause=0.1)


@dataclass(frozen=True)
class Scenario:
    """``calm_at``: when the actions and the faults have ended, in seconds from the beginning."""

    seed: int
    pipelines: tuple[ScenarioPipeline, ...]
    jobs: tuple[TargetBehaviour, ...]
    models: tuple[TargetBehaviour, ...]
    actions: Sequence[UserAction] = ()
    rates: FaultRates = field(default_factory=FaultRates)
    calm_at: float = 6 * HOUR


def random_scenario(seed: int) -> Scenario:
    """The same scenario for the same seed."""
    random = Random(f"scenario {seed}")  # noqa: S311 - a simulation
    settle = random.choice((30, 60, 120))
    long = random.random() < 0.3
    models = [
        _target(random, f"model-{letter}", settle, long=long) for letter in "abc"[: random.randint(1, 3)]
    ]
    names = [target.name for target in models]
    jobs = [_target(random, f"job-{letter}", settle, long=long) for letter in "abc"[: random.randint(1, 3)]]
    if random.random() < 0.3:
        inner = (random.choice(names),)
        jobs[0] = TargetBehaviour(
            jobs[0].name, jobs[0].seconds, jobs[0].failing, inner, jobs[0].lags, jobs[0].busy
        )
    pipelines = tuple(
        _pipeline(random, f"p{number}", jobs, names, settle) for number in range(random.randint(1, 4))
    )
    busy_for = random.choice((1.0, 3.0, 6.0, 24.0)) * HOUR * (2 if long else 1)
    count = random.randint(3, 14)
    actions = sorted(
        (_action(random, number, pipelines, jobs, models, busy_for) for number in range(count)),
        key=lambda action: action.at,
    )
    return Scenario(
        seed, pipelines, tuple(jobs), tuple(models), tuple(actions), _rates(random), busy_for + HOUR / 2
    )


def _target(random: Random, name: str, settle: int, *, long: bool) -> TargetBehaviour:
    minimum = random.choice((5.0, 40.0, 300.0)) * (6 if long else 1)
    lags = random.choice(((0.0,), (0.0, 2.0, 8.0), (0.0, settle * 0.4, 1.0, settle * 0.8)))
    failing = random.choice((0.0, 0.0, 0.0, 0.2, 0.6))
    busy: Literal["refuse", "queue"] = random.choice(("refuse", "refuse", "queue"))
    return TargetBehaviour(name, (minimum, minimum * random.choice((1.2, 4.0))), failing, (), lags, busy)


def _pipeline(
    random: Random, name: str, jobs: Sequence[TargetBehaviour], models: Sequence[str], settle: int
) -> ScenarioPipeline:
    chosen = random.sample(list(jobs), random.randint(0 if models else 1, len(jobs)))
    stages: list[tuple[str, ...]] = []
    for job in chosen:
        if stages and random.random() < 0.4:
            stages[-1] += (job.name,)
        else:
            stages.append((job.name,))
    inner = {model for job in chosen for model in job.inner}
    loads = [ScenarioLoad(model, started_by="job") for model in sorted(inner)]
    loads += [_load(random, model) for model in models if model not in inner and random.random() < 0.7]
    if not chosen and not loads:
        loads = [ScenarioLoad(models[0])]
    return ScenarioPipeline(
        name,
        tuple(stages),
        tuple(random.sample(loads, len(loads))),
        mode=random.choice(("FULL", "DELTA")),
        timeout=random.choice((3600, 7200, 6 * 3600)),
        settle=settle,
        when_running="skip" if random.random() < 0.1 else "join",
        when_busy="fail" if random.random() < 0.1 else "wait",
        cancel_on_stop=random.random() < 0.8,
    )


def _load(random: Random, model: str) -> ScenarioLoad:
    kind = random.choice(("complete", "complete", "partial", "from_cache"))
    tables = tuple(sorted(random.sample(TABLES, random.randint(1, 2)))) if kind == "partial" else ()
    return ScenarioLoad(model, kind, tables)


def _action(
    random: Random,
    number: int,
    pipelines: Sequence[ScenarioPipeline],
    jobs: Sequence[TargetBehaviour],
    models: Sequence[TargetBehaviour],
    busy_for: float,
) -> UserAction:
    # Actions come in bursts, so that they overlap.
    bursts = Random(int(busy_for) + len(pipelines)).sample(range(1, 20), 4)  # noqa: S311
    at = busy_for * random.choice(bursts) / 20 + random.choice((0.0, 1.0, 60.0, 900.0)) * random.random()
    kind = random.choices(list(SHARES), list(SHARES.values()))[0] if number > 1 else "webhook"
    if kind in ("other_start", "other_cancel"):
        name = random.choice([*jobs, *models] if kind == "other_start" else jobs).name
        return UserAction(at, kind, (name,), seconds=random.uniform(20.0, 900.0))
    several = kind == "webhook" and len(pipelines) > 1 and random.random() < 0.4
    chosen = random.sample(list(pipelines), random.randint(2, len(pipelines)) if several else 1)
    return UserAction(
        at,
        kind,
        tuple(pipeline.name for pipeline in chosen),
        mode=random.choice((None, None, "FULL", "DELTA")),
        tables=_wanted(random) if all(pipeline.takes_tables for pipeline in chosen) else None,
        number=number,
        copies=random.choice((1, 1, 1, 2, 3)),
        resent=random.random() < 0.4,
        has_key=random.random() < 0.6,
        drop_pending=random.random() < 0.3,
        seconds=random.uniform(60.0, 7200.0),
    )


def _wanted(random: Random) -> tuple[str, ...] | Literal["all"] | None:
    if random.random() < 0.6:
        return None
    return "all" if random.random() < 0.3 else tuple(sorted(random.sample(TABLES, random.randint(1, 2))))


def _rates(random: Random) -> FaultRates:
    def some(maximum: float) -> float:
        return random.choice((0.0, maximum / 4, maximum))

    return FaultRates(
        pause=random.choice((0.1, 0.5, 0.9)),
        stall=some(0.01),
        kill=some(0.04),
        table=some(0.02),
        celonis=some(0.08),
        config=some(0.04),
        detached=some(0.05),
        answer=some(0.3),
        event_lost=some(0.5),
        event_repeated=some(0.5),
    )
