"""Many concurrent senders, and how a stack handles them.

``burst``: a thousand deliveries for one pipeline, sent fifty at a time and served ten at a time. They must
lead to one run and one follow-up run. ``concurrent_pipelines``: two hundred pipelines at once on one Celonis
team that allows twenty requests a second. Response times are in seconds of this machine, which runs every
function, AWS and Celonis on a few cores: they are reported without a goal.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from local.bench.sampling import peak
from local.bench.service import MeasuredService, serving
from local.celonis.setups import RateLimitSetup
from local.concurrent_senders import ConcurrentSenders, SenderResult, crowd_settings
from local.wait import until

DELIVERIES = 1000
PIPELINES = 200
PROCESSES = 8
LONG = 86_400.0
JOB_SECONDS = 60.0
ALLOWED = RateLimitSetup(requests=20, seconds=1.0)
END_SECONDS = 240.0
PIPELINES_SECONDS = 270.0
"""A run that has not ended by then counts as failed."""
OPEN = {"", "OPENING", "RUNNING"}


@dataclass(frozen=True)
class Burst:
    """``covered``: deliveries whose run succeeded; ``executions``: executions that Celonis really started."""

    reported: list[SenderResult]
    covered: int
    executions: int

    def figures(self) -> dict[str, float]:
        """Return the figures.

        ``burst_ok``: the share of deliveries that were accepted and whose run succeeded; 0 if the job did
        not run twice.

        ``slowest_answer_s``: the slowest response to a delivery.
        """
        is_right = self.executions == 2
        return {
            "burst_ok": round(self.covered / len(self.reported), 4) if is_right else 0.0,
            "slowest_answer_s": round(max(one.seconds for one in self.reported), 2),
        }


@dataclass(frozen=True)
class ConcurrentPipelines:
    """``statuses``: final statuses of the runs; ``answers``: responses of Celonis by HTTP status."""

    max_concurrent: int
    statuses: Counter[str]
    answers: Counter[int]

    def figures(self) -> dict[str, float]:
        """Return the figures.

        ``parallel_runs``: maximum of concurrent executions. ``budget_429_pct``: share of all responses of
        Celonis. ``budget_failed``: runs that did not succeed.
        """
        return {
            "parallel_runs": self.max_concurrent,
            "budget_429_pct": round(100 * self.answers[429] / self.answers.total(), 2),
            "budget_failed": self.statuses.total() - self.statuses["SUCCEEDED"],
        }


@contextlib.contextmanager
def crowd_service(time_factor: float) -> Iterator[MeasuredService]:
    """A stack for many concurrent requests: with all AWS faults, without request limits."""
    with serving(crowd_settings(time_factor), WebhookRateLimit="10000", WebhookBurstLimit="5000") as service:
        service.stack.warm("Trigger", PROCESSES)
        yield service


def burst(service: MeasuredService) -> Burst:
    """Send a thousand deliveries to one pipeline; its job ends once the last one is answered."""
    job = service.job(LONG)
    pipeline = service.pipeline(job, poll={"floor": 1}, settle=2)
    source = service.source(pipeline)
    reported = _crowd(service).deliver((source, number) for number in range(DELIVERIES))
    target = service.celonis.model.jobs[job]
    until(lambda: bool(target.operations), "the start of the first job")
    target.change(seconds=0.5)
    service.finish(job)
    runs = {one.run_id for one in reported} - {""}
    until(lambda: not _running(service, runs), "the end of the runs", END_SECONDS)
    succeeded = {run for run in runs if service.status(run) == "SUCCEEDED"}
    return Burst(reported, sum(one.run_id in succeeded for one in reported), len(target.operations))


def concurrent_pipelines(service: MeasuredService) -> ConcurrentPipelines:
    """Send one delivery to each of two hundred pipelines."""
    jobs = [service.job(JOB_SECONDS) for _ in range(PIPELINES)]
    sources = [service.source(service.pipeline(job, settle=30)) for job in jobs]
    service.celonis.ledger.clear()
    model = service.celonis.model
    model.settings = replace(model.settings, rate_limit=ALLOWED)
    max_concurrent = peak(lambda: sum(one.status == "RUNNING" for one in service.stack.executions))
    reported = _crowd(service).deliver((source, number) for number, source in enumerate(sources))
    runs = {one.run_id for one in reported} - {""}
    with contextlib.suppress(TimeoutError):
        until(lambda: not _running(service, runs), "the end of the runs", PIPELINES_SECONDS)
    answers = Counter(int(row["status"]) for row in service.celonis.ledger.requests() if row["status"])
    statuses = Counter(service.status(run) for run in runs)
    statuses["REFUSED"] = PIPELINES - len(runs)
    return ConcurrentPipelines(max_concurrent(), statuses, answers)


def _running(service: MeasuredService, runs: Iterable[str]) -> bool:
    return any(service.status(run) in OPEN for run in runs)


def _crowd(service: MeasuredService) -> ConcurrentSenders:
    return ConcurrentSenders(service.stack.api_url, service.delivery)
