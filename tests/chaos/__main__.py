"""Runs random scenarios and prints the timelines of those in which an invariant was violated.

``python -m tests.chaos 1000 [--seed K] [--processes 2] [--show SEED]``
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.invariants import findings
from tests.chaos.scenario import random_scenario
from tests.chaos.simulation import run_scenario
from tests.chaos.timeline import timeline
from tests.fakes.processes import in_processes
from tests.fakes.quiet import quiet

CHUNK = 20
SHOWN = 3


@dataclass
class ScenarioCounts:
    """What was counted. ``broken``: the violated invariants, by seed."""

    scenarios: int = 0
    hours: float = 0.0
    calls: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    invariants: Counter[str] = field(default_factory=Counter)
    broken: dict[int, list[str]] = field(default_factory=dict)

    def add(self, other: ScenarioCounts) -> None:
        self.scenarios += other.scenarios
        self.hours += other.hours
        self.calls += other.calls
        self.runs.update(other.runs)
        self.invariants.update(other.invariants)
        self.broken.update(other.broken)


def count_scenarios(first: int, count: int) -> ScenarioCounts:
    """Runs the scenarios of ``count`` seeds."""
    found = ScenarioCounts()
    for seed in range(first, first + count):
        with quiet():
            result = run_scenario(random_scenario(seed))
        table = result.simulation.service.dynamodb
        found.scenarios += 1
        found.hours += result.ended_at / 3600
        found.calls += len(table.calls) + len(result.simulation.service.chaos.sent)
        found.runs.update(str(item["status"]) for item in table.documents("run#"))
        broken = findings(result)
        found.invariants.update({text.split(":")[0] for text in broken})
        if broken:
            found.broken[seed] = broken
    return found


def _chunk(task: tuple[int, int]) -> ScenarioCounts:
    return count_scenarios(*task)


def main(arguments: list[str]) -> int:
    """The number of scenarios comes first; the exit status is 1 if an invariant was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scenarios", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--show", type=int, help="the timeline of the scenario of this seed")
    chosen = parser.parse_args(arguments)
    if chosen.show is not None:
        print(timeline(run_scenario(random_scenario(chosen.show))))
        return 0
    started, end = time.monotonic(), chosen.seed + chosen.scenarios
    tasks = [(at, min(CHUNK, end - at)) for at in range(chosen.seed, end, CHUNK)]
    total = ScenarioCounts()
    for found in in_processes(_chunk, tasks, chosen.processes):
        total.add(found)
    _report(total, time.monotonic() - started)
    return 1 if total.broken else 0


def _report(total: ScenarioCounts, seconds: float) -> None:
    print(
        f"{total.scenarios} scenarios, {total.hours / 24:.0f} days of virtual time and {total.calls} calls"
        f" in {seconds:.1f} s"
    )
    print("runs: " + ", ".join(f"{name} {count}" for name, count in total.runs.most_common()))
    print(
        "laws broken: " + (", ".join(f"{name} {count}" for name, count in total.invariants.items()) or "none")
    )
    for seed, broken in sorted(total.broken.items()):
        print(f"seed {seed}: " + "; ".join(broken))
    for seed in sorted(total.broken)[:SHOWN]:
        print(f"\n=== seed {seed} ===\n{timeline(run_scenario(random_scenario(seed)))}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
