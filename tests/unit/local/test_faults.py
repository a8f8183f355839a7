"""The tools of ``make faults``: which cases run, how many at once, and what is reported."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

from local.faults.case import ExpectedOutcome
from local.faults.catalogue import all_cases
from local.faults.concurrency import FEW, LATE_SECONDS, TICK_SECONDS, CaseConcurrency
from local.faults.invariants import _expectation, _whole_record
from local.faults.leaks import leaked_places, unseen
from local.faults.report import CaseResult, Columns
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import join


@dataclass
class LateClock:
    """Every sleep ends ``late`` seconds late."""

    late: float
    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self.late


def test_every_case_has_a_name_of_its_own_and_somewhere_to_happen() -> None:
    cases = all_cases()
    assert len({case.name for case in cases}) == len(cases) >= 80
    assert all(case.job is not None or case.model is not None for case in cases)


def test_a_machine_that_does_not_keep_up_begins_no_further_case() -> None:
    clock = LateClock(late=LATE_SECONDS * 2)
    pace = CaseConcurrency(clock, clock.sleep)
    for _ in range(50):
        pace.tick()
    assert clock.now > 50 * TICK_SECONDS
    over, begun = threading.Event(), threading.Semaphore(0)

    def run_case() -> None:
        with pace.case():
            begun.release()
            over.wait(10)

    threads = [threading.Thread(target=run_case, daemon=True) for _ in range(FEW + 2)]
    for thread in threads:
        thread.start()
    assert all(begun.acquire(timeout=10) for _ in range(FEW))
    assert not begun.acquire(timeout=0.2), "more began than the machine keeps up with"
    clock.late = 0.0
    for _ in range(50):
        pace.tick()
    assert all(begun.acquire(timeout=10) for _ in range(2))
    assert pace.peak == FEW + 2
    over.set()
    for thread in threads:
        thread.join(10)


def test_what_was_really_started_and_how_runs_ended_must_be_as_expected() -> None:
    wanted = ExpectedOutcome(("FAILED JobFailed",), 1, 0)
    assert list(_expectation(wanted, wanted)) == []
    for other in (
        ExpectedOutcome(("SUCCEEDED",), 1, 0),
        ExpectedOutcome(wanted.runs, 2, 0),
        ExpectedOutcome(wanted.runs, 1, 1),
    ):
        assert list(_expectation(wanted, other)) == ["expected FAILED JobFailed; 1 execution, 0 loads"]


def test_a_record_that_does_not_show_what_was_started_is_a_violation() -> None:
    run = {
        "run_id": "r",
        "options": {"reasons": [{"by": "execution", "at": "now"}]},
        "outcome": "Succeeded.",
        "steps": {"job-0": {"sent_by": 1.0, "job": "j", "mode": "DELTA", "baseline": {}, "noted_at": "now"}},
    }
    assert list(_whole_record(run)) == ["job-0 of r lacks began"]
    assert "does not say who" in next(_whole_record({**run, "options": {"reasons": []}}))


def test_a_secret_is_found_anywhere_and_an_unread_place_is_reported() -> None:
    texts = {"log lines": ["requestId", "the key is key-1"], "history events": ["run_id"], "table items": []}
    assert leaked_places(texts, ["key-1", "token-2"]) == ["a secret (key) stands in the log lines"]
    assert unseen(texts) == ["table items"]


def test_a_line_shows_the_fault_the_expected_and_the_got() -> None:
    columns = Columns.of(["short", "a longer name"], ["ok", "expected"])
    line = columns.line(CaseResult("short", "ok", "not ok", 1.25, ("why",)))
    assert line == "FAILED short         · ok       · not ok (1.2 s)\n       - why"


class SlowScenario:
    """The record of the first run exists only after some polls."""

    def __init__(self, polls: int) -> None:
        self.polls, self.done = polls, list[str]()

    def runs(self) -> list[str]:
        self.polls -= 1
        return ["run"] if self.polls <= 0 else []

    def start(self) -> str:
        self.done.append("start" if self.polls <= 0 else "start before the first run")
        return "second"

    def execution(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(status="SUCCEEDED")

    def until(self, condition: Callable[[], object], what: str) -> None:
        while not condition():
            pass
        self.done.append(what)


def test_a_trigger_that_joins_is_sent_once_the_first_execution_has_its_run() -> None:
    scenario = SlowScenario(polls=3)
    join(cast("CaseScenario", scenario))
    assert scenario.done == ["the run's record", "start", "the second trigger joined"]
