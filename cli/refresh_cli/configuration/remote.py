"""The configuration of a stack: parameters, and the schedules of its schedule group.

Every write is compared again: a part that changed since it was read is refused with ``ChangedError``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from celonis_refresh.names import is_name
from refresh_cli.configuration.documents import canonical
from refresh_cli.configuration.files import to_text
from refresh_cli.configuration.items import FOLDERS, Item, Key, Kind
from refresh_cli.configuration.schedules import (
    Schedule,
    ScheduleTarget,
    comparable,
    from_response,
    to_request,
)
from refresh_cli.errors import CliError
from refresh_cli.stack import Stack

OUTPUTS: Final = ("ScheduleGroup", "StateMachineArn", "ScheduleRoleArn", "DeadLettersUrl")
UPGRADE: Final = "Upgrade the stack to the version of this tool, or choose another with --stack."


class ChangedError(Exception):
    """A part of the stack's configuration changed after it was read, or exists in the meantime."""


@dataclass(frozen=True)
class RemoteItem:
    """A pipeline, source or schedule of the stack.

    ``content``: its JSON; the text itself if it is not a JSON object. ``state``: changes with every write.
    ``is_owned``: it belongs to the CloudFormation stack. ``is_foreign``: no file can express it.
    """

    key: Key
    address: str
    content: Any
    state: str
    is_owned: bool = False
    is_foreign: bool = False
    schedule: Schedule | None = None

    @property
    def is_ours(self) -> bool:
        return not (self.is_owned or self.is_foreign)

    @property
    def is_readable(self) -> bool:
        return isinstance(self.content, dict)


class RemoteConfiguration:
    """Reads and writes the configuration of a stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._ssm = stack.client("ssm")
        self._scheduler = stack.client("scheduler")
        self._target = schedule_target(stack.name, stack.outputs)

    def address(self, key: Key) -> str:
        """Return the name of a parameter, or of a schedule with its group."""
        if key.kind is Kind.SCHEDULE:
            return f"{self._target.group}/{key.name}"
        return f"/{self._stack.name}/{FOLDERS[key.kind]}/{key.name}"

    def read(self) -> dict[Key, RemoteItem]:
        """Return everything by key. Raises errors of boto3."""
        owned = self._owned()
        return {each.key: each for each in (*self._parameters(owned), *self._schedules(owned))}

    def content(self, item: Item) -> Mapping[str, Any]:
        """Return what a part of the files is compared as."""
        return item.content if item.schedule is None else comparable(self._request(item.schedule))

    def create(self, item: Item) -> None:
        """Raises ``ChangedError`` if it exists with another content, and errors of boto3."""
        try:
            if item.schedule is None:
                self._put(item, overwrite=False)
            else:
                self._scheduler.create_schedule(**self._request(item.schedule))
        except ClientError as error:
            if _code(error) not in ("ParameterAlreadyExists", "ConflictException"):
                raise
            if not self._is_written(item):  # boto3 repeats a request whose answer was lost
                raise ChangedError(f"{self.address(item.key)} was created in the meantime") from None

    def update(self, item: Item, before: RemoteItem) -> str | None:
        """Return what else happened, if anything. Raises ``ChangedError`` and errors of boto3.

        Parameter Store has no conditional write: a change between the comparison and the write is noticed
        by the version that the write gets.
        """
        self._check_unchanged(before)
        if item.schedule is not None:
            self._scheduler.update_schedule(**self._request(item.schedule))
            return None
        expected = int(before.state) + 1
        if (version := self._put(item, overwrite=True)) == expected:
            return None
        return (
            f"{before.address} was changed twice in the same moment; check the versions {expected} to "
            f"{version} in its history"
        )

    def delete(self, before: RemoteItem) -> None:
        """Raises ``ChangedError`` if it is not as it was read, and errors of boto3."""
        self._check_unchanged(before)
        try:
            if before.key.kind is Kind.SCHEDULE:
                self._scheduler.delete_schedule(Name=before.key.name, GroupName=self._target.group)
            else:
                self._ssm.delete_parameter(Name=before.address)
        except ClientError as error:
            if _code(error) not in ("ParameterNotFound", "ResourceNotFoundException"):
                raise

    # -------------------------------------------------------------------------------------------- reading

    def _owned(self) -> frozenset[str]:
        """Return the physical ids of the stack's parameters and schedules."""
        pages = self._stack.client("cloudformation").get_paginator("list_stack_resources")
        types = ("AWS::SSM::Parameter", "AWS::Scheduler::Schedule")
        return frozenset(
            each["PhysicalResourceId"]
            for page in pages.paginate(StackName=self._stack.name)
            for each in page["StackResourceSummaries"]
            if each["ResourceType"] in types and each.get("PhysicalResourceId")
        )

    def _parameters(self, owned: frozenset[str]) -> Iterator[RemoteItem]:
        for kind, folder in FOLDERS.items():
            path = f"/{self._stack.name}/{folder}/"
            for page in self._ssm.get_paginator("get_parameters_by_path").paginate(Path=path):
                for each in page["Parameters"]:
                    key = Key(kind, each["Name"].removeprefix(path))
                    yield self._remote_parameter(key, each, is_owned=each["Name"] in owned)

    def _remote_parameter(
        self, key: Key, parameter: Mapping[str, Any], *, is_owned: bool = False
    ) -> RemoteItem:
        return RemoteItem(
            key,
            self.address(key),
            _content(parameter["Value"]),
            str(parameter["Version"]),
            is_owned=is_owned,
            is_foreign=not is_name(key.name),
        )

    def _schedules(self, owned: frozenset[str]) -> Iterator[RemoteItem]:
        pages = self._scheduler.get_paginator("list_schedules").paginate(GroupName=self._target.group)
        for name in [each["Name"] for page in pages for each in page["Schedules"]]:
            response = self._get_schedule(name)
            if response is not None:
                yield self._remote_schedule(response, is_owned=name in owned)

    def _get_schedule(self, name: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = self._scheduler.get_schedule(Name=name, GroupName=self._target.group)
        except ClientError as error:
            if _code(error) == "ResourceNotFoundException":
                return None
            raise
        return found

    def _remote_schedule(self, response: Mapping[str, Any], *, is_owned: bool = False) -> RemoteItem:
        schedule = from_response(response)
        key = Key(Kind.SCHEDULE, response["Name"])
        content = comparable(response)
        return RemoteItem(
            key,
            self.address(key),
            content,
            canonical(content),
            is_owned=is_owned,
            is_foreign=schedule is None,
            schedule=schedule,
        )

    # -------------------------------------------------------------------------------------------- writing

    def _check_unchanged(self, before: RemoteItem) -> None:
        found = self._find(before.key)
        if found is None:
            raise ChangedError(f"{before.address} was deleted in the meantime")
        # The versions of a parameter begin again at 1 after it was deleted.
        if (found.state, canonical(found.content)) != (before.state, canonical(before.content)):
            raise ChangedError(f"{before.address} was changed in the meantime")

    def _is_written(self, item: Item) -> bool:
        found = self._find(item.key)
        return found is not None and canonical(found.content) == canonical(self.content(item))

    def _find(self, key: Key) -> RemoteItem | None:
        """Return a part as it is now; None if it does not exist."""
        if key.kind is Kind.SCHEDULE:
            response = self._get_schedule(key.name)
            return None if response is None else self._remote_schedule(response)
        try:
            found = self._ssm.get_parameter(Name=self.address(key))["Parameter"]
        except ClientError as error:
            if _code(error) == "ParameterNotFound":
                return None
            raise
        return self._remote_parameter(key, found)

    def _put(self, item: Item, *, overwrite: bool) -> int:
        answer = self._ssm.put_parameter(
            Name=self.address(item.key),
            Value=to_text(item.content),
            Type="String",
            Tier="Intelligent-Tiering",
            Overwrite=overwrite,
        )
        return int(answer["Version"])

    def _request(self, schedule: Schedule) -> dict[str, Any]:
        return to_request(schedule, self._target)


def schedule_target(stack: str, outputs: Mapping[str, str]) -> ScheduleTarget:
    """Return what schedules need of a stack. Raises ``CliError`` if the stack is older than the tool."""
    missing = [name for name in OUTPUTS if not outputs.get(name)]
    if missing:
        raise CliError(f"The stack has no output {', '.join(missing)}", f"stack {stack}", UPGRADE)
    machine = outputs["StateMachineArn"]
    partition, _, region = machine.split(":")[1:4]
    account, queue = outputs["DeadLettersUrl"].rsplit("/", 2)[-2:]
    return ScheduleTarget(
        outputs["ScheduleGroup"],
        machine,
        outputs["ScheduleRoleArn"],
        f"arn:{partition}:sqs:{region}:{account}:{queue}",
    )


def _content(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
