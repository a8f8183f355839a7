"""DynamoDB tables, secrets and parameters."""

import json
from typing import Any

from local.aws.resources.registry import CreatedResource, ResourceRequest, creates


@creates("AWS::DynamoDB::Table")
def table(request: ResourceRequest) -> CreatedResource:
    """Create the table, then set time to live and continuous backups, which have their own calls."""
    properties, client = request.properties, request.client("dynamodb")
    name = request.name("TableName", longest=255)
    settings = properties.pick(
        "AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes", "LocalSecondaryIndexes",
        "ProvisionedThroughput", "TableClass", "DeletionProtectionEnabled",
    )  # fmt: skip
    encryption = properties.get("SSESpecification")
    if encryption:
        enabled = encryption.pop("SSEEnabled")
        settings["SSESpecification"] = {"Enabled": enabled, **encryption}
    stream = properties.get("StreamSpecification")
    if stream:
        settings["StreamSpecification"] = {"StreamEnabled": True, **stream}
    description = client.create_table(TableName=name, Tags=request.tags(), **settings)["TableDescription"]
    _time_to_live(client, name, properties.get("TimeToLiveSpecification"))
    _backups(client, name, properties.get("PointInTimeRecoverySpecification"))
    return CreatedResource(
        name, {"Arn": description["TableArn"], "StreamArn": description.get("LatestStreamArn")}
    )


def _time_to_live(client: Any, name: str, specification: dict[str, Any] | None) -> None:
    if specification and specification.get("Enabled"):
        client.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)


def _backups(client: Any, name: str, specification: dict[str, Any] | None) -> None:
    if specification:
        client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=specification)


@creates("AWS::SecretsManager::Secret")
def secret(request: ResourceRequest) -> CreatedResource:
    """Create a secret; a generated one comes from GetRandomPassword and is inserted into its template."""
    properties, client = request.properties, request.client("secretsmanager")
    text = properties.get("SecretString")
    generate = properties.get("GenerateSecretString")
    if generate is not None:
        text = _generated(client, dict(generate))
    settings = properties.pick("Description", "KmsKeyId")
    if text is not None:
        settings["SecretString"] = text
    name = request.name("Name", longest=512)
    arn = client.create_secret(Name=name, Tags=request.tags(), **settings)["ARN"]
    return CreatedResource(arn, {"Id": arn})


def _generated(client: Any, settings: dict[str, Any]) -> str:
    template = settings.pop("SecretStringTemplate", None)
    key = settings.pop("GenerateStringKey", None)
    password = str(client.get_random_password(**settings)["RandomPassword"])
    return password if key is None else json.dumps({**json.loads(template or "{}"), key: password})


@creates("AWS::SSM::Parameter")
def parameter(request: ResourceRequest) -> CreatedResource:
    properties = request.properties
    name = request.name("Name", longest=2048)
    kind, value = properties.need("Type"), properties.need("Value")
    settings = properties.pick("Description", "AllowedPattern", "Tier", "DataType", "Policies")
    request.client("ssm").put_parameter(Name=name, Type=kind, Value=value, Tags=request.tags(), **settings)
    return CreatedResource(name, {"Type": kind, "Value": value})
