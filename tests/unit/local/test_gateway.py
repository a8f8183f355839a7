"""What the local stack answers where moto has no operation."""

from __future__ import annotations

import json

import pytest

from local.aws.gateway.gateway import Gateway
from local.aws.http_server import HttpRequest, HttpResponse

SCOPE = "AKIATEST/20260101/eu-central-1/dynamodb/aws4_request"
HEADERS = [
    ("X-Amz-Target", "DynamoDB_20120810.DescribeExport"),
    ("Content-Type", "application/x-amz-json-1.0"),
    ("Authorization", f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=0"),
]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotImplementedError("It has not been implemented."), " (It has not been implemented)"),
        (NotImplementedError(), ""),
    ],
    ids=["with a reason", "without a reason"],
)
def test_an_operation_that_moto_lacks_is_refused_with_its_name(
    error: NotImplementedError, reason: str
) -> None:
    def moto(_: HttpRequest) -> HttpResponse:
        raise error

    response = Gateway(moto, [])(HttpRequest("POST", "/", HEADERS, b"{}"))
    assert response.status == 501
    message = f"DescribeExport of dynamodb is not available on the local stack{reason}."
    assert json.loads(response.body)["message"] == message
