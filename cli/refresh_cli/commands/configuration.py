"""``check``, ``diff``, ``push`` and ``pull``: a folder of files is the configuration of a stack."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import RenderableType
from rich.text import Text

from celonis_refresh.notifications.channels import AMAZON_Q
from celonis_refresh.notifications.messages import TOPIC
from refresh_cli.app import App, RefreshCommand, pass_app
from refresh_cli.configuration.difference import WRITING, Action, Change, compare, unified
from refresh_cli.configuration.files import (
    NO_FOLDERS,
    Configuration,
    FileKind,
    Finding,
    Severity,
    read_configuration,
)
from refresh_cli.configuration.items import FOLDERS, Kind
from refresh_cli.configuration.pulling import Pull, plan_pull
from refresh_cli.configuration.remote import RemoteConfiguration
from refresh_cli.configuration.secrets import channel_names
from refresh_cli.configuration.writing import PAST, Outcome, write
from refresh_cli.diagnosis.checks import fact_of
from refresh_cli.diagnosis.online import OnlineFinding, check_online
from refresh_cli.errors import EXIT_ERROR, EXIT_FAILED, EXIT_INTERRUPTED, CliError
from refresh_cli.output import Result, console, lines, table, unwrapped

SIGNS: Final = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.DELETE: ("-", "red"),
    Action.ONLY_IN_STACK: ("?", "cyan"),
    Action.OWNED: ("!", "magenta"),
    Action.FOREIGN: ("!", "magenta"),
    Action.KEEP: ("=", "dim"),
}
COLOURS: Final = {"+": "green", "-": "red", "@": "cyan"}
LEVELS: Final = {
    Severity.UNUSABLE: "red",
    Severity.MISTAKE: "red",
    Severity.WARNING: "yellow",
    "error": "red",
    "warning": "yellow",
    "ok": "green",
}

folder_argument = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
existing_folder = click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".", required=False
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")


def register(cli: click.Group) -> None:
    """Add the commands of this module."""
    for command in (check, diff, push, pull):
        cli.add_command(command)


# ------------------------------------------------------------------------------------------------- check


@click.command("check", cls=RefreshCommand)
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[FILES|FOLDER]...")
@click.option("--online", is_flag=True, help="Also ask the stack, Celonis and Secrets Manager what exists.")
@pass_app
def check(app: App, paths: Sequence[Path], online: bool) -> Result:
    """Check files of pipelines, sources and channels.

    Needs no access to AWS or Celonis. A folder has pipelines/, sources/ and, outside of git, channels/.
    Without an argument, it is the current folder.

    With --online, the stack signs in at Celonis and reports which pools, jobs, models, tables and permissions
    exist. The secrets that sources and channels need are read, and the stack must have the pipelines of rules
    that have no file. Nothing is started or changed.

    Exit codes: 0 no mistakes; 1 mistakes; 2 a file cannot be used, or with --online, something could not be
    asked.
    """
    found = read_configuration(paths or [Path()])
    if not found.files and all(each.expected == NO_FOLDERS for each in found.findings):
        raise CliError(
            "There are no files to check",
            ", ".join(map(str, paths)) or str(Path.cwd()),
            f"Name files or a folder with {' or '.join(f'{each}/' for each in FOLDERS.values())} in it.",
        )
    remote, errors = check_online(app, found) if online else ([], [])
    answered = {(each["file"], each["field"]) for each in remote}
    found.findings = [
        each
        for each in found.findings
        if each.severity is not Severity.WARNING or (each.file, each.field) not in answered
    ]
    failed = any(each["level"] == "error" for each in remote)
    data = {
        "ok": not (found.mistakes or failed or errors),
        "checked": _counts(found),
        "findings": [_finding_data(each) for each in found.findings],
        **({"online": remote, "errors": [each.document() for each in errors]} if online else {}),
    }
    code = EXIT_ERROR if errors else found.exit_code or (EXIT_FAILED if failed else 0)
    return Result(data, _check_view(found, remote, errors), code, errors)


def _check_view(
    found: Configuration, remote: Sequence[OnlineFinding], errors: Sequence[CliError]
) -> RenderableType:
    parts: list[RenderableType] = [_finding_line(each) for each in found.findings]
    parts += [_online_line(each) for each in remote]
    count = len(found.mistakes) + sum(each["level"] == "error" for each in remote)
    result = "no mistakes" if not count else f"{count} mistake{'s' if count > 1 else ''}"
    checked = ", ".join(f"{number} {_plural(kind, number)}" for kind, number in _counts(found).items())
    rest = ", not all of it was checked online" if errors else ""
    style = "red" if count or errors else "green"
    return lines(*parts, Text(f"{checked or 'no files'}: {result}{rest}", style=style))


def _finding_line(finding: Finding) -> Text:
    text = Text(f"{finding.place}: ", style="bold")
    text.append(f"{finding.severity}: ", style=LEVELS[finding.severity])
    return text.append(finding.problem, style="default not bold")


def _online_line(finding: OnlineFinding) -> Text:
    level = str(finding["level"])
    text = Text(f"{finding['file']}:{finding['line']}: " if finding["file"] else "", style="bold")
    text.append(f"{level}: ", style=LEVELS.get(level, ""))
    action = str(finding.get("action") or finding.get("hint") or "")
    parts = (str(finding.get("field") or ""), str(finding.get("subject") or ""), fact_of(finding))
    return text.append(f"{': '.join(filter(None, parts))} {action}".rstrip(), style="default not bold")


def _counts(found: Configuration) -> dict[str, int]:
    counts = {str(kind): sum(each is kind for each, _ in found.files) for kind in FileKind}
    counts["schedules"] = sum(key.kind is Kind.SCHEDULE for key in found.items)
    return {kind: number for kind, number in counts.items() if number}


def _plural(kind: str, number: int) -> str:
    return kind if number != 1 else kind.removesuffix("s")


def _finding_data(finding: Finding) -> dict[str, Any]:
    return {
        "file": finding.file,
        "line": finding.line,
        "field": finding.field,
        "expected": finding.expected,
        "severity": str(finding.severity),
    }


# ------------------------------------------------------------------------------------------ diff and push


@click.command("diff", cls=RefreshCommand)
@existing_folder
@click.option("--prune", is_flag=True, help="Show what push --prune would delete.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if the files and the stack differ.")
@pass_app
def diff(app: App, folder: Path, prune: bool, exit_code: bool) -> Result:
    """Show what push would change in the stack.

    With --exit-code, what is only in the stack is a difference as well, although push leaves it as it is
    without --prune.
    """
    _, changes = _compare(app, _readable(app, folder), prune=prune)
    differs = any(change.action is not Action.KEEP for change in changes if not _is_only_owned(change))
    data = {"stack": app.stack.name, "changes": [_change_data(each) for each in _noticed(changes)]}
    return Result(data, _difference_view(changes), EXIT_FAILED if exit_code and differs else 0)


@click.command("push", cls=RefreshCommand)
@existing_folder
@click.option("--prune", is_flag=True, help="Delete what is only in the stack.")
@yes_option
@pass_app
def push(app: App, folder: Path, prune: bool, yes: bool) -> Result:
    """Write the files of FOLDER to the stack.

    Writes pipelines, sources and schedules. Shows the difference first and writes only what changed. Deletes
    nothing without --prune, and never changes what belongs to the CloudFormation stack, such as its sample
    pipeline. It can be repeated.
    """
    found = _readable(app, folder)
    remote, changes = _compare(app, found, prune=prune)
    writes = [change for change in changes if change.action in WRITING]
    warnings = _channel_warnings(app, found, writes)
    if not app.as_json:
        console().print(_difference_view(changes))
        for warning in warnings:
            console().print(unwrapped(f"warning: {warning}", "yellow"))
    if writes:
        _confirm(f"{_summary(writes)} in {app.stack.where}?", yes=yes)
    with _termination_as_interrupt():
        outcome = write(remote, changes)
    refused = [change for change in changes if change.is_refused]
    code = _exit_code(outcome, has_refused=bool(outcome.refused or refused))
    data = {**_outcome_data(app, outcome, refused), "warnings": warnings}
    return Result(data, _outcome_view(app, folder, outcome, refused, bool(writes)), code)


def _channel_warnings(app: App, found: Configuration, writes: Sequence[Change]) -> list[str]:
    """Return the channels without a secret that the pipelines to be written name; they are written anyway.

    Without the permission to list secrets, nothing is returned: ``check --online`` says what is missing.
    """
    used: dict[str, list[str]] = {}
    for change in writes:
        definition = found.definitions.get(change.key.name) if change.key.kind is Kind.PIPELINE else None
        if definition is not None and change.action is not Action.DELETE:
            for channel in definition.notify.channels or ():
                used.setdefault(str(channel), []).append(change.key.name)
    if not used.keys() - {TOPIC, AMAZON_Q}:
        return []
    try:
        known = {TOPIC, AMAZON_Q, *channel_names(app.stack)}
    except (BotoCoreError, ClientError):
        return []
    return [
        f"The secret of channel {name} does not exist: pipeline {', '.join(users)}. "
        f"Enter it: {app.command('secret', 'channel', name)}"
        for name, users in used.items()
        if name not in known
    ]


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM interrupt as Ctrl-C does, so that the command still says what it has written.

    Further ones are ignored until the process has ended: they would interrupt the report.
    """
    stopping = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if not stopping:
            signal.signal(signal.SIGTERM, before)


def _exit_code(outcome: Outcome, *, has_refused: bool) -> int:
    if isinstance(outcome.failure, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if outcome.failure is not None:
        return EXIT_ERROR
    return EXIT_FAILED if has_refused else 0


def _why(app: App, failure: Exception | KeyboardInterrupt) -> str:
    return "Interrupted." if isinstance(failure, KeyboardInterrupt) else app.error_of(failure).sentence


def _readable(app: App, folder: Path) -> Configuration:
    """Return the configuration in a folder. Raises ``CliError`` if anything is wrong in it."""
    found = read_configuration([folder], with_secrets=False)
    if not found.mistakes:
        return found
    first = found.mistakes[0]
    more = f" (and {len(found.mistakes) - 1} more)" if len(found.mistakes) > 1 else ""
    raise CliError(
        "The files have mistakes, so nothing was read or written",
        f"{first}{more}",
        f"To see all of them: {app.command('check', str(folder))}",
    )


def _compare(app: App, found: Configuration, *, prune: bool) -> tuple[RemoteConfiguration, list[Change]]:
    remote = RemoteConfiguration(app.stack)
    kinds = found.kinds | ({Kind.SCHEDULE} if Kind.PIPELINE in found.kinds else set())
    there = {key: each for key, each in remote.read().items() if key.kind in kinds}
    return remote, compare(found.items, there, remote.content, remote.address, prune=prune)


def _is_only_owned(change: Change) -> bool:
    """Whether only the stack has it, and it is not for the files to change."""
    return change.action in (Action.OWNED, Action.FOREIGN) and change.item is None


def _noticed(changes: Iterable[Change]) -> list[Change]:
    return [change for change in changes if change.action is not Action.KEEP]


def _change_data(change: Change) -> dict[str, Any]:
    return {
        "action": str(change.action),
        "kind": str(change.key.kind),
        "name": change.key.name,
        "file": change.item.path if change.item else None,
        "address": change.address,
        "diff": list(unified(change)) if change.action in WRITING or change.is_refused else [],
    }


def _difference_view(changes: Sequence[Change]) -> RenderableType:
    noticed = _noticed(changes)
    parts: list[RenderableType] = []
    for change in noticed:
        if change.action in WRITING or change.is_refused:
            parts += [_coloured(line) for line in unified(change)]
            parts.append(Text())
    rows = [(_sign(change), str(change.key.kind), change.key.name, _remark(change)) for change in noticed]
    if rows:
        parts += [table(("", "what", "name", ""), rows), Text()]
    kept = sum(change.action is Action.KEEP for change in changes)
    writes = [change for change in changes if change.action in WRITING]
    counts = {
        "only in the stack": sum(change.action is Action.ONLY_IN_STACK for change in changes),
        "not written": sum(change.is_refused for change in changes),
        "unchanged": kept,
    }
    rest = [f"{count} {what}" for what, count in counts.items() if count or what == "unchanged"]
    start = _summary(writes) or ("Nothing to write" if len(rest) > 1 else "No differences")
    parts.append(Text(f"{'; '.join([start, *rest])}."))
    return lines(*parts)


def _coloured(line: str) -> Text:
    return Text(line, style="bold" if line.startswith(("---", "+++")) else COLOURS.get(line[:1], ""))


def _sign(change: Change) -> Text:
    sign, style = SIGNS[change.action]
    return Text(f"{sign} {change.action}", style=style)


def _remark(change: Change) -> str:
    match change.action:
        case Action.ONLY_IN_STACK:
            return f"{change.address} has no file; push --prune deletes it, pull writes the file"
        case Action.OWNED if change.item is not None:
            return (
                f"{change.item.path} is not written: {change.address} is changed by the CloudFormation stack"
            )
        case Action.OWNED:
            return f"{change.address} is left as it is"
        case Action.FOREIGN:
            return f"{change.address} was not written by refresh and is left as it is"
    return change.item.path if change.item else change.address


def _summary(changes: Sequence[Change]) -> str:
    """Return ``Create 2, update 1, delete 1``."""
    counts = [(action, sum(change.action is action for change in changes)) for action in WRITING]
    return ", ".join(f"{action} {count}" for action, count in counts if count).capitalize()


def _confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal. Raises ``CliError`` where nobody can be asked, and ``click.Abort``."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CliError("Nothing was written", "there is no terminal to ask for confirmation", "Add --yes.")
    click.confirm(question, abort=True, err=True)


def _outcome_data(app: App, outcome: Outcome, refused: Sequence[Change]) -> dict[str, Any]:
    failed = outcome.failed
    not_written = [*outcome.refused, *((change, _remark(change)) for change in refused)]
    error = _why(app, outcome.failure) if outcome.failure else None
    return {
        "stack": app.stack.name,
        "written": [_written_data(each) for each in outcome.written],
        "not_written": [{**_written_data(change), "reason": reason} for change, reason in not_written],
        "failed": {**_written_data(failed), "error": error, "may_be_written": outcome.is_uncertain}
        if failed
        else None,
        "not_tried": [_written_data(each) for each in outcome.left],
        "notes": outcome.notes,
    }


def _written_data(change: Change) -> dict[str, Any]:
    return {"action": str(change.action), "kind": str(change.key.kind), "name": change.key.name}


def _outcome_view(
    app: App, folder: Path, outcome: Outcome, refused: Sequence[Change], has_writes: bool
) -> RenderableType | None:
    again = app.command("push", str(folder))
    parts: list[RenderableType] = [
        Text(f"{PAST[each.action]} {each.key} ({each.address})", style="green") for each in outcome.written
    ]
    parts += [Text(f"note: {note}", style="yellow") for note in outcome.notes]
    for change, reason in [*outcome.refused, *((each, _remark(each)) for each in refused)]:
        parts.append(Text(f"not written: {change.key}: {reason}", style="red"))
    if outcome.refused:
        parts.append(unwrapped(f"To compare again: {again}"))
    if outcome.failed is not None and outcome.failure is not None:
        may = "may or may not have been" if outcome.is_uncertain else "was not"
        sentence = _why(app, outcome.failure)
        parts.append(
            Text(f"failed: {outcome.failed.key} {may} {PAST[outcome.failed.action]}. {sentence}", style="red")
        )
        parts += [Text(f"not tried: {each.action} {each.key}", style="red") for each in outcome.left]
        parts.append(
            unwrapped(f"Fix the cause and push again, which writes only what still differs: {again}")
        )
    if not parts and not has_writes:
        return Text("Nothing was written.")
    return lines(*parts)


# -------------------------------------------------------------------------------------------------- pull


@click.command("pull", cls=RefreshCommand)
@folder_argument
@click.option("--prune", is_flag=True, help="Delete files of what is not in the stack.")
@yes_option
@pass_app
def pull(app: App, folder: Path, prune: bool, yes: bool) -> Result:
    """Write the configuration of the stack to FOLDER.

    A file whose content is equal is not touched, so its comments stay. A file that differs is rewritten,
    in its format. What belongs to the CloudFormation stack gets no new file.
    """
    plan = _pull_plan(app, folder, prune=prune)
    if not app.as_json:
        console().print(_pull_view(plan))
    if plan.replaced or plan.deleted:
        counts = ((len(plan.replaced), "overwritten"), (len(plan.deleted), "deleted"))
        what = ", ".join(f"{_files(number)} to be {verb}" for number, verb in counts if number)
        _confirm(f"{what}. Continue?", yes=yes)
    plan.apply()
    data = {
        "stack": app.stack.name,
        "created": [str(path) for path in plan.created],
        "replaced": [str(path) for path in plan.replaced],
        "deleted": [str(path) for path in plan.deleted],
        "unchanged": [str(path) for path in plan.unchanged],
        "skipped": [{"name": str(key), "reason": reason} for key, reason in plan.skipped.items()],
    }
    done = f"{_files(len(plan.created) + len(plan.replaced))} written, {len(plan.deleted)} deleted."
    return Result(data, Text(done), EXIT_FAILED if plan.is_incomplete else 0)


def _pull_plan(app: App, folder: Path, *, prune: bool) -> Pull:
    local = Configuration()
    if any((folder / each).is_dir() for each in FOLDERS.values()):
        local = read_configuration([folder], with_secrets=False)
    unusable = [each for each in local.findings if each.severity is Severity.UNUSABLE]
    if unusable:
        raise CliError(
            "A file cannot be compared, so nothing was written", str(unusable[0]), "Correct or remove it."
        )
    remote = RemoteConfiguration(app.stack)
    there = remote.read()
    changes = compare(local.items, there, remote.content, remote.address, prune=False)
    return plan_pull(folder, local, there, changes, prune=prune)


def _pull_view(plan: Pull) -> RenderableType:
    parts: list[RenderableType] = []
    for path, text in plan.differences():
        parts += [_coloured(line) for line in text]
        parts.append(Text(f"{path} is rewritten; its comments are lost.", style="yellow"))
    parts += [Text(f"+ {path}", style="green") for path in plan.created]
    parts += [Text(f"~ {path}", style="yellow") for path in plan.replaced]
    parts += [Text(f"- {path}", style="red") for path in plan.deleted]
    parts += [
        Text(f"? {path} is not in the stack; pull --prune deletes it", style="cyan") for path in plan.extra
    ]
    parts += [Text(f"! {key}: {reason}", style="magenta") for key, reason in plan.skipped.items()]
    parts.append(Text(f"{_files(len(plan.unchanged))} unchanged."))
    return lines(*parts)


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"
