"""Services with one planted fault each: the invariants must find every one of them."""

from __future__ import annotations

from typing import Any

from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.errors import CelonisError, CelonisRejected, CelonisUnavailable
from celonis_refresh.errors import RefreshError
from celonis_refresh.steps.step import Progress
from tests.fakes.service import ServiceHarness
from tests.worlds.fake_celonis import WorldCelonis

ENDS = frozenset({"SUCCESS", "FAIL", "CANCEL", "SKIPPED", "ERROR", "WARNING", "CANCELED"})
JOB_ERRORS = {"FAIL": "JobFailed", "CANCEL": "JobCanceled", "SKIPPED": "JobSkipped"}
LOAD_ERRORS = {"ERROR": "LoadFailed", "CANCELED": "LoadCanceled"}
POLL = 10
SECONDS = 10.0


def _ended(name: str) -> RefreshError:
    made: type[RefreshError] = type(name, (RefreshError,), {})
    return made("planted")


class FirstEnd:
    """Starts once and reports the first ended status that it reads."""

    def __init__(self, service: ServiceHarness, celonis: WorldCelonis) -> None:
        self.celonis = celonis
        self.is_job = True
        self.known: dict[str, set[str]] = {}

    @property
    def client(self) -> CelonisClient:
        return self.celonis.client

    def start(self, step: str, run_id: str) -> Progress:
        self.is_job = step.startswith("job-")
        if not self.is_job and self.celonis.starts_by_itself:
            return {"status": "RUNNING", "wait": POLL}
        if run_id not in self.known:
            try:
                self.known[run_id] = self.ids()
            except CelonisError:
                return {"status": "WAITING", "wait": POLL}
        try:
            self.post()
        except CelonisRejected:
            return {"status": "WAITING", "wait": POLL}
        except CelonisError:
            return self.after_loss()
        return {"status": "RUNNING", "wait": POLL}

    def check(self, step: str, run_id: str) -> Progress:
        self.is_job = step.startswith("job-")
        try:
            status = self.status(self.known.get(run_id, set()))
        except CelonisError:
            status = None
        if status not in ENDS:
            return {"status": "RUNNING", "wait": POLL}
        error = (JOB_ERRORS if self.is_job else LOAD_ERRORS).get(str(status))
        if error is not None:
            raise _ended(error)
        return {"status": "SUCCEEDED", "wait": 0}

    def stop(self, run_id: str, *, succeeded: bool) -> None:
        """Change nothing."""

    def after_loss(self) -> Progress:
        return {"status": "RUNNING", "wait": POLL}

    def post(self) -> None:
        if self.is_job:
            self.client.execute_job("pool-1", "job-a", "FULL", timeout=SECONDS)
        else:
            self.client.load_model("pool-1", "model-a", timeout=SECONDS)

    def ids(self) -> set[str]:
        """The ids that one poll shows."""
        return {one for one in self.poll()[1:] if one}

    def status(self, known: set[str]) -> Any:
        return self.poll()[0]

    def poll(self) -> tuple[Any, ...]:
        if self.is_job:
            job = self.client.job("pool-1", "job-a", timeout=SECONDS)
            return job.status, job.current_execution_id, job.latest_execution_item_id
        load = self.client.last_load("pool-1", "model-a", timeout=SECONDS)
        return (None, None) if load is None else (load.status, load.load_id)


class FirstNewId(FirstEnd):
    """Reports the first ended status beside an id that the one poll before its start did not show."""

    def status(self, known: set[str]) -> Any:
        status, *ids = self.poll()
        return status if any(one and one not in known for one in ids) else None


class StartsAgain(FirstEnd):
    """Starts again at once when an answer to a start is lost."""

    is_lost = False

    def after_loss(self) -> Progress:
        self.is_lost = True
        return {"status": "WAITING", "wait": POLL}

    def check(self, step: str, run_id: str) -> Progress:
        if not self.is_lost:
            return super().check(step, run_id)
        self.is_lost = False
        return self.start(step, run_id)


class WaitsForever(FirstEnd):
    """Never recognizes an end."""

    def status(self, known: set[str]) -> Any:
        return None


class CancelsBlindly(WaitsForever):
    """When a run is stopped it cancels the job, even if it is not ours."""

    def stop(self, run_id: str, *, succeeded: bool) -> None:
        if self.is_job:
            try:
                self.poll()
                self.client.cancel_job("pool-1", "job-a", timeout=SECONDS)
            except CelonisError:
                return


class GivesUp(FirstEnd):
    """Ends without a result as soon as a poll shows nothing new after its start."""

    def check(self, step: str, run_id: str) -> Progress:
        try:
            ids = self.ids()
        except CelonisUnavailable:
            ids = set()
        if ids <= self.known.get(run_id, set()):
            raise _ended("OutcomeUnproven")
        return super().check(step, run_id)


PLANTED = {
    FirstEnd: "a",
    FirstNewId: "a",
    StartsAgain: "b",
    WaitsForever: "d",
    CancelsBlindly: "e",
    GivesUp: "c",
}
"""Each planted service, and the kind of finding that it has to lead to."""
