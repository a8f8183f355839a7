"""The trigger dies at one of its calls; the same delivery comes again, or a round of reconcile does.

Each step of the trigger, in real processes: claim, poll, record, start the job, start the execution.
``tests/unit/workflow/test_crashes.py`` has every call of every function with every recovery, over
fakes; ``make faults`` has each function in real processes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import pytest

from local.aws.runtime.fault_injector import CrashFault
from local.wait import until
from tests.stack.environment import StackEnvironment
from tests.stack.runs.celonis import Json
from tests.stack.runs.documents import WORKFLOW_SUCCEEDED, oauth_client
from tests.stack.runs.service import DeployedService
from tests.stack.triggers.signing import signed

AT_ONCE = 2
"""Cases that run at the same time: most of a run is waiting, and a new process is not."""
MAX_WAIT = 150.0
SECRET = "secret-of-a-crash-0123456789"

Moment = Literal["before", "sent", "after"]


class CrashCall(NamedTuple):
    """An outgoing call of the trigger: its name, its pattern, and its number among those that match."""

    name: str
    pattern: str
    number: int = 1


SOURCE = CrashCall("reading the source", "GetParameter")
SIGN_IN = CrashCall("signing in", r"POST .*/oauth2/token")
CLAIM = CrashCall("the claim", "TransactWriteItems")
POLL = CrashCall("the poll of the job", r"GET .*/jobs/[^/]+$")
BASELINE_WRITE = CrashCall("recording the baseline", "TransactWriteItems", 2)
START = CrashCall("starting the job", r"POST .*/execute")
EXECUTION_START = CrashCall("starting the execution", "StartExecution")
ROWS = (CLAIM, POLL, BASELINE_WRITE, START, EXECUTION_START)


class CrashCase(NamedTuple):
    """A crash, and whether the delivery is repeated or left to reconcile."""

    moment: Moment
    call: CrashCall
    comes_again: bool

    def __str__(self) -> str:
        then = "the delivery again" if self.comes_again else "reconcile"
        return f"{self.moment} {self.call.name}, then {then}"


def _cases() -> Iterator[CrashCase]:
    """Each row before and after its call, once with the delivery again and once with reconcile."""
    for number, call in enumerate(ROWS):
        yield CrashCase("before", call, comes_again=number % 2 == 0)
        yield CrashCase("after", call, comes_again=number % 2 == 1)
    yield from (CrashCase("sent", START, comes_again) for comes_again in (True, False))
    yield from (CrashCase("before", call, comes_again=True) for call in (SOURCE, SIGN_IN))


CASES = list(_cases())


class CrashResult(NamedTuple):
    """``claimed``: the run that the crash left there. ``again``: the response to the second delivery."""

    pipeline: str
    job: str
    died: bool
    claimed: str | None
    again: tuple[int, Json] | None


def _event(source: str) -> bytes:
    """A delivery as API Gateway passes it on, the same each time.

    It arrives in the future, so that no slow machine uses up the seconds that are left for Celonis.
    """
    headers = {"x-github-event": "workflow_run", "x-github-delivery": "one"}
    call = signed("github", WORKFLOW_SUCCEEDED, SECRET, headers)
    context = {"http": {"method": "POST"}, "timeEpoch": int((time.time() + MAX_WAIT) * 1000)}
    event = {
        "headers": call.headers,
        "pathParameters": {"source": source},
        "requestContext": context,
        "body": call.body.decode(),
    }
    return json.dumps(event).encode()


def _run_case(environment: StackEnvironment, case: CrashCase) -> CrashResult:
    service, job = environment.service, environment.celonis.job()
    # A connection that no process has used before, so that the crashing one has to sign in.
    pipeline = service.pipeline(jobs=[job], connection=service.connection(oauth_client()))
    secret = service.secret("webhooks", {"current": SECRET})
    source = service.source({"pipeline": pipeline}, secret=secret)
    call = case.call
    service.stack.arm("Trigger", CrashFault(case.moment, call.number, call.pattern, f'"{source}"'))
    died = service.stack.invoke("Trigger", _event(source)).failed and _met(service, case, source)
    claimed = service.item(f"slot#{pipeline}").get("run_id", {}).get("S")
    again = None
    if case.comes_again:
        answer = json.loads(service.stack.invoke("Trigger", _event(source)).payload)
        again = answer["statusCode"], json.loads(answer["body"])
    elif claimed:
        service.age(f"run#{claimed}")
    return CrashResult(pipeline, job, died, claimed, again)


def _met(service: DeployedService, case: CrashCase, source: str) -> bool:
    lines = [line.text for line in service.stack.logs("Trigger")]
    return any(text.startswith(f"fault: ended {case.moment} ") and f'"{source}"' in text for text in lines)


@pytest.fixture(scope="module")
def results(environment: StackEnvironment) -> dict[CrashCase, CrashResult]:
    environment.celonis.reset()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = dict(zip(CASES, pool.map(lambda case: _run_case(environment, case), CASES), strict=True))
    assert not environment.service.stack.invoke("Reconcile", b"{}").failed
    until(lambda: not environment.running(), "the end of all executions", seconds=MAX_WAIT)
    environment.settled()
    return outcomes


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_leads_to_one_run_and_one_execution(
    environment: StackEnvironment, results: dict[CrashCase, CrashResult], case: CrashCase
) -> None:
    service, one = environment.service, results[case]
    assert one.died
    if not one.claimed and not case.comes_again:
        # Nothing was accepted, and the sender got an error.
        assert _runs(service, one.pipeline) == {}
        assert environment.celonis.executions(one.job) == []
        return
    ((run_id, status),) = _runs(service, one.pipeline).items()
    assert status == "SUCCEEDED"
    assert one.claimed in (None, run_id)
    assert [execution["outcome"] for execution in environment.celonis.executions(one.job)] == ["SUCCESS"]
    slot = service.item(f"slot#{one.pipeline}")
    assert {"run_id", "pending"} & set(slot) == set()
    assert service.item(f"lease#job#{one.job}") == {}
    if one.again is not None:
        answered, reported = one.again
        assert (answered, reported.get("duplicate", False)) == ((200, True) if one.claimed else (202, False))
        assert reported["runs"][0]["run_id"] == run_id


def _runs(service: DeployedService, pipeline: str) -> dict[str, str]:
    answer = service.call("GET", f"/runs?pipeline={pipeline}")
    assert answer.ok, answer.text
    return {run["run_id"]: run["status"] for run in answer.json()["runs"]}


@pytest.mark.parametrize("call", ROWS[1:], ids=lambda call: call.name)
def test_what_was_claimed_when_it_died_stays_claimed(
    results: dict[CrashCase, CrashResult], call: CrashCall
) -> None:
    """Every row after the claim finds its run: otherwise the rows above would be about something else."""
    assert all(one.claimed for case, one in results.items() if case.call == call)
