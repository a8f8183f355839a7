"""Lost responses to a POST, before and after it took effect: a poll comes before any repetition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from local.faults.case import ExpectedOutcome, FaultCase, job_case, load_case, ok, red
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import by_webhook, stop_while_running

LOST: Mapping[str, Mapping[str, Any]] = {
    "no answer in time": {"kind": "drop", "seconds": 11},
    "connection reset": {"kind": "reset"},
    "500": {"status": 500},
    "502": {"status": 502, "shape": "html"},
    "503": {"status": 503},
    "504": {"status": 504, "shape": "empty"},
    "answer truncated": {"kind": "truncated"},
    "half a JSON": {"kind": "garbage"},
    "a web page": {"kind": "html"},
    "a redirect": {"kind": "redirect"},
}
SOON = {"settle": 3}
PARTIAL = {"kind": "partial", "tables": ["VBAK", "VBAP"]}


def cases() -> Iterator[FaultCase]:
    for what, fault in LOST.items():
        for when in ("before", "after"):
            yield from _each_post(f"{what}, {when} it took effect", {**fault, "when": when})
    yield from _several_lost()
    yield from _in_the_trigger()


def _each_post(what: str, fault: Mapping[str, Any], **load: Any) -> Iterator[FaultCase]:
    yield job_case(f"execute: {what}", definition=SOON, faults=({"call": "execute", **fault},))
    lost = fault.get("when") == "before"
    unproven = red("OutcomeUnproven", executions=0, loads=0) if lost else ok(executions=0, loads=1)
    holds = frozenset({"model"}) if lost else frozenset[str]()
    yield load_case(
        f"load: {what}", unproven, definition=SOON, faults=({"call": "load", **fault},), holds=holds, **load
    )
    yield load_case(
        f"load of tables: {what}",
        unproven,
        definition=SOON,
        holds=holds,
        load_step=PARTIAL,
        faults=({"call": "load_tables", **fault},),
        also=_both_tables,
        **load,
    )
    yield job_case(
        f"cancel: {what}",
        ExpectedOutcome(("ABORTED Aborted",), 1, 0),
        job={"seconds": 150},
        faults=({"call": "cancel", **fault},),
        during=stop_while_running,
        says=("was cancelled.",),
    )


def _both_tables(scenario: CaseScenario) -> Iterator[str]:
    expected = sorted(scenario.tables[name] for name in ("VBAK", "VBAP"))
    if any(sorted(one["tables"]) != expected for one in scenario.ours()):
        yield "a load was started with other tables"


def _several_lost() -> Iterator[FaultCase]:
    """Cases with more than one lost response."""
    late = {"kind": "delay", "seconds": 12, "when": "before"}
    yield job_case("execute: takes effect after its time-out", faults=({"call": "execute", **late},))
    yield load_case("load: takes effect after its time-out", faults=({"call": "load", **late},))
    twice = {"kind": "reset", "count": 2}
    yield job_case(
        "execute: lost twice, never took effect",
        red("StartIgnored", executions=0),
        definition=SOON,
        faults=({"call": "execute", **twice},),
        says=("sent twice",),
    )
    yield job_case(
        "execute: lost, no list, ids null",
        red("OutcomeUnproven", executions=0),
        job={"null_fields": ["currentExecutionId", "latestExecutionItemId"]},
        definition=SOON,
        faults=(
            {"call": "execute", "kind": "reset"},
            {"call": "executions", "status": 404, "count": None},
        ),
        holds=frozenset({"job"}),
    )
    for when in ("before", "after"):
        yield job_case(
            f"execute: lost {when} it took effect, all stale for 4 s",
            ok(),
            job={"stale": 4},
            definition={"settle": 8},
            faults=({"call": "execute", "kind": "reset", "when": when},),
        )
    yield job_case(
        "execute: a refusal of 429", alone=True, faults=({"call": "execute", "status": 429, "reset": 3},)
    )
    for what, fault in (
        ("an answer in drips", {"kind": "drip", "seconds": 14, "when": "after"}),
        ("an empty answer", {"kind": "empty", "when": "after"}),
        ("a late answer", {"kind": "delay", "seconds": 4}),
    ):
        # A load that may have ended before Celonis received our start is not proven to be ours.
        yield from _each_post(what, fault, model={"seconds": 20})


def _in_the_trigger() -> Iterator[FaultCase]:
    for what, fault in LOST.items():
        for when in ("before", "after"):
            yield job_case(
                f"execute in the trigger: {what}, {when} it took effect",
                definition=SOON,
                faults=({"call": "execute", **fault, "when": when},),
                start=by_webhook,
            )
