"""``doctor``: checks the stack, and processes dead letters again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import RenderableType
from rich.text import Text

from refresh_cli.app import App, RefreshCommand, pass_app
from refresh_cli.diagnosis import checks
from refresh_cli.diagnosis.dead_letters import DeadLetter, DeadLetters, LetterKind
from refresh_cli.diagnosis.findings import Check, DoctorFinding, Level, run_check, run_checks
from refresh_cli.errors import EXIT_FAILED, CliError
from refresh_cli.output import Result, console, lines, status, table
from refresh_cli.stack import Stack
from refresh_cli.times import local_time, zone

SERVICES = (
    "sts",
    "cloudformation",
    "ssm",
    "secretsmanager",
    "cloudwatch",
    "sqs",
    "sns",
    "lambda",
    "stepfunctions",
)
THIS_MACHINE = ("127.0.0.1", "localhost")
"""Hosts of a local stack, also if it is named by AWS_ENDPOINT_URL."""


def register(cli: click.Group) -> None:
    """Add the command of this module."""
    cli.add_command(doctor)


@click.command("doctor", cls=RefreshCommand)
@click.option("--redrive", is_flag=True, help="Process the messages of the dead-letter queue again.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@pass_app
def doctor(app: App, redrive: bool, yes: bool) -> Result:
    """Check the stack, and say what to do about each problem.

    Checks your credentials, the stack and its version, all pipelines and sources, their secrets, the
    pipelines in Celonis, alarms, dead letters and quotas of the account. Nothing is changed. What you may
    not read is a warning that names the permission.

    With --redrive, only the dead-letter queue is processed: ends of runs are recorded, and starts that a
    schedule could not make are made.

    Exit codes: 0 no errors; 1 errors, or a message that could not be processed; 2 the stack was not found.
    """
    stack = app.stack
    for service in SERVICES:
        stack.client(service)  # boto3 does not make clients in several threads
    return _redrive(app, yes=yes) if redrive else _diagnose(app, stack)


def _diagnose(app: App, stack: Stack) -> Result:
    first = list(checks.check_credentials(stack))  # without credentials, nothing can be checked
    with suppress(ClientError, BotoCoreError):  # check_stack reports these
        _ = stack.description  # nothing can be checked of a stack that does not exist
    configuration = checks.StackConfiguration()

    def read() -> Sequence[DoctorFinding]:
        found = checks.read_stack_configuration(stack, app.command)
        configuration.definitions, configuration.sources = found.definitions, found.sources
        return list(checks.check_configuration(found))

    about_stack = Check(checks.STACK, "cloudformation", partial(checks.check_stack, stack))
    first += run_check(about_stack, app.where)
    first += run_check(Check(checks.CONFIGURATION, "ssm", read), app.where)
    found = [*first, *run_checks(list(_later(app, stack, configuration)), app.where)]
    failed = [each for each in found if each.level is Level.ERROR]
    data = {"stack": stack.name, "ok": not failed, "findings": [each.document() for each in found]}
    return Result(data, _view(found), EXIT_FAILED if failed else 0)


def _later(app: App, stack: Stack, configuration: checks.StackConfiguration) -> Sequence[Check]:
    """The checks that run at the same time."""
    where = app.where
    needed = checks.needed_secrets(stack, configuration, checks.channels_of_stack(stack))
    names, command = sorted(configuration.definitions), app.command
    found = [
        Check(checks.VERSION, "cloudformation", lambda: checks.check_version(stack, checks.own_version())),
        Check(checks.SECRETS, "secretsmanager", lambda: checks.check_secrets(needed, where, command)),
        Check(
            checks.PIPELINES, "execute-api", lambda: checks.check_pipelines(app.api, names, where, command)
        ),
        Check(checks.ALARMS, "cloudwatch", lambda: checks.check_alarms(stack)),
        Check(checks.DEAD_LETTERS, "sqs", lambda: checks.check_dead_letters(stack, command)),
    ]
    if urlsplit(stack.client("ssm").meta.endpoint_url).hostname in THIS_MACHINE:
        return found  # a local stack has no quotas, and nobody subscribes to its topic
    now = datetime.now(UTC)
    return [
        *found,
        Check(checks.SUBSCRIPTIONS, "sns", lambda: checks.check_subscriptions(stack)),
        Check(checks.LAMBDA, "lambda", lambda: checks.check_lambda(stack)),
        Check(checks.STATES, "cloudwatch", lambda: checks.check_states(stack, now)),
        Check(checks.PARAMETERS, "ssm", lambda: checks.check_parameter_store(stack)),
    ]


def _view(found: Sequence[DoctorFinding]) -> RenderableType:
    rows = [(status(each.level), each.check, each.subject, _sentence(each)) for each in found]
    summary = ", ".join(_count(found, level) for level in (Level.ERROR, Level.WARNING)) + "."
    return lines(table(("", "check", "of", "finding"), rows), Text(), summary)


def _count(found: Sequence[DoctorFinding], level: Level) -> str:
    number = sum(each.level is level for each in found)
    return f"{number} {level}{'' if number == 1 else 's'}"


def _sentence(finding: DoctorFinding) -> str:
    return f"{finding.message} {finding.action}".strip()


# ------------------------------------------------------------------------------------------------- redrive


def _redrive(app: App, *, yes: bool) -> Result:
    """Process the messages again, after a question. A message that fails stays in the queue."""
    if not yes and not sys.stdin.isatty():
        raise CliError("Nothing was processed", "there is no terminal to ask for confirmation", "Add --yes.")
    queue = DeadLetters(app.stack)
    letters = queue.receive()
    known = [letter for letter in letters if letter.kind is not LetterKind.UNKNOWN]
    try:
        if letters and not app.as_json:
            console().print(_letters_view(letters))
        if known and not yes:
            click.confirm(f"Process {len(known)} of them again?", abort=True, err=True)
    except click.Abort:
        queue.release(letters)
        raise
    failed = {letter.message_id: sentence for letter in letters if (sentence := _process(app, queue, letter))}
    queue.release([letter for letter in letters if letter.message_id in failed])
    data = {
        "stack": app.stack.name,
        "processed": [letter.document() for letter in letters if letter.message_id not in failed],
        "failed": [
            {**letter.document(), "error": failed[letter.message_id]}
            for letter in letters
            if letter.message_id in failed
        ],
    }
    return Result(data, _redriven_view(letters, failed), EXIT_FAILED if failed else 0)


def _process(app: App, queue: DeadLetters, letter: DeadLetter) -> str | None:
    """Return why a message could not be processed; None if it was."""
    try:
        queue.process(letter)
    except (CliError, ClientError, BotoCoreError) as error:
        return app.error_of(error).sentence
    return None


def _letters_view(letters: Sequence[DeadLetter]) -> RenderableType:
    rows: list[tuple[str, ...]] = [
        (
            str(each.kind),
            each.subject,
            local_time(each.sent_at.isoformat()) if each.sent_at else "",
            each.reason,
        )
        for each in letters
    ]
    return table(("message", "of", f"sent ({zone()})", "reason"), rows)


def _redriven_view(letters: Sequence[DeadLetter], failed: dict[str, Any]) -> RenderableType:
    if not letters:
        return Text("The dead-letter queue is empty.")
    parts: list[RenderableType] = []
    for letter in letters:
        what = f"{letter.kind} {letter.subject}".strip()
        if letter.message_id in failed:
            parts.append(Text(f"failed: {what}: {failed[letter.message_id]}", style="red"))
        else:
            done = "is recorded again" if letter.kind is LetterKind.END else "is started"
            parts.append(Text(f"{what} {done}", style="green"))
    if failed:
        parts.append(Text("What failed is still in the queue."))
    return lines(*parts)
