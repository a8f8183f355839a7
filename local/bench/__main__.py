"""``make bench``: measures every figure of the service; prints a table, then one line of JSON.

Timed parts are measured while nothing else runs here; the polling simulation uses virtual time and runs while
the functions are built.

``--only`` selects parts: ``polling``, ``cold``, ``claims``, ``crowd``, ``costs``. ``costs`` needs the figures
of polling and crowd and selects them too. The exit status is 0 if everything was measured, even if a goal is
not met.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from rich.console import Console

from local.bench import crowd, prices, tables
from local.bench.goals import GOALS
from local.bench.lambdas import figures as lambdas
from local.bench.lambdas.artifacts import Artifacts, prepare
from local.bench.transitions import transitions_run
from local.build import BuildError, python313_folder
from local.serve import STATE

PARTS = ("polling", "cold", "claims", "crowd", "costs")
QUICK = 0.25
"""Factor of the waits of the state machine, where time is not measured."""
HOURS_OF_A_RUN = 2.0


class Benchmarks:
    """Runs the selected parts and collects their figures."""

    def __init__(self, console: Console, parts: set[str]) -> None:
        self._console = console
        self._parts = parts
        self.figures: dict[str, float] = {}

    def run(self) -> None:
        if "cold" in self._parts:
            python313_folder()  # raises before anything is measured if there is none
        counting = polling() if self._parts & {"polling", "costs"} else None
        artifacts = self._built() if "cold" in self._parts else None
        if counting is not None:
            self._polling(counting)
        if artifacts is not None:
            self._cold(artifacts)
        if "claims" in self._parts:
            self._claims()
        if self._parts & {"crowd", "costs"}:
            self._transitions_and_burst()
        if "crowd" in self._parts:
            self._concurrent_pipelines()
        if "costs" in self._parts:
            self._costs()

    def _built(self) -> Artifacts:
        self._say("sam build")
        return prepare(STATE / "bench")

    def _polling(self, counting: subprocess.Popen[str]) -> None:
        self._say("The poll schedule, in virtual time")
        output, _ = counting.communicate()
        if counting.returncode:
            raise subprocess.CalledProcessError(counting.returncode, counting.args)
        table, _, last = output.rstrip().rpartition("\n")
        self._console.print(table, highlight=False, markup=False)
        self.figures |= json.loads(last)

    def _cold(self, artifacts: Artifacts) -> None:
        self._say("Cold starts of what was built")
        measured = lambdas.measure(artifacts)
        self._console.print(tables.lambdas(measured))
        self.figures |= measured.figures()

    def _claims(self) -> None:
        """Run in a separate process, because the simulation belongs to the tests."""
        self._say("One pipeline that receives 100 deliveries a second, in virtual time")
        command = [sys.executable, "-m", "tests.fakes.hot_pipeline"]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        self.figures |= json.loads(printed)

    def _transitions_and_burst(self) -> None:
        self._say("A run of ten polls, and a burst of 1,000")
        with crowd.crowd_service(QUICK) as service:
            self.figures["transitions_run"] = transitions_run(service)
            if "crowd" in self._parts:
                self.figures |= crowd.burst(service).figures()

    def _concurrent_pipelines(self) -> None:
        self._say("200 runs at once, 20 requests a second")
        with crowd.crowd_service(1.0) as service:
            measured = crowd.concurrent_pipelines(service)
        self._console.print(tables.concurrent_pipelines(measured))
        self.figures |= measured.figures()

    def _costs(self) -> None:
        """Use the number of polls of ordinary jobs with a history."""
        run = prices.run(self.figures["polls_known"], int(self.figures["transitions_run"]))
        idle = prices.idle_month()
        self.figures["usd_per_1000_runs"] = round(1000 * run.total, 2)
        self.figures["usd_per_month_idle"] = round(idle.total, 2)
        self._console.print(tables.costs(run, idle, 1000 * prices.fargate_run(HOURS_OF_A_RUN)))

    def _say(self, what: str) -> None:
        self._console.print(f"{what} …", highlight=False)


def polling() -> subprocess.Popen[str]:
    """Return the table and the figures of the schedule, from a separate process."""
    return subprocess.Popen([sys.executable, "-m", "local.bench.polling"], stdout=subprocess.PIPE, text=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.bench", description="Every figure of the service.")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be given more than once")
    parts = set(parser.parse_args().only or PARTS)
    console = Console(width=None if sys.stdout.isatty() else 120)
    bench = Benchmarks(console, parts)
    try:
        bench.run()
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    ordered = {name: bench.figures[name] for name in GOALS if name in bench.figures}
    console.print(tables.goals(ordered))
    console.print(tables.unmet(ordered), highlight=False)
    print(json.dumps(ordered), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
