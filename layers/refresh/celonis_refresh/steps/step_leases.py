"""Which leases a step needs before it starts, which ones its run keeps, and how it gives them back.

A load that a data job starts (``started_by: job``) may begin with any job of its run. So the first job is
started together with the leases and the baselines of all these models, and from then on the run keeps them:
each until its load has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celonis_refresh.runs import keys
from celonis_refresh.runs.lease_items import LeaseRequest, Place
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.records import Records, Run, States, StepWrite
from celonis_refresh.steps.progress import is_started
from celonis_refresh.timing import Deadline


def inner_loads(run: Run, step: str) -> dict[str, str]:
    """Return the leases of the models that jobs of the run load, by load step; none for a step of a load."""
    if not step.startswith("job-"):
        return {}
    return {
        load.step: keys.model_lease(load.data_model) for load in run.plan.loads if load.started_by == "job"
    }


def unused_steps(run: Run, lease: str) -> list[str]:
    """Return the steps for which the run may hold a lease, if nothing was sent for any of them; else none.

    What is sent needs a baseline first. Steps that have ended and given the lease back are left out.
    """
    leases = {job.step: keys.job_lease(job.job) for job in run.plan.jobs}
    leases |= {load.step: keys.model_lease(load.data_model) for load in run.plan.loads}
    states = {step: run.steps.get(step, {}) for step, key in leases.items() if key == lease}
    open_states = {step: one for step, one in states.items() if "ended_at" not in one or one.get("held")}
    if any("baseline" in one and not one.get("refused") for one in open_states.values()):
        return []
    return list(open_states)


def keeps_models(run: Run, step: str) -> bool:
    """Whether another job of the run was started, or may have been: what it loads is ours to keep."""
    return any(is_started(run.steps.get(job.step, {})) for job in run.plan.jobs if job.step != step)


def lease_request(run: Run, step: str, own: str, since: float) -> LeaseRequest:
    """Return what a step needs to start; ``own``: the lease of its job or model, ``since``: its place."""
    models = sorted(inner_loads(run, step).values())
    keeps = bool(models) and keeps_models(run, step)
    # A step that ended while its start may still run has its lease until the run ends: others wait for that.
    place = Place(keeps=keeps or any("held" in state for state in run.steps.values()), since=since)
    if keeps or not models:
        return LeaseRequest(run.run_id, (own,), place)
    jobs = {keys.job_lease(job.job) for job in run.plan.jobs}
    return LeaseRequest(run.run_id, (own, *models), place, later=tuple(sorted(jobs - {own})))


def without_leases(
    records: Records, run: Run, step: str, request: LeaseRequest, state: Mapping[str, Any]
) -> StepWrite:
    """Return the write of a step that gives its leases back.

    The baselines of models go with their leases: a baseline does not show what another run loads meanwhile.
    """
    loads = inner_loads(run, step)
    forgotten: States = {load: {} for load, lease in loads.items() if lease in request.leases}
    return records.step_write(run, step, state, also=forgotten)


def give_back_first(records: Records, leases: Leases, run: Run, deadline: Deadline) -> None:
    """Frees the leases that a run has for its first job, before the start of that job was sent.

    Raises ``StepMoved`` where anything is noted of the job that ``run`` does not have yet: the start may have
    been sent.
    """
    if not run.plan.jobs:
        return
    job = run.plan.jobs[0]
    request = lease_request(run, job.step, keys.job_lease(job.job), since=0.0)
    write = without_leases(records, run, job.step, request, run.steps.get(job.step, {}))
    leases.give_back(request, write, deadline)
