"""The tools of ``make faults``: which cases run, how many at once, and what is reported."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from local.faults.case import ExpectedOutcome
from local.faults.catalogue import all_cases
from local.faults.concurrency import FEW, LATE_SECONDS, TICK_SECONDS, CaseConcurrency
from local.faults.invariants import _expectation, _whole_record
from local.faults.leaks import found, unseen
from local.faults.report import CaseResult, Columns


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


def test_a_record_that_does_not_tell_what_was_started_is_complained_of() -> None:
    run = {
        "run_id": "r",
        "options": {"reasons": [{"by": "execution", "at": "now"}]},
        "outcome": "Succeeded.",
        "steps": {"job-0": {"sent_by": 1.0, "job": "j", "mode": "DELTA", "baseline": {}, "noted_at": "now"}},
    }
    assert list(_whole_record(run)) == ["job-0 of r lacks began"]
    assert "does not tell who" in next(_whole_record({**run, "options": {"reasons": []}}))


def test_a_secret_is_found_wherever_it_stands_and_a_place_that_was_not_read_is_told() -> None:
    texts = {"log lines": ["requestId", "the key is key-1"], "history events": ["run_id"], "table items": []}
    assert found(texts, ["key-1", "token-2"]) == ["a secret (key) stands in the log lines"]
    assert unseen(texts) == ["table items"]


def test_a_line_tells_the_fault_the_expected_and_the_got() -> None:
    columns = Columns.of(["short", "a longer name"], ["ok", "expected"])
    line = columns.line(CaseResult("short", "ok", "not ok", 1.25, ("why",)))
    assert line == "FAILED short         · ok       · not ok (1.2 s)\n       - why"
