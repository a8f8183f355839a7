"""The findings of a diagnosis, and how errors of a check become one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import StrEnum

from botocore.exceptions import BotoCoreError, ClientError

from celonis_refresh.errors import RefreshError
from refresh_cli.aws_errors import DENIED, from_aws
from refresh_cli.errors import ApiError, ApiUnavailable, CliError

WORKERS = 8
"""Checks that run at the same time."""
ASK = "Ask for the permission, or use another --profile."
IAM_NAMES = {"Invoke": "InvokeFunction"}
"""Operations whose IAM action has another name."""


Command = Callable[..., str]
"""Returns a command of the tool for the same stack: ``App.command``."""


class Level(StrEnum):
    """How good a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class DoctorFinding:
    """One line. ``check``: what was checked; ``subject``: of which thing; ``action``: what to do."""

    level: Level
    check: str
    subject: str
    message: str
    action: str = ""

    def document(self) -> dict[str, str]:
        """Return the finding for ``--json``."""
        return {name: str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Check:
    """A named check. ``service``: its prefix in IAM actions; ``find`` may raise errors of AWS and the API."""

    name: str
    service: str
    find: Callable[[], Iterable[DoctorFinding]]


def run_checks(checks: Sequence[Check], where: str) -> list[DoctorFinding]:
    """Run checks at the same time; return their findings in the order of the checks."""
    with ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(lambda check: run_check(check, where), checks)
    return [finding for findings in found for finding in findings]


def run_check(check: Check, where: str) -> list[DoctorFinding]:
    """Return what a check finds. An error that it raises is a finding."""
    try:
        return list(check.find())
    except (ClientError, BotoCoreError, CliError, RefreshError) as error:
        return [finding_of(error, check.name, check.service, where)]


def finding_of(error: Exception, check: str, service: str, where: str, subject: str = "") -> DoctorFinding:
    """Return the finding for an error. A missing permission is a warning that names the IAM action."""
    if isinstance(error, ClientError) and _code(error) in DENIED:
        operation = IAM_NAMES.get(error.operation_name, error.operation_name)
        prefix = "cloudformation" if "Stack" in operation else service
        text = f"Not checked: you may not call {prefix}:{operation}."
        return DoctorFinding(Level.WARNING, check, subject, text, ASK)
    match error:
        case ApiUnavailable():
            text = f"Not checked: {error.fact}"
            return DoctorFinding(Level.WARNING, check, subject, text, error.action or "Try again.")
        case ApiError() if error.name == "Forbidden":
            text = f"Not checked: you may not call {error.which}."
            return DoctorFinding(Level.WARNING, check, subject, text, ASK)
        case CliError():
            return DoctorFinding(Level.ERROR, check, subject, error.fact, error.action)
        case RefreshError():
            return DoctorFinding(Level.ERROR, check, subject, error.message, error.hint)
        case ClientError() | BotoCoreError():
            shown = from_aws(error, where)
            return DoctorFinding(Level.ERROR, check, subject, shown.fact, shown.action)
    raise error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
