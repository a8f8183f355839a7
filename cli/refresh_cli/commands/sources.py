"""``sources test`` and ``deliveries``: what events start, and what became of those that arrived."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from celonis_refresh.errors import RefreshError
from celonis_refresh.webhooks.sources import parse_source
from refresh_cli.api import RunsApi
from refresh_cli.app import App, RefreshCommand, RefreshGroup, pass_app
from refresh_cli.configuration.documents import UnreadableDocumentError, read_file
from refresh_cli.configuration.files import to_text
from refresh_cli.errors import EXIT_FAILED, CliError
from refresh_cli.output import Result, lines, table, unwrapped
from refresh_cli.times import local_time, zone

PAGE = 100
"""Deliveries that one request returns at most."""
RESULTS = {
    "started": "green",
    "merged": "green",
    "ignored": "yellow",
    "duplicate": "dim",
    "failed": "red",
}
ACTIONS = {
    "start": "green",
    "join": "green",
    "wait": "green",
    "skip": "yellow",
    "nothing": "yellow",
    "error": "red",
}


def register(cli: click.Group) -> None:
    """Add the commands of this module."""
    cli.add_command(sources)
    cli.add_command(deliveries)


@click.group("sources", cls=RefreshGroup)
def sources() -> None:
    """Try the rules of a source."""


@sources.command("test")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--source",
    "source_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Try this file instead of the source in the stack.",
)
@click.option(
    "--header", "-H", "headers", multiple=True, metavar="NAME:VALUE", help="A header of the request."
)
@click.option("--query", "-q", "query", multiple=True, metavar="NAME=VALUE", help="A field of the query.")
@pass_app
def test_source(
    app: App,
    name: str,
    file: Path,
    source_file: Path | None,
    headers: Sequence[str],
    query: Sequence[str],
) -> Result:
    """Show what the event in FILE would start, rule by rule.

    No run is started. FILE is the body of the webhook, - is stdin. Some senders name the event in a header,
    such as -H x-github-event:workflow_run. No signature is needed.

    Exit codes: 0 the event can be read; 1 it cannot, or a rule cannot be applied to it.
    """
    request: dict[str, Any] = {
        "body": _body(file),
        "headers": {key.lower(): value for key, value in _pairs(headers, ":", "--header")},
        "query": dict(_pairs(query, "=", "--query")),
    }
    if source_file is not None:
        request["source"] = _source(app, name, source_file)
    answer = app.api.post(f"/sources/{name}/test", request)
    return Result(answer, _test_view(answer), EXIT_FAILED if _has_failed(answer) else 0)


def _body(file: Path) -> Any:
    """Return the JSON in a file, or its text."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError):
        raise CliError("The event cannot be read", str(file), "Name a text file in UTF-8.") from None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _pairs(values: Sequence[str], separator: str, option: str) -> Iterator[tuple[str, str]]:
    for value in values:
        name, found, text = value.partition(separator)
        if not found or not name.strip():
            raise CliError(f"{option} is not valid", value, f"Write NAME{separator}VALUE.")
        yield name.strip(), text.strip()


def _source(app: App, name: str, file: Path) -> Any:
    """Return the source in a file. Raises ``CliError`` for a file that no stack would accept."""
    try:
        document = read_file(file)
    except UnreadableDocumentError as error:
        raise CliError("The source cannot be read", f"{file}:{error.line}", error.expected) from None
    if not isinstance(document.value, dict):
        raise CliError("The source is not an object", str(file), "See docs/configuration.md.")
    try:
        parse_source(name, to_text(document.value))
    except RefreshError as error:
        action = f"To see each with its line: {app.command('check', str(file))}"
        raise CliError("The source has mistakes", f"{file} ({error.message})", action) from None
    return document.value


def _has_failed(answer: Mapping[str, Any]) -> bool:
    """Whether the request cannot be read, or a rule cannot be applied to it."""
    actions = (rule["action"] for event in answer["events"] for rule in event["rules"])
    return bool(answer["errors"]) or "error" in actions


def _test_view(answer: Mapping[str, Any]) -> RenderableType:
    parts: list[RenderableType] = []
    for number, event in enumerate(answer["events"], start=1):
        title = " ".join(filter(None, (event["event_name"], event["event_id"]))) or str(number)
        parts.append(Text(f"event {title}", style="bold"))
        rows = [_rule_row(rule) for rule in event["rules"]]
        parts += [table(("rule", "pipeline", "action", "options", "reason"), rows), Text()]
    if answer["reason"]:
        parts.append(Text(f"Nothing is started: {answer['reason']}"))
    parts += [Text(f"error: {error}", style="red") for error in answer["errors"]]
    return lines(*parts) if parts else Text("The request has no events, so it starts nothing.")


def _rule_row(rule: Mapping[str, Any]) -> tuple[str | Text, ...]:
    """Return the cells of a rule. Rules are counted from 1, as in the reasons of deliveries."""
    action = str(rule["action"])
    options = rule["options"] or {}
    shown = ", ".join(
        f"{name}={_option(value)}" for name, value in options.items() if value not in (None, [], "")
    )
    return (
        str(rule["rule"] + 1),
        str(rule["pipeline"]),
        Text(action, style=ACTIONS.get(action, "")),
        shown,
        str(rule["reason"]),
    )


def _option(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# -------------------------------------------------------------------------------------------- deliveries


@click.command("deliveries", cls=RefreshCommand)
@click.argument("source", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Number of deliveries."
)
@click.option(
    "--before", metavar="POSITION", help="Continue the list of a SOURCE from the position that it ended with."
)
@pass_app
def deliveries(app: App, source: str | None, limit: int, before: str | None) -> Result:
    """List the last deliveries of SOURCE, and what became of them.

    Without SOURCE, of all sources, newest first. Requests that are not authentic are not listed.
    """
    if source is None and before is not None:
        again = app.command("deliveries", "SOURCE", "--before", before)
        raise click.UsageError(f"--before needs SOURCE, because each source has its own positions: {again}")
    found, position = _of_source(app.api, source, limit, before) if source else _of_all(app.api, limit)
    heads = (f"received ({zone()})", "source", "delivery", "result", "runs", "reason")
    empty = "No deliveries in the last 14 days. Requests that are not authentic are only counted and logged."
    command = app.command("deliveries", source or "", "--before", str(position))
    more = unwrapped(f"\nOlder deliveries: {command}") if position else None
    view = lines(table(heads, (_delivery_row(each) for each in found), empty=empty), more)
    return Result({"deliveries": found, "before": position}, view)


def _of_source(
    api: RunsApi, source: str, limit: int, before: str | None
) -> tuple[list[Mapping[str, Any]], str | None]:
    """Return the newest deliveries of a source before a position, and the position of the next one."""
    found: list[Mapping[str, Any]] = []
    position = before
    while True:
        size = min(PAGE, limit - len(found))
        page = api.get("/deliveries", {"source": source, "limit": size, "before": position})
        found += page["deliveries"]
        position = page["before"]
        if position is None or len(found) >= limit:
            return found, position


def _of_all(api: RunsApi, limit: int) -> tuple[list[Mapping[str, Any]], None]:
    """Return the newest deliveries of all sources. There is no position to continue from."""
    lists = [_each_of(api, name, min(PAGE, limit)) for name in _source_names(api)]
    newest_first = merge(*lists, key=lambda each: str(each["received_at"]), reverse=True)
    return list(islice(newest_first, limit)), None


def _each_of(api: RunsApi, source: str, size: int) -> Iterator[Mapping[str, Any]]:
    """Yield the deliveries of a source, newest first. Reads a page when it is needed."""
    position = None
    while True:
        page = api.get("/deliveries", {"source": source, "limit": size, "before": position})
        yield from page["deliveries"]
        position = page["before"]
        if position is None:
            return


def _source_names(api: RunsApi) -> Iterator[str]:
    """Yield the names of all sources."""
    after: str | None = None
    while True:
        page = api.get("/sources", {"after": after})
        yield from page["sources"]
        after = page["next"]
        if after is None:
            return


def _delivery_row(delivery: Mapping[str, Any]) -> tuple[str | Text, ...]:
    result = str(delivery["result"])
    runs = ", ".join(
        f"{run['pipeline']} {run.get('run_id') or ''}".strip() for run in delivery.get("runs") or []
    )
    reasons = [str(delivery.get("reason") or ""), *delivery["errors"]]
    return (
        local_time(delivery.get("received_at")),
        str(delivery["source"]),
        str(delivery.get("delivery") or ""),
        Text(result, style=RESULTS.get(result, "")),
        runs,
        "; ".join(filter(None, reasons)),
    )
