"""The invariants of every run under every fault; each violation is one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from local.faults.case import ExpectedOutcome
from local.faults.evidence import OPEN
from local.faults.scenario import CaseScenario
from local.faults.team import Json

CLAIMS = {
    "": {"SUCCESS", "WARNING"},
    "JobFailed": {"FAIL"},
    "JobCanceled": {"CANCEL"},
    "JobSkipped": {"SKIPPED"},
    "LoadFailed": {"ERROR"},
    "LoadWarned": {"WARNING"},
    "LoadCanceled": {"CANCELED"},
    "CANCELLED": {"CANCEL", "CANCELED"},
}
"""Error names and outcomes that report a result of Celonis, with the statuses that they may mean."""
STARTED = {
    "job": ("job", "mode", "baseline", "noted_at", "began"),
    "load": ("data_model", "kind", "baseline", "noted_at", "began"),
}
"""Fields of a started step in the record."""
MAX_EVENTS = 2_500
"""Maximum events in an execution's history: a tenth of the quota of Step Functions, for runs of minutes."""


def observed(scenario: CaseScenario, runs: Sequence[Json]) -> ExpectedOutcome:
    """Return the actual outcome of the case. ``runs``: its records."""
    ends = tuple(f"{run['status']} {run.get('error', '')}".strip() for run in runs)
    ours = scenario.ours()
    executions = sum("job_id" in one for one in ours)
    return ExpectedOutcome(ends, executions, len(ours) - executions)


def complaints(scenario: CaseScenario, runs: Sequence[Json]) -> Iterator[str]:
    """Return one sentence for each violated invariant."""
    yield from scenario.complaints
    yield from _expectation(scenario.case.expected, observed(scenario, runs))
    for run in runs:
        yield from _one_end(scenario, run)
        yield from _whole_record(run)
        yield from _reported(scenario, run)
        if not scenario.case.assumption:
            yield from _only_its_own(scenario, run)
    yield from _short_histories(scenario)
    yield from _words(scenario, runs)
    yield from _freed(scenario)
    yield from _left_running(scenario)
    if not scenario.case.overlaps:
        yield from _one_at_a_time(scenario)
    yield from scenario.unused_faults()
    yield from scenario.case.also(scenario)


def _expectation(expected: ExpectedOutcome, observed: ExpectedOutcome) -> Iterator[str]:
    if (sorted(expected.runs), expected.executions, expected.loads) != (
        sorted(observed.runs),
        observed.executions,
        observed.loads,
    ):
        yield f"expected {expected.text()}"


def _one_end(scenario: CaseScenario, run: Json) -> Iterator[str]:
    """Check that there is one terminal record, with the status of the execution."""
    if run["status"] in OPEN:
        return
    missing = [name for name in ("ended_at", "outcome", "expires", "execution_arn") if not run.get(name)]
    if missing:
        yield f"the record of {run['run_id']} lacks {', '.join(missing)}"
    execution = next((one for one in scenario.executions() if one.name == run["run_id"]), None)
    if execution is None:
        yield f"run {run['run_id']} has no execution"
    elif not execution.redrive_count and execution.status != run["status"]:
        yield f"execution {execution.name} ended {execution.status}, its record {run['status']}"


def _whole_record(run: Json) -> Iterator[str]:
    """Check that the record has its trigger, its steps with start and end, and its outcome."""
    reasons = run["options"]["reasons"]
    if not reasons or not all(reason["by"] and reason["at"] for reason in reasons):
        yield f"the record of {run['run_id']} does not say who triggered it"
    if "\n" in str(run.get("outcome", "")):
        yield f"the outcome of {run['run_id']} has more than one line"
    for step, state in run.get("steps", {}).items():
        reported = STARTED[step.partition("-")[0]]
        if "sent_by" in state and (missing := [name for name in reported if state.get(name) is None]):
            yield f"{step} of {run['run_id']} lacks {', '.join(missing)}"
        if "outcome" in state and not state.get("ended_at"):
            yield f"{step} of {run['run_id']} ended without an end date"


def _short_histories(scenario: CaseScenario) -> Iterator[str]:
    for execution in scenario.executions():
        events = len(execution.history.events())
        if events > MAX_EVENTS:
            yield f"execution {execution.name} has a history of {events} events"


def _reported(scenario: CaseScenario, run: Json) -> Iterator[str]:
    about = f"Run {run['run_id']} of pipeline "  # another run's notification may name it as well
    reported = [text for text in scenario.environment.notices() if about in text]
    runs_on = "has not ended yet" in run["outcome"]  # the cancellation of its execution has no effect yet
    is_well = run["status"] == "SUCCEEDED" or (run["status"] == "ABORTED" and not runs_on)
    if is_well and not all("has recovered" in text or "with a warning" in text for text in reported):
        yield f"a notification was sent for run {run['run_id']}, which ended {run['status']}"
    if run["status"] in ("FAILED", "TIMED_OUT") and not reported:
        yield f"no notification was sent for run {run['run_id']}"


def _only_its_own(scenario: CaseScenario, run: Json) -> Iterator[str]:
    """Check that the result of a step is that of an execution or load that was started for us."""
    for step, state in run.get("steps", {}).items():
        claim = "CANCELLED" if state.get("outcome") == "CANCELLED" else state.get("error", "")
        claimed = CLAIMS.get(claim) if "outcome" in state else None
        if claimed is None:
            continue
        target, proof = state.get("job") or state.get("data_model"), state.get("evidence", {})
        ours = [
            one
            for one in scenario.team.started(str(target))
            if one["by"] == "api" or one["by"].startswith("job ")
        ]
        if proof.get("ours") and not str(proof["ours"]).startswith("started:"):  # a date instead of an id
            ours = [one for one in ours if proof["ours"] in (one["id"], one.get("item_id"))]
        ended = datetime.fromisoformat(state["ended_at"]).timestamp()
        if not any(one["outcome"] in claimed and one["ended_at"] <= ended for one in ours):
            yield f"{step} reports {claim or 'success'}, which no execution or load of ours had"
        if not proof.get("proven_by"):
            yield f"{step} has a result without a proof"
        if missing := [name for name in ("noted_at", "polls") if not state.get(name)]:
            yield f"{step} lacks {', '.join(missing)}"


def _words(scenario: CaseScenario, runs: Sequence[Json]) -> Iterator[str]:
    reported = [str(run.get("outcome", "")) for run in runs]
    reported += [str(step.get("message", "")) for run in runs for step in run.get("steps", {}).values()]
    reported += [str(one.cause) for one in scenario.executions() if one.cause]
    for words in scenario.case.says:
        if not any(words in text for text in reported):
            yield f"nothing says {words!r}, but: {' | '.join(filter(None, reported))}"


def _freed(scenario: CaseScenario) -> Iterator[str]:
    for pipeline in sorted(scenario.pipelines):
        if "run_id" in (scenario.environment.item(f"slot#{pipeline}") or {}):
            yield f"the slot of {pipeline} is held"
    for kind, held in scenario.leases().items():
        if held and kind not in scenario.case.holds:
            yield f"the lease of the {kind} is held"
        if not held and kind in scenario.case.holds:
            yield f"the lease of the {kind} is free"


def _left_running(scenario: CaseScenario) -> Iterator[str]:
    running = scenario.left_running()
    if running and scenario.case.runs_on is False:
        yield f"{len(running)} of ours still running at Celonis"
    if scenario.case.runs_on and not running:
        yield "nothing of ours is running at Celonis"


def _one_at_a_time(scenario: CaseScenario) -> Iterator[str]:
    for target in (*scenario.jobs, *scenario.models):
        ours = [one for one in scenario.team.started(target) if one["by"] == "api" and one["started_at"]]
        for first, second in pairwise(ours):
            if first["ended_at"] is None or second["started_at"] < first["ended_at"]:
                yield f"two of ours ran at the same time on {target}"
