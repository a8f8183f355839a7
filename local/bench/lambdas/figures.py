"""The figures of the functions: cold starts, memory, round trips, and the cost of a warm webhook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from local.bench.lambdas.artifacts import Artifacts
from local.bench.lambdas.environment import LambdaEnvironment, first_call_per_service, scenario
from local.bench.lambdas.process import FunctionProcess, Measurement
from local.bench.lambdas.recording_proxy import Call
from local.bench.ratios import measure_pairs, median_ratio
from local.bench.service import Json
from local.wait import until

COLD_PAIRS = 15
WARM_PAIRS = 41
WARM_UP = 3
"""Events before the measurement, so that clients, connections and caches exist."""
STEP = "job-0"


@dataclass(frozen=True)
class ColdStarts:
    """Ours and the bare handler, pair by pair."""

    pairs: list[tuple[Measurement, Measurement]]

    def ratio(self, of: Callable[[Measurement], float]) -> float:
        return median_ratio([(of(ours), of(bare)) for ours, bare in self.pairs])

    def medians(self, of: Callable[[Measurement], float]) -> tuple[float, float]:
        return median(of(ours) for ours, _ in self.pairs), median(of(bare) for _, bare in self.pairs)


@dataclass(frozen=True)
class RoundTrips:
    """The calls of a warm trigger for a webhook that starts a run, one that joins, and a duplicate."""

    first: list[Call]
    start: list[Call]
    join: list[Call]
    duplicate: list[Call]


@dataclass(frozen=True)
class LambdaFigures:
    """``cold``: by function. ``overhead``: seconds of a warm webhook, and without this service."""

    cold: Mapping[str, ColdStarts]
    trips: RoundTrips
    overhead: list[tuple[float, float]]

    def figures(self) -> dict[str, float]:
        """The figures under their names.

        ``cold_…_ratio``: wall time from the start of the process to its first answer. The table shows the
        the processor time (user and system), which does not depend on other load of the machine,
        and excludes waiting. ``memory_trigger_ratio``: peak memory until the first answer.
        ``trigger_overhead_ratio``: wall time from the moment the event is passed in to the answer.
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


def measure(artifacts: Artifacts) -> LambdaFigures:
    with scenario(artifacts) as environment:
        trips = round_trips(environment)
        cold = {"Trigger": cold_trigger(environment, trips.first), "CheckStep": cold_check(environment)}
        return LambdaFigures(cold, trips, overhead(environment, trips.start))


def round_trips(environment: LambdaEnvironment) -> RoundTrips:
    """Return the requests that a warm trigger really sends to AWS and Celonis, as the proxies record them.

    Warm: the process handled an event of the same source before, and its run has ended.
    """
    environment.service.connect(environment.celonis.url)
    with environment.ours("Trigger", tapped=True) as process:
        process.ask(environment.webhook())
        first = environment.calls()
        _warm_up(environment, process)
        environment.make_idle()
        environment.calls()
        process.ask(environment.webhook())
        start = environment.calls()
        again = next(environment.deliveries)
        process.ask(environment.webhook(again))
        join = environment.calls()
        process.ask(environment.webhook(again))
        duplicate = environment.calls()
    environment.service.connect(environment.service.celonis.url)
    return RoundTrips(first, start, join, duplicate)


def cold_trigger(environment: LambdaEnvironment, calls: list[Call]) -> ColdStarts:
    """Measure a webhook that starts a run, compared with a handler that calls the same services once each."""

    def ours() -> Measurement:
        environment.make_idle()
        with environment.ours("Trigger") as process:
            return _answered(process.first(environment.webhook()), statusCode=202)

    def bare() -> Measurement:
        environment.make_idle()
        with environment.bare("Trigger") as process:
            return _answered(process.first({"calls": first_call_per_service(calls)}), statusCode=202)

    return ColdStarts(measure_pairs(ours, bare, COLD_PAIRS))


def cold_check(environment: LambdaEnvironment) -> ColdStarts:
    """Measure a poll of a running job, compared with a handler that calls the same services once each."""
    event = {"run_id": _run_in_progress(environment), "step": STEP}
    environment.service.connect(environment.celonis.url)
    with environment.ours("CheckStep", tapped=True) as process:
        environment.calls()
        process.ask(event)
        calls = environment.calls()
    environment.service.connect(environment.service.celonis.url)

    def measured(start: Callable[[str], FunctionProcess], what: Json) -> Measurement:
        with start("CheckStep") as process:
            return process.first(what)

    only = {"calls": first_call_per_service(calls)}

    def ours() -> Measurement:
        return _answered(measured(environment.ours, event), status="RUNNING")

    return ColdStarts(measure_pairs(ours, lambda: measured(environment.bare, only), COLD_PAIRS))


def overhead(environment: LambdaEnvironment, calls: list[Call]) -> list[tuple[float, float]]:
    """Return the seconds of a warm webhook that starts a run, and of the same calls without this service."""
    with environment.ours("Trigger") as trigger, environment.bare("Trigger") as bare:

        def ours() -> float:
            environment.make_idle()
            return trigger.ask(environment.webhook())[1]

        def theirs() -> float:
            environment.make_idle()
            return bare.ask({"calls": calls})[1]

        return measure_pairs(ours, theirs, WARM_UP + WARM_PAIRS)[WARM_UP:]


def _answered(measured: Measurement, **expected: object) -> Measurement:
    """Return the measurement if its answer is as expected, else raise ``RuntimeError``."""
    if any(measured.answer.get(name) != value for name, value in expected.items()):
        raise RuntimeError(f"the function answered {measured.answer}")
    return measured


def _warm_up(environment: LambdaEnvironment, process: FunctionProcess) -> None:
    for _ in range(WARM_UP):
        environment.make_idle()
        process.ask(environment.webhook())


def _run_in_progress(environment: LambdaEnvironment) -> str:
    """Return a run of the real state machine that has started its job and has not polled it yet."""
    environment.make_idle()
    stack = environment.service.stack
    run_id = "a-run-under-way"
    stack.client("stepfunctions").start_execution(
        stateMachineArn=stack.outputs["StateMachineArn"],
        name=run_id,
        input=f'{{"pipeline": "{environment.pipeline}"}}',
    )
    (execution,) = stack.executions

    def waits() -> bool:
        if execution.status != "RUNNING":
            raise RuntimeError(f"run {run_id}: {execution.status}, {execution.cause}")
        return any(event["type"] == "WaitStateEntered" for event in execution.history.events())

    until(waits, f"run {run_id} to start its job")
    return run_id
