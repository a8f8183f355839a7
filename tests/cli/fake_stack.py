"""A stack in moto for the commands that write configuration, and the tool against it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from click.testing import CliRunner, Result
from moto import mock_aws

from refresh_cli.app import App
from refresh_cli.main import cli
from refresh_cli.stack import Stack

NAME, REGION, ACCOUNT = "refresh-test", "eu-central-1", "123456789012"
OWNED_PIPELINE, OWNED_SOURCE = "order-to-cash", "github"
OUTPUTS = {
    "ApiUrl": "http://127.0.0.1:9",
    "ScheduleGroup": NAME,
    "StateMachineArn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:refresh",
    "ScheduleRoleArn": f"arn:aws:iam::{ACCOUNT}:role/schedules",
    "DeadLettersUrl": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/dead-letters",
    "NoticesTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:notices",
}
OWNED = {
    f"/{NAME}/pipelines/{OWNED_PIPELINE}": {"data_pool": "pool", "loads": [{"data_model": "model"}]},
    f"/{NAME}/sources/{OWNED_SOURCE}": {
        "sender": "github",
        "secret": "github",
        "rules": [{"pipeline": OWNED_PIPELINE}],
    },
}
"""What CloudFormation created."""
WRITES = ("Put", "Create", "Update", "Delete")


@dataclass
class FakeStack:
    """``calls``: every call to AWS that writes, with its parameters."""

    stack: Stack
    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def run(self, *arguments: str, stdin: str | None = None, api_url: str | None = None) -> Result:
        """Run the tool; nothing but its own errors may end it."""
        self.calls.clear()
        if api_url:
            self.stack.known_api_url = api_url
        app = App()
        app.__dict__["stack"] = self.stack
        ended = CliRunner(env={"COLUMNS": None}).invoke(cli, list(arguments), input=stdin, obj=app)
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return ended

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    @property
    def written(self) -> list[str]:
        return [operation for operation, _ in self.calls]

    def client(self, service: str) -> Any:
        return self.stack.client(service)

    def parameters(self) -> dict[str, str]:
        """Every parameter by name, owned ones included."""
        pages = self.client("ssm").get_paginator("get_parameters_by_path")
        found = pages.paginate(Path=f"/{NAME}/", Recursive=True)
        return {each["Name"]: each["Value"] for page in found for each in page["Parameters"]}

    def schedules(self) -> dict[str, dict[str, Any]]:
        """Every schedule of the group by name."""
        client = self.client("scheduler")
        names = [each["Name"] for each in client.list_schedules(GroupName=NAME)["Schedules"]]
        return {name: client.get_schedule(Name=name, GroupName=NAME) for name in names}

    def empty(self) -> None:
        """Remove everything that is not owned."""
        for name in self.parameters().keys() - OWNED.keys():
            self.client("ssm").delete_parameter(Name=name)
        for name in self.schedules():
            self.client("scheduler").delete_schedule(Name=name, GroupName=NAME)

    def remove(self) -> None:
        """Remove the stack and everything that was written."""
        self.empty()
        secrets = self.client("secretsmanager")
        for secret in secrets.list_secrets()["SecretList"]:
            secrets.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)
        self.client("scheduler").delete_schedule_group(Name=NAME)
        self.client("cloudformation").delete_stack(StackName=NAME)


@contextmanager
def fake_stack() -> Iterator[FakeStack]:
    """A stack with a sample pipeline and a sample source that belong to CloudFormation."""
    keys = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "secret"}
    with mock_aws():
        session = boto3.Session(region_name=REGION, **keys)
        stack = FakeStack(Stack(NAME, session, known_outputs=OUTPUTS))
        session.client("cloudformation").create_stack(StackName=NAME, TemplateBody=json.dumps(_template()))
        session.client("scheduler").create_schedule_group(Name=NAME)
        for service in ("ssm", "scheduler", "secretsmanager"):
            events = stack.client(service).meta.events
            events.register(f"before-parameter-build.{service}", _recorder(stack))
        try:
            yield stack
        finally:
            # Other tests of this process may still use moto, which then keeps its state.
            FakeStack(Stack(NAME, boto3.Session(region_name=REGION, **keys), known_outputs=OUTPUTS)).remove()


def _recorder(stack: FakeStack) -> Any:
    def record(params: Mapping[str, Any], model: Any, **_: Any) -> None:
        if model.name.startswith(WRITES):
            stack.calls.append((model.name, dict(params)))

    return record


def _template() -> dict[str, Any]:
    resources = {
        f"Parameter{index}": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {"Name": name, "Type": "String", "Value": json.dumps(value)},
        }
        for index, (name, value) in enumerate(OWNED.items())
    }
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files by path below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
