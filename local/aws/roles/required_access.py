"""The actions and resources for which IAM checks an AWS call, per service.

A call that is not described here is denied to roles: a denial by mistake is noticed, a missing check is not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.aws.gateway.calls import AwsCall
from local.aws.roles.dynamodb_access import dynamodb_access
from local.aws.roles.evaluation import AccessRequest


@dataclass(frozen=True)
class CallContext:
    """Region and account of the call, and a function that returns the full ARN of a secret by its name."""

    region: str
    account: str
    secret_arn: Callable[[str], str | None]

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


class UnknownCallError(LookupError):
    """The call cannot be checked and is denied."""


_Resources = Callable[[dict[str, Any], CallContext], list[str]]

_WITHOUT_RESOURCE = {
    "xray": {"PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets"},
    "cloudwatch": {"PutMetricData"},
    "dynamodb": {"ListTables"},
    "ssm": {"DescribeParameters"},
    "states": {"ListStateMachines", "ValidateStateMachineDefinition"},
    "secretsmanager": {"ListSecrets", "GetRandomPassword"},
    "events": {"ListEventBuses"},
    "lambda": {"ListFunctions", "GetAccountSettings"},
}
_ALWAYS_ALLOWED = {("sts", "GetCallerIdentity")}


def required_access(call: AwsCall, call_context: CallContext) -> list[AccessRequest]:
    """Return all required access for this call; an empty list if it needs no permission.

    Raises UnknownCallError for a service or an operation that is not described.
    """
    if (call.service, call.operation) in _ALWAYS_ALLOWED:
        return []
    if call.operation in _WITHOUT_RESOURCE.get(call.service, ()):
        return [AccessRequest(f"{call.service}:{call.operation}", "*")]
    if call.service == "dynamodb":
        access_requests = dynamodb_access(call, lambda name: _table_arn(name, call_context))
    else:
        access_requests = _simple_asks(call, call_context)
    if not access_requests:
        raise UnknownCallError(f"{call.service}:{call.operation} is not checked here")
    return access_requests


def _simple_asks(call: AwsCall, call_context: CallContext) -> list[AccessRequest]:
    finder = _RESOURCES.get(call.service)
    if finder is None:
        return []
    action = "InvokeFunction" if (call.service, call.operation) == ("lambda", "Invoke") else call.operation
    context = {"aws:RequestedRegion": [call_context.region]}
    if call.service == "events" and call.operation == "PutEvents":
        context |= _event_context(call.parameters)
    return [
        AccessRequest(f"{call.service}:{action}", resource, context)
        for resource in finder(call.parameters, call_context)
    ]


def _table_arn(name: str, call_context: CallContext) -> str:
    return name if name.startswith("arn:") else call_context.arn("dynamodb", f"table/{name}")


def _parameters(parameters: dict[str, Any], call_context: CallContext) -> list[str]:
    names = parameters.get("Names") or [parameters.get("Name") or parameters.get("Path")]
    return [
        name if name.startswith("arn:") else call_context.arn("ssm", f"parameter/{name.lstrip('/')}")
        for name in names
        if name
    ]


def _secrets(parameters: dict[str, Any], call_context: CallContext) -> list[str]:
    secret_id = str(parameters.get("SecretId", parameters.get("Name", "")))
    secret_arn = call_context.secret_arn(secret_id)
    return [
        secret_arn
        or (
            secret_id
            if secret_id.startswith("arn:")
            else call_context.arn("secretsmanager", f"secret:{secret_id}")
        )
    ]


def _states(parameters: dict[str, Any], _place: CallContext) -> list[str]:
    names = ("executionArn", "stateMachineArn", "resourceArn", "activityArn", "mapRunArn")
    return [str(parameters[name]) for name in names if parameters.get(name)]


def _functions(parameters: dict[str, Any], call_context: CallContext) -> list[str]:
    name = str(parameters.get("FunctionName", ""))
    arn = name if name.startswith("arn:") else call_context.arn("lambda", f"function:{name}")
    qualifier = parameters.get("Qualifier")
    return [f"{arn}:{qualifier}" if qualifier else arn] if name else []


def _queues(parameters: dict[str, Any], call_context: CallContext) -> list[str]:
    url = str(parameters.get("QueueUrl", ""))
    name = url.rsplit("/", 1)[-1] or str(parameters.get("QueueName", ""))
    return [call_context.arn("sqs", name)] if name else []


def _topics(parameters: dict[str, Any], _place: CallContext) -> list[str]:
    return [
        str(parameters[name]) for name in ("TopicArn", "TargetArn", "ResourceArn") if parameters.get(name)
    ]


def _buses(parameters: dict[str, Any], call_context: CallContext) -> list[str]:
    names = {str(entry.get("EventBusName") or "default") for entry in parameters.get("Entries", [])}
    return [
        name if name.startswith("arn:") else call_context.arn("events", f"event-bus/{name}")
        for name in sorted(names)
    ]


def _event_context(parameters: dict[str, Any]) -> dict[str, list[str]]:
    entries = parameters.get("Entries", [])
    return {
        "events:source": [str(entry.get("Source", "")) for entry in entries],
        "events:detail-type": [str(entry.get("DetailType", "")) for entry in entries],
    }


def _log_groups(parameters: dict[str, Any], call_context: CallContext) -> list[str]:
    group = parameters.get("logGroupName")
    if not group:
        return []
    stream = parameters.get("logStreamName")
    return [
        call_context.arn(
            "logs", f"log-group:{group}:log-stream:{stream}" if stream else f"log-group:{group}:*"
        )
    ]


def _schedules(parameters: dict[str, Any], call_context: CallContext) -> list[str]:
    name = parameters.get("Name")
    group = parameters.get("GroupName", parameters.get("groupName", "default"))
    return [call_context.arn("scheduler", f"schedule/{group}/{name}")] if name else []


def _roles(parameters: dict[str, Any], _place: CallContext) -> list[str]:
    return [str(parameters["RoleArn"])] if parameters.get("RoleArn") else []


_RESOURCES: dict[str, _Resources] = {
    "ssm": _parameters,
    "secretsmanager": _secrets,
    "states": _states,
    "lambda": _functions,
    "sqs": _queues,
    "sns": _topics,
    "events": _buses,
    "logs": _log_groups,
    "scheduler": _schedules,
    "sts": _roles,
}
