"""Runs all small worlds of the grid, counts the outcomes, and prints the first with a violation.

``python -m tests.worlds.enumeration [--processes 2] [--part NAME] [--every K] [--show NUMBER]``
``--every K`` runs each K-th world; a prime K meets every value of every aspect.
"""

from __future__ import annotations

import argparse
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from tests.fakes.processes import in_processes
from tests.worlds.grid import PARTS, GridPart
from tests.worlds.harness import real_service, run_world
from tests.worlds.invariants import FAILING, MEANINGS, FindingCounts
from tests.worlds.run_driver import MakeService
from tests.worlds.timeline import timeline
from tests.worlds.world import World

ENDS = tuple(accumulate(part.size for part in PARTS))
"""The number of the first world after each part."""
TOTAL = ENDS[-1]


def span(name: str | None = None) -> range:
    """The numbers of the worlds of a part, or of all."""
    if name is None:
        return range(TOTAL)
    place = [part.name for part in PARTS].index(name)
    return range(ENDS[place] - PARTS[place].size, ENDS[place])


def part_of(number: int) -> GridPart:
    return PARTS[bisect_right(ENDS, number)]


def world(number: int) -> World:
    """The world of this number, from 0 to TOTAL."""
    part = part_of(number)
    return part.world(number - span(part.name).start)


# Running the worlds


def counts(numbers: Sequence[int], make: MakeService = real_service) -> dict[str, FindingCounts]:
    """Runs these worlds; returns the counts by the name of the part."""
    found: dict[str, FindingCounts] = {}
    for number in numbers:
        part = found.setdefault(part_of(number).name, FindingCounts())
        part.judge(number, run_world(world(number), None, make))
    return found


CHUNK, LISTED = 500, 40


def main(arguments: list[str], write: Callable[[str], object] = print) -> int:
    """Return the exit status: 1 if a run broke an invariant."""
    parser = argparse.ArgumentParser(prog="python -m tests.worlds.enumeration", description=__doc__)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--part", choices=[part.name for part in PARTS])
    parser.add_argument("--every", type=int, default=1, metavar="K", help="play each K-th world only")
    parser.add_argument("--show", type=int, metavar="NUMBER", help="the timeline of the world of this number")
    chosen = parser.parse_args(arguments)
    if chosen.show is not None:
        write(timeline(world(chosen.show)))
        return 0
    started = time.monotonic()
    numbers = span(chosen.part)[:: chosen.every]
    chunks = [numbers[at : at + CHUNK] for at in range(0, len(numbers), CHUNK)]
    total = _report(in_processes(counts, chunks, chosen.processes), write)
    write(f"in {time.monotonic() - started:.0f} s")
    return _show(total, write)


def _report(found: Iterable[dict[str, FindingCounts]], write: Callable[[str], object]) -> FindingCounts:
    """Writes a line for each part as soon as its last world has run, and one for all."""
    total, totals = FindingCounts(), dict[str, FindingCounts]()
    write(f"{'':24}{'worlds':>8}{'within':>8}" + "".join(f"{kind:>7}" for kind in MEANINGS))
    for chunk in found:
        for name, one in chunk.items():
            if name not in totals and totals:
                write(_line(*totals.popitem()))
            totals.setdefault(name, FindingCounts()).add(one)
            total.add(one)
    write(_line(*totals.popitem()))
    write(_line("all", total))
    for kind, meaning in MEANINGS.items():
        write(f"{kind:3} {meaning}")
    return total


def _line(name: str, found: FindingCounts) -> str:
    kinds = "".join(f"{found.count(kind):7}" for kind in MEANINGS)
    return f"{name:24}{found.worlds:8}{found.within:8}{kinds}"


def _show(total: FindingCounts, write: Callable[[str], object]) -> int:
    """Writes the first violation of each kind; 1 if there is one."""
    status = 0
    for kind in FAILING:
        numbers = total.numbers.get(kind)
        if numbers:
            status, first = 1, numbers[0]
            write(f"\n{kind} in the worlds {', '.join(map(str, numbers[:LISTED]))}")
            write(f"=== {kind}: {MEANINGS[kind]} (world {first}, part {part_of(first).name}) ===")
            write(timeline(world(first)))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
