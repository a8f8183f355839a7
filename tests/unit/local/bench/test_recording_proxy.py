"""Requests that passed are described as boto3 and requests make them."""

from __future__ import annotations

import json

from local.aws.http_server import HttpRequest
from local.bench.lambdas.environment import first_call_per_service
from local.bench.lambdas.recording_proxy import accept_start_execution, aws_call, http_call

SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIA/20300101/eu-central-1/{}/aws4_request, SignedHeaders=host, Signature=0"
)


def _request(service: str, target: str, body: object) -> HttpRequest:
    headers = [("Authorization", SIGNED.format(service)), ("X-Amz-Target", target)]
    return HttpRequest("POST", "/", headers, json.dumps(body).encode())


def test_an_aws_request_is_described_by_service_operation_and_parameters() -> None:
    body = {"TransactItems": [], "ClientRequestToken": "once"}
    call = aws_call(_request("dynamodb", "DynamoDB_20120810.TransactWriteItems", body))
    assert call == {
        "service": "dynamodb",
        "operation": "transact_write_items",
        "parameters": {"TransactItems": []},
    }


def test_a_start_is_noted_and_nothing_else_is_answered() -> None:
    start = _request("states", "AWSStepFunctions.StartExecution", {"name": "a"})
    answer = accept_start_execution(start)
    assert answer is not None
    assert "executionArn" in json.loads(answer.body)
    assert aws_call(start)["service"] == "stepfunctions"
    assert accept_start_execution(_request("dynamodb", "DynamoDB_20120810.GetItem", {})) is None


def test_a_request_to_celonis_is_described_without_its_credentials() -> None:
    request = HttpRequest("POST", "/a?b=c", [("Authorization", "Bearer x")], b"{}")
    assert http_call(request) == {"method": "POST", "target": "/a?b=c", "body": "{}"}


def test_the_first_call_of_each_service_leaves_out_the_sign_in() -> None:
    calls = [
        {"service": "ssm", "operation": "get_parameter"},
        {"service": "ssm", "operation": "get_parameters_by_path"},
        {"url": "http://celonis/oauth2/token"},
        {"url": "http://celonis/jobs/1"},
        {"url": "http://celonis/jobs/2"},
    ]
    assert first_call_per_service(calls) == [calls[0], calls[3]]
