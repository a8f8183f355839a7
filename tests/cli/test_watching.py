"""Following a run in virtual time: when requests are sent, and what is shown."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from refresh_cli.errors import ApiError, ApiUnavailable
from refresh_cli.progress import Record, steps_of
from refresh_cli.watching import (
    GIVE_UP,
    HEARTBEAT,
    MAX_WAIT,
    MIN_INTERVAL,
    LineDisplay,
    LiveDisplay,
    StillRunning,
    Watcher,
)
from tests.cli.test_runs import DEFINITION, FAILED, JOB, MODEL, OPTIONS, RUN, SUCCEEDED, record

BEGIN = datetime(2026, 11, 28, 10, 0, 1, tzinfo=UTC).timestamp()
UNAVAILABLE = ApiUnavailable(0, "NoAnswer", "The API did not answer", "GET /runs")

Answer = Record | ApiError


class VirtualApi:
    """``answers``: of the run, one after the other, the last one repeated. Each takes as long as it waits."""

    def __init__(self, *answers: Answer, waits: bool = True) -> None:
        self.time = BEGIN
        self.answers = list(answers)
        self.waits = waits
        self.asked: list[int | None] = []
        self.slept: list[float] = []

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        assert path == f"/runs/{RUN}", "no other request than that for the run"
        wait = (query or {})["wait"]
        assert wait is None or isinstance(wait, int)
        self.asked.append(wait)
        self.time += (wait or 0) if self.waits else 0
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def clock(self) -> float:
        return self.time

    def follow(self, display: Any, timeout: float | None = None) -> Record:
        return Watcher(self, RUN, timeout, self.sleep, self.clock).follow(display)


class Silent:
    def __init__(self) -> None:
        self.errors: list[str] = []

    def update(self, record: Record) -> None:
        pass

    def show_error(self, text: str) -> None:
        self.errors.append(text)


def repeated(answer: Answer, times: int, end: Answer = SUCCEEDED) -> list[Answer]:
    return [*[answer] * times, end]


def test_requests_wait_longer_the_longer_a_run_takes() -> None:
    api = VirtualApi(*repeated(record(), 100))
    api.follow(Silent())
    waits = [wait or 0 for wait in api.asked]
    assert waits == sorted(waits)
    assert (waits[:2], waits[-1]) == ([0, 2], MAX_WAIT)
    assert sum(waits) / len(waits) > 5


def test_an_api_that_does_not_wait_is_not_flooded() -> None:
    api = VirtualApi(*repeated(record(), 20), waits=False)
    api.follow(Silent())
    assert api.time - BEGIN >= (len(api.asked) - 3) * MIN_INTERVAL


def test_requests_without_an_answer_are_sent_again_at_growing_intervals() -> None:
    api, display = VirtualApi(record(), *repeated(UNAVAILABLE, 8)), Silent()
    assert api.follow(display) == SUCCEEDED
    assert [each for each in api.slept if each] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert display.errors == [*["The API did not answer: GET /runs."] * 8, ""]


def test_watching_ends_if_the_api_does_not_come_back() -> None:
    api = VirtualApi(record(), UNAVAILABLE)
    with pytest.raises(ApiUnavailable):
        api.follow(Silent())
    assert GIVE_UP <= api.time - BEGIN < GIVE_UP + 60


def test_a_refused_request_ends_watching_at_once() -> None:
    api = VirtualApi(record(), ApiError(403, "Forbidden", "A permission is missing", "GET /runs"))
    with pytest.raises(ApiError, match="permission"):
        api.follow(Silent())
    assert len(api.asked) == 2


def test_a_timeout_is_kept_to_the_second() -> None:
    api = VirtualApi(record())
    with pytest.raises(StillRunning, match="within 1 min 40 s"):
        api.follow(Silent(), timeout=100)
    assert 100 <= api.time - BEGIN < 101


def lines(api: VirtualApi) -> list[str]:
    stream = io.StringIO()
    api.follow(LineDisplay(Console(file=stream, width=200), api.clock))
    return [line.partition("  ")[2] for line in stream.getvalue().splitlines()]


def test_a_log_gets_a_line_for_each_change_and_a_heartbeat() -> None:
    steps = {"job-0": {**STEP, "expected_seconds": 120}, "load-0": {"expected_seconds": 170}}
    running = record(expected_end="2026-11-28T10:05:00+00:00", expected_seconds_left=299, steps=steps)
    api = VirtualApi(*repeated(running, 80, {**SUCCEEDED, "steps": steps}))
    found = lines(api)
    assert found[0] == f"run {RUN} is RUNNING, expected to end at 10:05:00, 4 min 59 s left"
    assert found[1] == "job-0 data job ERP (DELTA) is running: 0 s of about 2 min 00 s (0%)"
    beats = [line for line in found[2:-1] if line.startswith("job-0") and "is running" in line]
    assert (api.time - BEGIN) / HEARTBEAT / 2 < len(beats) <= (api.time - BEGIN) / HEARTBEAT
    assert "59 s of about 2 min 00 s (49%)" in beats[0]
    assert beats[-1].endswith("(99%)"), "what has not ended is never complete"
    assert found[-1].startswith(f"run {RUN} SUCCEEDED")


STEP = {"job": JOB, "name": "ERP", "mode": "DELTA", "noted_at": "2026-11-28T10:00:02+00:00"}


def test_a_step_that_waits_says_for_what() -> None:
    waiting = {"job-0": {"job": JOB, "mode": "DELTA", "waiting_for": "run other"}}
    found = lines(VirtualApi(record(steps=waiting), record(steps=waiting), SUCCEEDED))
    assert found.count(f"job-0 data job {JOB} (DELTA) is waiting: run other") == 1


def test_a_failed_step_says_why() -> None:
    end = {
        "ended_at": "2026-11-28T10:02:02+00:00",
        "outcome": "FAILED",
        "error": "JobFailed",
        "message": "No table.",
    }
    found = lines(VirtualApi({**FAILED, "steps": {"job-0": {**STEP, **end}}}))
    assert found == [
        "job-0 data job ERP (DELTA) FAILED after 2 min 00 s: No table.",
        f"run {RUN} FAILED after 4 min 59 s",
    ]


def drawn(record: Record, seconds: float, width: int = 120) -> str:
    stream = io.StringIO()
    screen = Console(file=stream, width=width)
    display = LiveDisplay(screen, lambda: BEGIN + seconds)
    display.update(record)
    screen.print(display)
    return stream.getvalue()


def test_a_terminal_shows_all_steps_with_bars_and_the_time_left() -> None:
    steps = {"job-0": {**STEP, "expected_seconds": 100}}
    end: dict[str, Any] = {"expected_end": "2026-11-28T10:03:21+00:00", "expected_seconds_left": 180}
    running = record(expected_seconds=99, **end, steps=steps)
    text = drawn(running, 51)
    assert "RUNNING  51 s, expected to end at 10:03:21, 2 min 29 s left" in text
    late = drawn(running, 300)
    assert "expected to end at 10:03:21" in late
    assert "left" not in late
    assert "running  50 s / 1 min 40 s" in text
    assert "━" in text
    assert f"complete load of {MODEL}" in text
    assert "━" not in drawn(running, 51, width=80)


def test_a_picture_of_an_ended_run_leaves_its_reason_to_the_outcome() -> None:
    end = {"ended_at": "2026-11-28T10:02:02+00:00", "outcome": "FAILED", "message": str(FAILED["outcome"])}
    steps = {"job-0": {**STEP, **end}}
    assert "no table" in drawn(record(steps=steps), 130)
    assert "no table" not in drawn({**FAILED, "steps": steps}, 130)


def test_a_run_has_no_expected_end_while_it_waits_or_if_a_duration_is_not_known() -> None:
    waits = record(expected_seconds=200, expected_seconds_left=150, expected_end=None)
    assert "RUNNING  51 s, no expected end while it waits" in drawn(waits, 51)
    unknown = record(expected_seconds=200, expected_seconds_left=None, expected_end=None)
    assert drawn(unknown, 51).splitlines()[0].rstrip().endswith("RUNNING  51 s")
    end: dict[str, Any] = {"expected_end": "2026-11-28T10:03:21+00:00", "expected_seconds_left": 150}
    found = lines(VirtualApi(record(**end), waits, waits, unknown, SUCCEEDED))
    said = [line for line in found if line.startswith(f"run {RUN} is RUNNING")]
    assert said == [
        f"run {RUN} is RUNNING, expected to end at 10:03:21, 3 min 20 s left",
        f"run {RUN} is RUNNING, no expected end while it waits",
        f"run {RUN} is RUNNING",
    ]


def test_a_run_that_waits_is_drawn() -> None:
    waiting = {"run_id": RUN, "pipeline": "orders", "status": "WAITING", "options": OPTIONS}
    assert "is waiting until its pipeline is resumed" in drawn({**waiting, "waiting_for_run": None}, 1)


def test_an_error_is_drawn_until_it_is_over() -> None:
    stream = io.StringIO()
    screen = Console(file=stream, width=120)
    display = LiveDisplay(screen, lambda: BEGIN)
    display.show_error("The API did not answer.")
    screen.print(display)
    display.show_error("")
    screen.print(display)
    assert stream.getvalue().split("\n") == ["The API did not answer. Trying again …", ""]


def plan(**fields: Any) -> list[tuple[str, str]]:
    return [(each.step, each.state) for each in steps_of({**record(steps={}), **fields}, BEGIN)]


def test_the_steps_are_those_of_the_plan() -> None:
    assert plan() == [("job-0", "pending"), ("load-0", "pending")]
    assert plan(skip=[JOB]) == [("load-0", "pending")]
    assert plan(definition={**DEFINITION, "from_the_future": 1}) == []
    assert plan(definition={**DEFINITION, "name": "inline"}) == plan()
    assert plan(definition=None) == []
