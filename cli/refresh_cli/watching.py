"""Follows a run until it ends, and shows its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from refresh_cli.errors import ApiError, ApiUnavailable, CliError
from refresh_cli.output import STYLES
from refresh_cli.progress import (
    ENDED,
    NOT_STARTED,
    PENDING,
    RUNNING,
    Record,
    StepProgress,
    expected_end,
    seconds_of,
    steps_of,
)
from refresh_cli.times import now as current_time
from refresh_cli.times import took, zone

MIN_WAIT, MAX_WAIT = 2, 20
"""Seconds that a request waits for the end of the run; the API allows 25."""
MIN_INTERVAL = 0.5
"""Seconds between two requests, if the API answers at once."""
FIRST_DELAY, MAX_DELAY = 0.5, 30.0
"""Seconds until a request that got no answer is sent again: doubled each time."""
GIVE_UP = 900.0
"""Seconds without an answer after which watching ends."""
HEARTBEAT = 60.0
"""Seconds after which a log gets a line even if nothing has changed: some schedulers end a silent job."""
REFRESH_PER_SECOND = 4
BAR_WIDTH = 24
STEP_STYLES = {
    **STYLES,
    "running": "cyan",
    "waiting": "yellow",
    "stopping": "magenta",
    "CANCELLED": "magenta",
}


class Api(Protocol):
    """What watching needs of the API."""

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """Return the JSON of a GET. Raises ``ApiError``."""


class Display(Protocol):
    """Shows a run while it lasts."""

    def update(self, record: Record) -> None:
        """Show the run as it is now."""

    def show_error(self, text: str) -> None:
        """Show that the API does not answer; empty once it answers again."""


class Dropped(CliError):
    """A pending run was dropped, so it never begins."""

    def __init__(self, run_id: str) -> None:
        super().__init__("The run was dropped before it began", run_id, "Start a new run if it is needed.")


class StillRunning(CliError):
    """The run had not ended in the given time."""

    def __init__(self, run_id: str, seconds: float) -> None:
        super().__init__(f"The run has not ended within {took(seconds)}", run_id, "It continues.")


@dataclass
class Watcher:
    """Follows one run. ``timeout``: seconds after which it stops watching; None is never."""

    api: Api
    run_id: str
    timeout: float | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = current_time
    _was_seen: bool = False

    def follow(self, display: Display) -> Record:
        """Return the record once the run has ended.

        A request without an answer is sent again, for at most ``GIVE_UP`` seconds. Raises ``Dropped``,
        ``StillRunning``, ``ApiError``, errors of boto3.
        """
        begin, wait = self.clock(), 0
        while True:
            asked = self.clock()
            record = self._read(wait, display)
            self._was_seen = True
            display.update(record)
            if record["status"] in ENDED:
                return record
            passed = self.clock() - begin
            if self.timeout is not None and passed >= self.timeout:
                raise StillRunning(self.run_id, self.timeout)
            self.sleep(max(0.0, asked + MIN_INTERVAL - self.clock()) if wait else 0.0)
            wait = self._wait(passed)

    def _wait(self, passed: float) -> int:
        """Return how long the next request waits: longer, the longer the run has been watched."""
        wait = int(min(MAX_WAIT, max(MIN_WAIT, passed / 20)))
        left = MAX_WAIT if self.timeout is None else int(self.timeout - passed)
        return max(1, min(wait, left))

    def _read(self, wait: int, display: Display) -> Record:
        failing_since, delay = None, FIRST_DELAY
        while True:
            try:
                record: Record = self.api.get(f"/runs/{self.run_id}", {"wait": wait or None})
            except ApiUnavailable as error:
                failing_since = failing_since or self.clock()
                if self.clock() - failing_since >= GIVE_UP:
                    raise
                display.show_error(error.sentence)
                self.sleep(delay)
                delay = min(delay * 2, MAX_DELAY)
            except ApiError as error:
                if error.name == "RunNotFound" and self._was_seen:
                    raise Dropped(self.run_id) from error
                raise
            else:
                if failing_since is not None:
                    display.show_error("")
                return record


@dataclass
class LineDisplay:
    """A line for each change, for logs and pipes."""

    console: Console
    clock: Callable[[], float] = current_time
    _said: dict[str, str] = field(default_factory=dict)
    _last: float = 0.0

    def update(self, record: Record) -> None:
        now = self.clock()
        has_ended = record["status"] in ENDED
        steps = _with_reasons_once(record, steps_of(record, now))
        if not has_ended:  # the outcome of the run will say why a step has failed
            steps = [replace(step, note="") if step.state == "FAILED" else step for step in steps]
        is_due = now - self._last >= HEARTBEAT
        parts = [_run_line(record, now), *map(_step_line, steps)]
        for name, state, text in parts[1:] + parts[:1] if has_ended else parts:
            has_changed = self._said.get(name, "") != state
            if has_changed or (is_due and state == RUNNING):
                self._said[name] = state
                self._print(now, f"{name} {text}")

    def show_error(self, text: str) -> None:
        self._print(self.clock(), f"{text} Trying again." if text else "The API answers again.")

    def _print(self, now: float, text: str) -> None:
        clock = time.strftime("%H:%M:%S", time.localtime(now))
        clock += "" if self._last else f" {zone()}"  # once, in the first line
        self._last = now
        self.console.print(f"{clock}  {text}", markup=False, soft_wrap=True)


def _run_line(record: Record, now: float) -> tuple[str, str, str]:
    status = str(record["status"])
    if status == "WAITING":
        other = record.get("waiting_for_run")
        why = f"for run {other}" if other else "until its pipeline is resumed"
        return f"run {record['run_id']}", f"{status} {other}", f"is waiting {why}"
    if status in ENDED:
        passed = took(seconds_of(record, now))
        return f"run {record['run_id']}", status, f"{status} after {passed}" if passed else status
    end, waits = expected_end(record)
    expected = f", {_expected_text(end, now)}" if end or waits else ""
    return f"run {record['run_id']}", f"{status} {waits}", f"is {status}{expected}"


def _expected_text(end: float | None, now: float) -> str:
    """Return when a run is expected to end. ``end``: None while it waits."""
    if end is None:
        return "no expected end while it waits"
    clock = time.strftime("%H:%M:%S", time.localtime(end))
    return f"expected to end at {clock}" + (f", {took(end - now)} left" if end > now else "")


def _with_reasons_once(record: Record, steps: list[StepProgress]) -> list[StepProgress]:
    """Return the steps without the notes that are in the outcome of the run, which is printed after them."""
    outcome = str(record.get("outcome") or "")
    return [replace(step, note="") if step.note.rstrip(" .…") in outcome else step for step in steps]


def _step_line(step: StepProgress) -> tuple[str, str, str]:
    state = f"{step.state} {step.note}" if step.state in ("waiting", "FAILED") else step.state
    shown = f"{step.what} {step.text}" if step.what else step.text
    return step.step, "" if step.state in (PENDING, NOT_STARTED) else state, shown


class LiveDisplay:
    """A picture that is drawn again and again, for terminals."""

    def __init__(self, console: Console, clock: Callable[[], float] = current_time) -> None:
        self._console = console
        self._clock = clock
        self._record: Record | None = None
        self._error = ""
        self._live = Live(self, console=console, refresh_per_second=REFRESH_PER_SECOND)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, record: Record) -> None:
        self._record = record
        self._live.refresh()

    def show_error(self, text: str) -> None:
        self._error = text

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        if self._record is not None:
            yield picture(self._record, self._clock(), options.max_width)
        if self._error:
            yield Text(f"{self._error} Trying again …", style="yellow")


def picture(record: Record, now: float, width: int) -> RenderableType:
    """Return the run and its steps, with bars where the terminal is wide enough."""
    status = str(record["status"])
    title = Text.assemble(
        (str(record["run_id"]), "bold"),
        "  ",
        (status, STEP_STYLES.get(status, "")),
        f"  {_left(record, now)}",
    )
    parts = _rows(_with_reasons_once(record, steps_of(record, now)), width)
    if status == "WAITING":
        parts = iter([Text(_run_line(record, now)[2], style="yellow")])
    return Group(title, *parts)


def _left(record: Record, now: float) -> str:
    passed = seconds_of(record, now)
    if passed is None:
        return ""
    end, waits = expected_end(record)
    if record["status"] in ENDED or not (end or waits):
        return took(passed)
    return f"{took(passed)}, {_expected_text(end, now)}"


def _rows(steps: list[StepProgress], width: int) -> Iterator[RenderableType]:
    table = Table(show_header=False, box=None, padding=(0, 1))
    for step in steps:
        share = step.share
        bar = ProgressBar(total=1.0, completed=share, width=BAR_WIDTH) if share is not None else Text("")
        state = Text(step.state, style=STEP_STYLES.get(step.state, "dim"))
        expected = f" / {took(step.expected)}" if step.expected and step.state == RUNNING else ""
        shown = (
            (f"{took(step.seconds)}{expected}", bar) if width >= 90 else (f"{took(step.seconds)}{expected}",)
        )
        table.add_row(step.step, Text(step.what), state, *shown)
    if steps:
        yield table
    for step in steps:
        if step.note:
            yield Text(f"  {step.step}: {step.note}", style=STEP_STYLES.get(step.state, ""))
