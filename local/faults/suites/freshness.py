"""Reconcile dies while it notifies of a stale pipeline: the notification arrives, and each change once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from local.aws.runtime.fault_injector import CrashFault
from local.faults.case import FaultCase, job_case, ok
from local.faults.evidence import NotFoundInEvidence
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import MAX_SEND_WAIT, ROUND_SECONDS

HOUR = 3600
FURTHER_ROUNDS = 3
"""Rounds after a notification, in which nothing is sent again."""


def cases() -> Iterator[FaultCase]:
    yield _case("a pipeline becomes stale and fresh again", None)
    for moment, tries in (("before", 1), ("sent", 2), ("after", 2)):
        yield _case(f"reconcile dies, {moment}: the request of a stale notification", moment, tries)


def _case(name: str, moment: str | None, tries: int = 1) -> FaultCase:
    """``moment``: of the crash, None for none. ``tries``: how often the stale notification is received."""

    def before(scenario: CaseScenario) -> None:
        environment, channel = scenario.environment, _channel(scenario)
        document = {"type": "slack", "url": f"{environment.receiver.url}/{channel}", "allow_http": True}
        environment.store_secret(f"channels/{channel}", document)
        scenario.define(scenario.name, fresh_within=HOUR, notify={"channels": [channel]})

    def during(scenario: CaseScenario) -> None:
        _ended(scenario, 1)
        scenario.environment.reconcile()
        scenario.environment.reconcile(lambda: _make_stale(scenario, moment))
        _rounds(scenario, lambda: len(_texts(scenario)) >= tries, "the stale notification", moment)
        scenario.start()
        _ended(scenario, 2)
        _rounds(scenario, lambda: len(_texts(scenario)) > tries, "the fresh notification")

    def notified(scenario: CaseScenario) -> Iterator[str]:
        texts = _texts(scenario)
        stale, fresh = texts[:tries], texts[tries:]
        if len(set(stale)) != 1 or "stale" not in stale[0]:
            yield "the requests of the stale notification differ"
        if len(fresh) != 1 or "fresh again" not in fresh[0]:
            yield f"{len(fresh)} further notifications were received"
        if moment is not None and not _died(scenario, moment):
            yield "reconcile did not meet its fault"

    return job_case(
        name, ok(2, runs=2), before=before, during=during, also=notified, quiet=True, max_wait=MAX_SEND_WAIT
    )


def _channel(scenario: CaseScenario) -> str:
    number, *_ = scenario.name.split("-")
    return f"{number}-freshness"


def _texts(scenario: CaseScenario) -> list[str]:
    return [one.body.decode() for one in scenario.environment.receiver.requests(_channel(scenario))]


def _ended(scenario: CaseScenario, runs: int) -> None:
    def is_over() -> bool:
        return [run["status"] for run in scenario.runs()] == ["SUCCEEDED"] * runs

    scenario.until(is_over, f"the end of run {runs}")


def _rounds(scenario: CaseScenario, done: Callable[[], bool], what: str, moment: str | None = None) -> None:
    """Rounds of reconcile until something is so, and some more.

    The fault is armed for each round until one meets it: a round may end before it comes to this pipeline.
    """

    def is_done() -> bool:
        scenario.environment.reconcile(lambda: _arm(scenario, moment))
        return done()

    scenario.until(is_done, what, MAX_SEND_WAIT, pause=ROUND_SECONDS)
    for _ in range(FURTHER_ROUNDS):
        scenario.environment.reconcile()


def _died(scenario: CaseScenario, moment: str) -> bool:
    begins = f"fault: ended {moment} POST "
    lines = (line.text for line in scenario.environment.stack.logs("Reconcile"))
    return any(line.startswith(begins) and _channel(scenario) in line for line in lines)


def _arm(scenario: CaseScenario, moment: str | None) -> None:
    """Arm the next round, unless one has died."""
    if moment is not None and not _died(scenario, moment):
        fault = CrashFault(moment, 1, f"POST .*{_channel(scenario)}", "^{}$")
        scenario.environment.stack.arm("Reconcile", fault)


def _make_stale(scenario: CaseScenario, moment: str | None) -> None:
    """Make the last success of the pipeline older than it may be, and arm the next round."""
    _arm(scenario, moment)
    started = datetime.now(UTC) - timedelta(seconds=1.1 * HOUR)
    text = started.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if not scenario.environment.item(f"pipeline#{scenario.name}"):
        raise NotFoundInEvidence("the success of the pipeline is not recorded")
    scenario.environment.stack.client("dynamodb").update_item(
        TableName=scenario.environment.stack.outputs["TableName"],
        Key={"pk": {"S": f"pipeline#{scenario.name}"}},
        UpdateExpression="SET last_success_started_at = :started",
        ExpressionAttributeValues={":started": {"S": text}},
    )
