"""Tokens that expire, secrets that are rotated during a run, credentials that are wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from local.faults.case import ExpectedOutcome, FaultCase, job_case, load_case, ok, red
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import stop_while_running
from local.serve import STACK_NAME

WHOLE = ok(1, 1)
UNUSABLE_SECONDS = 4.0


def cases() -> Iterator[FaultCase]:
    yield from _renewed()
    yield from _refused_once()
    yield from _rotated()
    yield from _wrong()
    yield from _secrets()
    yield from _repeated()


def whole(name: str, **more: Any) -> FaultCase:
    """Return the case with a job and a load, so that every task signs in."""
    return FaultCase(
        name, more.pop("expected", WHOLE), job={"seconds": 4}, model={"seconds": 4}, alone=True, **more
    )


def revoke(scenario: CaseScenario) -> None:
    scenario.until_started()
    scenario.team.control("DELETE", "/tokens")


def _renewed() -> Iterator[FaultCase]:
    yield whole("tokens live for 2 s", settings={"token_seconds": 2})
    yield whole("tokens expire earlier than they say", settings={"token_lives_seconds": 2})
    yield whole(
        "tokens do not say when they expire",
        settings={"token_lives_seconds": 2, "token_tells_expiry": False},
    )
    for shape in ("error", "envelope", "plain", "empty"):
        yield whole(
            f"token revoked, the 401 is {shape}", settings={"unauthorized_shape": shape}, during=revoke
        )
    yield whole(
        "token revoked between the job and the load", during=_revoked_at_the_load, faults=(SLOW_LOAD,)
    )


def _refused_once() -> Iterator[FaultCase]:
    """One 401 to each call: the token is renewed, and the call is repeated once."""
    partial = {"load_step": {"kind": "partial", "tables": ["VBAK"]}}
    failed: dict[str, Any] = {"expected": red("JobFailed"), "job": {"outcome": "FAIL"}}
    stopped: dict[str, Any] = {
        "expected": ExpectedOutcome(("ABORTED Aborted",), 1, 0),
        "job": {"seconds": 150},
        "during": stop_while_running,
        "says": ("was cancelled.",),
    }
    for what, make, call, skip, more in (
        ("the poll before execute", job_case, "job", 0, {}),
        ("execute", job_case, "execute", 0, {}),
        ("a poll of the job", job_case, "job", 1, {}),
        ("the list of executions", job_case, "executions", 0, {}),
        ("the tasks of a failed job", job_case, "execution_tasks", 0, failed),
        ("the log of a failed job", job_case, "execution_log", 0, failed),
        ("cancel", job_case, "cancel", 0, stopped),
        ("the poll before a load", load_case, "last_load", 0, {}),
        ("a load", load_case, "load", 0, {}),
        ("a poll of the load", load_case, "last_load", 1, {}),
        ("the request for tables", load_case, "tables", 0, partial),
        ("a load of tables", load_case, "load_tables", 0, partial),
    ):
        fault = {"call": call, "status": 401, "skip": skip, "count": 1}
        yield make(f"401 to {what}", alone=True, faults=(fault,), **more)


SLOW_LOAD = {"call": "last_load", "kind": "delay", "seconds": 1, "count": 1}
"""Poll settings with which the first poll of the load takes long enough for the state to be seen."""


def _revoked_at_the_load(scenario: CaseScenario) -> None:
    scenario.until_in("StartLoad")
    scenario.team.control("DELETE", "/tokens")


def _rotated() -> Iterator[FaultCase]:
    def rotated(scenario: CaseScenario) -> None:
        scenario.until_started()
        scenario.rotate()

    yield whole("client secret rotated while the job runs", during=rotated)

    def at_the_load(scenario: CaseScenario) -> None:
        scenario.until_started(2)
        scenario.rotate()

    yield whole("client secret rotated while the load runs", during=at_the_load)
    for kind in ("app_key", "api_key"):
        yield whole(
            f"{kind} rotated while the job runs",
            before=lambda scenario, kind=kind: scenario.sign_in_with(kind),
            during=rotated,
        )


def _wrong() -> Iterator[FaultCase]:
    for kind, words in (
        ("client_secret", "belong to an OAuth client"),
        ("app_key", "the application key is complete"),
        ("api_key", "the API key is complete"),
    ):
        yield whole(
            f"wrong {kind}",
            expected=red("AuthenticationFailed", executions=0),
            before=lambda scenario, kind=kind: scenario.sign_in_with(kind, wrong=True),
            says=(words,),
        )
    yield whole(
        "credentials withdrawn while the job runs",
        expected=red("AuthenticationFailed"),
        during=_withdrawn,
        runs_on=None,
        says=("Check in the secret of the connection",),
        holds=frozenset({"job"}),
    )
    for refusal, error in (
        ("token_400", "AuthenticationFailed"),
        ("token_403", "AuthenticationFailed"),
        ("api_403", "PermissionDenied"),
    ):
        yield whole(
            f"the client lacks the scope, refused with {refusal}",
            expected=red(error, executions=0),
            settings={"wrong_scope": refusal},
            before=lambda scenario: scenario.team.control("PUT", "/credentials", scopes=["other"]),
            says=("integration.data-pools",),
        )


def _withdrawn(scenario: CaseScenario) -> None:
    """The client was deleted at Celonis, and the secret was not changed."""
    scenario.until_started()
    scenario.team.credentials["client_secret"] = scenario.team.new_secret("client_secret")
    scenario.team.install()


def _repeated() -> Iterator[FaultCase]:
    """Celonis, or a gateway before it, repeats our key in an error: the key is removed."""

    def in_an_answer(call: str, status: int, **more: Any) -> Callable[[CaseScenario], None]:
        def act(scenario: CaseScenario) -> None:
            scenario.sign_in_with("app_key")
            body = {"title": "Refused", "status": status, "detail": f"{_key(scenario)} may not do this"}
            scenario.fault(call, status=status, body=body, **more)

        return act

    def in_a_log(scenario: CaseScenario) -> None:
        scenario.sign_in_with("app_key")
        reported = [f"Authorization: AppKey {_key(scenario)}", "Table VBAK is locked."]
        scenario.team.control("PUT", f"/jobs/{scenario.job}", error_messages=reported)

    def unsaid(scenario: CaseScenario) -> Iterator[str]:
        texts = [json.dumps(run) for run in scenario.runs()] + [
            str(one.cause) for one in scenario.executions()
        ]
        if any(_key(scenario) in text for text in texts):
            yield "the key is repeated"

    more: dict[str, Any] = {"alone": True, "also": unsaid}
    for status, error in ((403, "PermissionDenied"), (404, "NotFound"), (401, "AuthenticationFailed")):
        yield job_case(
            f"our key is repeated in a {status} to execute",
            red(error, executions=0),
            before=in_an_answer("execute", status, count=None),
            **more,
        )
    yield job_case(
        "our key is repeated in each 500 to a poll, until the time-out",
        red("JobTimedOut"),
        before=in_an_answer("job", 500, skip=1, count=None),
        job_step={"timeout": 10},
        says=("(500",),
        holds=frozenset({"job"}),
        max_wait=240,
        **more,
    )
    yield job_case(
        "our key is repeated in the log of a failed task",
        red("JobFailed"),
        job={"outcome": "FAIL"},
        before=in_a_log,
        says=("Table VBAK is locked",),
        **more,
    )


def _key(scenario: CaseScenario) -> str:
    return scenario.team.credentials["app_key"]


def _secrets() -> Iterator[FaultCase]:
    def change(document: object) -> Callable[[CaseScenario], None]:
        return lambda scenario: scenario.connect(document)

    yield whole(
        "the connection's secret was never filled in",
        expected=red("ConnectionInvalid", executions=0),
        before=change(
            {"base_url": "https://REPLACE-ME.celonis.cloud", "auth": {"type": "app_key", "key": "REPLACE-ME"}}
        ),
        says=("was never filled in",),
    )
    yield whole(
        "the connection's secret is no object",
        expected=red("SecretUnreadable", executions=0),
        before=change(["nothing"]),
        says=("is not a JSON object",),
    )
    yield whole(
        "the connection's secret is deleted before the run",
        expected=red("SecretUnreadable", executions=0),
        before=_deleted,
        says=("does not exist",),
    )
    yield job_case(
        "the connection's secret cannot be used for a while, and is then replaced",
        job={"seconds": 12},
        alone=True,
        during=_unusable_for_a_while,
    )
    yield job_case(
        "the connection's secret is deleted while the job runs, and the run is stopped",
        ExpectedOutcome(("ABORTED Aborted",), 1, 0),
        job={"seconds": 300},
        alone=True,
        during=_deleted_and_stopped,
        says=("could not be determined",),
        holds=frozenset({"job"}),
        runs_on=True,
    )


def _deleted(scenario: CaseScenario) -> None:
    name = f"{STACK_NAME}/connections/{scenario.team.connection}"
    scenario.environment.stack.client("secretsmanager").delete_secret(
        SecretId=name, ForceDeleteWithoutRecovery=True
    )


def _unusable_for_a_while(scenario: CaseScenario) -> None:
    """Celonis rejects the old credentials, and the secret does not hold new ones yet."""
    scenario.until_started()
    scenario.connect(["nothing"])
    scenario.team.credentials = {kind: scenario.team.new_secret(kind) for kind in scenario.team.credentials}
    scenario.team.install()
    scenario.until_in("CheckJob")
    time.sleep(UNUSABLE_SECONDS)
    scenario.connect(scenario.team.document())


def _deleted_and_stopped(scenario: CaseScenario) -> None:
    scenario.until_started()
    scenario.until_in("WaitJob")
    _deleted(scenario)
    scenario.stop()
