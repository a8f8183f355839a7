"""The services that a Task calls, with the role of the state machine."""

import base64
import datetime
import decimal
import json
from collections.abc import Mapping
from typing import Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from local.aws.clients import Clients
from local.aws.states.errors import StateError

# Names of a service in SDK integrations and in boto3, and the prefix of its errors.
_SDK_SERVICES = {
    "sfn": ("stepfunctions", "Sfn"),
    "dynamodb": ("dynamodb", "DynamoDb"),
    "eventbridge": ("events", "EventBridge"),
    "lambda": ("lambda", "Lambda"),
    "scheduler": ("scheduler", "Scheduler"),
    "secretsmanager": ("secretsmanager", "SecretsManager"),
    "sns": ("sns", "Sns"),
    "sqs": ("sqs", "Sqs"),
    "ssm": ("ssm", "Ssm"),
    "cloudwatch": ("cloudwatch", "CloudWatch"),
}
_OPTIMIZED = {
    "sns:publish": ("sns", "SNS"),
    "sqs:sendMessage": ("sqs", "SQS"),
    "events:putEvents": ("events", "EventBridge"),
    "states:startExecution": ("stepfunctions", "StepFunctions"),
    "dynamodb:getItem": ("dynamodb", "DynamoDB"),
    "dynamodb:putItem": ("dynamodb", "DynamoDB"),
    "dynamodb:updateItem": ("dynamodb", "DynamoDB"),
    "dynamodb:deleteItem": ("dynamodb", "DynamoDB"),
}


class Integrations:
    """Calls the resource of a Task; raises StateError with the error names of Step Functions."""

    def __init__(self, clients: Clients, role_arn: str) -> None:
        self._clients = clients
        self._role_arn = role_arn

    def __call__(self, resource: str, arguments: Any) -> Any:
        if resource.startswith("arn:aws:lambda:"):
            return self._function({"FunctionName": resource, "Payload": arguments})["Payload"]
        name = resource.removeprefix("arn:aws:states:::")
        if name == "lambda:invoke":
            return self._function(dict(arguments))
        if name.startswith("aws-sdk:"):
            _, service, action = name.split(":")
            boto_name, prefix = _SDK_SERVICES.get(service, (service, service.capitalize()))
            return self._operation(boto_name, action, arguments, prefix)
        boto_name, prefix = _OPTIMIZED[name]
        return _checked_events(name, self._operation(boto_name, name.split(":")[1], arguments, prefix))

    def _function(self, arguments: dict[str, Any]) -> dict[str, Any]:
        arguments["Payload"] = json.dumps(arguments.get("Payload", {})).encode()
        try:
            answer = self._client("lambda").invoke(**arguments)
        except ClientError as error:
            raise _function_refused(error) from error
        except BotoCoreError as error:
            raise StateError("Lambda.SdkClientException", str(error)) from error
        text = answer["Payload"].read().decode() or "null"
        if answer.get("FunctionError"):
            raise _function_failed(text)
        return {
            "ExecutedVersion": answer.get("ExecutedVersion", "$LATEST"),
            "Payload": json.loads(text),
            "StatusCode": answer["StatusCode"],
        }

    def _operation(self, service: str, action: str, arguments: Any, prefix: str) -> Any:
        client = self._client(service)
        method = xform_name(action)
        if not hasattr(client, method):
            raise StateError("States.Runtime", f"there is no operation {action} of {service}")
        shape = client.meta.service_model.operation_model(
            client.meta.method_to_api_mapping[method]
        ).input_shape
        members = list(shape.members) if shape is not None else []
        parameters = _named(dict(arguments or {}), members)
        try:
            answer = getattr(client, method)(**parameters)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise StateError(f"{prefix}.{_exception(code)}", str(error)) from error
        except BotoCoreError as error:
            raise StateError(f"{prefix}.SdkClientException", str(error)) from error
        answer.pop("ResponseMetadata", None)
        return _plain(answer)

    def _client(self, service: str) -> Any:
        return self._clients.as_role(service, self._role_arn, "local-state-machine")


def _function_failed(text: str) -> StateError:
    try:
        kind = json.loads(text).get("errorType")
    except (ValueError, AttributeError):
        kind = None
    return StateError(kind or "Lambda.Unknown", text)


def _function_refused(error: ClientError) -> StateError:
    code = error.response["Error"]["Code"]
    documented = {
        "TooManyRequestsException",
        "ResourceNotFoundException",
        "ServiceException",
        "InvalidParameterValueException",
    }
    return StateError(f"Lambda.{code}" if code in documented else "Lambda.AWSLambdaException", str(error))


def _named(arguments: dict[str, Any], members: list[str]) -> dict[str, Any]:
    """Return the parameters with the names of the API; objects become text where the API requires it."""
    by_lower = {member.lower(): member for member in members}
    named = {by_lower.get(key.lower(), key): value for key, value in arguments.items()}
    for key in ("Message", "MessageBody", "input", "Detail"):
        if key in named and not isinstance(named[key], str):
            named[key] = json.dumps(named[key])
    for entry in named.get("Entries", []):
        if isinstance(entry, dict) and "Detail" in entry and not isinstance(entry["Detail"], str):
            entry["Detail"] = json.dumps(entry["Detail"])
    return named


def _checked_events(name: str, answer: Any) -> Any:
    if name == "events:putEvents" and answer.get("FailedEntryCount"):
        raise StateError("EventBridge.FailedEntry", json.dumps(answer))
    return answer


def _exception(code: str) -> str:
    return code if code.endswith(("Exception", "Error", "Fault")) else f"{code}Exception"


def _plain(value: Any) -> Any:
    """Return an SDK response as JSON, with upper-case names and times as text."""
    if isinstance(value, Mapping):
        return {str(key)[:1].upper() + str(key)[1:]: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value
