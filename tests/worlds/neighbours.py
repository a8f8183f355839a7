"""The neighbours of a world: one part of it changed to every other value of the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, get_args

from tests.worlds.world import Fault, Moment, OurRun, ResponseFields, Staleness, Target, World

OTHER: dict[Target, Target] = {"job": "load", "load": "job"}
STALE = (0.0, 0.5, 1.0)
"""Shares of ``settle``."""
LAST_CRASH = 20


def neighbours(world: World) -> Iterator[World]:
    """Every place of a fault, every id space, with and without a list, a job and a load, every staleness."""
    assert world.target != "both"
    for target in (world.target, OTHER[world.target]):
        here = replace(world, target=target)
        yield here
        yield from (replace(here, shows=shows) for shows in _shows(here))
        yield from (replace(here, ages=ages) for ages in _ages(here))
    yield from _odd(world)
    yield from _faults(world)
    yield from _crashes(world)


def _shows(world: World) -> Iterator[ResponseFields]:
    shows, seen = world.shows, (True, False)
    if world.target == "load":
        for load_id, dates, running in product(seen, seen, seen):
            yield replace(shows, load_id=load_id, load_dates=dates, load_running=running)
        return
    ids: Any = product(("none", "same", "own"), ("running", "never"), ("start", "end"))
    for latest, current, moves in ids:
        for listing in (shows.listing, "404"):
            yield replace(shows, latest=latest, current=current, latest_moves=moves, listing=listing)
    for dates, status, running in product(seen, seen, seen):
        yield replace(shows, list_dates=dates, list_status=status, list_running=running)


def _ages(world: World) -> Iterator[Staleness]:
    """Each field, or all, of one age; or the first answers of another than those that follow."""
    settle = float(world.settle)
    for share, field in product(STALE[1:], range(5)):
        values = tuple(share * settle if field in (at, 4) else 0.0 for at in range(4))
        yield Staleness("fixed", values, settle)
    for first, then in product(STALE, STALE):
        yield Staleness("script", (first * settle, then * settle, 0.0), settle)


def _odd(world: World) -> Iterator[World]:
    for number, one in enumerate(world.odd):
        others = world.odd[:number] + world.odd[number + 1 :]
        for since in ("run", "posted", "ended"):
            for place in range(5):
                yield replace(world, odd=(*others, replace(one, since=since, number=place)))


def _faults(world: World) -> Iterator[World]:
    faults: tuple[Fault, ...] = get_args(Fault)
    for number, run in enumerate(world.runs):
        for fault in faults:
            yield _with_run(world, number, replace(run, faults=(fault,)))


def _crashes(world: World) -> Iterator[World]:
    moments: tuple[Moment, ...] = get_args(Moment)
    for number, run in enumerate(world.runs):
        if run.crashes:
            for calls, moment in product(range(LAST_CRASH), moments):
                yield _with_run(world, number, replace(run, crashes=((calls, moment),)))


def _with_run(world: World, number: int, run: OurRun) -> World:
    return replace(world, runs=(*world.runs[:number], run, *world.runs[number + 1 :]))
