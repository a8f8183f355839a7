"""The metrics of a run that has ended, from its record, and those of the freshness of pipelines."""

from __future__ import annotations

from celonis_refresh.observability import count, measure
from celonis_refresh.runs.records import Run, RunStatus, data_from
from celonis_refresh.timing import epoch


def measure_end(run: Run) -> None:
    """Record the metrics of a run whose end was written just now."""
    pipeline, ended = run.pipeline, epoch(str(run.item["ended_at"]))
    count("RunsEnded", pipeline=pipeline, outcome=run.status)
    began = epoch(str(run.item.get("started_at", run.item["created_at"])))
    measure("RunDuration", max(0.0, ended - began), pipeline=pipeline)
    starts = [float(state["sent_by"]) for state in run.steps.values() if "posts" in state]
    if starts:
        measure("RunWaitingTime", max(0.0, min(starts) - _triggered(run)), pipeline=pipeline)
    measure("PollsPerRun", sum(int(state.get("polls", 0)) for state in run.steps.values()))
    for step, state in run.steps.items():
        if "ended_at" in state and "sent_by" in state:
            name = "JobDuration" if step.startswith("job-") else "LoadDuration"
            measure(name, max(0.0, epoch(str(state["ended_at"])) - float(state["sent_by"])))
    if run.status is RunStatus.SUCCEEDED:
        measure("SecondsSinceSuccess", max(0.0, ended - epoch(data_from(run.item))), pipeline=pipeline)


def _triggered(run: Run) -> float:
    """Return when the first trigger of the run arrived."""
    times = [reason.at for reason in run.options.reasons]
    return epoch(min(times, default=str(run.item["created_at"])))
