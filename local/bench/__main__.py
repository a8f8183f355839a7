"""``make bench``: every figure of the service, a table for people, then one line of JSON.

``--only`` plays some parts: ``polling``, ``cold``, ``crowd``, ``costs``. Costs need the polling's and the
crowd's figures, and bring those along. The exit status says that it measured, not that goals are met.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from rich.console import Console

from local.bench import crowd, prices, show
from local.bench.goals import GOALS
from local.bench.lambdas import figures as lambdas
from local.bench.lambdas.artifacts import prepare
from local.bench.transitions import transitions_run
from local.standing import STATE

PARTS = ("polling", "cold", "crowd", "costs")
QUICK = 0.25
"""Of the waits of the state machine, where time itself is not measured."""
HOURS_OF_A_RUN = 2.0


class Bench:
    """Plays the parts one after the other, so that none disturbs another, and keeps their figures."""

    def __init__(self, console: Console, parts: set[str]) -> None:
        self._console = console
        self._parts = parts
        self.figures: dict[str, float] = {}

    def play(self) -> None:
        if self._parts & {"polling", "costs"}:
            self._polling()
        if "cold" in self._parts:
            self._cold()
        if self._parts & {"crowd", "costs"}:
            self._transitions_and_burst()
        if "crowd" in self._parts:
            self._together()
        if "costs" in self._parts:
            self._costs()

    def _polling(self) -> None:
        self._say("The schedule of looks, in virtual time")
        table, found = polling()
        self._console.print(table, highlight=False, markup=False)
        self.figures |= found

    def _cold(self) -> None:
        self._say("sam build, and cold starts of what it made")
        found = lambdas.measure(prepare(STATE / "bench"))
        self._console.print(show.lambdas(found))
        self.figures |= found.figures()

    def _transitions_and_burst(self) -> None:
        self._say("A run of ten looks, and a burst of 1,000")
        with crowd.crowded(QUICK) as service:
            self.figures["transitions_run"] = transitions_run(service)
            if "crowd" in self._parts:
                self.figures |= crowd.burst(service).figures()

    def _together(self) -> None:
        self._say("200 runs at once, 20 requests a second")
        with crowd.crowded(1.0) as service:
            found = crowd.together(service)
        self._console.print(show.together(found))
        self.figures |= found.figures()

    def _costs(self) -> None:
        """Jobs with history: as many looks at each as the figure of ordinary jobs says."""
        run = prices.run(self.figures["polls_known"], int(self.figures["transitions_run"]))
        idle = prices.idle_month()
        self.figures["usd_per_1000_runs"] = round(1000 * run.total, 2)
        self.figures["usd_per_month_idle"] = round(idle.total, 2)
        self._console.print(show.costs(run, idle, 1000 * prices.fargate_run(HOURS_OF_A_RUN)))

    def _say(self, what: str) -> None:
        self._console.print(f"{what} …", highlight=False)


def polling() -> tuple[str, dict[str, float]]:
    """The table and the figures of the schedule, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "local.bench.polling"], check=True, capture_output=True, text=True
    )
    table, _, last = done.stdout.rstrip().rpartition("\n")
    return table, json.loads(last)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.bench", description="Every figure of the service.")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be given more than once")
    parts = set(parser.parse_args().only or PARTS)
    console = Console(width=None if sys.stdout.isatty() else 120)
    bench = Bench(console, parts)
    bench.play()
    ordered = {name: bench.figures[name] for name in GOALS if name in bench.figures}
    console.print(show.goals(ordered))
    console.print(show.unmet(ordered), highlight=False)
    print(json.dumps(ordered), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
