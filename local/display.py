"""Shows a run of the demo: live in a terminal, otherwise one line per change.

A table that does not fit into the width of the terminal is replaced by lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

WIDEST = 500
"""A width in columns that is sufficient for everything shown here."""
STYLES = {"SUCCEEDED": "green", "FAILED": "red", "running": "cyan", "waiting": "yellow"}


def seconds_between(begin: str, end: str) -> float:
    """Return the seconds between two ISO 8601 dates."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


@dataclass(frozen=True)
class StepLine:
    """One step on the display. ``share``: the elapsed share of its last duration, if known."""

    step: str
    what: str
    state: str
    seconds: float | None
    share: float | None

    def text(self) -> str:
        took = f" {self.seconds:.1f} s" if self.seconds is not None else ""
        share = f" {self.share:.0%}" if self.share is not None and self.state == "running" else ""
        return f"{self.step}  {self.what}  {self.state}{took}{share}"


@dataclass
class Durations:
    """The last duration of each job and load, so that a later run can show percentages."""

    last_seconds: dict[str, float] = field(default_factory=dict)

    def learn(self, what: str, seconds: float) -> None:
        self.last_seconds[what] = seconds

    def share(self, what: str, seconds: float) -> float | None:
        duration = self.last_seconds.get(what)
        return min(seconds / duration, 0.99) if duration else None


def step_lines(run: Mapping[str, Any], now: str, durations: Durations) -> Iterator[StepLine]:
    """Return the steps in the record, in the order of their start."""
    steps = sorted(run.get("steps", {}).items(), key=lambda pair: str(pair[1].get("noted_at", "~")))
    for step, state in steps:
        begin, end = state.get("noted_at"), state.get("ended_at")
        if begin is None:
            why = state.get("last_error") or state.get("waiting_for", "")
            yield StepLine(step, str(why), "waiting", None, None)
            continue
        what = _what(state)
        seconds = max(0.0, seconds_between(begin, end or now))
        if end:
            durations.learn(what, seconds)
            yield StepLine(step, what, str(state["outcome"]), seconds, 1.0)
        else:
            yield StepLine(step, what, "running", seconds, durations.share(what, seconds))


def _what(state: Mapping[str, Any]) -> str:
    if "job" in state:
        return f"data job {state['mode']} {state['job'][:8]}"
    tables = f" ({', '.join(state['tables'])})" if state.get("tables") else ""
    return f"{state['kind']} load {state.get('data_model', '')[:8]}{tables}"


class RunDisplay:
    """Shows one run until it ends."""

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title
        self.live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
        self.said: set[str] = set()

    def __enter__(self) -> RunDisplay:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def update(self, run: Mapping[str, Any], lines: list[StepLine]) -> None:
        """Show the current state of the run."""
        if self.live is not None:
            self.live.update(self._picture(run, lines))
            return
        for line in lines:
            key = f"{line.step} {line.state}"
            if key not in self.said:
                self.said.add(key)
                self.console.print(f"  {line.text()}", highlight=False)

    def _picture(self, run: Mapping[str, Any], lines: list[StepLine]) -> Group:
        title = Text(f"{self.title}  {run.get('run_id', '')}", style="bold")
        steps = _step_table(lines)
        if _fits(steps, self.console):
            return Group(title, steps)
        return Group(title, *(Text(line.text(), style=STYLES.get(line.state, "")) for line in lines))


def _step_table(lines: list[StepLine]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 1))
    for line in lines:
        bar: ProgressBar | Text = Text("")
        if line.share is not None:
            bar = ProgressBar(total=1.0, completed=line.share, width=24)
        took = f"{line.seconds:.1f} s" if line.seconds is not None else ""
        state = Text(line.state, style=STYLES.get(line.state, ""))
        table.add_row("", line.step, line.what, state, took, bar)
    return table


def _fits(table: Table, console: Console) -> bool:
    """Return whether no column of the table has to be narrower than its content."""
    unlimited = console.options.update(max_width=WIDEST)
    return console.measure(table, options=unlimited).maximum <= console.width


def end_line(run: Mapping[str, Any]) -> str:
    """Return the outcome of a run; that of a success begins with that word."""
    return str(run["outcome"]) if run["status"] == "SUCCEEDED" else f"{run['status']}: {run['outcome']}"


def summary_of(runs: list[Mapping[str, Any]], console: Console) -> RenderableType:
    """Return the runs of the demo as a table, or as two lines each where the terminal is narrow."""
    rows = [_summary(run) for run in runs]
    heads = ("run", "started by", "jobs", "loads", "seconds", "status")
    table = Table(*(Column(head, no_wrap=True) for head in heads))
    for row in rows:
        table.add_row(*row[:-1], Text(row[-1], style=STYLES.get(row[-1], "")))
    if _fits(table, console):
        return table
    return Text("\n".join(_narrow(row) for row in rows))


def _narrow(row: tuple[str, ...]) -> str:
    run, started_by, jobs, loads, seconds, status = row
    return f"{run}\n  {status} in {seconds} s ({started_by}): {jobs}, {loads}"


def _summary(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells of a run: id, what started it, modes, kinds of loads, seconds, status."""
    steps = run["steps"].values()
    jobs = ", ".join(step["mode"] for step in steps if "job" in step)
    loads = ", ".join(step["kind"] for step in steps if "data_model" in step)
    took = seconds_between(run["created_at"], run["ended_at"])
    return run["run_id"], str(run["started_by"]), jobs, loads, f"{took:.1f}", run["status"]
