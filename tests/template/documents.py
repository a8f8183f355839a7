"""The documents that have to agree: template, state machine, folders, pages. Each is read once."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from local.aws.moto_adjustments.managed_policies import managed_policy_arns
from local.aws.template.sam import translate

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers" / "refresh"
PACKAGE = LAYER / "celonis_refresh"
FUNCTIONS = ROOT / "functions"
TOOL = ROOT / "cli" / "refresh_cli"
REGION = "eu-central-1"
FUNCTION_ARN = f"arn:aws:lambda:{REGION}:123456789012:function:refresh-{{}}:1"

Document = dict[str, Any]


@functools.cache
def template_text() -> str:
    return (ROOT / "template.yaml").read_text(encoding="utf-8")


@functools.cache
def template() -> Document:
    """template.yaml with its intrinsic functions as ``{"Ref": …}`` and ``{"Fn::…": …}``."""
    parsed: Document = yaml_parse(template_text())
    return parsed


def resources(kind: str) -> dict[str, Document]:
    """The properties of the template's resources of one type, by logical id."""
    found = template()["Resources"].items()
    return {name: resource["Properties"] for name, resource in found if resource["Type"] == kind}


def functions() -> dict[str, Document]:
    """The functions with what they inherit from Globals, by logical id."""
    shared = template()["Globals"]["Function"]
    return {name: _inherited(shared, own) for name, own in resources("AWS::Serverless::Function").items()}


def _inherited(shared: Document, own: Document) -> Document:
    merged = {**shared, **own}
    for name in ("LoggingConfig", "Environment"):
        merged[name] = {**shared.get(name, {}), **own.get(name, {})}
    variables = [part.get("Environment", {}).get("Variables", {}) for part in (shared, own)]
    merged["Environment"] = {"Variables": {**variables[0], **variables[1]}}
    return merged


def folder_name(logical_id: str) -> str:
    """``StartStep`` is in ``start_step``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", logical_id).lower()


@functools.cache
def translated() -> Document:
    """What CloudFormation gets, as plain resources."""
    return translate(ROOT / "template.yaml", {}, managed_policy_arns(), REGION).template


def translated_from(text: str, folder: Path) -> Document:
    """The same for another template beside the same code, written into an empty folder."""
    for name in ("functions", "layers", "statemachine"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "template.yaml").write_text(text, encoding="utf-8")
    return translate(folder / "template.yaml", {}, managed_policy_arns(), REGION).template


def translated_resources(kind: str) -> dict[str, Document]:
    found = translated()["Resources"].items()
    return {name: resource["Properties"] for name, resource in found if resource["Type"] == kind}


@functools.cache
def machine_text() -> str:
    return (ROOT / "statemachine" / "refresh.asl.json").read_text(encoding="utf-8")


def machine() -> Document:
    """The definition as the file has it; a fresh copy, to be changed at will."""
    parsed: Document = json.loads(machine_text())
    return parsed


def substituted(definition: Any) -> Any:
    """The definition with an ARN for each ``${Name}``, as CloudFormation makes it."""
    text = re.sub(r"\$\{(\w+)\}", lambda found: FUNCTION_ARN.format(found[1]), json.dumps(definition))
    return json.loads(text)


def states(definition: Mapping[str, Any]) -> Iterator[tuple[str, Document]]:
    """Every state with its name, those of a Map's processor after the Map."""
    for name, state in definition["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


def strings(node: Any) -> Iterator[str]:
    """Every text anywhere in a document."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)


def sources(folder: Path) -> list[Path]:
    """The Python modules below a folder."""
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)
