"""Parses an AWS API request: service, operation, caller and parameters."""

import functools
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

import botocore.session
from botocore.model import ServiceModel

from local.aws.http_server import HttpRequest

_CREDENTIAL = re.compile(r"Credential=(?P<key>[^/]+)/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")

# Services whose signing name is not the name of their botocore model.
_MODELS = {
    "states": "stepfunctions",
    "monitoring": "cloudwatch",
    "apigateway": "apigatewayv2",
    "email": "ses",
}


@dataclass(frozen=True)
class AwsCall:
    """`service` is the IAM prefix, such as `states`; `parameters` are named as in the API."""

    service: str
    operation: str
    access_key: str | None
    protocol: str
    parameters: dict[str, Any]


def parse_call(request: HttpRequest) -> AwsCall:
    """Parse a SigV4-signed request; a part that cannot be parsed is an empty string."""
    match = _CREDENTIAL.search(request.header("Authorization") or "")
    if match is None:
        return AwsCall("", "", None, "json", {})
    service = match["service"]
    model = _model(_MODELS.get(service, service))
    protocol = _protocol(request, model)
    reader = {"json": _from_json, "query": _from_query}.get(protocol, _from_rest)
    operation, parameters = reader(request, model)
    iam_name = "cloudwatch" if service == "monitoring" else service
    return AwsCall(iam_name, operation, match["key"], protocol, parameters)


def _protocol(request: HttpRequest, model: ServiceModel | None) -> str:
    if request.header("X-Amz-Target"):
        return "json"
    if model is None:
        return "rest-json"
    protocols = model.metadata.get("protocols", [model.metadata["protocol"]])
    if "query" in protocols or "ec2" in protocols:
        return "query"
    return "rest-json"


def _from_json(request: HttpRequest, _model: ServiceModel | None) -> tuple[str, dict[str, Any]]:
    target = request.header("X-Amz-Target") or ""
    return target.rsplit(".", 1)[-1], _json_object(request.body)


def _from_query(request: HttpRequest, _model: ServiceModel | None) -> tuple[str, dict[str, Any]]:
    values = dict(parse_qsl(request.body.decode("utf-8", "replace") or request.query, keep_blank_values=True))
    return values.pop("Action", ""), dict(values)


def _from_rest(request: HttpRequest, model: ServiceModel | None) -> tuple[str, dict[str, Any]]:
    if model is not None:
        for operation, pattern in _rest_patterns(model.service_name):
            match = pattern.fullmatch(f"{request.method} {request.path}")
            if match:
                parameters = {key: values[-1] for key, values in parse_qs(request.query).items()}
                path = {_name(key): unquote(value) for key, value in match.groupdict().items()}
                return operation, {**_json_object(request.body), **parameters, **path}
    return "", {}


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


@functools.cache
def _model(service: str) -> ServiceModel | None:
    session = botocore.session.get_session()
    if service not in session.get_available_services():
        return None
    return session.get_service_model(service)


@functools.cache
def _rest_patterns(service: str) -> list[tuple[str, re.Pattern[str]]]:
    model = _model(service)
    if model is None:
        return []
    operations = [model.operation_model(name) for name in model.operation_names]
    pairs = [(operation.name, operation.http) for operation in operations if operation.http.get("requestUri")]
    return [(name, _pattern(http["method"], http["requestUri"])) for name, http in pairs]


def _pattern(method: str, uri: str) -> re.Pattern[str]:
    pieces = re.split(r"(\{[^}]+\})", uri.split("?")[0])
    return re.compile(f"{method} {''.join(map(_piece, pieces))}/?")


def _piece(piece: str) -> str:
    if not piece.startswith("{"):
        return re.escape(piece)
    name = piece[1:-1].rstrip("+").encode().hex()
    return f"(?P<p{name}>{'.+' if piece.endswith('+}') else '[^/]+'})"


def _name(group: str) -> str:
    return bytes.fromhex(group[1:]).decode()
