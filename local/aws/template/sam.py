"""Translates SAM to CloudFormation offline: local folders and files become `s3://local/<logical id>`."""

import copy
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from local.aws.errors import TemplateError

LOCAL_BUCKET = "local"

# Properties of SAM resources that refer to local files, and their section in Globals.
_SAM_ARTIFACTS = {
    "AWS::Serverless::Function": ("CodeUri", "Function"),
    "AWS::Serverless::LayerVersion": ("ContentUri", "LayerVersion"),
    "AWS::Serverless::StateMachine": ("DefinitionUri", "StateMachine"),
}
# The same for plain CloudFormation, as `aws cloudformation package` uploads them.
_CLOUDFORMATION_ARTIFACTS = {
    "AWS::Lambda::Function": "Code",
    "AWS::Lambda::LayerVersion": "Content",
    "AWS::StepFunctions::StateMachine": "DefinitionS3Location",
}


@dataclass(frozen=True)
class Translated:
    """A plain CloudFormation template, and the local path behind each `S3Key` in it."""

    template: dict[str, Any]
    artifacts: dict[str, Path]


def translate(
    template_path: Path, parameters: dict[str, str], managed_policies: dict[str, str], region: str
) -> Translated:
    """Translate a SAM template file; `managed_policies` maps the names of AWS managed policies to their ARNs.

    Raises TemplateError with SAM's own message if the template is invalid or a local path does not exist.
    """
    source = yaml_parse(template_path.read_text(encoding="utf-8"))
    artifacts = _take_artifacts(source, template_path.resolve().parent)
    session = boto3.Session(region_name=region, aws_access_key_id="local", aws_secret_access_key="local")  # noqa: S106
    translator = Translator(managed_policies, Parser(), boto_session=session)
    # The translator collects metrics and warns if they are not read.
    logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)
    try:
        template = translator.translate(copy.deepcopy(source), parameters)
    except InvalidDocumentException as error:
        causes = "; ".join(str(cause.message) for cause in error.causes)
        raise TemplateError(f"{template_path.name} is not a valid SAM template: {causes}") from error
    return Translated(json.loads(json.dumps(template, default=str)), artifacts)


def _take_artifacts(source: dict[str, Any], folder: Path) -> dict[str, Path]:
    artifacts: dict[str, Path] = {}
    for logical_id, resource in source.get("Resources", {}).items():
        location = _local_location(source, resource)
        if location is None:
            continue
        property_name, value = location
        path = (folder / value).resolve()
        if not path.exists():
            raise TemplateError(f"{logical_id} ({resource['Type']}): {property_name} {value} does not exist")
        artifacts[logical_id] = path
        resource["Properties"][property_name] = _address(resource["Type"], logical_id)
    return artifacts


def _local_location(source: dict[str, Any], resource: dict[str, Any]) -> tuple[str, str] | None:
    kind = resource.get("Type", "")
    properties = resource.setdefault("Properties", {})
    if kind in _SAM_ARTIFACTS:
        name, globals_key = _SAM_ARTIFACTS[kind]
        inherited = source.get("Globals", {}).get(globals_key, {}).get(name)
        value = properties.get(name, None if "InlineCode" in properties else inherited)
    elif kind in _CLOUDFORMATION_ARTIFACTS:
        name = _CLOUDFORMATION_ARTIFACTS[kind]
        value = properties.get(name)
    else:
        return None
    return (name, value) if isinstance(value, str) and not value.startswith("s3://") else None


def _address(kind: str, logical_id: str) -> str | dict[str, str]:
    if kind == "AWS::StepFunctions::StateMachine":
        return {"Bucket": LOCAL_BUCKET, "Key": logical_id}
    if kind in _CLOUDFORMATION_ARTIFACTS:
        return {"S3Bucket": LOCAL_BUCKET, "S3Key": logical_id}
    return f"s3://{LOCAL_BUCKET}/{logical_id}"
