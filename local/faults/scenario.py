"""The resources of one case: a pipeline, a data job, a data model and, if needed, its own Celonis team."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from local.aws.runtime.fault_injector import CrashFault
from local.celonis import world
from local.faults.case import FaultCase
from local.faults.environment import FaultEnvironment
from local.faults.evidence import MAX_WAIT, CaseEvidence
from local.faults.team import CelonisTeam, Json
from local.wait import until

JOB_CALLS = frozenset({"execute", "job", "cancel", "executions"})
MODEL_CALLS = frozenset({"load", "load_tables", "tables", "last_load"})


PLENTY = 240
"""Timeout in seconds of steps that must not time out, even on a slow machine."""
SERVER_ERROR = 500
RETRY_SECONDS = 1.0

T = TypeVar("T")


def repeated(send: Callable[[], T], status: Callable[[T], int]) -> T:
    """Send until the answer is no server error, as senders do. Raises ``TimeoutError``.

    On a slow machine, a function may not have enough time at first.
    """

    def answer() -> T | None:
        received = send()
        return received if status(received) < SERVER_ERROR else None

    return until(answer, f"an answer below {SERVER_ERROR}", MAX_WAIT, pause=RETRY_SECONDS)


class CaseScenario(CaseEvidence):
    """The actions and the own resources of a case."""

    def __init__(self, environment: FaultEnvironment, case: FaultCase, number: int) -> None:
        super().__init__(environment, case, number, _team(environment, case, number))
        self.tables: dict[str, str] = {}
        self._starts = 0
        self._faults: dict[int, Json] = {}

    def close(self) -> None:
        """Remove the remaining faults and the definitions of the case, and end its own team.

        Reconcile reads all definitions: those of hundreds of ended cases would fill its rounds.
        """
        self.clear_faults()
        if self.team is not self.environment.shared:
            self.team.close()
        self.environment.remove_parameters([f"pipelines/{name}" for name in sorted(self.pipelines)])

    def prepare(self) -> None:
        """Create the job, the model, the pipeline and the faults of the case."""
        if self.case.job is not None:
            self.new_job(**self.case.job)
        if self.case.model is not None:
            self.new_model(**self.case.model)
        self.define(self.name)
        for fault in self.case.faults:
            self.fault(**fault)

    def new_job(self, **knobs: Any) -> str:
        job = self.team.job(self.name, self.case.ran, **knobs)
        self.jobs.append(job)
        return job

    def new_model(self, **knobs: Any) -> str:
        ran = "ERROR" if self.case.ran == "FAIL" else self.case.ran
        model, self.tables = self.team.model(self.name, ran, **knobs)
        self.models.append(model)
        return model

    def define(self, pipeline: str, **changes: Any) -> None:
        """Store the definition of a pipeline with the jobs and models of the case."""
        job_step = {"mode": "DELTA", "timeout": PLENTY, **self.case.job_step}
        load_step = {"timeout": PLENTY, **self.case.load_step}
        definition = {
            "data_pool": world.POOL_ID,
            "connection": self.team.connection,
            "settle": 6,
            "poll": {"floor": 1, "ceiling": 2},
            "jobs": [{"job": job, **job_step} for job in self.jobs],
            "loads": [{"data_model": model, **load_step} for model in self.models],
            **self.case.definition,
            **changes,
        }
        self.pipelines.add(pipeline)
        self.environment.store_parameter(f"pipelines/{pipeline}", definition)

    def fault(self, call: str, kind: str = "status", **fields: Any) -> None:
        """Add a fault that affects only the resources of this case."""
        if call in JOB_CALLS:
            fields.setdefault("target", self.job)
        if call in MODEL_CALLS:
            fields.setdefault("target", self.model)
        added = self.team.control("POST", "/faults", call=call, kind=kind, **fields)
        self._faults[added["id"]] = added

    def clear_faults(self) -> None:
        """Remove the faults of the case."""
        for fault in self.team.control("GET", "/faults"):
            if fault["id"] in self._faults:
                self.team.control("DELETE", f"/faults/{fault['id']}")

    def unused_faults(self) -> Iterator[str]:
        """Yield the faults that were never used: such a case shows nothing."""
        for fault in self.team.control("GET", "/faults"):
            added = self._faults.get(fault["id"])
            always = added is not None and added["count"] is None
            met = always and any(
                row["fault"] for row in self.team.requests(fault["call"], fault["target"] or "")
            )
            if added is not None and fault["count"] == added["count"] and not met:
                yield f"nothing met the fault of {fault['call']}"

    def arm(self, function: str, fault: CrashFault) -> None:
        """Add a fault for a function that handles an event of this case."""
        self.environment.stack.arm(function, replace(fault, event=fault.event or self.marker))

    def start(self, pipeline: str = "", **more: Any) -> str:
        """Start an execution manually; return its name."""
        self._starts += 1
        pipeline = pipeline or self.name
        name = f"{pipeline}-{self._starts}"
        self.environment.start_execution(name, {"pipeline": pipeline, **more})
        return name

    def listen(self, *pipelines: str, source: str = "") -> None:
        """Create a source whose events start these pipelines; by default, the case's own."""
        rules = [{"pipeline": name} for name in pipelines or (self.name,)]
        document = {"sender": "github", "secret": "faults", "rules": rules}
        self.environment.store_parameter(f"sources/{source or self.name}", document)

    def deliver(self, delivery: str = "1", source: str = "") -> Json:
        """Send a webhook, repeatedly after server errors; return what :meth:`deliver_once` returns."""
        return repeated(lambda: self.deliver_once(delivery, source), lambda answer: int(answer["status"]))

    def deliver_once(self, delivery: str = "1", source: str = "") -> Json:
        """Send a webhook to the case's source or another; return status and body of the response."""
        answer = self.environment.post_webhook(source or self.name, f"{self.name}-{delivery}")
        reported = (
            answer.json() if answer.headers.get("content-type", "").startswith("application/json") else {}
        )
        return {"status": answer.status_code, "body": reported}

    def deliver_directly(self, delivery: str = "1") -> int:
        """Like :meth:`deliver_once`, but invoke the trigger with plenty of time; return the status."""
        return self.environment.invoke_trigger(self.name, f"{self.name}-{delivery}").status

    def ask(self, path: str, document: Json | None = None) -> int:
        """POST to the runs API, repeatedly after server errors; return the status of the response.

        The idempotency key is always the same.
        """
        body = json.dumps(document).encode() if document is not None else b""
        return repeated(lambda: self.environment.runs_api.ask(path, body, self.name), int)

    def sign_in_with(self, kind: str, *, wrong: bool = False) -> None:
        """Store another kind of credential in the connection's secret, or a ``wrong`` one."""
        self.team.kind = kind
        document = self.team.document()
        if wrong:
            name = "client_secret" if kind == "client_secret" else "key"
            document["auth"][name] = self.team.new_secret(kind)
        self.connect(document)

    def connect(self, document: object) -> None:
        """Change the secret of the connection."""
        self.environment.store_secret(f"connections/{self.team.connection}", document)

    def rotate(self) -> None:
        """Rotate the credentials in Secrets Manager and then at Celonis, which rejects the old ones."""
        self.team.credentials = {kind: self.team.new_secret(kind) for kind in self.team.credentials}
        self.connect(self.team.document())
        self.team.install()

    def expire(self) -> None:
        """Let the first execution reach the timeout of the state machine."""
        self.execution().expire()

    def stop(self, name: str = "") -> None:
        """Stop an execution of the case, as a user does in the console."""
        arn = self.execution(name).arn
        self.environment.stack.client("stepfunctions").stop_execution(executionArn=arn)


def _team(environment: FaultEnvironment, case: FaultCase, number: int) -> CelonisTeam:
    if case.settings is None and not case.alone:
        return environment.shared
    team = environment.team(f"team-{number}")
    if case.settings:
        team.control("PUT", "/settings", **case.settings)
    return team
