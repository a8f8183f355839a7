"""What ``check --online`` asks the stack about a configuration in files. Nothing is started or changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from celonis_refresh.errors import RefreshError
from refresh_cli.app import App
from refresh_cli.configuration.files import Configuration
from refresh_cli.configuration.items import Key, Kind
from refresh_cli.diagnosis.checks import (
    StackConfiguration,
    connection_action,
    needed_secrets,
    read_secrets,
    secrets_denied,
)
from refresh_cli.diagnosis.findings import DoctorFinding, Level
from refresh_cli.errors import ApiUnavailable, CliError
from refresh_cli.names import pages

OnlineFinding = Mapping[str, Any]
"""A finding of the API, with the file and the line; ``action``: what to do, instead of the API's hint."""


def check_online(app: App, found: Configuration) -> tuple[list[OnlineFinding], list[CliError]]:
    """Return what the stack, Celonis and Secrets Manager say, and what could not be asked.

    An error ends its part of the check: what was found until then is kept, and the other parts follow.
    """
    findings: list[OnlineFinding] = []
    errors: list[CliError] = []
    for part in (_pipelines, _rules, _secrets):
        try:
            findings.extend(part(app, found))
        except (CliError, RefreshError, ClientError, BotoCoreError) as error:
            shown = app.error_of(error)
            is_repeated = isinstance(shown, ApiUnavailable) and shown.what in [each.what for each in errors]
            if not is_repeated and shown.sentence not in [each.sentence for each in errors]:
                errors.append(shown)
    return findings, errors


def _pipelines(app: App, found: Configuration) -> Iterator[OnlineFinding]:
    """Yield what Celonis has of each valid pipeline. The stack signs in with its connection."""
    for name in sorted(found.definitions):
        item = found.items[Key(Kind.PIPELINE, name)]
        answer = app.api.post(f"/pipelines/{name}/check", {"definition": item.content})
        document = found.documents[item.path]
        for each in answer["findings"]:
            finding = {
                "pipeline": name,
                "file": item.path,
                "line": document.line(str(each.get("field") or "")),
            }
            is_connection = each.get("field") == "connection"
            action = connection_action(each, app.command) if is_connection else ""
            yield {**finding, **each, **({"action": action} if action else {})}


def _rules(app: App, found: Configuration) -> Iterator[OnlineFinding]:
    """Yield whether the stack has the pipelines that rules name and the files do not have."""
    names = {key.name for key in found.items if key.kind is Kind.PIPELINE}
    rules = [
        (source, index, str(rule.pipeline))
        for source, each in sorted(found.sources.items())
        for index, rule in enumerate(each.rules)
        if rule.pipeline not in names
    ]
    known = {name for page in pages(app.api, {}) for name in page["pipelines"]} if rules else set()
    for source, index, pipeline in rules:
        field = f"rules.{index}.pipeline"
        if pipeline in known:
            finding = DoctorFinding(Level.OK, field, pipeline, "The pipeline exists in the stack.")
        else:
            text = "The pipeline exists neither in these files nor in the stack."
            finding = DoctorFinding(Level.ERROR, field, pipeline, text, "Add its file, or correct the rule.")
        yield _located(found, Key(Kind.SOURCE, source), finding)


def _secrets(app: App, found: Configuration) -> Iterator[OnlineFinding]:
    """Yield whether the secrets of webhooks and channels can be used; Celonis has checked the connections."""
    stack = app.stack
    # A secret that several sources share may be usable for some of them only.
    parts = [StackConfiguration(sources={name: source}) for name, source in found.sources.items()]
    parts.append(StackConfiguration(found.definitions))
    needed = [each for part in parts for each in needed_secrets(stack, part) if each.kind != "connection"]
    if not needed:
        return
    if stack.known_api_url and not stack.is_local and not app.stack_name:
        text = "Not checked: REFRESH_API_URL does not say which stack it is."
        yield _located(
            found, None, DoctorFinding(Level.WARNING, "", "secrets", text, "Name it with --stack.")
        )
        return
    denied = []
    for each, result in read_secrets(needed, app.where, app.command):
        if result is None:
            denied.append(each.name)
            continue
        message = result.message or "The secret can be used."
        is_webhook = each.kind == "webhook"
        kind, field = (Kind.SOURCE, "secret") if is_webhook else (Kind.PIPELINE, "notify.channels")
        for user in each.users:
            finding = DoctorFinding(result.level, field, each.name, message, result.action)
            yield _located(found, Key(kind, user), finding)
    if denied:
        finding = secrets_denied(denied)
        yield _located(
            found, None, DoctorFinding(finding.level, "", "secrets", finding.message, finding.action)
        )


def _located(found: Configuration, key: Key | None, finding: DoctorFinding) -> OnlineFinding:
    """Return a finding with its file and line; ``key``: None if it is about no file."""
    item = found.items[key] if key is not None else None
    return {
        **({str(key.kind): key.name} if key is not None else {}),
        "file": item.path if item else None,
        "line": found.documents[item.path].line(finding.check) if item else None,
        "level": str(finding.level),
        "field": finding.check,
        "subject": finding.subject,
        "message": finding.message,
        **({"action": finding.action} if finding.action else {}),
    }
