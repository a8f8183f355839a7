"""Runs our runs of one world, one after the other or all at the same time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.clock import FakeClock
from tests.fakes.quiet import quiet
from tests.fakes.service import ServiceHarness
from tests.worlds.concurrent import SharedClock, run_concurrently
from tests.worlds.fake_celonis import WorldCelonis
from tests.worlds.run_driver import MakeService, RunDriver, RunResult, ServiceSteps, StepRunner
from tests.worlds.world import World


@dataclass
class WorldResult:
    """The result of a world. ``celonis`` holds the ground truth."""

    world: World
    celonis: WorldCelonis
    results: list[RunResult]


def real_service(service: ServiceHarness, celonis: WorldCelonis) -> StepRunner:
    return ServiceSteps(service, celonis)


def _named(celonis: WorldCelonis, who: str) -> str:
    """Return the actor's name, with the number of our run if several runs are concurrent."""
    is_ours = celonis.world.is_concurrent and celonis.at_work() is not None and who != "another user"
    return f"{celonis.run} {who}" if is_ours else who


def run_world(
    world: World,
    note: Callable[[float, str, str], None] | None = None,
    make: MakeService = real_service,
) -> WorldResult:
    """Runs all runs of ``world``. ``note`` gets the time, who and what."""
    with quiet():
        clock = SharedClock() if world.is_concurrent else FakeClock()
        service = ServiceHarness(clock=clock, seed=world.seed + 1)
        celonis = WorldCelonis(world, clock)
        service.celonis = celonis  # type: ignore[assignment]
        if note is not None:
            celonis.note = lambda who, what: note(clock.now - celonis.t0, _named(celonis, who), what)
        runner = make(service, celonis)
        if world.is_concurrent:
            return WorldResult(world, celonis, run_concurrently(world, service, celonis, runner))
        results: list[RunResult] = []
        for number in range(len(world.runs)):
            if number:
                celonis.sleep(world.runs[number].gap)
            results += RunDriver(world, service, celonis, number, runner).run()
        return WorldResult(world, celonis, results)
