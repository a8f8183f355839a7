"""Callbacks to a receiver that fails: each result arrives, and only once in the normal case."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from celonis_refresh.runs.callbacks import address_digest
from celonis_refresh.runs.table import callback_key
from local.aws.delivery.status_events import status_event
from local.aws.runtime.fault_injector import CrashFault
from local.faults.case import FaultCase, job_case, ok, red
from local.faults.evidence import NotFoundInEvidence
from local.faults.scenario import CaseScenario, repeated
from local.faults.suites.actions import MAX_SEND_WAIT, ROUND_SECONDS
from local.faults.suites.channels import BEHAVIOURS, RECORDED_ONCE
from local.faults.suites.crashes import with_fault
from local.receiver import Behaviour

GIVEN_UP: frozenset[Behaviour] = frozenset({"404"})
"""The receiver says that nobody waits any more: the result is not posted again."""


def cases() -> Iterator[FaultCase]:
    yield _case("a callback to an activity")
    reason = {"outcome": "FAIL", "error_messages": ["VBELN is missing."]}
    yield _case("a callback after a failure", status="500", expected=red("JobFailed"), job=reason)
    yield _merged()
    yield _twice()
    for behaviour in BEHAVIOURS:
        tries = 1 if behaviour in RECORDED_ONCE | GIVEN_UP else 2
        yield _case(f"a callback fails once: {behaviour}", behaviours=(behaviour,), tries=tries)
    yield _dies("before the query of callbacks", "before", r"DynamoDB_.*\.Query", tries=1)
    for moment, tries in (("before", 1), ("sent", 2), ("after", 2)):
        yield _dies(f"{moment}: the request of a callback", moment, "POST .*-activity", tries=tries)
    # The first message that is removed is that of the run's events.
    yield _dies("after removing a callback that was posted", "after", "DeleteItem", call=2, tries=1)


def _name(scenario: CaseScenario, activity: str = "activity") -> str:
    number, *_ = scenario.name.split("-")
    return f"{number}-{activity}"


def _address(scenario: CaseScenario, activity: str = "activity", *, has_token: bool = True) -> str:
    environment = scenario.environment
    token = f"?callbackUrl={environment.channel_token}" if has_token else ""
    return f"{environment.receiver.url}/{_name(scenario, activity)}{token}"


def _start(scenario: CaseScenario, activity: str = "activity", *, has_token: bool = True) -> str:
    """Start the pipeline, as an activity does; gives the id of the run that covers its trigger."""
    rules = [{"pipeline": scenario.name}]
    document = {"sender": "azure_data_factory", "secret": "faults", "rules": rules}
    scenario.environment.store_parameter(f"sources/{scenario.name}", document)
    address = _address(scenario, activity, has_token=has_token)
    answer = repeated(
        lambda: scenario.environment.hand_activity(scenario.name, address), lambda given: given.status
    )
    if answer.status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
        raise NotFoundInEvidence(f"the activity was answered with {answer}")
    return str(json.loads(answer.body)["runs"][0]["run_id"])


def _is_left(scenario: CaseScenario, run_id: str, address: str) -> bool:
    """Whether a callback, or the message that promises its result, is still stored."""
    digest = address_digest(address)
    keys = (callback_key(run_id, digest), f"outbox#{run_id}/callback/{digest}")
    return any(scenario.environment.item(key) is not None for key in keys)


def _post_all(scenario: CaseScenario, runs: Mapping[str, str]) -> None:
    """Let reconcile post what is left. ``runs``: the ids of runs by the addresses of their callbacks."""

    def left() -> bool:
        return any(_is_left(scenario, run_id, address) for address, run_id in runs.items())

    def is_posted() -> bool:
        if left():
            scenario.environment.reconcile()
        return not left()

    def is_closed() -> bool:
        found = scenario.runs()
        return len(found) >= len(set(runs.values())) and all("ended_at" in run for run in found)

    scenario.until(is_closed, "the end of the runs", MAX_SEND_WAIT)
    scenario.until(is_posted, "the callbacks", MAX_SEND_WAIT, pause=ROUND_SECONDS)


def _problems(
    scenario: CaseScenario, run_id: str, status: str, tries: int, activity: str = "activity"
) -> Iterator[str]:
    """What is wrong with the callback that an activity received."""
    receiver = scenario.environment.receiver
    requests = [one.document for one in receiver.requests(_name(scenario, activity))]
    if len(requests) != tries:
        yield f"{activity} received {len(requests)} requests"
    for each in requests:
        if (each["StatusCode"], each["Output"]["run_id"]) != (status, run_id):
            yield f"{activity} received {each}"
    if any(each != requests[0] for each in requests):
        yield f"the repeated requests to {activity} differ"
    if receiver.requests("redirected"):
        yield "a redirect was followed"


def _case(
    name: str,
    *,
    behaviours: tuple[Behaviour, ...] = (),
    tries: int = 1,
    status: str = "200",
    has_token: bool = True,
    before: Callable[[CaseScenario], None] = lambda _: None,
    **more: Any,
) -> FaultCase:
    """One activity that waits for its run. ``has_token``: as in the channels' cases."""

    def prepared(scenario: CaseScenario) -> None:
        scenario.environment.receiver.behave(_name(scenario), *behaviours)
        before(scenario)

    def started(scenario: CaseScenario) -> None:
        _start(scenario, has_token=has_token)

    def during(scenario: CaseScenario) -> None:
        scenario.until(scenario.runs, "the run")
        (run,) = scenario.runs()
        _post_all(scenario, {_address(scenario, has_token=has_token): str(run["run_id"])})

    def arrived(scenario: CaseScenario) -> Iterator[str]:
        yield from _problems(scenario, str(scenario.runs()[0]["run_id"]), status, tries)

    more = {"expected": ok(), "start": started, "during": during, "also": arrived, **more}
    return job_case(name, before=prepared, quiet=True, max_wait=MAX_SEND_WAIT, **more)


def _merged() -> FaultCase:
    """Two activities: the run of the second, which joined, comes after that of the first."""

    def during(scenario: CaseScenario) -> None:
        scenario.until_in("WaitJob", scenario.executions()[0].name)
        follow_up = _start(scenario, "joined")
        first = str(scenario.runs()[0]["run_id"])
        scenario.team.control("PUT", f"/jobs/{scenario.job}", seconds=2)
        _post_all(scenario, {_address(scenario): first, _address(scenario, "joined"): follow_up})

    def arrived(scenario: CaseScenario) -> Iterator[str]:
        first, second = (str(run["run_id"]) for run in scenario.runs())
        yield from _problems(scenario, first, "200", 1)
        yield from _problems(scenario, second, "200", 1, "joined")

    job = {"seconds": 60}
    return _case("callbacks of merged triggers", expected=ok(2, runs=2), job=job, during=during, also=arrived)


def _twice() -> FaultCase:
    """The event of the end arrives again: nothing is posted again."""
    case = _case("the event of the end comes again, and a callback was posted")

    def during(scenario: CaseScenario) -> None:
        case.during(scenario)
        event = json.dumps(status_event(scenario.executions()[0])).encode()
        for _ in range(2):
            scenario.environment.stack.invoke("CloseRun", event)

    return case.but(during=during)


def _dies(what: str, moment: str, pattern: str, *, tries: int, call: int = 1) -> FaultCase:
    """The function that closes the run dies; its event is delivered again."""
    # The log line of the fault has the address.
    case = _case(f"close_run dies, {what}", tries=tries, has_token=False)
    return with_fault(case, "CloseRun", CrashFault(moment, call, pattern, '"name": ?"{}-'))
