"""A world and what happened in it, to read; and smaller worlds that show the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from typing import Any

from tests.worlds.harness import WorldResult, real_service, run_world
from tests.worlds.invariants import broken_assumptions, findings
from tests.worlds.run_driver import MakeService
from tests.worlds.world import OurRun, PastExecution, ResponseFields, Staleness, World, differences

ROUNDS = 6
WIDTH = 16
REPEATED = 4


def timeline(world: World, make: MakeService = real_service) -> str:
    """The world, then one line for each event, then the verdicts."""
    lines: list[str] = [*describe(world), ""]
    world_result = run_world(
        world, lambda at, who, what: lines.append(f"{at:10.3f}  {who:{WIDTH}}{what}"), make
    )
    lines = list(_folded(lines))
    lines.append("")
    truths = world_result.celonis.truths.values()
    for execution in (one for truth in truths for one in truth.executions):
        owner = "another user" if execution.owner < 0 else f"our run {execution.owner}"
        began, started, ended = (
            moment - world_result.celonis.t0
            for moment in (execution.began, execution.started, execution.ended)
        )
        lines.append(
            f"truth: {execution.id} of {owner}: began {began:.3f}, started {started:.3f}, ended {ended:.3f}"
            f" {execution.result}"
        )
    lines += [f"run {result.run}: {result.target} {result.outcome}" for result in world_result.results]
    lines += [f"VERDICT {one.kind} on run {one.run}: {one.text}" for one in findings(world_result)]
    broken = broken_assumptions(world_result)
    lines += [f"leaves assumptions {sorted(broken)}"] if broken else []
    return "\n".join(lines)


def _folded(lines: list[str]) -> Iterator[str]:
    """The same lines without rows of the same events, of which the first and the last are kept."""
    texts = [line[10:].rstrip("0123456789. s") for line in lines]
    skipped = 0
    for number, line in enumerate(lines):
        known = texts[max(0, number - REPEATED) : number]
        coming = texts[number + 1 : number + 1 + REPEATED]
        if texts[number] and texts[number] in known and texts[number] in coming:
            skipped += 1
            continue
        if skipped:
            yield f"{'…':>10}  {skipped} more of these"
            skipped = 0
        yield line


def describe(world: World) -> Iterator[str]:
    """The fields in which a world differs from the plainest one."""
    yield f"world {world.seed}: {world.target}, settle {world.settle} s"
    yield from (f"  shows: {one}" for one in differences(world.shows, ResponseFields()))
    for name in ("past", "others", "odd"):
        yield from (f"  {name}: {one}" for one in getattr(world, name))
    for number, run in enumerate(world.runs):
        more = differences(run, OurRun(seconds=run.seconds, result=run.result))
        yield f"  our run {number}: {run.seconds:g} s, {run.result} {' '.join(more)}".rstrip()
    rest = World(
        seed=world.seed,
        target=world.target,
        shows=world.shows,
        past=world.past,
        others=world.others,
        odd=world.odd,
        runs=world.runs,
    )
    yield from (f"  {one}" for one in differences(world, rest))


def shrink(world: World, kind: str, make: MakeService = real_service) -> World:
    """The plainest world found, by one change at a time, that still has a finding of this kind."""

    def still(candidate: World) -> bool:
        world_result = run_world(candidate, None, make)
        return has(world_result, kind)

    for _ in range(ROUNDS):
        before = world
        for change in _changes(world):
            candidate = change(world)
            if candidate is not None and candidate != world and still(candidate):
                world = candidate
        if world == before:
            return world
    return world


def has(world_result: WorldResult, kind: str) -> bool:
    """Whether a world within the assumptions has a finding of this kind."""
    return any(one.kind == kind for one in findings(world_result)) and not broken_assumptions(world_result)


Change = Callable[[World], World | None]


def _changes(world: World) -> Iterator[Change]:
    """Ways to make a world plainer. Each gets the world as the changes before have left it."""
    for name in ("others", "odd", "past", "runs"):
        for number in reversed(range(len(getattr(world, name)))):
            yield partial(_without, name, number)
    for name in (
        "up",
        "down",
        "clock_offset",
        "header_offset",
        "busy",
        "busy_status",
        "reply",
        "date",
        "floor",
    ):
        yield partial(_plain, name)
    for field in fields(ResponseFields):
        yield partial(_plain_shows, field.name)
    for number, ages in enumerate(_plain_ages(float(world.settle))):
        yield partial(_plainer_ages, number, ages)
    yield from _changes_of_parts(world)


def _changes_of_parts(world: World) -> Iterator[Change]:
    for number in range(len(world.runs)):
        for field in fields(OurRun):
            yield partial(_plain_run, number, field.name)
        yield partial(_shorter_run, number)
    for number in range(len(world.past)):
        yield partial(_plain_past, number)
    for number in range(len(world.others)):
        yield partial(_rounded, number)


def _plain_ages(settle: float) -> Iterator[Staleness]:
    """Ages to try, the plainest first."""
    yield Staleness()
    for age in (settle, settle / 2):
        for fresh in range(4):
            yield Staleness("script", (*([0.0] * fresh), age, 0.0))
        for field in range(4):
            yield Staleness("fixed", tuple(age if field == one else 0.0 for one in range(4)))


def _plainer_ages(number: int, ages: Staleness, world: World) -> World | None:
    """With these ages, the plain ones of this number, unless the world has plainer ones."""
    plain = list(_plain_ages(float(world.settle)))
    return None if world.ages in plain[:number] else replace(world, ages=ages)


def _plain(name: str, world: World) -> World:
    return replace(world, **{name: getattr(World(), name)})


def _plain_shows(name: str, world: World) -> World:
    plain: dict[str, Any] = {name: getattr(ResponseFields(), name)}
    return replace(world, shows=replace(world.shows, **plain))


def _plain_run(number: int, name: str, world: World) -> World | None:
    return _run(number, world, **{name: getattr(OurRun(), name)})


def _shorter_run(number: int, world: World) -> World | None:
    if number >= len(world.runs):
        return None
    run = world.runs[number]
    rounded = max(1.0, float(round(run.seconds)))
    return _run(number, world, faults=run.faults[:1], crashes=run.crashes[:1], seconds=rounded)


def _run(number: int, world: World, **changes: Any) -> World | None:
    if number >= len(world.runs):
        return None
    runs = list(world.runs)
    runs[number] = replace(runs[number], **changes)
    return replace(world, runs=tuple(runs))


def _without(name: str, number: int, world: World) -> World | None:
    values = getattr(world, name)
    if number >= len(values) or (name == "runs" and len(values) == 1):
        return None
    kept = values[:number] + values[number + 1 :]
    if name == "runs":
        others = tuple(replace(one, run=0) for one in world.others)
        return replace(world, runs=kept, others=others, odd=tuple(replace(one, run=0) for one in world.odd))
    return replace(world, **{name: kept})


def _plain_past(number: int, world: World) -> World | None:
    if number >= len(world.past):
        return None
    past = list(world.past)
    past[number] = PastExecution(1000.0 * (number + 1), 10.0, past[number].result)
    return replace(world, past=tuple(past))


def _rounded(number: int, world: World) -> World | None:
    if number >= len(world.others):
        return None
    others = list(world.others)
    one = others[number]
    others[number] = replace(one, delay=float(round(one.delay)), seconds=max(1.0, float(round(one.seconds))))
    return replace(world, others=tuple(others))
