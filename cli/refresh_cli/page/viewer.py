"""Requests of the page with the viewer's credentials, which may expire and be renewed while it is open."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from celonis_refresh.notifications.messages import console_address
from refresh_cli.api import RunsApi, error_of
from refresh_cli.aws_errors import DENIED, EXPIRED, from_aws
from refresh_cli.errors import ApiError, ApiUnavailable, CliError
from refresh_cli.page.backend import ApiAnswer, BackendError
from refresh_cli.page.schedule_times import next_times
from refresh_cli.stack import Stack

NEXT_TIMES: Final = 24
"""Times of each schedule that the timeline shows."""
MAX_PAGES: Final = 20
TRY_AGAIN: Final = "Try again in a moment."
NO_CREDENTIALS: Final = (
    CredentialRetrievalError, NoCredentialsError, PartialCredentialsError, SSOError, TokenRetrievalError,
)  # fmt: skip

T = TypeVar("T")


class Viewer:
    """``open_stack``: returns the stack with a new session, so that credentials are read again.

    It has to return the same stack each time.
    """

    def __init__(self, open_stack: Callable[[], Stack]) -> None:
        self._open_stack = open_stack
        self._lock = threading.Lock()
        self._opened: tuple[Stack, RunsApi] | None = None
        self._where = "your AWS configuration"
        self._targets: dict[tuple[str, str, datetime], Mapping[str, Any]] = {}
        self._secrets: tuple[str, ...] | None = None
        self._celonis_urls: dict[str, str] = {}

    def api(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> ApiAnswer:
        """Return the answer of the runs API, also if it is an error of the service."""

        def send(_: Stack, api: RunsApi) -> ApiAnswer:
            answer = api.respond(method, path, query=query, body=body or None, headers=headers)
            if not answer.ok and not _names_error(answer.content):
                raise error_of(answer, f"{method} {path}")
            return ApiAnswer(answer.status_code, answer.content)

        return self._with_stack(send)

    def about(self) -> Mapping[str, Any]:
        """Return the stack's name, region, and the addresses of its consoles."""

        def describe(stack: Stack, _: RunsApi) -> Mapping[str, Any]:
            region = stack.region
            facts = {"stack": stack.name, "region": region, "is_local": stack.is_local}
            if stack.is_local:
                return {**facts, "celonis_urls": {}}
            console = f"{console_address(region)}/states/home?region={region}"
            address = f"{console}#/v2/executions/details/{{arn}}"
            return {**facts, "execution_url": address, "celonis_urls": self._read_celonis_urls(stack)}

        return self._with_stack(describe)

    def schedules(self) -> Sequence[Mapping[str, Any]]:
        """Return the schedules that start pipelines of the stack, with their next times."""
        return self._with_stack(lambda stack, _: [*self._schedules(stack, datetime.now(UTC))])

    def _schedules(self, stack: Stack, now: datetime) -> Iterator[Mapping[str, Any]]:
        client, machine = stack.client("scheduler"), stack.output("StateMachineArn")
        for listed in _listed(client):
            if listed["Target"]["Arn"] != machine:
                continue
            known = (listed["GroupName"], listed["Name"], listed["LastModificationDate"])
            if known not in self._targets:
                found = client.get_schedule(GroupName=listed["GroupName"], Name=listed["Name"])
                self._targets[known] = found
            schedule = self._targets[known]
            pipeline = _pipeline_of(schedule["Target"].get("Input", ""))
            if pipeline is not None:
                yield _shown(schedule, pipeline, now)

    def _read_celonis_urls(self, stack: Stack) -> Mapping[str, str]:
        """Return the address of Celonis by connection, as far as it can be read: links are optional.

        Only the address leaves this function. Answers and denied requests are remembered; what failed for
        another reason is requested again the next time.
        """
        client, prefix = stack.client("secretsmanager"), f"{stack.name}/connections/"
        if self._secrets is None:
            self._secrets = _unless_failed(partial(_secrets, client, prefix), denied=tuple[str, ...]())
        for name in self._secrets or ():
            if name not in self._celonis_urls:
                url = _unless_failed(partial(_base_url, client, name), denied="")
                if url is not None:
                    self._celonis_urls[name] = url
        found = {name: self._celonis_urls.get(name) for name in self._secrets or ()}
        return {name.removeprefix(prefix): url for name, url in found.items() if url}

    def _with_stack(self, call: Callable[[Stack, RunsApi], T]) -> T:
        """Return the result of ``call``. After an error that is not of the service, open the stack again.

        Its credentials may have been renewed, or it may have been deleted or deployed with another address.
        """
        try:
            stack, api = self._stack()
            return call(stack, api)
        except (CliError, BotoCoreError, ClientError) as error:
            shown = self._error(error)
            self._opened = None
            raise shown from error

    def _stack(self) -> tuple[Stack, RunsApi]:
        with self._lock:
            if self._opened is None:
                stack = self._open_stack()
                self._where = stack.where
                api = RunsApi(stack.api_url, stack.region, stack.credentials, is_local=stack.is_local)
                self._opened = (stack, api)
            return self._opened

    def _error(self, error: CliError | BotoCoreError | ClientError) -> BackendError:
        shown = error if isinstance(error, CliError) else from_aws(error, self._where)
        kind, status = _kind(error)
        return BackendError(
            kind,
            _ended(f"{shown.what}: {shown.which}" if shown.which else shown.what),
            shown.action or TRY_AGAIN,
            status,
        )


def _kind(error: Exception) -> tuple[str, int]:
    """Return how the page shows an error, and the status of the answer."""
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else getattr(error, "name", "")
    if isinstance(error, NO_CREDENTIALS) or code in EXPIRED or code == "CredentialsRefused":
        return "credentials", HTTPStatus.UNAUTHORIZED
    if code in DENIED or code == "Forbidden":
        return "permission", HTTPStatus.FORBIDDEN
    if isinstance(error, ApiError):
        is_deleted = error.status == HTTPStatus.NOT_FOUND  # API Gateway knows no such API or path
        if not isinstance(error, ApiUnavailable) and not is_deleted:
            return error.name, error.status
    elif isinstance(error, CliError | ProfileNotFound | NoRegionError | ConfigParseError):
        return "configuration", HTTPStatus.BAD_GATEWAY
    return "unreachable", HTTPStatus.BAD_GATEWAY


def _names_error(content: bytes) -> bool:
    """Return whether the body of an error is one of the service, which the page shows as it is."""
    try:
        body = json.loads(content)
    except ValueError:
        return False
    return isinstance(body, dict) and "error" in body


def _ended(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _listed(client: Any) -> Iterator[Mapping[str, Any]]:
    token: dict[str, str] = {}
    for _ in range(MAX_PAGES):
        page = client.list_schedules(MaxResults=100, **token)
        yield from page["Schedules"]
        if not page.get("NextToken"):
            return
        token = {"NextToken": page["NextToken"]}


def _pipeline_of(text: str) -> str | None:
    """Return the pipeline in the input of a schedule's target; None for an inline definition."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    name = document.get("pipeline") if isinstance(document, dict) else None
    return name if isinstance(name, str) else None


def _shown(schedule: Mapping[str, Any], pipeline: str, now: datetime) -> Mapping[str, Any]:
    expression, zone = schedule["ScheduleExpression"], schedule.get("ScheduleExpressionTimezone") or "UTC"
    times = next_times(expression, zone, schedule["CreationDate"], now, NEXT_TIMES)
    return {
        "name": schedule["Name"],
        "pipeline": pipeline,
        "expression": expression,
        "timezone": zone,
        "enabled": schedule.get("State") == "ENABLED",
        "next": None if times is None else [at.isoformat() for at in times],
    }


def _unless_failed(read: Callable[[], T], denied: T) -> T | None:
    """Return what ``read`` returns, ``denied`` if AWS does not allow it, and None after another error.

    Raises errors about credentials, which the viewer has to renew.
    """
    try:
        return read()
    except (BotoCoreError, ClientError) as error:
        kind, _ = _kind(error)
        if kind == "credentials":
            raise
        return denied if kind == "permission" else None


def _secrets(client: Any, prefix: str) -> tuple[str, ...]:
    """Return the names of the secrets with the prefix."""
    listed = client.list_secrets(Filters=[{"Key": "name", "Values": [prefix]}], MaxResults=100)
    return tuple(each["Name"] for each in listed["SecretList"] if each["Name"].startswith(prefix))


def _base_url(client: Any, name: str) -> str:
    """Return the address in a secret; an empty text if it has none."""
    try:
        document = json.loads(client.get_secret_value(SecretId=name)["SecretString"])
    except (ValueError, KeyError):
        return ""
    url = document.get("base_url") if isinstance(document, dict) else None
    return url.rstrip("/") if isinstance(url, str) and url.startswith("https://") else ""
