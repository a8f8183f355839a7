"""How the demo shows runs, in terminals of any width."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from local.display import Durations, RunDisplay, StepLine, end_line, step_lines, summary_of

RUN_ID = "order-to-cash-20261128T113115Z-fa584036"


def run(**facts: Any) -> dict[str, Any]:
    steps = {
        "job-0": {"job": "0b8a1f2e-7c4d", "mode": "DELTA", "noted_at": "2026-11-28T11:31:16+00:00"},
        "load-0": {"data_model": "a1b2c3d4-0001", "kind": "partial", "noted_at": "2026-11-28T11:31:22+00:00"},
    }
    return {
        "run_id": RUN_ID,
        "started_by": "webhook",
        "status": "SUCCEEDED",
        "outcome": "Succeeded: executed DELTA 0b8a1f2e-7c4d.",
        "created_at": "2026-11-28T11:31:15+00:00",
        "ended_at": "2026-11-28T11:31:27+00:00",
        "steps": steps,
        **facts,
    }


def printed(shown: Any, width: int) -> list[str]:
    out = StringIO()
    console = Console(file=out, width=width, color_system=None)
    console.print(shown(console))
    return out.getvalue().splitlines()


def test_a_wide_terminal_shows_the_runs_as_a_table() -> None:
    lines = printed(lambda console: summary_of([run()], console), 120)
    (row,) = [line for line in lines if RUN_ID in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        RUN_ID,
        "webhook",
        "DELTA",
        "partial",
        "12.0",
        "SUCCEEDED",
    ]


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_shows_two_lines_a_run(width: int) -> None:
    assert printed(lambda console: summary_of([run()], console), width) == [
        RUN_ID,
        "  SUCCEEDED in 12.0 s (webhook): DELTA, partial",
    ]


LINES = [
    StepLine("job-0", "data job DELTA 0b8a1f2e", "SUCCEEDED", 5.8, 1.0),
    StepLine("load-0", "partial load a1b2c3d4 (Sales order items, VBAK)", "running", 2.1, 0.4),
]


def live(width: int) -> list[str]:
    return printed(lambda console: RunDisplay(console, "webhook")._picture(run(), LINES), width)


def test_a_wide_terminal_shows_the_steps_with_bars() -> None:
    assert live(120)[1].split() == [
        "job-0",
        "data",
        "job",
        "DELTA",
        "0b8a1f2e",
        "SUCCEEDED",
        "5.8",
        "s",
        "━" * 24,
    ]


def test_a_narrow_terminal_shows_the_steps_as_lines() -> None:
    assert live(60) == [
        f"webhook  {RUN_ID}",
        "job-0  data job DELTA 0b8a1f2e  SUCCEEDED 5.8 s",
        "load-0  partial load a1b2c3d4 (Sales order items, VBAK)  ",
        "running 2.1 s 40%",
    ]


def test_the_end_of_a_run_says_success_once() -> None:
    assert end_line(run()) == "Succeeded: executed DELTA 0b8a1f2e-7c4d."
    failed = run(status="FAILED", outcome="Data job 0b8a1f2e-7c4d failed in Celonis.")
    assert end_line(failed) == "FAILED: Data job 0b8a1f2e-7c4d failed in Celonis."


def lines_of(state: dict[str, Any]) -> list[StepLine]:
    return list(step_lines(run(steps={"job-0": state}), "2026-11-28T11:31:27+00:00", Durations()))


def test_a_step_that_was_cancelled_is_shown_as_ended() -> None:
    begun = run()["steps"]["job-0"]
    state = {**begun, "status": "CANCEL", "outcome": "CANCELLED", "ended_at": "2026-11-28T11:31:20+00:00"}
    (line,) = lines_of(state)
    assert (line.state, line.seconds) == ("CANCELLED", 4.0)


@pytest.mark.parametrize("name", ["waiting_for", "last_error"])
def test_a_step_that_has_not_started_shows_the_reason(name: str) -> None:
    (line,) = lines_of({name: "No usable answer from Celonis"})
    assert (line.what, line.state) == ("No usable answer from Celonis", "waiting")
