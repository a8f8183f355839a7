"""The figures of the functions: cold starts, memory, round trips, and the cost of a warm webhook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from local.bench.lambdas.artifacts import Artifacts
from local.bench.lambdas.process import FunctionProcess, Measured
from local.bench.lambdas.scene import Scene, first_of_each, scene
from local.bench.lambdas.tap import Call
from local.bench.ratios import in_turns, median_ratio
from local.bench.service import Json
from local.waiting import until

COLD_PAIRS = 15
WARM_PAIRS = 41
WARM_UP = 3
"""Events before it counts: clients are made, connections stand, what is kept is kept."""
STEP = "job-0"


@dataclass(frozen=True)
class Cold:
    """Ours and the bare handler, pair by pair."""

    pairs: list[tuple[Measured, Measured]]

    def ratio(self, of: Callable[[Measured], float]) -> float:
        return median_ratio([(of(ours), of(bare)) for ours, bare in self.pairs])

    def medians(self, of: Callable[[Measured], float]) -> tuple[float, float]:
        return median(of(ours) for ours, _ in self.pairs), median(of(bare) for _, bare in self.pairs)


@dataclass(frozen=True)
class Trips:
    """The calls of a warm trigger: of a webhook that starts, of one that joins, of one sent again."""

    first: list[Call]
    start: list[Call]
    join: list[Call]
    duplicate: list[Call]


@dataclass(frozen=True)
class Found:
    """``cold``: by function. ``overhead``: seconds of a warm webhook, and of the same calls made bare."""

    cold: Mapping[str, Cold]
    trips: Trips
    overhead: list[tuple[float, float]]

    def figures(self) -> dict[str, float]:
        """The figures under their names.

        ``cold_…_ratio``: wall time from the start of the process to its first answer. The table shows the
        processor time (user and system) beside it, which tells the same on a machine that does other things
        meanwhile, but for the waiting. ``memory_trigger_ratio``: the most memory held until the first answer.
        ``trigger_overhead_ratio``: wall time from the hand-over of the event to the answer.
        """
        return {
            "cold_trigger_ratio": round(self.cold["Trigger"].ratio(lambda one: one.wall), 3),
            "cold_check_ratio": round(self.cold["CheckStep"].ratio(lambda one: one.wall), 3),
            "memory_trigger_ratio": round(self.cold["Trigger"].ratio(lambda one: one.memory), 3),
            "round_trips_start": len(self.trips.start),
            "round_trips_join": len(self.trips.join),
            "round_trips_duplicate": len(self.trips.duplicate),
            "trigger_overhead_ratio": round(median_ratio(self.overhead), 3),
        }


def measure(artifacts: Artifacts) -> Found:
    with scene(artifacts) as ground:
        trips = round_trips(ground)
        cold = {"Trigger": cold_trigger(ground, trips.first), "CheckStep": cold_check(ground)}
        return Found(cold, trips, overhead(ground, trips.start))


def round_trips(ground: Scene) -> Trips:
    """What really leaves a warm trigger: requests to AWS and to Celonis, as they pass the taps.

    Warm: an event of the same source was taken before, and its run has ended.
    """
    ground.service.connect(ground.celonis.url)
    with ground.ours("Trigger", tapped=True) as process:
        process.ask(ground.webhook())
        first = ground.calls()
        _warm_up(ground, process)
        ground.at_rest()
        ground.calls()
        process.ask(ground.webhook())
        start = ground.calls()
        again = next(ground.deliveries)
        process.ask(ground.webhook(again))
        join = ground.calls()
        process.ask(ground.webhook(again))
        duplicate = ground.calls()
    ground.service.connect(ground.service.celonis.url)
    return Trips(first, start, join, duplicate)


def cold_trigger(ground: Scene, calls: list[Call]) -> Cold:
    """A webhook that starts a run, beside a handler that calls the same services once each."""

    def ours() -> Measured:
        ground.at_rest()
        with ground.ours("Trigger") as process:
            return _answered(process.first(ground.webhook()), statusCode=202)

    def bare() -> Measured:
        ground.at_rest()
        with ground.bare("Trigger") as process:
            return _answered(process.first({"calls": first_of_each(calls)}), statusCode=202)

    return Cold(in_turns(ours, bare, COLD_PAIRS))


def cold_check(ground: Scene) -> Cold:
    """A look at a job under way, beside a handler that calls the same services once each."""
    event = {"run_id": _run_under_way(ground), "step": STEP}
    ground.service.connect(ground.celonis.url)
    with ground.ours("CheckStep", tapped=True) as process:
        ground.calls()
        process.ask(event)
        calls = ground.calls()
    ground.service.connect(ground.service.celonis.url)

    def measured(start: Callable[[str], FunctionProcess], what: Json) -> Measured:
        with start("CheckStep") as process:
            return process.first(what)

    only = {"calls": first_of_each(calls)}

    def ours() -> Measured:
        return _answered(measured(ground.ours, event), status="RUNNING")

    return Cold(in_turns(ours, lambda: measured(ground.bare, only), COLD_PAIRS))


def overhead(ground: Scene, calls: list[Call]) -> list[tuple[float, float]]:
    """Seconds of a warm webhook that starts a run, and of the very same calls with nothing around them."""
    with ground.ours("Trigger") as trigger, ground.bare("Trigger") as bare:

        def ours() -> float:
            ground.at_rest()
            return trigger.ask(ground.webhook())[1]

        def theirs() -> float:
            ground.at_rest()
            return bare.ask({"calls": calls})[1]

        return in_turns(ours, theirs, WARM_UP + WARM_PAIRS)[WARM_UP:]


def _answered(measured: Measured, **wanted: object) -> Measured:
    """The measurement of one that did its work: a refusal would come sooner. Raises ``RuntimeError``."""
    if any(measured.answer.get(name) != value for name, value in wanted.items()):
        raise RuntimeError(f"the function answered {measured.answer}")
    return measured


def _warm_up(ground: Scene, process: FunctionProcess) -> None:
    for _ in range(WARM_UP):
        ground.at_rest()
        process.ask(ground.webhook())


def _run_under_way(ground: Scene) -> str:
    """A run of the real state machine, after it has started its job and before it looks at it."""
    ground.at_rest()
    stack = ground.service.stack
    run_id = "a-run-under-way"
    stack.client("stepfunctions").start_execution(
        stateMachineArn=stack.outputs["StateMachineArn"],
        name=run_id,
        input=f'{{"pipeline": "{ground.pipeline}"}}',
    )
    (execution,) = stack.executions

    def waits() -> bool:
        if execution.status != "RUNNING":
            raise RuntimeError(f"run {run_id}: {execution.status}, {execution.cause}")
        return any(event["type"] == "WaitStateEntered" for event in execution.history.events())

    until(waits, f"run {run_id} to start its job")
    return run_id
