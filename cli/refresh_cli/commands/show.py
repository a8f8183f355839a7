"""``show``: a run, a pipeline or all pipelines, and what to do about a failure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from celonis_refresh.notifications.messages import execution_page
from refresh_cli.app import App, RefreshCommand, pass_app
from refresh_cli.errors import ApiError, CliError
from refresh_cli.names import RUN, is_run_id, pages, run_of_name
from refresh_cli.output import Result, facts, lines, status, table, unwrapped
from refresh_cli.progress import ENDED, steps_of
from refresh_cli.times import epoch, local_time, now, seconds_between, took, zone

SUCCEEDED, ABORTED = "SUCCEEDED", "ABORTED"
SEARCHED = 100
"""Runs of a pipeline among which the first failure, or what came after a failure, is searched."""

_RETRY_REQUEST = re.compile(r"To retry, send POST /runs/\S+/retry: it skips")

Run = Mapping[str, Any]


@click.command("show", cls=RefreshCommand)
@click.argument("name", required=False, metavar="[RUN|PIPELINE]", type=RUN)
@pass_app
def show(app: App, name: str | None) -> Result:
    """Show a run, the state of a pipeline, or all pipelines.

    With the name of a pipeline, it shows its active run, the run that waits, the last success, and what has
    failed since. After a failure, it names the commands that help.
    """
    if name is None:
        return _all_pipelines(app)
    if is_run_id(name):
        return _show_run(app, app.api.get(run_path(name)))
    try:
        return _show_pipeline(app, app.api.get(pipeline_path(name)))
    except ApiError as error:
        return _show_run(app, run_of_name(app, name, error))


def run_path(run_id: str) -> str:
    return f"/runs/{run_id}"


def pipeline_path(name: str) -> str:
    return f"/pipelines/{name}"


def _recent_runs(app: App, query: Mapping[str, object]) -> Sequence[Run]:
    """Return up to ``SEARCHED`` runs, newest first; none if they cannot be listed: they only add advice."""
    try:
        found: Sequence[Run] = app.api.get("/runs", {**query, "limit": SEARCHED})["runs"]
    except CliError:
        return []
    return found


def _to(app: App, purpose: str, *words: str) -> Text:
    """Return a line with a purpose and the command for it."""
    return unwrapped(f"{purpose}: {app.command(*words)}")


# ------------------------------------------------------------------------------------------ all pipelines


def _all_pipelines(app: App) -> Result:
    found = list(pages(app.api, {"runs": 1}))
    names = [name for page in found for name in page["pipelines"]]
    freshness = {name: fresh for page in found for name, fresh in page.get("freshness", {}).items()}
    details = {each["pipeline"]: each for page in found for each in page.get("details") or ()}
    rows = (_pipeline_row(name, details.get(name, {}), freshness.get(name)) for name in names)
    heads = ("pipeline", "state", "fresh", "last run", f"created ({zone()})", "took")
    empty = f"No pipelines are defined. To add those of a folder: {app.command('push', 'FOLDER')}"
    data = {"pipelines": names, "freshness": freshness, "details": list(details.values())}
    bad = [name for name in names if _is_bad(details.get(name, {}))]
    which = bad[0] if len(bad) == 1 else "PIPELINE"
    hint = _to(app, "\nTo see what is wrong, and what to do", "show", which) if bad else None
    return Result(data, lines(table(heads, rows) if names else unwrapped(empty), hint))


def _is_bad(detail: Mapping[str, Any]) -> bool:
    """Whether a definition is not valid, or the last run has failed."""
    last: Run = next(iter(detail.get("runs") or ()), {})
    return bool(detail.get("invalid")) or _has_failed(last)


def _pipeline_row(name: str, detail: Mapping[str, Any], fresh: Mapping[str, Any] | None) -> tuple[Any, ...]:
    last: Run = next(iter(detail.get("runs") or ()), {})
    seconds = last.get("duration_seconds") or seconds_between(last.get("created_at"), last.get("ended_at"))
    return (
        name,
        _state(detail),
        _freshness(detail, fresh) if fresh else "",
        status(str(last.get("status", ""))),
        local_time(last.get("created_at")),
        took(seconds),
    )


def _freshness(detail: Mapping[str, Any], fresh: Mapping[str, Any]) -> Text:
    is_never = fresh["state"] == "FRESH" and not _has_succeeded(detail, fresh)
    return Text("no success") if is_never else status(str(fresh["state"]))


def _state(detail: Mapping[str, Any]) -> Text:
    """Return what a pipeline does now; empty if it waits for triggers."""
    if detail.get("invalid"):
        return Text("invalid", style="red")
    if detail.get("paused"):
        return Text("paused", style="yellow")
    return Text("running", style="cyan") if detail.get("active_run") else Text("")


# ----------------------------------------------------------------------------------------------- pipeline


def _show_pipeline(app: App, found: Mapping[str, Any]) -> Result:
    if app.as_json:
        return Result(found)
    name = str(found["pipeline"])
    ended = [run for run in _recent_runs(app, {"pipeline": name}) if run["status"] in ENDED]
    bad = list(takewhile(lambda run: run["status"] != SUCCEEDED, ended))
    return Result(found, lines(_pipeline_facts(found, bad), *_pipeline_advice(app, found, bad)))


def _pipeline_facts(found: Mapping[str, Any], bad: Sequence[Run]) -> RenderableType:
    """``bad``: the runs that have ended since the last success, newest first."""
    pause, waiting, success = found.get("pause"), found.get("waiting"), found.get("last_success")
    fresh = found.get("freshness")
    last = bad[0] if bad else {}
    return facts(
        [
            ("pipeline", str(found["pipeline"])),
            ("paused", pause_text(pause) if pause else "by its definition" if found.get("paused") else ""),
            ("active run", str(found.get("active_run") or "none")),
            ("waiting run", str(waiting["run_id"]) if waiting else ""),
            ("last run", _ended_text(last) if last else ""),
            ("error", _error_text(last)),
            ("outcome", outcome_text(last)),
            ("failing since", _failing_since(bad)),
            (
                "last success",
                f"{local_time(success['ended_at'])}, run {success['run_id']}" if success else "none",
            ),
            ("data", _age(found, fresh)),
            ("freshness", _freshness_text(found, fresh) if fresh else ""),
            ("usually takes", took(found.get("expected_seconds"))),
            ("time zone", zone()),
        ]
    )


def _pipeline_advice(app: App, found: Mapping[str, Any], bad: Sequence[Run]) -> Iterable[RenderableType]:
    name, active = str(found["pipeline"]), found.get("active_run")
    parts = []
    if found.get("pause"):
        parts.append(_to(app, "To end the pause", "resume", name))
    if active:
        parts.append(_to(app, "To follow the active run", "watch", str(active)))
    if bad:
        parts.append(_to(app, "To see each step of the last run", "show", str(bad[0]["run_id"])))
    if bad and not active and not found.get("paused"):
        parts.append(_retry_advice(app, _full_record(app, bad[0])))
    return [Text(), *parts] if parts else []


def _full_record(app: App, run: Run) -> Run:
    """Return the full record of a listed run, or the run itself if it cannot be read."""
    try:
        found: Run = app.api.get(run_path(str(run["run_id"])))
    except CliError:
        return run
    return found


def _failing_since(bad: Sequence[Run]) -> str:
    """Return when the first failure since the last success was, and how many there are."""
    failed = [run for run in bad if _has_failed(run)]
    if len(failed) < 2:
        return ""
    least = "at least " if len(bad) == SEARCHED else ""
    return f"{local_time(failed[-1].get('ended_at'))}, {least}{len(failed)} runs"


def _has_failed(run: Run) -> bool:
    return run.get("status") in ENDED - {SUCCEEDED, ABORTED}


def _ended_text(run: Run) -> str:
    return f"{run['status']} at {local_time(run.get('ended_at'))}, run {run['run_id']}"


def outcome_text(run: Run) -> str:
    """Return how a run ended. The request for a retry is left out: ``advice`` has the command for it."""
    return _RETRY_REQUEST.sub("A retry skips", str(run.get("outcome") or ""))


def _error_text(run: Run) -> str:
    error = str(run.get("error") or "")
    return f"{error} (docs/errors.md)" if error and _has_failed(run) else error


def _age(found: Mapping[str, Any], fresh: Mapping[str, Any] | None) -> str:
    """Return how old the data is: as freshness, since the start of the last success, if the API has it."""
    started = (fresh or {}).get("last_success_started_at")
    seconds = now() - epoch(started) if started else found.get("seconds_since_last_success")
    return f"{took(seconds)} old" if seconds is not None else ""


def _freshness_text(found: Mapping[str, Any], fresh: Mapping[str, Any]) -> str:
    """Return the state, since when it is so, and from when the data is stale."""
    since = f"{fresh['state']} since {local_time(fresh['since'])}"
    due = "" if fresh["state"] == "STALE" else f"stale from {local_time(fresh['due_at'])}"
    if _has_succeeded(found, fresh):
        return ", ".join(filter(None, (since, due)))
    return ", ".join(filter(None, ("" if fresh["state"] == "FRESH" else since, "no run has succeeded", due)))


def _has_succeeded(found: Mapping[str, Any], fresh: Mapping[str, Any]) -> bool:
    """Whether a run has succeeded; until the first one is late, the API calls a pipeline fresh."""
    return bool(found.get("last_success") or fresh.get("last_success_started_at"))


def pause_text(pause: Mapping[str, Any]) -> str:
    """Return since when, by whom and why a pipeline is paused."""
    reason = f": {pause['reason']}" if pause.get("reason") else ""
    return f"since {local_time(pause.get('at'))} by {pause.get('by')}{reason}"


# ---------------------------------------------------------------------------------------------------- run

RETRY = "To run again what it did not complete"


def _show_run(app: App, run: Run) -> Result:
    if app.as_json:
        return Result(run)
    later: Sequence[Run] = []
    if run["status"] in ENDED and run["status"] != SUCCEEDED:
        found = _recent_runs(app, {"pipeline": run["pipeline"], "since": run["created_at"]})
        later = [each for each in found if each["run_id"] != run["run_id"]]
    arn = run.get("execution_arn")
    url = execution_page(arn) if arn and not app.stack.is_local else None
    return Result(run, lines(_run_facts(run, later, url), _step_table(run), advice(app, run, later)))


def _run_facts(run: Run, later: Sequence[Run], url: str | None) -> RenderableType:
    seconds = seconds_between(run.get("started_at") or run.get("created_at"), run.get("ended_at"))
    reasons = (run.get("options") or {}).get("reasons") or ()
    success = _success(later)
    pool = str((run.get("definition") or {}).get("data_pool") or "")
    return facts(
        [
            ("run", str(run["run_id"])),
            ("pipeline", str(run["pipeline"])),
            ("status", status(str(run["status"]))),
            ("error", _error_text(run)),
            ("outcome", outcome_text(run)),
            ("waiting for", str(run.get("waiting_for_run") or "")),
            ("created", local_time(run.get("created_at"))),
            ("ended", local_time(run.get("ended_at"))),
            ("took", took(seconds)),
            ("retry of", str(run.get("retry_of") or "")),
            ("retried by", _with_status(run.get("retried_by"), later)),
            ("later success", _with_status(success, later) if success != run.get("retried_by") else ""),
            ("follow-up run", str(run.get("follow_up") or "")),
            ("started by", "\n".join(map(_reason, reasons))),
            ("warnings", "\n".join(run.get("warnings") or ())),
            ("data pool", pool if pool.startswith("https://") else ""),
            ("console", url or ""),
            ("time zone", zone()),
        ]
    )


def _success(later: Sequence[Run]) -> str | None:
    """Return the newest run that succeeded."""
    return next((str(run["run_id"]) for run in later if run["status"] == SUCCEEDED), None)


def _with_status(run_id: str | None, later: Sequence[Run]) -> str:
    """Return the id of a run, with its status and its end if it is among the later runs."""
    found = next((run for run in later if run["run_id"] == run_id), None)
    if found is None:
        return run_id or ""
    end = f" at {local_time(found['ended_at'])}" if found.get("ended_at") else ""
    return f"{run_id}, {found['status']}{end}"


def _reason(reason: Mapping[str, Any]) -> str:
    text = f": {reason['text']}" if reason.get("text") else ""
    return f"{local_time(reason.get('at'))} {reason.get('by', '')}{text}"


def _step_table(run: Run) -> RenderableType | None:
    steps = steps_of(run, now())
    rows = [(each.step, each.what, status(each.state), took(each.seconds), each.note) for each in steps]
    return lines("", table(("step", "what", "state", "took", "note"), rows)) if rows else None


def advice(app: App, run: Run, later: Sequence[Run] = ()) -> Text | None:
    """Return the command that helps with a run. ``later``: the runs of its pipeline since, newest first."""
    if run["status"] == "WAITING" and not run.get("waiting_for_run"):
        return _to(app, "\nTo let it begin", "resume", str(run["pipeline"]))
    if run["status"] not in ENDED:
        return _to(app, "\nTo follow it", "watch", str(run["run_id"]))
    return None if run["status"] == SUCCEEDED else _advice_after_failure(app, run, later)


def _advice_after_failure(app: App, run: Run, later: Sequence[Run]) -> Text:
    retry, success = run.get("retried_by"), _success(later)
    if active := next((str(each["run_id"]) for each in later if each["status"] not in ENDED), None):
        return _to(app, "\nTo follow the run that is active now", "watch", active)
    if success and success == retry:
        return Text("\nIts retry has succeeded: there is nothing left to do.")
    if success:
        less = "\nIts pipeline has succeeded since. If that run did less than this one, start the rest"
        return _to(app, less, "start", str(run["pipeline"]))
    if retry:
        return _to(app, "\nTo see its retry, and what to do", "show", str(retry))
    return _retry_advice(app, run, "\n")


def _retry_advice(app: App, run: Run, before: str = "") -> Text:
    """Return what to do about a run that has failed, and that has neither a retry nor a later success."""
    if "name" in (run.get("definition") or {}):
        text = "The definition of the run was inline, so it cannot be retried: start its execution again."
        return Text(f"{before}{text}")
    if run.get("can_retry") is False:
        text = f"{before}A retry would fail in the same way. To start a new run"
        return _to(app, text, "start", str(run["pipeline"]))
    text = f"{RETRY}, once the cause is fixed" if _has_failed(run) else RETRY
    return _to(app, f"{before}{text}", "retry", str(run["run_id"]))
