"""Converts values for the API: parameters of a template are text, and CloudFormation converts them."""

from collections.abc import Callable
from typing import Any


class CoercingClient:
    """A boto3 client whose operations convert text to numbers and booleans, and vice versa."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, method: str) -> Callable[..., Any]:
        operation = self._client.meta.method_to_api_mapping[method]
        shape = self._client.meta.service_model.operation_model(operation).input_shape
        call = getattr(self._client, method)
        return lambda **parameters: call(**coerced(parameters, shape))


def coerced(value: Any, shape: Any) -> Any:
    """Return `value` with the types of a botocore shape; botocore rejects what does not match."""
    if shape is None:
        return value
    if shape.type_name == "structure" and isinstance(value, dict):
        members = shape.members
        return {key: coerced(item, members.get(key)) for key, item in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [coerced(item, shape.member) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: coerced(item, shape.value) for key, item in value.items()}
    if isinstance(value, str):
        return _from_text(value, shape.type_name)
    if shape.type_name == "string" and isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


def _from_text(value: str, kind: str) -> Any:
    try:
        if kind in ("integer", "long"):
            return int(value)
        if kind in ("float", "double"):
            return float(value)
    except ValueError:
        return value
    if kind == "boolean" and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return value
