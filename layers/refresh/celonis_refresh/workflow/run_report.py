"""The facts about a run in notifications. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from celonis_refresh.celonis.addresses import job_page, model_page
from celonis_refresh.celonis.records import LoadStatus
from celonis_refresh.notifications.health import RunEnd
from celonis_refresh.pipelines.definition import InlineDefinition, LoadKind, canonical_id
from celonis_refresh.pipelines.fresh_within import FreshWithin
from celonis_refresh.pipelines.freshness import FreshnessState
from celonis_refresh.pipelines.plan import PlannedJob, PlannedLoad, labelled
from celonis_refresh.runs.pipeline_state import PipelineState, shown_freshness
from celonis_refresh.runs.records import MAX_SENTENCE, Run, RunStatus, cut
from celonis_refresh.steps.retry import RetrySkips, skipped_by_retry
from celonis_refresh.steps.target import FAIL_HINT
from celonis_refresh.timing import epoch

CANCELLING = "CANCELLING"
"""Status of a step whose cancel was accepted and whose end no poll has shown."""
MAX_TRIGGERS = 3
"""Triggers that a notification names."""


def steps_of(run: Run) -> list[str]:
    """Return the steps in the order of the plan."""
    return [job.step for job in run.plan.jobs] + [load.step for load in run.plan.loads]


def failed_step(run: Run) -> str | None:
    """Return the first failed step."""
    if not run.has_definition:
        return None
    states = ((step, run.steps.get(step, {})) for step in steps_of(run))
    return next(
        (step for step, state in states if state.get("outcome") == "FAILED" and state.get("error")), None
    )


def load_warnings(run: Run) -> Iterator[tuple[str, str]]:
    """Yield the loads that succeeded with a warning, each with a sentence about it."""
    for load in run.plan.loads if run.has_definition else ():
        state = run.steps.get(load.step, {})
        if state.get("status") == LoadStatus.WARNING and state.get("outcome") == "SUCCEEDED":
            message = " ".join(str(state.get("message", "")).split()).rstrip(".")
            messages = f": {message}" if message else ""
            yield load.step, f"The load of data model {load.label} ended with a warning{messages}."


def retry_skips(run: Run, now: float) -> RetrySkips:
    """Return what a retry of an ended run would skip; nothing if it cannot be retried."""
    if not can_retry(run) or not run.has_definition:
        return RetrySkips()
    return skipped_by_retry(run, run.definition, now)


def can_retry(run: Run) -> bool:
    """Return whether a retry of an ended run can succeed.

    The API does not retry an inline definition. A retry keeps the options, also those that name a table that
    does not exist.
    """
    if run.status is RunStatus.SUCCEEDED:
        return False
    if not run.has_definition:
        return True
    keeps_unknown = run.item.get("error") == "UnknownTable" and bool(run.plan.requested)
    return not keeps_unknown and not isinstance(run.definition, InlineDefinition)


def run_end(run: Run) -> RunEnd:
    """Return what the end of a run means for its pipeline.

    A cancelled run is no failure, unless something that it should have cancelled may still be running.
    """
    at = str(run.item["ended_at"])
    is_left = any(state.get("status") == CANCELLING for state in run.steps.values())
    return RunEnd(
        at=at,
        succeeded=run.status is RunStatus.SUCCEEDED,
        cause=_cause(run),
        stopped=run.status is RunStatus.ABORTED and not is_left,
        was_reported="stuck" in run.item,
    )


def _cause(run: Run) -> str:
    """Return what went wrong: the same text for the same error of the same job or model."""
    if run.status is not RunStatus.SUCCEEDED:
        return f"{run.item.get('error', 'Unknown')} {_id_of(run, failed_step(run))}".strip()
    if warned := [_id_of(run, step) for step, _ in load_warnings(run)]:
        return f"WARNING {' '.join(warned)}"
    return "options" if run.warnings else ""


def _id_of(run: Run, step: str | None) -> str:
    """Return the id of the job or model of a step."""
    if step is None:
        return ""
    return canonical_id(run.plan.job(step).job if step.startswith("job-") else run.plan.load(step).data_model)


def reported_step(run: Run) -> str | None:
    """Return the step that a notification of the end of a run names: the first that failed or has a warning.

    Tables are looked up before any step exists; then it is the first load that names tables.
    """
    warned = (step for step, _ in load_warnings(run))
    step = failed_step(run) or next(warned, None)
    if step is None and run.has_definition and run.item.get("error") == "UnknownTable":
        return next((load.step for load in run.plan.loads if load.names_tables), None)
    return step


def end_facts(run: Run, address: str | None, step: str | None, name: str = "") -> dict[str, Any]:
    """Return the facts about the end of a run.

    ``address``: of Celonis, if it is known. ``step``: the reported one; ``name``: of its job or model in
    Celonis, if the record does not have it.
    """
    names = names_of(run) | ({step: name} if step and name else {})
    skips = retry_skips(run, epoch(str(run.item["ended_at"]))).skip
    facts: dict[str, Any] = {
        **run_facts(run),
        "error": run.item.get("error"),
        "outcome": outcome_without_advice(run, names),
        "ended_at": run.item.get("ended_at"),
        "can_retry": can_retry(run),
        "skips": [with_names(run, id_, names) for id_ in skips],
    }
    return facts | (step_facts(run, step, address, name) if step else {})


def outcome_without_advice(run: Run, names: Mapping[str, str]) -> str:
    """Return what happened to an ended run: its outcome without what to do, which a notification says itself.

    ``names``: of jobs and models, by step.
    """
    outcome = str(run.item.get("outcome") or "")
    for advice in (FAIL_HINT, *retry_advice(run, epoch(str(run.item["ended_at"])))):
        outcome = " ".join(part.strip() for part in outcome.split(advice) if part.strip())
    return with_names(run, outcome, names)


def success(run: Run, names: Mapping[str, str]) -> str:
    """Return the outcome of a run that succeeded. ``names``: of jobs and models, by step."""
    plan, loads = run.plan, run.loads or {}
    jobs = [f"{_named(job.job, names.get(job.step))} ({job.mode})" for job in plan.jobs]
    models = [
        f"{_named(load.data_model, names.get(load.step))} ({_extent(loads.get(load.step, {}))})"
        for load in plan.loads
    ]
    parts = [f"executed data job {', '.join(jobs)}"] if jobs else []
    parts += [f"loaded data model {', '.join(models)}"] if models else []
    if not parts:
        return f"Nothing was left to do after run {run.item.get('retry_of')}."
    text = " and ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _named(id_: str, name: str | None) -> str:
    return f'"{name}"' if name else id_


def _extent(resolved: Mapping[str, Any]) -> str:
    """Return which tables a load has loaded. ``resolved``: the load in the record."""
    if resolved.get("kind") == LoadKind.FROM_CACHE:
        return "from the cache"
    if resolved.get("kind") != LoadKind.PARTIAL:
        return "all tables"
    count = len(resolved.get("tables", ()))
    return "1 table" if count == 1 else f"{count} tables"


def retry_advice(run: Run, now: float) -> list[str]:
    """Return the sentence of an outcome that advises a retry, if it skips what has succeeded."""
    skip = retry_skips(run, now).skip
    done = ", ".join(skip)
    return (
        [f"To retry, send POST /runs/{run.run_id}/retry: it skips {done}, which succeeded."] if skip else []
    )


def freshness_facts(
    pipeline: Mapping[str, Any], fresh_within: FreshWithin | None, now: float
) -> dict[str, Any]:
    """Return until when the data of a pipeline is fresh, or since when it is not; empty if it may be any age.

    ``pipeline``: its item, as it is after the end of the run.
    """
    shown = shown_freshness(PipelineState(pipeline), fresh_within, now)
    if shown is None:
        return {}
    facts = {name: shown[name] for name in ("last_success_started_at", "fresh_within", "due_at")}
    return facts | ({"stale_since": shown["since"]} if shown["state"] is FreshnessState.STALE else {})


def names_of(run: Run) -> dict[str, str]:
    """Return the names of the jobs and models of a run by step, as far as they are known."""
    if not run.has_definition:
        return {}
    known = {each.step: name_of(run, each) for each in _planned(run)}
    return {step: name for step, name in known.items() if name}


def name_of(run: Run, planned: PlannedJob | PlannedLoad) -> str:
    """Return the name of a job or model: that of the definition, otherwise of a job that was polled."""
    return planned.name or str(run.steps.get(planned.step, {}).get("name") or "")


def with_names(run: Run, text: str, names: Mapping[str, str]) -> str:
    """Return a text in which names stand before the ids of jobs and models. ``names``: by step."""
    for planned in _planned(run) if run.has_definition else ():
        id_ = planned.job if isinstance(planned, PlannedJob) else planned.data_model
        if name := names.get(planned.step):
            ids = "|".join(re.escape(each) for each in dict.fromkeys((id_, canonical_id(id_))))
            label = labelled(id_, name).replace("\\", r"\\")
            text = re.sub(rf"(?<![\w(/-])(?:{ids})(?![\w)/-])", label, text)
    return text


def _planned(run: Run) -> Iterable[PlannedJob | PlannedLoad]:
    return (*run.plan.jobs, *run.plan.loads)


def run_facts(run: Run) -> dict[str, Any]:
    """Return the facts about a run, whether or not it has ended."""
    return {
        "run_id": run.run_id,
        "pipeline": run.pipeline,
        "status": str(run.status),
        "triggered_by": _triggers(run),
        "started_at": run.item.get("started_at", run.item["created_at"]),
        "execution_arn": run.item.get("execution_arn"),
    }


def step_facts(run: Run, step: str, address: str | None, name: str = "") -> dict[str, Any]:
    """Return the id of a step's job or model with its name, if it is known, and the link to its page.

    The name is that of the definition, otherwise that of the job in Celonis, otherwise ``name``.
    """
    is_job = step.startswith("job-")
    planned = run.plan.job(step) if is_job else run.plan.load(step)
    id_ = planned.job if isinstance(planned, PlannedJob) else planned.data_model
    kind = "data job" if is_job else "load of data model"
    facts: dict[str, Any] = {"step": f"{kind} {labelled(id_, name_of(run, planned) or name)}"}
    if address is None:
        return facts
    page = job_page if is_job else model_page
    title = "Data job in Celonis" if is_job else "Data model in Celonis"
    return facts | {"links": {title: page(address, run.definition.data_pool_id, id_)}}


def _triggers(run: Run) -> list[str]:
    """Return the triggers of a run: people and schedules first, then one of each source, equal ones once."""
    reasons = [(reason.by, _trigger(reason.by, reason.text)) for reason in run.options.reasons]
    counts = Counter(text for _, text in reasons)
    by_text = {text: by for by, text in reasons}
    first_of = {by: text for text, by in reversed(by_text.items())}
    order = sorted(by_text, key=lambda text: (_is_webhook(by_text[text]), first_of[by_text[text]] != text))
    shown = order[:MAX_TRIGGERS]
    texts = [f"{counts[text]} × {text}" if counts[text] > 1 else text for text in shown]
    more = len(reasons) - sum(counts[text] for text in shown)
    return [cut(each, MAX_SENTENCE // 8) for each in texts] + ([f"{more} more"] if more else [])


def _is_webhook(by: str) -> bool:
    """Return whether a trigger came from a source, not from a caller of the API or a schedule."""
    return by != "execution" and not by.startswith("arn:")


def _trigger(by: str, text: str) -> str:
    """Return a trigger in words. The text of many sources begins with the name of the sender."""
    return text if text.split(" ", 1)[0] == by else f"{by}: {text}".rstrip(": ")
