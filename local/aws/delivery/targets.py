"""Sends a message to a queue, a topic, a bus, a function or a state machine by its ARN."""

import json
from dataclasses import dataclass
from typing import Any

from local.aws.arns import Arn
from local.aws.clients import Clients


@dataclass(frozen=True)
class TargetSender:
    """Sends as the administrator or as a role; the gateway checks the permissions of a role."""

    clients: Clients
    role_arn: str | None = None

    def as_role(self, role_arn: str) -> "TargetSender":
        return TargetSender(self.clients, role_arn)

    def send(self, arn: str, text: str, attributes: dict[str, str]) -> None:
        """Deliver `text`. Raises ClientError if the target rejects it, ValueError for an unsupported kind."""
        service = Arn.parse(arn).service
        if service == "sqs":
            self._client("sqs").send_message(
                QueueUrl=self._queue_url(arn), MessageBody=text, MessageAttributes=_attributes(attributes)
            )
        elif service == "sns":
            self._client("sns").publish(TopicArn=arn, Message=text, MessageAttributes=_attributes(attributes))
        elif service == "events":
            detail = {"Source": "lambda", "DetailType": "Lambda Function Invocation Result", "Detail": text}
            self._client("events").put_events(Entries=[{**detail, "EventBusName": arn}])
        elif service == "lambda":
            self._client("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload=text.encode())
        elif service == "states":
            self._client("stepfunctions").start_execution(stateMachineArn=arn, input=text)
        else:
            raise ValueError(f"targets of the service {service} are not reached here: {arn}")

    def _client(self, service: str) -> Any:
        if self.role_arn is None:
            return self.clients.admin(service)
        return self.clients.as_role(service, self.role_arn, "local-delivery")

    def _queue_url(self, arn: str) -> str:
        name = Arn.parse(arn).resource
        return str(self.clients.admin("sqs").get_queue_url(QueueName=name)["QueueUrl"])


def _attributes(values: dict[str, str]) -> dict[str, dict[str, str]]:
    return {name: {"DataType": "String", "StringValue": value} for name, value in values.items() if value}


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
