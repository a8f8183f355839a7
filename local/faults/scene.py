"""Where one case plays: a pipeline, a data job, a data model and, if need be, a Celonis team of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from local.aws.runtime.armory import Fault
from local.aws.states.execution import RUNNING, Execution
from local.celonis import world
from local.faults.case import Case
from local.faults.ground import Ground
from local.faults.team import Json, Team

LOOK_SECONDS = 0.15
OPEN = ("OPENING", "RUNNING")
JOB_CALLS = frozenset({"execute", "job", "cancel", "executions"})
MODEL_CALLS = frozenset({"load", "load_tables", "tables", "last_load"})


class NotSeen(Exception):
    """Something that a case waits for did not come."""


class Scene:
    """``name``: the pipeline's name, with which all ids of its runs begin."""

    def __init__(self, ground: Ground, case: Case, number: int) -> None:
        self.ground, self.case = ground, case
        slug = re.sub(r"[^a-z0-9]+", "-", case.name.lower()).strip("-")
        self.name = f"f{number:03d}-{slug}"[:36].rstrip("-")
        self.team = self._team(number)
        self.pipelines: set[str] = set()
        self.jobs: list[str] = []
        self.models: list[str] = []
        self.tables: dict[str, str] = {}
        self.complaints: list[str] = []
        self._starts = 0

    def _team(self, number: int) -> Team:
        if self.case.settings is None and not self.case.alone:
            return self.ground.shared
        team = self.ground.team(f"team-{number}")
        if self.case.settings:
            team.control("PUT", "/settings", **self.case.settings)
        return team

    def close(self) -> None:
        """Ends the team that the case has for itself."""
        if self.team is not self.ground.shared:
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

    @property
    def marker(self) -> str:
        """The pattern of events that belong to this case."""
        return re.escape(self.name)

    @property
    def job(self) -> str:
        return self.jobs[0]

    @property
    def model(self) -> str:
        return self.models[0]

    def define(self, pipeline: str, **changes: Any) -> None:
        """Stores the definition of a pipeline over the jobs and models of the case."""
        job_step = {"mode": "DELTA", "timeout": 60, **self.case.job_step}
        load_step = {"timeout": 60, **self.case.load_step}
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
        self.ground.store_parameter(f"pipelines/{pipeline}", definition)

    def fault(self, call: str, kind: str = "status", **fields: Any) -> None:
        """A fault that strikes only what this case has for itself."""
        if call in JOB_CALLS:
            fields.setdefault("target", self.job)
        if call in MODEL_CALLS:
            fields.setdefault("target", self.model)
        self.team.control("POST", "/faults", call=call, kind=kind, **fields)

    def arm(self, function: str, fault: Fault) -> None:
        """A process of a function meets a fault, when it works for this case."""
        self.ground.stack.arm(function, replace(fault, event=fault.event or self.marker))

    def start(self, pipeline: str = "", **more: Any) -> str:
        """Starts an execution by hand; gives its name."""
        self._starts += 1
        pipeline = pipeline or self.name
        name = f"{pipeline}-{self._starts}"
        self.ground.start_execution(name, {"pipeline": pipeline, **more})
        return name

    def listen(self, *pipelines: str) -> None:
        """Makes a source whose events start these pipelines; without any, the case's own."""
        rules = [{"pipeline": name} for name in pipelines or (self.name,)]
        document = {"sender": "github", "secret": "faults", "rules": rules}
        self.ground.store_parameter(f"sources/{self.name}", document)

    def deliver(self, delivery: str = "1") -> Json:
        """One webhook of the case's source: status and body of the answer."""
        answer = self.ground.post_webhook(self.name, f"{self.name}-{delivery}")
        told = answer.json() if answer.headers.get("content-type", "").startswith("application/json") else {}
        return {"status": answer.status_code, "body": told}

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
        self.ground.store_secret(f"connections/{self.team.connection}", document)

    def rotate(self) -> None:
        """New credentials: first in Secrets Manager, then at Celonis, which refuses the old ones at once."""
        self.team.credentials = {kind: self.team.new_secret(kind) for kind in self.team.credentials}
        self.connect(self.team.document())
        self.team.install()

    def stop(self, name: str = "") -> None:
        """Somebody stops an execution of the case in the console."""
        arn = self.execution(name).arn
        self.ground.stack.client("stepfunctions").stop_execution(executionArn=arn)

    def executions(self) -> list[Execution]:
        return self.ground.executions(self.pipelines)

    def execution(self, name: str = "") -> Execution:
        """An execution of the case, by default its first."""
        found = [one for one in self.executions() if one.name == (name or f"{self.name}-1")]
        if not found:
            raise NotSeen(f"there is no execution {name or self.name}")
        return found[0]

    def runs(self) -> list[Json]:
        """The records of all runs of the case, oldest first."""
        found = [run for pipeline in sorted(self.pipelines) for run in self.ground.runs_of(pipeline)]
        return sorted(found, key=lambda run: str(run["position"]))

    def started(self) -> list[Json]:
        """What was really started at Celonis on the jobs and models of the case, oldest first."""
        return self.team.started(*self.jobs, *self.models)

    def ours(self) -> list[Json]:
        return [one for one in self.started() if one["by"] == "api"]

    def until(self, seen: Callable[[], object], what: str, seconds: float = 40.0) -> None:
        """Waits for something. Raises ``NotSeen``."""
        end = time.monotonic() + seconds
        while not seen():
            if time.monotonic() > end:
                raise NotSeen(f"{what}: not seen within {seconds:g} s")
            time.sleep(0.03)

    def until_in(self, state: str, name: str = "") -> Execution:
        """Waits until an execution is inside a state of the state machine."""
        self.until(lambda: state in _states(self.execution(name)), f"state {state}")
        return self.execution(name)

    def until_started(self, number: int = 1) -> None:
        """Waits until so many of ours were really started at Celonis."""
        self.until(lambda: len(self.ours()) >= number, f"start number {number}")

    def until_noted(self) -> None:
        """Waits until the first step has noted what was there before its start."""
        self.until(lambda: any("baseline" in state for state in self._first_steps()), "a note")

    def until_proven(self) -> None:
        """Waits until the first step has proven what is its own."""

        def is_proven(state: Json) -> bool:
            return bool(state.get("evidence", {}).get("proven_by"))

        self.until(lambda: any(map(is_proven, self._first_steps())), "a proof")

    def _first_steps(self) -> list[Json]:
        step = "job-0" if self.jobs else "load-0"
        return [run.get("steps", {}).get(step, {}) for run in self.runs()]

    def await_end(self) -> None:
        """Waits until nothing of the case is under way any more, or complains."""
        end = time.monotonic() + self.case.patience
        while left := next(self._under_way(), None):
            if time.monotonic() > end:
                self.complaints.append(f"after {self.case.patience:g} s: {left}")
                return
            time.sleep(LOOK_SECONDS)

    def _under_way(self) -> Iterator[str]:
        running = [one.name for one in self.executions() if one.status == RUNNING]
        yield from (f"execution {name} is running" for name in running)
        runs = self.runs()
        if len(runs) < len(self.case.expected.runs):
            yield f"there are {len(runs)} records"
        for run in runs:
            if run["status"] in OPEN:
                yield f"run {run['run_id']} is {run['status']}"
            elif run["status"] != "SUCCEEDED" and "told_at" not in run:
                yield f"nobody was told of run {run['run_id']}"


def _states(execution: Execution) -> set[str]:
    """The states that an execution is in."""
    inside: list[str] = []
    for event in execution.history.events():
        if name := event.get("stateEnteredEventDetails", {}).get("name"):
            inside.append(name)
        elif (name := event.get("stateExitedEventDetails", {}).get("name")) in inside:
            inside.remove(name)
    return set(inside)
