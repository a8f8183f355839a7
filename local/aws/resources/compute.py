"""Lambda functions, layers, versions, aliases and permissions."""

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

from local.aws.arns import Arn
from local.aws.errors import DeploymentError
from local.aws.resources.registry import CreatedResource, ResourceRequest, creates, updates
from local.aws.roles.resource_policies import check_trust
from local.aws.runtime.functions import AsyncSettings, Function, split_reference


@creates("AWS::Lambda::Function")
def function(request: ResourceRequest) -> CreatedResource:
    """Store the settings in moto, for the Lambda API; the code runs from its own folder."""
    properties = request.properties
    name = request.name("FunctionName")
    settings = properties.pick(
        "Runtime", "Handler", "Role", "Timeout", "MemorySize", "Description", "Environment", "TracingConfig",
        "DeadLetterConfig", "Architectures", "EphemeralStorage", "KMSKeyArn", "LoggingConfig", "VpcConfig",
    )  # fmt: skip
    check_trust(request.stack_context.clients, settings["Role"], "lambda.amazonaws.com")
    layers = properties.get("Layers", [])
    tags = {tag["Key"]: tag["Value"] for tag in request.tags()}
    arn = request.client("lambda").create_function(
        FunctionName=name, Code={"ZipFile": _archive()}, Tags=tags, Layers=layers, **settings
    )["FunctionArn"]
    request.stack_context.functions.add(_function(request, name, arn, settings, layers))
    return CreatedResource(name, {"Arn": arn})


@updates("AWS::Lambda::Function")
def update_function(request: ResourceRequest, created: CreatedResource) -> CreatedResource:
    """Change $LATEST: its code, layers and environment. Published versions keep theirs."""
    settings = request.properties.pick(
        "Runtime", "Handler", "Role", "Timeout", "MemorySize", "Environment", "LoggingConfig"
    )
    layers = request.properties.get("Layers", [])
    request.client("lambda").update_function_configuration(
        FunctionName=created.ref, Layers=layers, **settings
    )
    arn = str(created.attributes["Arn"])
    request.stack_context.functions.add(_function(request, created.ref, arn, settings, layers))
    return created


def _function(
    request: ResourceRequest, name: str, arn: str, settings: dict[str, Any], layers: list[str]
) -> Function:
    logging = settings.get("LoggingConfig", {})
    available = request.stack_context.functions.layers
    concurrency = request.properties.get("ReservedConcurrentExecutions")
    return Function(
        logical_id=request.logical_id,
        name=name,
        arn=arn,
        handler=settings["Handler"],
        role_arn=settings["Role"],
        code=_code(request),
        timeout=int(settings.get("Timeout", 3)),
        memory=int(settings.get("MemorySize", 128)),
        environment={
            key: _text(value) for key, value in settings.get("Environment", {}).get("Variables", {}).items()
        },
        layers=tuple(available[layer] for layer in layers),
        runtime=settings["Runtime"],
        log_group=logging.get("LogGroup", f"/aws/lambda/{name}"),
        log_format=logging.get("LogFormat", "Text"),
        log_level=logging.get("ApplicationLogLevel", ""),
        concurrency=None if concurrency is None else int(concurrency),
        dead_letter_arn=settings.get("DeadLetterConfig", {}).get("TargetArn"),
    )


def _code(request: ResourceRequest) -> Path:
    code = request.properties.need("Code")
    if "ZipFile" in code:
        folder = request.stack_context.code_dir / request.logical_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.py").write_text(code["ZipFile"], encoding="utf-8")
        return folder
    return _artifact(request, code["S3Key"])


def _artifact(request: ResourceRequest, key: str) -> Path:
    """Return a copy of the folder, so that later edits do not change the deployed code."""
    path = request.stack_context.artifacts.get(key)
    if path is None or not path.is_dir():
        raise DeploymentError("the code must be a local folder")
    copied = request.stack_context.code_dir / request.logical_id
    shutil.copytree(path, copied)
    return copied


@creates("AWS::Lambda::LayerVersion")
def layer(request: ResourceRequest) -> CreatedResource:
    """Create a layer from the output of `sam build` (with `python/`), or from its source folder."""
    properties = request.properties
    path = _artifact(request, properties.need("Content")["S3Key"])
    name = request.name("LayerName", longest=140)
    settings = properties.pick("Description", "LicenseInfo", "CompatibleRuntimes", "CompatibleArchitectures")
    arn = request.client("lambda").publish_layer_version(
        LayerName=name, Content={"ZipFile": _archive()}, **settings
    )["LayerVersionArn"]
    request.stack_context.functions.layers[arn] = path / "python" if (path / "python").is_dir() else path
    return CreatedResource(arn, {"LayerVersionArn": arn})


@updates("AWS::Lambda::LayerVersion")
def update_layer(request: ResourceRequest, _: CreatedResource) -> CreatedResource:
    """Publish another version, as CloudFormation does if the content has changed."""
    return layer(request)


@creates("AWS::Lambda::Version")
def version(request: ResourceRequest) -> CreatedResource:
    properties = request.properties
    name = split_reference(properties.need("FunctionName"))[0]
    settings = properties.pick("Description", "CodeSha256")
    answer = request.client("lambda").publish_version(FunctionName=name, **settings)
    published = request.stack_context.functions.publish(name, answer["Version"])
    return CreatedResource(
        published.qualified_arn, {"Version": published.version, "FunctionArn": published.qualified_arn}
    )


@creates("AWS::Lambda::Alias")
def alias(request: ResourceRequest) -> CreatedResource:
    properties = request.properties
    name = split_reference(properties.need("FunctionName"))[0]
    alias_name, target = properties.need("Name"), properties.need("FunctionVersion")
    answer = request.client("lambda").create_alias(
        FunctionName=name, Name=alias_name, FunctionVersion=target, **properties.pick("Description")
    )
    request.stack_context.functions.alias(name, alias_name, target)
    return CreatedResource(answer["AliasArn"], {"AliasArn": answer["AliasArn"]})


@updates("AWS::Lambda::Alias")
def update_alias(request: ResourceRequest, created: CreatedResource) -> CreatedResource:
    properties = request.properties
    name = split_reference(properties.need("FunctionName"))[0]
    alias_name, target = properties.need("Name"), properties.need("FunctionVersion")
    request.client("lambda").update_alias(FunctionName=name, Name=alias_name, FunctionVersion=target)
    request.stack_context.functions.alias(name, alias_name, target)
    return created


@creates("AWS::Lambda::Permission")
def permission(request: ResourceRequest) -> CreatedResource:
    """Add a statement to the function's resource policy, for API Gateway or EventBridge."""
    properties = request.properties
    reference = properties.need("FunctionName")
    conditions = {
        "aws:SourceArn": properties.get("SourceArn"),
        "aws:SourceAccount": properties.get("SourceAccount"),
    }
    statement = {
        "Sid": request.logical_id,
        "Effect": "Allow",
        "Principal": {"Service": properties.need("Principal")},
        "Action": properties.need("Action"),
        "Resource": "*",
        "Condition": {"ArnLike": {key: value for key, value in conditions.items() if value}},
    }
    request.stack_context.functions.resolve(reference)
    request.stack_context.functions.allow(reference, statement)
    name, qualifier = split_reference(reference)
    qualified = {"Qualifier": qualifier} if qualifier else {}
    optional = properties.pick("Action", "Principal", "SourceArn", "SourceAccount")
    request.client("lambda").add_permission(
        FunctionName=name, StatementId=request.logical_id, **qualified, **optional
    )
    return CreatedResource(request.logical_id, {"Id": request.logical_id})


@creates("AWS::Lambda::EventInvokeConfig")
def event_invoke_config(request: ResourceRequest) -> CreatedResource:
    properties = request.properties
    name, qualifier = properties.need("FunctionName"), properties.need("Qualifier")
    destinations = properties.get("DestinationConfig", {})
    settings = properties.pick("MaximumRetryAttempts", "MaximumEventAgeInSeconds")
    request.client("lambda").put_function_event_invoke_config(
        FunctionName=name, Qualifier=qualifier, DestinationConfig=destinations, **settings
    )
    request.stack_context.functions.set_async(
        split_reference(name)[0],
        qualifier,
        AsyncSettings(
            retries=int(settings.get("MaximumRetryAttempts", 2)),
            on_failure_arn=destinations.get("OnFailure", {}).get("Destination"),
            on_success_arn=destinations.get("OnSuccess", {}).get("Destination"),
        ),
    )
    return CreatedResource(f"{Arn('aws', 'lambda', '', '', name).resource}-{qualifier}")


def _archive() -> bytes:
    """Return an archive for moto; the code itself is read from its folder."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr(zipfile.ZipInfo("local.txt", (2020, 1, 1, 0, 0, 0)), "run from the source folder")
    return memory.getvalue()


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
