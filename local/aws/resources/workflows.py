"""State machines and schedules."""

import json
import re
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from local.aws.errors import DeploymentError
from local.aws.resources.registry import CreatedResource, ResourceRequest, creates, updates
from local.aws.roles.resource_policies import check_trust

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9_]+)\}")


@creates("AWS::StepFunctions::StateMachine")
def state_machine(request: ResourceRequest) -> CreatedResource:
    properties = request.properties
    name = request.name("StateMachineName", longest=80)
    check_trust(request.stack_context.clients, properties.need("RoleArn"), "states.amazonaws.com")
    settings = {
        "loggingConfiguration": _lower(properties.get("LoggingConfiguration")),
        "tracingConfiguration": _lower(properties.get("TracingConfiguration")),
        "encryptionConfiguration": _lower(properties.get("EncryptionConfiguration")),
        "type": properties.get("StateMachineType"),
    }
    answer = request.client("stepfunctions").create_state_machine(
        name=name,
        definition=_definition(request),
        roleArn=properties.need("RoleArn"),
        tags=[{"key": tag["Key"], "value": tag["Value"]} for tag in request.tags()],
        **{key: value for key, value in settings.items() if value is not None},
    )
    arn = answer["stateMachineArn"]
    return CreatedResource(arn, {"Arn": arn, "Name": name})


@updates("AWS::StepFunctions::StateMachine")
def update_state_machine(request: ResourceRequest, created: CreatedResource) -> CreatedResource:
    """Change the definition. Executions that are running keep theirs."""
    request.client("stepfunctions").update_state_machine(
        stateMachineArn=created.ref, definition=_definition(request)
    )
    return created


def _definition(request: ResourceRequest) -> str:
    properties = request.properties
    text = properties.get("DefinitionString")
    inline, location = properties.get("Definition"), properties.get("DefinitionS3Location")
    if inline is not None:
        text = json.dumps(inline)
    elif location is not None:
        text = _from_file(request, location["Key"])
    if text is None:
        raise DeploymentError("the definition is missing")
    return _substituted(text, properties.get("DefinitionSubstitutions", {}))


def _from_file(request: ResourceRequest, key: str) -> str:
    path = request.stack_context.artifacts.get(key)
    if path is None:
        raise DeploymentError("the definition must be a local file")
    text = path.read_text(encoding="utf-8")
    return text if path.suffix == ".json" else json.dumps(yaml_parse(text))


def _substituted(text: str, values: dict[str, Any]) -> str:
    def replace(match: re.Match[str]) -> str:
        if match.group(1) not in values:
            raise DeploymentError(f"{match.group(0)} has no value in DefinitionSubstitutions")
        value = values[match.group(1)]
        return str(value).lower() if isinstance(value, bool) else json.dumps(str(value))[1:-1]

    return _PLACEHOLDER.sub(replace, text)


@creates("AWS::Scheduler::ScheduleGroup")
def schedule_group(request: ResourceRequest) -> CreatedResource:
    name = request.name("Name")
    answer = request.client("scheduler").create_schedule_group(Name=name, Tags=request.tags())
    return CreatedResource(name, {"Arn": answer["ScheduleGroupArn"], "State": "ACTIVE"})


@creates("AWS::Scheduler::Schedule")
def schedule(request: ResourceRequest) -> CreatedResource:
    properties = request.properties
    name = request.name("Name")
    settings = properties.pick(
        "Description", "GroupName", "State", "ScheduleExpressionTimezone", "StartDate", "EndDate",
        "KmsKeyArn",
    )  # fmt: skip
    target = properties.need("Target")
    check_trust(request.stack_context.clients, target["RoleArn"], "scheduler.amazonaws.com")
    answer = request.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression=properties.need("ScheduleExpression"),
        FlexibleTimeWindow=properties.need("FlexibleTimeWindow"),
        Target=target,
        **settings,
    )
    return CreatedResource(name, {"Arn": answer["ScheduleArn"]})


def _lower(node: Any) -> Any:
    """Return keys with a lower-case first letter, as in the API; CloudFormation uses upper case."""
    if isinstance(node, list):
        return [_lower(item) for item in node]
    if isinstance(node, dict):
        return {key[:1].lower() + key[1:]: _lower(value) for key, value in node.items()}
    return node
