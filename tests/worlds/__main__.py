"""Runs random worlds, counts the outcomes, and prints the simplest worlds with a violation.

Without ``--family`` or ``--outside``, it begins with all neighbours of the known sequences.

``python -m tests.worlds 100000 [--family inner] [--seed K] [--processes 2] [--outside] [--also cn]
[--show SEED]``
``100000``: of all families together; ``--show`` without one takes the first.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from math import ceil

from tests.fakes.processes import in_processes
from tests.worlds.cases import CASES
from tests.worlds.generator import FAMILIES, Family, random_world
from tests.worlds.harness import run_world
from tests.worlds.invariants import (
    FAILING,
    MEANINGS,
    FindingCounts,
    broken_assumptions,
    features,
    findings,
)
from tests.worlds.neighbours import neighbours
from tests.worlds.timeline import shrink, timeline
from tests.worlds.world import World

CHUNK = 500
SHOWN = 3
GROUPS = 20


@dataclass
class WorldCounts:
    """What was counted. ``seeds``: the first worlds of each kind of finding."""

    worlds: int = 0
    left: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    seeds: dict[str, list[int]] = field(default_factory=dict)

    def add(self, other: WorldCounts) -> None:
        self.worlds += other.worlds
        for name in ("left", "outcomes", "kinds", "groups"):
            getattr(self, name).update(getattr(other, name))
        for kind, seeds in other.seeds.items():
            self.seeds.setdefault(kind, []).extend(seeds)

    @property
    def failed(self) -> int:
        return sum(self.kinds[kind] for kind in FAILING)


def count_worlds(first: int, count: int, *, outside: bool = False, family: Family = "in-turn") -> WorldCounts:
    """Runs a family's worlds of ``count`` seeds. ``outside``: only those that leave assumptions count."""
    found = WorldCounts()
    for seed in range(first, first + count):
        world = random_world(seed, outside=outside, family=family)
        world_result = run_world(world)
        found.worlds += 1
        broken = broken_assumptions(world_result)
        found.left["".join(map(str, sorted(broken))) or "none"] += 1
        if bool(broken) != outside:
            continue
        found.outcomes.update(result.outcome for result in world_result.results)
        said = findings(world_result)
        for kind in dict.fromkeys(one.kind for one in said):
            found.kinds[kind] += 1
            found.seeds.setdefault(kind, []).append(seed)
        for one in said:
            if one.kind in ("c", "n"):
                outcome = one.outcome
                marks = features(world)
                found.groups.update(f"{outcome}: {mark}" for mark in marks)
    return found


def count_neighbours(name: str, first: int = 0, every: int = 1) -> FindingCounts:
    """Runs the neighbours of a known sequence; ``first`` and ``every`` choose some of them."""
    found = FindingCounts()
    for number, world in islice(enumerate(neighbours(CASES[name])), first, None, every):
        found.judge(number, run_world(world))
    return found


def _chunk(task: tuple[int, int, bool, Family]) -> WorldCounts:
    first, count, outside, family = task
    return count_worlds(first, count, outside=outside, family=family)


def main(arguments: list[str]) -> int:
    """The first argument is the number of worlds; the exit status is 1 if a run broke an invariant."""
    parser = argparse.ArgumentParser(prog="python -m tests.worlds", description=__doc__)
    parser.add_argument("worlds", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--outside", action="store_true", help="only worlds that leave assumptions; none fails"
    )
    parser.add_argument("--also", default="", help="kinds of findings to show as well, such as cn")
    parser.add_argument("--show", type=int, help="the timeline of the world of this seed, whole")
    parser.add_argument("--family", choices=FAMILIES, help="only worlds of this family")
    chosen = parser.parse_args(arguments)
    families: tuple[Family, ...] = (chosen.family,) if chosen.family else FAMILIES
    if chosen.show is not None:
        print(timeline(random_world(chosen.show, outside=chosen.outside, family=families[0])))
        return 0
    failed = 0 if chosen.family or chosen.outside else _run_neighbours(chosen.processes)
    each, whole = ceil(chosen.worlds / len(families)), WorldCounts()
    for family in families:
        whole.add(_run_family(family, chosen, each))
    if len(families) > 1:
        print(f"--- all families: {whole.worlds} worlds ---")
        print(", ".join(f"{kind} {whole.kinds[kind]}" for kind in MEANINGS))
    return 1 if failed or (whole.failed and not chosen.outside) else 0


def _run_neighbours(processes: int) -> int:
    """Run and report all neighbours of the known sequences; return how many break an invariant."""
    whole, failed = FindingCounts(), list[World]()
    for name, found in zip(CASES, in_processes(count_neighbours, list(CASES), processes), strict=True):
        whole.add(found)
        here = list(neighbours(CASES[name]))
        failed += [here[number] for number in found.failed]
    print("--- neighbours of known sequences ---")
    print(f"{whole.worlds} worlds, {whole.within} within the assumptions, {len(failed)} with a violation")
    for world in failed[:SHOWN]:
        print(f"\n{timeline(world)}")
    return len(failed)


def _run_family(family: Family, chosen: argparse.Namespace, worlds: int) -> WorldCounts:
    """Runs and reports this many worlds of one family."""
    started = time.monotonic()
    end = chosen.seed + worlds
    tasks = [(at, min(CHUNK, end - at), chosen.outside, family) for at in range(chosen.seed, end, CHUNK)]
    total = WorldCounts()
    for found in in_processes(_chunk, tasks, chosen.processes):
        total.add(found)
    print(f"--- {family} ---")
    _report(total, time.monotonic() - started, chosen.processes)
    if not chosen.outside:
        _show(total, family, (*FAILING, *chosen.also))
    return total


def _report(total: WorldCounts, seconds: float, processes: int) -> None:
    rate = total.worlds / seconds / processes
    print(f"{total.worlds} worlds in {seconds:.1f} s: {rate:.0f} a second and core")
    print("assumptions left: " + ", ".join(f"{name} {count}" for name, count in total.left.most_common()))
    print("outcomes: " + ", ".join(f"{name} {count}" for name, count in total.outcomes.most_common()))
    for kind, meaning in MEANINGS.items():
        print(f"{kind:3}{total.kinds[kind]:8}  {meaning}")
    print("c and n by feature of the world:")
    for group, count in total.groups.most_common(GROUPS):
        print(f"   {count:8}  {group}")


def _show(total: WorldCounts, family: Family, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        for seed in total.seeds.get(kind, [])[:SHOWN]:
            print(f"\n=== {kind}: {MEANINGS[kind]} (seed {seed}), shrunk ===")
            print(timeline(shrink(random_world(seed, family=family), kind)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
