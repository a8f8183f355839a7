"""The stack that a command works on: in AWS, or of ``make local``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.session import Session as BotocoreSession

from refresh_cli.errors import NO_REGION, CliError
from refresh_cli.local_stack import LocalStackFile, find_local_stack, local_file

DEFAULT_STACK = "celonis-refresh"
TIMEOUTS: Final = {
    "connect_timeout": 5,
    "read_timeout": 30,
    "retries": {"mode": "standard", "max_attempts": 3},
}
NOTHING_OF_THE_USER: Final = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
"""The local stack has its own credentials, whatever the user has configured for AWS."""


@dataclass
class Stack:
    """A deployed stack. ``endpoint_url``: of AWS on this machine, None for AWS itself."""

    name: str
    session: boto3.Session
    endpoint_url: str | None = None
    known_outputs: Mapping[str, str] | None = None
    known_api_url: str | None = None
    _clients: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def local(cls, found: LocalStackFile) -> Stack:
        """Return the stack of ``make local``."""
        own = BotocoreSession(session_vars=NOTHING_OF_THE_USER)
        session = boto3.Session(
            aws_access_key_id=found.access_key_id,
            aws_secret_access_key=found.secret_access_key,
            region_name=found.region,
            botocore_session=own,
        )
        return cls(found.stack_name, session, found.aws_endpoint_url, found.outputs, found.api_url)

    @property
    def is_local(self) -> bool:
        """Whether it is the stack of ``make local``."""
        return self.endpoint_url is not None

    @property
    def region(self) -> str:
        """The AWS region. Raises ``CliError`` if none is set."""
        if not self.session.region_name:
            raise CliError("No AWS region is set", self.where, NO_REGION)
        return str(self.session.region_name)

    @property
    def where(self) -> str:
        """The stack in words: ``stack celonis-refresh (profile prod, eu-central-1)``.

        An API that was set is named too: it may be that of another stack.
        """
        if self.is_local:
            return f"stack {self.name} of make local"
        region = self.session.region_name or "no region"
        api = f"; API {self.known_api_url}" if self.known_api_url else ""
        return f"stack {self.name} (profile {self.session.profile_name}, {region}{api})"

    def client(self, service: str) -> Any:
        """Return a boto3 client with timeouts, made once."""
        if service not in self._clients:
            local: dict[str, Any] = {"proxies": {}} if self.is_local else {}
            config = Config(**TIMEOUTS, **local)
            made = self.session.client(service, endpoint_url=self.endpoint_url, config=config)
            self._clients[service] = made
        return self._clients[service]

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """The outputs by name. Raises ``CliError`` if there is no such stack, and errors of boto3."""
        if self.known_outputs is not None:
            return self.known_outputs
        return {each["OutputKey"]: each["OutputValue"] for each in self.description.get("Outputs", [])}

    @cached_property
    def description(self) -> Mapping[str, Any]:
        """What DescribeStacks says. Raises ``CliError`` if there is no such stack, and errors of boto3."""
        try:
            answer = self.client("cloudformation").describe_stacks(StackName=self.name)
        except ClientError as error:
            if "does not exist" in str(error.response.get("Error", {}).get("Message", "")):
                raise _not_found(self.where) from error
            raise
        found: Mapping[str, Any] = answer["Stacks"][0]
        return found

    @cached_property
    def resources(self) -> Sequence[Mapping[str, Any]]:
        """What ListStackResources says. Raises errors of boto3."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        return [
            each for page in pages.paginate(StackName=self.name) for each in page["StackResourceSummaries"]
        ]

    def output(self, name: str) -> str:
        """Return one output. Raises ``CliError`` if the stack does not have it."""
        try:
            return self.outputs[name]
        except KeyError:
            raise CliError(
                f"The stack has no output {name}",
                self.where,
                "Name the stack of Celonis Refresh with --stack, or deploy its current template.",
            ) from None

    @property
    def api_url(self) -> str:
        """Where the runs API answers, without a slash at the end."""
        return (self.known_api_url or self.output("ApiUrl")).rstrip("/")

    def credentials(self) -> Any:
        """Return the credentials, renewed if they are about to expire. Raises errors of boto3."""
        found = self.session.get_credentials()
        if found is None:
            raise NoCredentialsError
        return found.get_frozen_credentials()


def resolve(
    name: str | None,
    profile: str | None,
    region: str | None,
    environment: Mapping[str, str] = os.environ,
) -> Stack:
    """Return the stack of these options; without any, the local one if it is running.

    ``environment``: REFRESH_API_URL is the address of the API for callers that must not read the stack.
    """
    api_url = environment.get("REFRESH_API_URL")
    if not (name or profile or region or api_url):
        found = find_local_stack(local_file(environment))
        if found is not None:
            return Stack.local(found)
    if api_url and not api_url.startswith(("https://", "http://")):
        raise CliError(
            "REFRESH_API_URL is not an address", api_url, "Set it to the output ApiUrl of the stack."
        )
    session = boto3.Session(profile_name=profile, region_name=region or environment.get("AWS_REGION"))
    return Stack(name or DEFAULT_STACK, session, known_api_url=api_url)


def _not_found(where: str) -> CliError:
    return CliError(
        "There is no such stack",
        where,
        "Choose it with --stack, --profile and --region; to work on this machine, run make local.",
    )
