"""How the demo shows a run: live where there is a terminal, a line per change where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

STYLES = {"SUCCEEDED": "green", "FAILED": "red", "running": "cyan", "waiting": "yellow"}


def seconds_between(begin: str, end: str) -> float:
    """Seconds between two ISO 8601 dates."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


@dataclass(frozen=True)
class StepLine:
    """One step as a person sees it. ``share``: how much of its last duration has passed, if that is known."""

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
    """How long each piece of work took last, so that a later run can show percents."""

    known: dict[str, float] = field(default_factory=dict)

    def learn(self, what: str, seconds: float) -> None:
        self.known[what] = seconds

    def share(self, what: str, seconds: float) -> float | None:
        known = self.known.get(what)
        return min(seconds / known, 0.99) if known else None


def step_lines(run: Mapping[str, Any], now: str, durations: Durations) -> Iterator[StepLine]:
    """The steps that the record tells of, in the order in which they began."""
    steps = sorted(run.get("steps", {}).items(), key=lambda pair: str(pair[1].get("noted_at", "~")))
    for step, state in steps:
        what = _what(state)
        begin, end = state.get("noted_at"), state.get("ended_at")
        if begin is None:
            yield StepLine(step, str(state.get("waiting_for", "")), "waiting", None, None)
            continue
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


class Show:
    """Shows one run while it lasts."""

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title
        self.live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
        self.said: set[str] = set()

    def __enter__(self) -> Show:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def update(self, run: Mapping[str, Any], lines: list[StepLine]) -> None:
        """Shows the run as it is now."""
        if self.live is not None:
            self.live.update(self._picture(run, lines))
            return
        for line in lines:
            key = f"{line.step} {line.state}"
            if key not in self.said:
                self.said.add(key)
                self.console.print(f"  {line.text()}", highlight=False)

    def _picture(self, run: Mapping[str, Any], lines: list[StepLine]) -> Group:
        table = Table(show_header=False, box=None, padding=(0, 1))
        for line in lines:
            bar: ProgressBar | Text = Text("")
            if line.share is not None:
                bar = ProgressBar(total=1.0, completed=line.share, width=24)
            took = f"{line.seconds:.1f} s" if line.seconds is not None else ""
            state = Text(line.state, style=STYLES.get(line.state, ""))
            table.add_row("", line.step, line.what, state, took, bar)
        return Group(Text(f"{self.title}  {run.get('run_id', '')}", style="bold"), table)


def table_of(runs: list[Mapping[str, Any]]) -> Table:
    """The runs of the demo, one a row."""
    heads = ("started by", "jobs", "loads", "seconds", "status")
    # In a narrow terminal the long id gives way, never the status.
    table = Table(Column("run", overflow="fold"), *(Column(head, no_wrap=True) for head in heads))
    for run in runs:
        steps = run["steps"].values()
        jobs = ", ".join(step["mode"] for step in steps if "job" in step)
        loads = ", ".join(step["kind"] for step in steps if "data_model" in step)
        took = seconds_between(run["created_at"], run["ended_at"])
        status = Text(run["status"], style=STYLES.get(run["status"], ""))
        table.add_row(run["run_id"], str(run["started_by"]), jobs, loads, f"{took:.1f}", status)
    return table
