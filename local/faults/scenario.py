"""What one case uses: a pipeline, a data job, a data model and, where needed, a Celonis team of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from local.aws.runtime.fault_injector import CrashFault
from local.celonis import world
from local.faults.case import FaultCase
from local.faults.environment import FaultEnvironment
from local.faults.evidence import CaseEvidence
from local.faults.team import CelonisTeam, Json

JOB_CALLS = frozenset({"execute", "job", "cancel", "executions"})
MODEL_CALLS = frozenset({"load", "load_tables", "tables", "last_load"})


PLENTY = 240
"""Seconds of a step that no time-out is meant to end, however crowded the machine is."""


class CaseScenario(CaseEvidence):
    """What a case does, and what it has for itself."""

    def __init__(self, environment: FaultEnvironment, case: FaultCase, number: int) -> None:
        super().__init__(environment, case, number, _team(environment, case, number))
        self.tables: dict[str, str] = {}
        self._starts = 0
        self._faults: dict[int, Json] = {}

    def close(self) -> None:
        """Takes the faults away that are left, and ends the team that the case has for itself."""
        self.clear_faults()
        if self.team is not self.environment.shared:
            self.team.close()

    def prepare(self) -> None:
        """Makes the job, the model, the pipeline and the faults of the case."""
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
        """Stores the definition of a pipeline over the jobs and models of the case."""
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
        """A fault that strikes only what this case has for itself."""
        if call in JOB_CALLS:
            fields.setdefault("target", self.job)
        if call in MODEL_CALLS:
            fields.setdefault("target", self.model)
        added = self.team.control("POST", "/faults", call=call, kind=kind, **fields)
        self._faults[added["id"]] = added

    def clear_faults(self) -> None:
        """Takes the faults of the case away."""
        for fault in self.team.control("GET", "/faults"):
            if fault["id"] in self._faults:
                self.team.control("DELETE", f"/faults/{fault['id']}")

    def unstruck(self) -> Iterator[str]:
        """The faults that nothing met: a case that shows nothing."""
        for left in self.team.control("GET", "/faults"):
            added = self._faults.get(left["id"])
            always = added is not None and added["count"] is None
            met = always and any(
                row["fault"] for row in self.team.requests(left["call"], left["target"] or "")
            )
            if added is not None and left["count"] == added["count"] and not met:
                yield f"nothing met the fault of {left['call']}"

    def arm(self, function: str, fault: CrashFault) -> None:
        """A process of a function meets a fault, when it works for this case."""
        self.environment.stack.arm(function, replace(fault, event=fault.event or self.marker))

    def start(self, pipeline: str = "", **more: Any) -> str:
        """Starts an execution by hand; gives its name."""
        self._starts += 1
        pipeline = pipeline or self.name
        name = f"{pipeline}-{self._starts}"
        self.environment.start_execution(name, {"pipeline": pipeline, **more})
        return name

    def listen(self, *pipelines: str, source: str = "") -> None:
        """Makes a source whose events start these pipelines; without any, the case's own."""
        rules = [{"pipeline": name} for name in pipelines or (self.name,)]
        document = {"sender": "github", "secret": "faults", "rules": rules}
        self.environment.store_parameter(f"sources/{source or self.name}", document)

    def deliver(self, delivery: str = "1", source: str = "") -> Json:
        """One webhook of the case's source, or another: status and body of the answer."""
        answer = self.environment.post_webhook(source or self.name, f"{self.name}-{delivery}")
        reported = (
            answer.json() if answer.headers.get("content-type", "").startswith("application/json") else {}
        )
        return {"status": answer.status_code, "body": reported}

    def deliver_unhurried(self, delivery: str = "1") -> int:
        """As :meth:`deliver`, to a trigger that has time for everything; the status of the answer."""
        answer = self.environment.hand_webhook(self.name, f"{self.name}-{delivery}")
        return 500 if answer is None else answer.status

    def ask(self, path: str, document: Json | None = None) -> int:
        """A POST to the runs API, under the same idempotency key each time; the status of the answer."""
        body = json.dumps(document).encode() if document is not None else b""
        return self.environment.runs_api.ask(path, body, self.name)

    def sign_in_with(self, kind: str, *, wrong: bool = False) -> None:
        """The connection's secret holds another kind of credential; a ``wrong`` one, if so."""
        self.team.kind = kind
        document = self.team.document()
        if wrong:
            name = "client_secret" if kind == "client_secret" else "key"
            document["auth"][name] = self.team.new_secret(kind)
        self.connect(document)

    def connect(self, document: object) -> None:
        """What the secret of the connection holds from now on."""
        self.environment.store_secret(f"connections/{self.team.connection}", document)

    def rotate(self) -> None:
        """New credentials: first in Secrets Manager, then at Celonis, which refuses the old ones at once."""
        self.team.credentials = {kind: self.team.new_secret(kind) for kind in self.team.credentials}
        self.connect(self.team.document())
        self.team.install()

    def expire(self) -> None:
        """The first execution reaches the time-out of the state machine."""
        self.execution().expire()

    def stop(self, name: str = "") -> None:
        """A user stops an execution of the case in the console."""
        arn = self.execution(name).arn
        self.environment.stack.client("stepfunctions").stop_execution(executionArn=arn)


def _team(environment: FaultEnvironment, case: FaultCase, number: int) -> CelonisTeam:
    if case.settings is None and not case.alone:
        return environment.shared
    team = environment.team(f"team-{number}")
    if case.settings:
        team.control("PUT", "/settings", **case.settings)
    return team
