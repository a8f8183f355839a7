"""Data jobs that load a model themselves: this load is identified and awaited, and never posted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from local.faults.case import ExpectedOutcome, FaultCase, ok, red
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import stop_while_running

STEP = {"started_by": "job"}


def cases() -> Iterator[FaultCase]:
    for early, when in ((False, "after"), (True, "before")):
        knobs = {"success_before_load": early}
        yield loading_case(f"the job reports SUCCESS {when} the end of its load", knobs)
        yield loading_case(
            f"the job reports SUCCESS {when} the end of its load, and the load fails",
            knobs,
            outcome="ERROR",
            expected=red("LoadFailed" if early else "JobFailed"),
        )
    yield loading_case(
        "the job reports SUCCESS before the end of its load, all stale for 3 s",
        {"success_before_load": True},
        stale=3,
    )
    yield loading_case(
        "the job fails before its load",
        {"outcome": "FAIL"},
        expected=red("JobFailed"),
        inner=0,
        holds=frozenset({"model"}),
    )
    yield loading_case(
        "the job loads nothing at all",
        {},
        expected=red("OutcomeUnproven"),
        inner=0,
        loads_nothing=True,
        holds=frozenset({"model"}),
    )
    yield loading_case("the load has no id", {"success_before_load": True}, null_fields=["dataLoadId"])
    for stops, what in ((True, "stops"), (False, "leaves")):
        yield loading_case(
            f"the run is stopped, the cancelled job {what} its load",
            {"cancel_stops_load": stops, "seconds": 2},
            expected=ExpectedOutcome(("ABORTED Aborted",), 1, 0),
            seconds=120,
            during=_stopped_while_loading,
            holds=frozenset() if stops else frozenset({"model"}),
        )
    yield loading_case(
        "the run is stopped before the job loads",
        {"seconds": 150},
        expected=ExpectedOutcome(("ABORTED Aborted",), 1, 0),
        inner=0,
        during=stop_while_running,
        holds=frozenset({"model"}),
    )


def _stopped_while_loading(scenario: CaseScenario) -> None:
    scenario.until(lambda: scenario.team.started(scenario.model), "the job's own load")
    scenario.until_in("WaitJob")
    scenario.stop()


def loading_case(
    name: str,
    job: Mapping[str, Any],
    *,
    expected: ExpectedOutcome | None = None,
    inner: int = 1,
    loads_nothing: bool = False,
    during: Any = None,
    holds: frozenset[str] = frozenset(),
    **model: Any,
) -> FaultCase:
    def prepare(scenario: CaseScenario) -> None:
        if not loads_nothing:
            scenario.team.control("PUT", f"/jobs/{scenario.job}", loads_model=scenario.model)

    def once(scenario: CaseScenario) -> Iterator[str]:
        loads = scenario.team.started(scenario.model)
        if len(loads) != inner:
            yield f"the model was loaded {len(loads)} times"
        if any(one["by"] == "api" for one in loads):
            yield "a load was posted that only the job should start"

    return FaultCase(
        f"load by a job: {name}",
        expected or ok(1, 0),
        job={"seconds": 3, **job},
        model={"seconds": 3, **model},
        load_step=STEP,
        before=prepare,
        during=during or (lambda _: None),
        also=once,
        holds=holds,
    )
