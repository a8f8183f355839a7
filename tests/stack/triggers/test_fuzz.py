"""The HTTP API against its own OpenAPI document: every response is as the document says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeGuard

import pytest
import requests
import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from celonis_refresh.names import NAME_PATTERN
from local import openapi
from local.serve import REGION
from tests.stack.environment import StackEnvironment
from tests.stack.runs.celonis import Json
from tests.stack.runs.service import WEBHOOK_SECRET, WORKFLOW_SUCCEEDED
from tests.stack.triggers.signing import signed
from tests.template import documents

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
]
SECONDS = 30.0
EXAMPLES = 25
SEARCH = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def _unsigned() -> Json:
    """The document without its signatures: every request is signed here, and none is broken on purpose."""
    document = openapi.document()
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
    del document["components"]["securitySchemes"]
    return document


api = schemathesis.openapi.from_dict(_unsigned())


class ExistingIds(NamedTuple):
    """Existing ids, so that not every requested id is unknown."""

    url: str
    credentials: Credentials
    pipeline: str
    run_id: str
    waiting: str
    source: str


class RequestSigner(requests.auth.AuthBase):
    """Signs the very bytes that are sent."""

    def __init__(self, credentials: Credentials) -> None:
        self._signer = SigV4Auth(credentials, "execute-api", REGION)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        headers = {"content-type": request.headers.get("content-type", "")}
        sent = AWSRequest(method=request.method, url=request.url, data=request.body, headers=headers)
        self._signer.add_auth(sent)
        request.headers.update(dict(sent.headers))
        return request


@pytest.fixture(scope="module")
def known(environment: StackEnvironment) -> Iterator[ExistingIds]:
    service, job = environment.service, environment.celonis.job(seconds=0.2)
    pipeline = service.pipeline(jobs=[job])
    run_id = service.execute({"pipeline": pipeline})
    assert service.closed(run_id)["status"] == "SUCCEEDED"
    source = service.source({"pipeline": pipeline})
    paused = service.pipeline(jobs=[job], paused=True)
    (joined,) = service.call("POST", "/runs", {"pipeline": paused}).json()["runs"]
    url, credentials = service.stack.api_url, service.stack.credentials
    yield ExistingIds(url, credentials, pipeline, run_id, joined["run_id"], source)
    environment.settled()


@api.parametrize()
@SEARCH
def test_every_response_conforms_to_the_openapi_document(
    case: schemathesis.Case[Any], known: ExistingIds
) -> None:
    _make_half_of_it_real(case, known)
    answer = case.call(base_url=known.url, auth=RequestSigner(known.credentials), timeout=SECONDS)
    case.validate_response(answer, checks=CHECKS)


def _make_half_of_it_real(case: schemathesis.Case[Any], known: ExistingIds) -> None:
    """Every other name exists, and every other webhook is signed."""
    runs = [known.run_id, known.waiting]
    names = [known.source if "/sources/" in case.operation.path else known.pipeline]
    real = {"run_id": runs, "name": names, "source": [known.source]}
    for name, found in real.items():
        given = case.path_parameters.get(name)
        if _is_replaced(given):
            case.path_parameters[name] = found[len(given) // 2 % len(found)]
    if isinstance(case.body, dict) and _is_replaced(case.body.get("pipeline")):
        case.body["pipeline"] = known.pipeline
    if case.operation.label == "POST /webhooks/{source}":
        event = json.dumps(WORKFLOW_SUCCEEDED).encode()
        case.headers.update(signed("github", event, WEBHOOK_SECRET).headers)


def _is_replaced(name: object) -> TypeGuard[str]:
    """Invalid names are left unchanged: they must be refused."""
    return isinstance(name, str) and bool(re.fullmatch(NAME_PATTERN, name)) and len(name) % 2 == 0


def test_the_document_on_the_disk_is_made_from_the_code_as_it_is() -> None:
    assert openapi.DOCUMENT.read_text(encoding="utf-8") == openapi.text()


def test_the_document_has_every_route_of_the_template() -> None:
    (found,) = documents.translated_resources("AWS::ApiGatewayV2::Api").values()
    paths = found["Body"]["paths"].items()
    routes = {f"{method.upper()} {path}" for path, methods in paths for method in methods}
    assert {f"{one.method} {one.path}" for one in openapi.OPERATIONS} == routes


def test_no_request_is_served_without_a_signature(environment: StackEnvironment) -> None:
    for operation in openapi.OPERATIONS:
        if not operation.is_open:
            answer = environment.service.send(
                operation.method, operation.path.replace("{", "").replace("}", "")
            )
            assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})
