"""Dynamic references: `{{resolve:ssm:…}}` and `{{resolve:secretsmanager:…}}` in a property."""

import json
import re
from typing import Any

from local.aws.clients import Clients
from local.aws.errors import TemplateError

_REFERENCE = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^{}]+)\}\}")


def resolve_dynamic_references(node: Any, clients: Clients) -> Any:
    """Return `node` with every reference replaced by its current value."""
    if isinstance(node, str):
        return _REFERENCE.sub(lambda match: _read(match.group(1), match.group(2), clients), node)
    if isinstance(node, list):
        return [resolve_dynamic_references(item, clients) for item in node]
    if isinstance(node, dict):
        return {key: resolve_dynamic_references(value, clients) for key, value in node.items()}
    return node


def _read(service: str, reference: str, clients: Clients) -> str:
    if service == "secretsmanager":
        return _secret(reference, clients)
    answer = clients.admin("ssm").get_parameter(Name=reference, WithDecryption=service == "ssm-secure")
    return str(answer["Parameter"]["Value"])


def _secret(reference: str, clients: Clients) -> str:
    """Resolve `name-or-arn:SecretString:key`; an ARN contains colons too."""
    name, separator, rest = reference.partition(":SecretString")
    text = str(clients.admin("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
    key = rest.strip(":").split(":")[0] if separator else ""
    if not key:
        return text
    value = json.loads(text).get(key)
    if value is None:
        raise TemplateError(f"Could not find a value for the key {key} in the secret {name}")
    return str(value)
