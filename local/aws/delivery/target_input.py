"""The input of a rule's target: the event, a part of it, a constant, or a text template."""

import json
import re
from typing import Any

_PART = re.compile(r"<([A-Za-z0-9_.\-]+)>")
_STEP = re.compile(r"\.([A-Za-z0-9_\-]+)|\[(\d+)\]")


def target_input(target: dict[str, Any], event: dict[str, Any], rule_arn: str) -> str:
    """Return the text to deliver."""
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return json.dumps(_at(event, target["InputPath"]))
    if "InputTransformer" in target:
        return _transformed(target["InputTransformer"], event, rule_arn)
    return json.dumps(event)


def _at(event: Any, path: str) -> Any:
    node = event
    for name, index in _STEP.findall(path.removeprefix("$")):
        if name:
            node = node.get(name) if isinstance(node, dict) else None
        else:
            node = node[int(index)] if isinstance(node, list) and int(index) < len(node) else None
    return node


def _transformed(transformer: dict[str, Any], event: dict[str, Any], rule_arn: str) -> str:
    """A quoted placeholder becomes text; an unquoted one JSON, or plain text if the template is not JSON."""
    template = str(transformer["InputTemplate"])
    values = {name: _at(event, path) for name, path in transformer.get("InputPathsMap", {}).items()}
    values["aws.events.event.json"] = event
    values["aws.events.rule-arn"] = rule_arn

    def replace(match: re.Match[str]) -> str:
        value = values.get(match.group(1))
        quoted = template.count('"', 0, match.start()) % 2 == 1
        text = value if isinstance(value, str) else json.dumps(value)
        if quoted:
            return json.dumps(text)[1:-1]
        return json.dumps(value) if template.lstrip()[:1] in "{[" else text

    return _PART.sub(replace, template)
