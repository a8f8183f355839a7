"""Runs: list, start, cancel, retry and watch them; pause and resume pipelines."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import click
from rich.text import Text

from refresh_cli.api import RunsApi
from refresh_cli.app import App, RefreshCommand, pass_app
from refresh_cli.commands import show
from refresh_cli.commands.show import advice, outcome_text, pause_text, pipeline_path, run_path
from refresh_cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, ApiUnavailable, CliError
from refresh_cli.names import PIPELINE, RUN, find_run, newest_run
from refresh_cli.output import Result, console, harmless, lines, status, table, unwrapped
from refresh_cli.times import local_time, seconds_between, took, zone
from refresh_cli.watching import Dropped, LineDisplay, LiveDisplay, StillRunning, Watcher

STATUSES = ("OPENING", "RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
PAGE = 100
"""Runs that one request returns at most."""
ATTEMPTS = 3
"""How often a start is sent: its idempotency key makes sure that it counts once."""
RUN_FIELDS = ("run", "status", "created", "took", "pipeline", "outcome")
WIDE, NARROW_FIELDS = 110, 4
"""Columns of a terminal that shows all fields of a run, and how many fields a narrow one shows."""


def register(cli: click.Group) -> None:
    """Add the commands of this module."""
    for command in (list_runs, show.show, start, watch, cancel, retry, pause, resume):
        cli.add_command(command)


@click.command("runs", cls=RefreshCommand)
@click.argument("pipeline", required=False, type=PIPELINE)
@click.option("--status", "wanted", type=click.Choice(STATUSES, False), help="Only runs with this status.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Number of runs."
)
@click.option("--before", metavar="POSITION", help="Continue a list from the position that it ended with.")
@pass_app
def list_runs(app: App, pipeline: str | None, wanted: str | None, limit: int, before: str | None) -> Result:
    """List the newest runs."""
    query = {"pipeline": pipeline, "status": wanted, "before": before}
    found, position = collect(app.api, query, limit)
    fields = RUN_FIELDS if console().width >= WIDE else RUN_FIELDS[:NARROW_FIELDS]
    rows = ([cells[field] for field in fields] for cells in map(_summary, found))
    empty = f"No runs found: {app.stack.where}."
    older = ["runs", *filter(None, (pipeline,)), *(("--status", wanted) if wanted else ())]
    more = unwrapped(f"\nOlder runs: {app.command(*older, '--before', position)}") if position else None
    heads = [f"{field} ({zone()})" if field == "created" else field for field in fields]
    return Result({"runs": found, "before": position}, lines(table(heads, rows, empty=empty), more))


def collect(api: RunsApi, query: Mapping[str, Any], limit: int) -> tuple[list[Mapping[str, Any]], str | None]:
    """Return up to ``limit`` runs, newest first, and the position of the next page (None: there is none)."""
    found: list[Mapping[str, Any]] = []
    position = query.get("before")
    while True:
        size = min(PAGE, limit - len(found))
        page = api.get("/runs", {**query, "before": position, "limit": size})
        found += page["runs"]
        position = page["before"]
        if position is None or len(found) >= limit:
            return found, position


@click.command("start", cls=RefreshCommand)
@click.argument("pipeline", type=PIPELINE)
@click.option("--mode", type=click.Choice(["FULL", "DELTA"], False), help="Mode of all jobs of this run.")
@click.option(
    "--table", "tables", multiple=True, metavar="NAME", help="Load only this table; may be repeated."
)
@click.option("--all-tables", is_flag=True, help="Load all tables.")
@click.option("--reason", metavar="TEXT", help="Why it is started; kept in its record.")
@click.option(
    "--key", metavar="KEY", help="The same key starts one run in 14 days, however often it is sent."
)
@click.option("--watch", "-w", "watched", is_flag=True, help="Wait for the end; exit code 0 only on success.")
@pass_app
def start(
    app: App,
    pipeline: str,
    mode: str | None,
    tables: tuple[str, ...],
    all_tables: bool,
    reason: str | None,
    key: str | None,
    watched: bool,
) -> Result:
    """Start a run of a pipeline.

    If a run is active, the request joins the run that follows it.
    """
    if tables and all_tables:
        raise click.UsageError("--table and --all-tables exclude each other.")
    given = {"mode": mode, "tables": "all" if all_tables else list(tables), "reason": reason}
    body = {"pipeline": pipeline} | {name: value for name, value in given.items() if value}
    headers = {"idempotency-key": key or str(uuid.uuid4())}
    answer = repeated(lambda: app.api.post("/runs", body, headers))
    return _started(app, answer, "Started", watched=watched)


def repeated(send: Callable[[], Any], sleep: Callable[[float], None] = time.sleep) -> Any:
    """Return the answer to a request that may be sent again if none has come."""
    for attempt in range(1, ATTEMPTS):
        try:
            return send()
        except ApiUnavailable:
            sleep(attempt)
    return send()


@click.command("retry", cls=RefreshCommand)
@click.argument("name", metavar="RUN|PIPELINE", type=RUN)
@click.option("--watch", "-w", "watched", is_flag=True, help="Wait for the end; exit code 0 only on success.")
@pass_app
def retry(app: App, name: str, watched: bool) -> Result:
    """Run again what a run did not complete.

    The new run has the current definition of the pipeline. With the name of a pipeline, its newest run is
    retried.
    """
    run_id = find_run(app, name, newest_run)
    return _started(app, app.api.post(f"{run_path(run_id)}/retry"), f"Retried {run_id}:", watched=watched)


def _started(app: App, answer: Mapping[str, Any], verb: str, *, watched: bool) -> Result:
    run = answer["runs"][0]
    run_id, what = str(run["run_id"]), str(run["status"])
    texts = {
        "started": f"{verb} run {run_id} of pipeline {run['pipeline']}, {app.stack.where}.",
        "joined": f"Joined run {run_id}, which begins when pipeline {run['pipeline']} can run again.",
        "duplicate": f"Nothing was started: an earlier request has started run {run_id}.",
    }
    text = texts.get(what, f"Run {run_id}: {what}.")
    if not watched:
        return Result(answer, lines(text, unwrapped(f"To follow it: {app.command('watch', run_id)}")))
    click.echo(text, err=app.as_json)
    return _watch(app, run_id, None)


@click.command("watch", cls=RefreshCommand)
@click.argument("name", metavar="RUN|PIPELINE", type=RUN)
@click.option(
    "--timeout",
    type=click.IntRange(1),
    metavar="SECONDS",
    help="Stop watching after this time; the run continues.",
)
@pass_app
def watch(app: App, name: str, timeout: int | None) -> Result:
    """Show the progress of a run until it ends.

    The exit code is 0 only if it succeeded, and 1 if it did not. With the name of a pipeline, its active run
    is watched, or its newest. Without a terminal, it prints a line for each change.
    """
    return _watch(app, find_run(app, name, active_run), timeout)


def active_run(app: App, pipeline: str) -> str:
    """Return the active run of a pipeline, or its newest run."""
    found = app.api.get(pipeline_path(pipeline)).get("active_run")
    return str(found) if found else newest_run(app, pipeline)


def _watch(app: App, run_id: str, timeout: float | None) -> Result:
    """Follow a run; its progress goes to stderr if stdout gets JSON."""
    watcher = Watcher(app.api, run_id, timeout)
    screen = console(stderr=app.as_json)
    try:
        if screen.is_terminal:
            with LiveDisplay(screen) as display:
                record = watcher.follow(display)
        else:
            record = watcher.follow(LineDisplay(screen))
    except Dropped as dropped:
        click.echo(harmless(dropped.sentence), err=True)
        return Result({"run_id": run_id, "status": "DROPPED"}, lines(), EXIT_FAILED)
    except StillRunning as still:
        still.action = f"It continues. To watch it again: {app.command('watch', run_id)}"
        raise
    except KeyboardInterrupt:
        click.echo(f"Run {run_id} continues. To stop it: {app.command('cancel', run_id)}", err=True)
        raise click.exceptions.Exit(EXIT_INTERRUPTED) from None
    has_succeeded = record["status"] == "SUCCEEDED"
    error = f"{record['error']}: " if record.get("error") else ""
    view = lines(f"{error}{outcome_text(record) or record['status']}", advice(app, record))
    return Result(record, view, 0 if has_succeeded else EXIT_FAILED)


@click.command("cancel", cls=RefreshCommand)
@click.argument("name", metavar="RUN|PIPELINE", type=RUN)
@click.option("--drop-pending", is_flag=True, help="Drop the run that waits for it, too.")
@pass_app
def cancel(app: App, name: str, drop_pending: bool) -> Result:
    """Stop a run.

    Its jobs in Celonis are cancelled, unless its pipeline says otherwise. A run that waits is dropped. With
    the name of a pipeline, its active run is cancelled, or the run that waits is dropped.
    """
    run_id = find_run(app, name, _run_to_cancel)
    answer = app.api.post(f"{run_path(run_id)}/cancel", {"drop_pending": True} if drop_pending else None)
    if answer.get("status") == "dropped":
        return Result(answer, lines(f"Dropped run {run_id}, which had not begun."))
    dropped = answer.get("dropped")
    also = f"Dropped run {dropped['run_id']}, which waited for it." if dropped else None
    see_end = unwrapped(f"To see its end: {app.command('watch', run_id)}")
    return Result(answer, lines(f"Cancelling run {run_id}.", also, see_end))


def _run_to_cancel(app: App, pipeline: str) -> str:
    state = app.api.get(pipeline_path(pipeline))
    found = state.get("active_run") or (state.get("waiting") or {}).get("run_id")
    if not found:
        action = f"To see what ran: {app.command('runs', pipeline)}"
        raise CliError("No run is active or waiting", f"pipeline {pipeline}", action)
    return str(found)


@click.command("pause", cls=RefreshCommand)
@click.argument("pipeline", type=PIPELINE)
@click.option("--reason", metavar="TEXT", help="Why; shown with the pipeline.")
@pass_app
def pause(app: App, pipeline: str, reason: str | None) -> Result:
    """Pause a pipeline.

    Triggers join one run, which begins when the pipeline is resumed. A run that is active continues.
    """
    answer = app.api.post(f"{pipeline_path(pipeline)}/pause", {"reason": reason} if reason else {})
    previous = answer.get("previous")
    text = f"Paused pipeline {pipeline}, {app.stack.where}."
    if previous:
        is_kept = previous == answer["pause"]
        text = f"Pipeline {pipeline} was already paused {pause_text(previous)}, {app.stack.where}."
        text += " Nothing has changed." if is_kept else " The new pause replaces that one."
    return Result(answer, lines(text, unwrapped(f"To let it run again: {app.command('resume', pipeline)}")))


@click.command("resume", cls=RefreshCommand)
@click.argument("pipeline", type=PIPELINE)
@pass_app
def resume(app: App, pipeline: str) -> Result:
    """End the pause of a pipeline.

    If a run waits, it begins.
    """
    answer = app.api.post(f"{pipeline_path(pipeline)}/resume")
    if answer.get("paused"):
        text = f"Pipeline {pipeline} is still paused by its definition: set paused to false there."
        return Result(answer, lines(text), EXIT_FAILED)
    text = f"Pipeline {pipeline} is not paused any more, {app.stack.where}."
    if not answer.get("started"):
        return Result(answer, lines(text))
    started = str(answer["started"]["run_id"])
    follow = unwrapped(f"To follow it: {app.command('watch', started)}")
    return Result(answer, lines(text, f"Started run {started}, which had waited.", follow))


def _summary(run: Mapping[str, Any]) -> dict[str, str | Text]:
    """Return the fields of a run in a list."""
    seconds = run.get("duration_seconds") or seconds_between(run.get("created_at"), run.get("ended_at"))
    return {
        "run": str(run["run_id"]),
        "pipeline": str(run["pipeline"]),
        "status": status(str(run["status"])),
        "created": local_time(run.get("created_at")),
        "took": took(seconds),
        "outcome": first_sentence(str(run.get("outcome") or "")),
    }


def first_sentence(text: str) -> str:
    """Return the first sentence of an outcome, which says what happened."""
    head, end, _ = text.partition(". ")
    return head + end.strip()
