"""A thousand deliveries for one pipeline, and sixty pipelines at once."""

from __future__ import annotations

from collections import Counter

from celonis_refresh.pipelines.options import MAX_REASONS
from local.bench.sampling import peak
from local.concurrent_senders import ConcurrentSenders, Request, SenderResult
from local.wait import until
from tests.stack.burst.conftest import PROCESSES
from tests.stack.environment import StackEnvironment
from tests.stack.runs.service import WEBHOOK_SECRET
from tests.stack.triggers.signing import signed

DELIVERIES = 1000
PIPELINES = 60
LONG = 1000.0
"""Seconds: a job that ends when its test says so."""
SECONDS = 200.0
"""Time for all of them to end, on a machine that is busy with other things as well."""


def _delivery(number: int) -> Request:
    event = {"action": "completed", "workflow_run": {"id": number, "conclusion": "success"}}
    headers = {"x-github-event": "workflow_run", "x-github-delivery": f"delivery-{number}"}
    call = signed("github", event, WEBHOOK_SECRET, headers)
    return call.body, call.headers


def _is_accepted(one: SenderResult) -> bool:
    """202; or 200 where it was sent again, since the answer of the table was too late for the first one."""
    return one.status == 202 or (one.status == 200 and bool(one.before))


def test_a_thousand_deliveries_lead_to_one_run_and_one_that_follows(environment: StackEnvironment) -> None:
    service, celonis = environment.service, environment.celonis
    job = celonis.job(seconds=LONG)
    pipeline = service.pipeline(jobs=[job])
    source = service.source({"pipeline": pipeline})
    conflicts = service.stack.conflicts
    max_concurrent = peak(lambda: service.stack.serving("Trigger"))
    reported = ConcurrentSenders(service.stack.api_url, _delivery).deliver(
        (source, number) for number in range(DELIVERIES)
    )
    assert max_concurrent() >= PROCESSES

    assert Counter(one.status for one in reported if not _is_accepted(one)) == {}
    assert service.stack.conflicts > conflicts
    runs = {one.body["runs"][0]["run_id"] for one in reported}
    assert len(runs) == 2
    first = service.item(f"slot#{pipeline}")["run_id"]["S"]
    (follow_up,) = runs - {first}
    started = [
        one.body["runs"][0]["run_id"] for one in reported if one.body["runs"][0]["status"] == "started"
    ]
    assert started == [first] or (not started and any(one.before for one in reported))
    reasons = service.item(f"slot#{pipeline}")["pending"]["M"]["options"]["M"]["reasons"]["L"]
    assert len(reasons) == MAX_REASONS
    last = max(one.at for one in reported)
    service.running(first)
    celonis.set_job(job, seconds=0.5)
    celonis.finish(job)
    assert service.closed(first)["status"] == "SUCCEEDED"
    assert service.closed(follow_up)["status"] == "SUCCEEDED"
    one, other = celonis.executions(job)
    assert other["requested_at"] > last
    assert other["requested_at"] >= one["ended_at"]
    environment.settled()
    assert len(celonis.executions(job)) == 2
    assert service.is_free(pipeline)


def test_many_pipelines_at_once_are_as_many_runs(environment: StackEnvironment) -> None:
    service, celonis = environment.service, environment.celonis
    celonis.reset()
    jobs = [celonis.job(seconds=0.3) for _ in range(PIPELINES)]
    sources = [service.source({"pipeline": service.pipeline(jobs=[job])}) for job in jobs]
    reported = ConcurrentSenders(service.stack.api_url, _delivery).deliver(
        (source, number) for number, source in enumerate(sources)
    )
    assert Counter(one.status for one in reported if not _is_accepted(one)) == {}
    assert len(reported) == PIPELINES
    runs = [one.body["runs"][0]["run_id"] for one in reported]
    assert len(set(runs)) == PIPELINES

    # Read from the memory of the local AWS: so many requests at a time would be most of the load.
    until(lambda: not environment.running(), "the end of all executions", seconds=SECONDS)
    environment.settled()
    assert {service.status(run) for run in runs} == {"SUCCEEDED"}
    executions = Counter(one["job_id"] for one in celonis.executions(*jobs))
    assert executions == dict.fromkeys(jobs, 1)
