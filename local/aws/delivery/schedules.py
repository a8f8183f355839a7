"""EventBridge Scheduler: fires schedules on demand or when they are due, with their own role."""

import datetime
import json
import logging
import time
import uuid
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from local.aws.arns import Arn
from local.aws.clients import Clients
from local.aws.delivery.schedule_times import UnreadableScheduleError, is_due
from local.aws.delivery.targets import TargetSender
from local.aws.errors import LocalStackError, NotFoundError, ScheduleDisabledError
from local.aws.roles.resource_policies import check_trust

log = logging.getLogger(__name__)

_PRINCIPAL = "scheduler.amazonaws.com"
_MAX_RETRIES = 2
_SDK_NAMES = {"sfn": "stepfunctions", "eventbridge": "events"}


class FireError(LocalStackError):
    """The target rejected the call; the input is in the schedule's dead-letter queue, if it has one."""


class Schedules:
    """Fires schedules by name."""

    def __init__(self, clients: Clients, sender: TargetSender, retry_delays: tuple[float, ...]) -> None:
        self._clients = clients
        self._sender = sender
        self._delays = retry_delays

    def fire(
        self,
        name: str,
        *,
        group: str | None = None,
        even_if_disabled: bool = False,
        at: datetime.datetime | None = None,
    ) -> dict[str, Any]:
        """Call the target of a schedule; return the API's response, such as an execution's ARN.

        `at`: the scheduled time, now by default.
        Raises NotFoundError, ScheduleDisabledError, FireError.
        """
        schedule = self._find(name, group)
        if schedule["State"] == "DISABLED" and not even_if_disabled:
            raise ScheduleDisabledError(f"the schedule {name} is disabled")
        return self._start(schedule["Arn"], schedule["Target"], at or datetime.datetime.now(datetime.UTC))

    def due(self, minute: datetime.datetime) -> list[tuple[str, str]]:
        """Return group and name of each enabled schedule that fires in a minute (UTC, without seconds).

        A schedule with an unsupported expression is omitted and logged.
        """
        client = self._clients.admin("scheduler")
        due_schedules = []
        for entry in list_schedules(client):
            schedule = client.get_schedule(Name=entry["Name"], GroupName=entry["GroupName"])
            zone, expression = schedule["ScheduleExpressionTimezone"], schedule["ScheduleExpression"]
            try:
                if schedule["State"] == "ENABLED" and is_due(
                    expression, zone, schedule["CreationDate"], minute
                ):
                    due_schedules.append((entry["GroupName"], entry["Name"]))
            except UnreadableScheduleError as error:
                log.warning("the schedule %s does not fire by the clock: %s", entry["Name"], error)
        return due_schedules

    def _find(self, name: str, group: str | None) -> dict[str, Any]:
        client = self._clients.admin("scheduler")
        for entry in list_schedules(client):
            if entry["Name"] == name and group in (None, entry["GroupName"]):
                schedule: dict[str, Any] = client.get_schedule(Name=name, GroupName=entry["GroupName"])
                return schedule
        raise NotFoundError(f"there is no schedule {name}" + (f" in the group {group}" if group else ""))

    def _start(self, schedule_arn: str, target: dict[str, Any], at: datetime.datetime) -> dict[str, Any]:
        retries = target.get("RetryPolicy", {}).get("MaximumRetryAttempts", _MAX_RETRIES)
        tries = 1 + min(retries, _MAX_RETRIES)
        for number in range(1, tries + 1):
            text = _expanded(target.get("Input", "{}"), schedule_arn, number, at)
            try:
                check_trust(self._clients, target["RoleArn"], _PRINCIPAL)
                return self._call(target, text)
            except (ClientError, LocalStackError) as error:
                failure = error
            if number < tries and self._delays:
                time.sleep(self._delays[min(number, len(self._delays)) - 1])
        self._give_up(schedule_arn, target, text, failure)
        raise FireError(f"{schedule_arn}: {failure}") from failure

    def _call(self, target: dict[str, Any], text: str) -> dict[str, Any]:
        arn = target["Arn"]
        if arn.startswith("arn:aws:scheduler:::aws-sdk:"):
            service, action = arn.removeprefix("arn:aws:scheduler:::aws-sdk:").split(":")
            client = self._client(target, _SDK_NAMES.get(service, service))
            return _without_metadata(getattr(client, xform_name(action))(**_parameters(client, action, text)))
        if Arn.parse(arn).service == "states":
            started = self._client(target, "stepfunctions").start_execution(stateMachineArn=arn, input=text)
            return _without_metadata(started)
        self._sender.as_role(target["RoleArn"]).send(arn, text, {})
        return {}

    def _client(self, target: dict[str, Any], service: str) -> Any:
        return self._clients.as_role(service, target["RoleArn"], "local-scheduler")

    def _give_up(self, schedule_arn: str, target: dict[str, Any], text: str, error: Exception) -> None:
        log.warning("%s could not start its target: %s", schedule_arn, error)
        queue = target.get("DeadLetterConfig", {}).get("Arn")
        if queue:
            attributes = {
                "ERROR_MESSAGE": str(error)[:1024],
                "SCHEDULE_ARN": schedule_arn,
                "TARGET_ARN": target["Arn"],
            }
            try:
                self._sender.as_role(target["RoleArn"]).send(queue, text, attributes)
            except ClientError:
                log.exception("%s may not reach its dead-letter queue: the input is lost", schedule_arn)


def list_schedules(client: Any) -> list[dict[str, Any]]:
    """Every schedule of every group, as ListSchedules shows it, from all pages."""
    pages = client.get_paginator("list_schedules").paginate()
    return [entry for page in pages for entry in page["Schedules"]]


def _expanded(text: str, schedule_arn: str, attempt: int, at: datetime.datetime) -> str:
    """Replace the placeholders of EventBridge Scheduler in the input."""
    values = {
        "<aws.scheduler.schedule-arn>": schedule_arn,
        "<aws.scheduler.scheduled-time>": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "<aws.scheduler.execution-id>": str(uuid.uuid4()),
        "<aws.scheduler.attempt-number>": str(attempt),
    }
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


def _parameters(client: Any, action: str, text: str) -> dict[str, Any]:
    members = client.meta.service_model.operation_model(action[:1].upper() + action[1:]).input_shape.members
    by_lower = {member.lower(): member for member in members}
    return {by_lower.get(key.lower(), key): value for key, value in json.loads(text).items()}


def _without_metadata(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}
