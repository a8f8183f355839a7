"""A deployed shop for the tests of the local AWS, and small helpers around it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.aws.settings import EventSettings, Settings, TransactionSettings
from local.aws.stack import LocalStack
from local.wait import until

SHOP = Path(__file__).parent / "fixtures" / "shop" / "template.yaml"


def calm_settings(time_factor: float = 1.0) -> Settings:
    """No event late or twice, no transaction cancelled: for tests of other things."""
    return Settings(
        time_factor=time_factor,
        events=EventSettings(twice_ratio=0, late_ratio=0, prompt_seconds=0, retry_delays=(0.0,)),
        transactions=TransactionSettings(conflict_ratio=0),
    )


def deploy_shop(state_dir: Path, **more: Any) -> LocalStack:
    settings = more.pop("settings", None) or calm_settings()
    given = {"template": SHOP, "stack_name": "shop", "parameters": {}, **more}
    return LocalStack.deploy(state_dir=state_dir, settings=settings, **given)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """One shop for the tests of a module; a test that needs a fresh one calls `reset`."""
    with deploy_shop(tmp_path_factory.mktemp("shop")) as stack:
        yield stack


def call(stack: LocalStack, **event: Any) -> Any:
    """What the API function answers to an event of its own kind; fails the test when it failed."""
    outcome = stack.invoke("ApiFunction", json.dumps(event).encode())
    assert not outcome.failed, outcome.payload.decode()
    return json.loads(outcome.payload)


def aws(stack: LocalStack, service: str, operation: str, **arguments: Any) -> Any:
    """An AWS call made by the API function, under its role."""
    return call(stack, do="aws", service=service, operation=operation, arguments=arguments)


def refused_by_iam(stack: LocalStack, service: str, operation: str, **arguments: Any) -> bool:
    """Whether the API function's role may not make this call."""
    event = {"do": "aws", "service": service, "operation": operation, "arguments": arguments}
    outcome = stack.invoke("ApiFunction", json.dumps(event).encode())
    return outcome.failed and b"is not authorized to perform" in outcome.payload


LONG: list[Any] = [{"do": "sleep", "seconds": 1}] * 40
"""The steps of an execution that runs until it is stopped; otherwise it ends after ten seconds."""


def start(stack: LocalStack, steps: list[Any], name: str | None = None) -> str:
    """Start the order machine; gives the execution's ARN."""
    named = {} if name is None else {"name": name}
    answer = stack.client("stepfunctions").start_execution(
        stateMachineArn=stack.outputs["Machine"], input=json.dumps({"steps": steps}), **named
    )
    return str(answer["executionArn"])


def ended(stack: LocalStack, arn: str, *, seconds: float = 60.0) -> dict[str, Any]:
    """The description of an execution once it has ended."""
    client = stack.client("stepfunctions")

    def closed() -> dict[str, Any] | None:
        found: dict[str, Any] = client.describe_execution(executionArn=arn)
        return None if found["status"] == "RUNNING" else found

    described: dict[str, Any] = until(closed, "the end of an execution", seconds)
    return described


def messages(stack: LocalStack, url: str) -> list[dict[str, Any]]:
    """Everything that is in a queue now, taken out."""
    client = stack.client("sqs")
    found: list[dict[str, Any]] = []
    while True:
        batch = client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=0
        ).get("Messages", [])
        if not batch:
            return found
        for message in batch:
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        found.extend(batch)
