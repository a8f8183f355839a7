"""Work that no delivery and no event resumes: reconcile finishes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from local.aws.runtime.fault_injector import CrashFault
from local.faults.case import ExpectedOutcome, FaultCase, job_case, load_case
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import join, shorten, stop_while_running

ROUND_SECONDS = 4.0
MAX_WAIT = 180.0
STOPPED = ExpectedOutcome(("ABORTED Aborted",), 0, 1)


def cases() -> Iterator[FaultCase]:
    for number, case in enumerate(
        (_never_sent_again(), _end_event_lost(), _next_end_event_lost(), _claimed_late(), _left())
    ):
        yield case.but(quiet=True, max_wait=MAX_WAIT + number)


def _rounds(scenario: CaseScenario, done: Callable[[], bool], what: str) -> None:
    """Run reconcile until the condition holds. It ignores items younger than 20 s."""

    def round_over() -> bool:
        if done():
            return True
        scenario.environment.reconcile()
        return False

    scenario.until(round_over, what, MAX_WAIT, pause=ROUND_SECONDS)


def _statuses(scenario: CaseScenario) -> list[str]:
    return [str(run["status"]) for run in scenario.runs()]


def _never_sent_again() -> FaultCase:
    def start(scenario: CaseScenario) -> None:
        scenario.listen()
        scenario.arm("Trigger", CrashFault("after", 1, "TransactWriteItems"))
        scenario.deliver_once()
        _rounds(
            scenario, lambda: "OPENING" not in (_statuses(scenario) or ["OPENING"]), "the start of the run"
        )

    return job_case("reconciled: trigger dies after the claim, and the delivery is not repeated", start=start)


def _end_event_lost() -> FaultCase:
    def before(scenario: CaseScenario) -> None:
        for _ in range(3):
            scenario.arm("CloseRun", CrashFault("before", 1, "DescribeExecution"))

    def during(scenario: CaseScenario) -> None:
        scenario.until(lambda: _statuses(scenario) == ["RUNNING"], "the run")
        _rounds(scenario, lambda: _statuses(scenario) == ["SUCCEEDED"], "the end of the run")

    return job_case("reconciled: close_run dies three times", before=before, during=during)


def _next_end_event_lost() -> FaultCase:
    def during(scenario: CaseScenario) -> None:
        for _ in range(3):
            scenario.arm(
                "CloseRun", CrashFault("before", 1, "StartExecution", event=f'"name": ?"{scenario.marker}-1"')
            )
        join(scenario)
        stop_while_running(scenario)
        _rounds(scenario, lambda: _statuses(scenario) == ["ABORTED", "SUCCEEDED"], "the end of what waited")

    return job_case(
        "reconciled: close_run dies three times before it starts the queued run",
        ExpectedOutcome(("ABORTED Aborted", "SUCCEEDED"), 2, 0),
        job={"seconds": 60},
        during=during,
    )


def _claimed_late() -> FaultCase:
    """A function continues when its execution is stopped, as in AWS."""

    def during(scenario: CaseScenario) -> None:
        scenario.until_in("OpenRun")
        scenario.stop()
        _rounds(scenario, lambda: _statuses(scenario) == ["ABORTED"], "the end of the run")

    return job_case(
        "reconciled: stopped before open_run claims the run",
        ExpectedOutcome(("ABORTED Aborted",), 0, 0),
        before=lambda scenario: scenario.arm(
            "OpenRun", CrashFault("before", 1, "TransactWriteItems", hangs=6)
        ),
        during=during,
    )


def _left() -> FaultCase:
    def during(scenario: CaseScenario) -> None:
        stop_while_running(scenario)
        shorten(scenario)
        key = f"lease#model#{scenario.model}"
        scenario.until(lambda: _statuses(scenario) == ["ABORTED"], "the end of the run")
        if not scenario.environment.item(key):
            scenario.complaints.append("the lease was freed while the load was running")
        _rounds(scenario, lambda: scenario.environment.item(key) is None, "the lease")

    name = "reconciled: the lease of a load that was left to end"
    return load_case(name, STOPPED, model={"seconds": 60}, during=during)
