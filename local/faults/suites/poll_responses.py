"""Unusable responses to polls do not end a run by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from local.faults.case import ExpectedOutcome, FaultCase, job_case, load_case, red
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import finish, stop_while_running

RESET = 5
LATE_SECONDS = 25
"""Longer than it takes on a slow machine until a poll meets its fault."""
PARTIAL = {"kind": "partial", "tables": ["VBAK"]}
BAD: Mapping[str, Mapping[str, Any]] = {
    "500 with a support id": {"status": 500, "body": {"detail": "Support ID: 1234-abcd"}},
    "502": {"status": 502, "shape": "html"},
    "503": {"status": 503},
    "504": {"status": 504, "shape": "empty"},
    "a web page": {"kind": "html"},
    "an empty answer": {"kind": "empty"},
    "half a JSON": {"kind": "garbage"},
    "a truncated answer": {"kind": "truncated"},
    "a reset": {"kind": "reset"},
    "a dropped connection": {"kind": "drop"},
    "a redirect": {"kind": "redirect"},
    "an answer in drips": {"kind": "drip", "seconds": 14, "count": 1},
    "a late answer": {"kind": "delay", "seconds": 4, "count": 1},
}
FIRST = {"skip": 0, "count": 2}
POLLS = {"skip": 1, "count": 2}


def cases() -> Iterator[FaultCase]:
    for what, fault in BAD.items():
        yield job_case(f"{what} to a poll of the job", faults=({"call": "job", **POLLS, **fault},))
        yield load_case(f"{what} to a poll of the load", faults=({"call": "last_load", **POLLS, **fault},))
    for what in BAD:
        yield job_case(f"{what} to the poll before execute", faults=({"call": "job", **BAD[what], **FIRST},))
        yield load_case(
            f"{what} to the poll before a load", faults=({"call": "last_load", **BAD[what], **FIRST},)
        )
        yield _tables(what)
        yield _token(what)
    yield from _no_tables()
    yield from _lists()
    yield from _histories()
    yield from _throttled()
    yield from _refused_once()
    yield from _late()
    yield from _unreachable()
    yield from _reasons()


def _lists() -> Iterator[FaultCase]:
    """The list of executions is an undocumented call: nothing depends on it."""
    for what, fault in {**BAD, "403": {"status": 403}, "404": {"status": 404}}.items():
        yield job_case(
            f"{what} to the list of executions", faults=({"call": "executions", **FIRST, **fault},)
        )
    always = {"call": "executions", "status": 503, "count": None}
    yield job_case("503 to the list of executions, forever", faults=(always,))


def _histories() -> Iterator[FaultCase]:
    """The load history is undocumented too and requested once: without it, earlier loads are unknown."""
    odd = {
        "dataLoadHistory": [{"loadStatus": "SUCCESS", "startDate": 9e15, "endDate": -5}, 7],
        "averageLoadTime": [{"type": "COMPLETE", "averageLoadingTime": -1}, None],
    }
    answers: Mapping[str, Mapping[str, Any]] = {
        **{what: BAD[what] for what in ("503", "half a JSON", "a reset", "an answer in drips")},
        "403": {"status": 403},
        "404": {"status": 404},
        "odd loads": {"kind": "json", "body": {"loadHistory": odd}},
    }
    for what, fault in answers.items():
        yield load_case(
            f"{what} to the load history",
            model={"seconds": 6},
            faults=({"call": "load_history", "count": 1, **fault},),
        )


def _tables(what: str) -> FaultCase:
    fault = {"call": "tables", **BAD[what], **FIRST}
    return load_case(f"{what} to the request for tables", load_step=PARTIAL, faults=(fault,))


def _no_tables() -> Iterator[FaultCase]:
    """Opening waits as steps do, within the timeout of the first step, and records the reason."""

    def says_why(scenario: CaseScenario) -> None:
        scenario.until(
            lambda: any("last_error" in state for state in scenario.first_steps()), "a reason in the record"
        )

    down = {"call": "tables", "status": 503}
    yield load_case(
        "503 to the request for tables, 14 times",
        load_step=PARTIAL,
        faults=({**down, "count": 14},),
        during=says_why,
    )
    yield load_case(
        "503 to the request for tables until the time-out of the load",
        red("LoadTimedOut", executions=0, loads=0),
        load_step={**PARTIAL, "timeout": 10},
        faults=({**down, "count": None},),
        during=says_why,
        says=("503",),
    )
    yield load_case(
        "429 to the request for tables asks for 15 s",
        load_step=PARTIAL,
        alone=True,
        faults=({"call": "tables", "status": 429, "reset": 15},),
        during=says_why,
    )


def _token(what: str) -> FaultCase:
    return job_case(
        f"{what} to the token request", alone=True, faults=({"call": "token", **BAD[what], **FIRST},)
    )


def _throttled() -> Iterator[FaultCase]:
    """Each on a team of its own: a 429 to one run slows down all runs of the connection."""
    fault = {"status": 429, "reset": RESET, "count": 1}
    polls = {**fault, "skip": 1}
    yield job_case(
        "429 to a poll of the job", alone=True, faults=({"call": "job", **polls},), also=_job_waited
    )
    yield load_case(
        "429 to a poll of the load", alone=True, faults=({"call": "last_load", **polls},), also=_load_waited
    )
    yield job_case(
        "429 to the poll before execute", alone=True, faults=({"call": "job", **fault},), also=_job_waited
    )
    yield load_case(
        "429 to the poll before a load",
        alone=True,
        faults=({"call": "last_load", **fault},),
        also=_load_waited,
    )
    yield load_case("429 to a load", alone=True, faults=({"call": "load", **fault},))
    for call in ("load_tables", "tables"):
        yield load_case(f"429 to {call}", alone=True, load_step=PARTIAL, faults=({"call": call, **fault},))
    yield job_case("429 to the token request", alone=True, faults=({"call": "token", **fault},))
    yield job_case(
        "429 to cancel",
        ExpectedOutcome(("ABORTED Aborted",), 1, 0),
        alone=True,
        job={"seconds": 150},
        faults=({"call": "cancel", **fault},),
        during=stop_while_running,
        says=("was cancelled.",),
    )
    bare = {"status": 429, "shape": "empty", "skip": 1, "count": 2}
    yield job_case("429 without a body to polls of the job", alone=True, faults=({"call": "job", **bare},))
    yield job_case(
        "429 that asks for longer than the time-out",
        red("JobTimedOut"),
        alone=True,
        job_step={"timeout": 10},
        faults=({"call": "job", "status": 429, "reset": 12, "skip": 1, "count": None},),
        says=("429",),
        holds=frozenset({"job"}),
        max_wait=240,
    )
    yield job_case(
        "a rate limit of 6 requests in 8 s",
        settings={"rate_limit": {"requests": 6, "seconds": 8}},
        job={"seconds": 5},
    )


def _refused_once() -> Iterator[FaultCase]:
    """One rejected poll proves nothing. A 401 is sent three times before it counts as rejected."""
    for status, count in ((401, 3), (403, 1), (404, 1)):
        once = {"call": "job", "status": status, "count": count}
        yield job_case(f"one {status} to a poll of the job", alone=True, faults=({**once, "skip": 1},))
        yield job_case(f"one {status} to the poll before execute", alone=True, faults=(once,))
    for code in ("LIMIT_NOTFOUND", "LIMIT_SIZE_NOTFOUND"):
        body = {"title": "Not Found", "status": 404, "detail": "No limit found.", "errorCode": code}
        lasting = {"call": "job", "status": 404, "body": body, "skip": 1, "count": 6}
        yield job_case(f"{code} to polls of the job", faults=(lasting,), job={"seconds": 12})
    yield job_case(
        "429 to a poll of the job, whose detail names a clock time",
        alone=True,
        job={"seconds": 6},
        during=_clock_time,
        also=_job_waited,
    )


def _clock_time(scenario: CaseScenario) -> None:
    scenario.until_started()
    until = time.gmtime(time.time() + RESET + LATE_SECONDS)
    detail = f"Rate limit exceeded, try again at {time.strftime('%H:%M:%S', until)} UTC"
    scenario.fault(
        "job", status=429, body={"status": 429, "detail": detail, "errorCode": "LIMIT_RATE_EXCEEDED"}
    )


def _job_waited(scenario: CaseScenario) -> Iterator[str]:
    yield from _waited(scenario, "job", scenario.job)


def _load_waited(scenario: CaseScenario) -> Iterator[str]:
    yield from _waited(scenario, "last_load", scenario.model)


def _waited(scenario: CaseScenario, call: str, target: str) -> Iterator[str]:
    rows = scenario.team.requests(call, target)
    for refused, following in pairwise(rows):
        if refused["status"] == 429 and following["at"] - refused["at"] < RESET:
            yield f"asked again {following['at'] - refused['at']:.1f} s after a 429 that asked for {RESET} s"
    if not any(row["status"] == 429 for row in rows):
        yield "no 429 was ever answered"


def _late() -> Iterator[FaultCase]:
    """A bad response late in the run must not count as an end either: the load runs until it was given."""
    late = {"skip": 5, "count": 1}
    load: dict[str, Any] = {"model": {"seconds": 240}, "definition": {"settle": 2}, "during": _finished_late}
    for what in ("an empty answer", "a web page"):
        yield load_case(
            f"{what} to a late poll of the load",
            faults=({"call": "last_load", **BAD[what], **late},),
            **load,
        )
    yield load_case(
        "404 to a late poll of the load, whose tables are there",
        faults=({"call": "last_load", "status": 404, **late},),
        **load,
    )


def _finished_late(scenario: CaseScenario) -> None:
    scenario.until(lambda: not list(scenario.unused_faults()), "the bad response")
    finish(scenario)


def _unreachable() -> Iterator[FaultCase]:
    yield job_case(
        "a host name that cannot be resolved",
        red("JobTimedOut", executions=0),
        alone=True,
        job_step={"timeout": 10},
        before=lambda scenario: _elsewhere(scenario, "http://celonis.invalid"),
        says=("the host name celonis.invalid cannot be resolved",),
    )
    yield job_case(
        "a port where nothing listens",
        red("JobTimedOut", executions=0),
        alone=True,
        job_step={"timeout": 10},
        before=lambda scenario: _elsewhere(scenario, "http://127.0.0.1:9"),
        says=("the host refused it",),
    )
    always = {"call": "job", "status": 503, "skip": 1, "count": None}
    yield job_case(
        "503 to every poll of the job, forever",
        red("JobTimedOut"),
        job_step={"timeout": 10},
        faults=(always,),
        says=("(503",),
        holds=frozenset({"job"}),
        max_wait=240,
    )


def _elsewhere(scenario: CaseScenario, address: str) -> None:
    scenario.connect({**scenario.team.document(), "base_url": address})


def _reasons() -> Iterator[FaultCase]:
    """The reason of a failed job is requested last: without a response, the job has still failed."""
    failed: dict[str, Any] = {"job": {"outcome": "FAIL"}, "alone": True}
    refused = {str(status): {"status": status} for status in (403, 404, 429)}
    for what, fault in {**BAD, **refused}.items():
        for call in ("execution_tasks", "execution_log"):
            always = {"call": call, **fault, "count": None}
            yield job_case(f"{what} to {call} of a failed job", red("JobFailed"), faults=(always,), **failed)
