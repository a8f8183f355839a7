"""The HTTP front: events in payload format 2.0, answers, IAM, throttling, and API Gateway's own errors."""

import base64
import datetime
import http.client
import json
import socket
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.aws.http_api.routes import HttpApi, Route, Throttling
from local.aws.http_api.throttling import Buckets
from local.aws.stack import LocalStack
from tests.stack.local_fixtures import shop

__all__ = ["shop"]


class ReceivedResponse(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    stack: LocalStack,
    method: str,
    target: str,
    body: bytes = b"",
    headers: list[tuple[str, str]] | None = None,
) -> ReceivedResponse:
    """One request, its headers as given and in that order."""
    connection = http.client.HTTPConnection(urlsplit(stack.api_url).netloc, timeout=20)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers or []:
        connection.putheader(name, value)
    if body:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body or None)
    response = connection.getresponse()
    answer = ReceivedResponse(response.status, response.headers, response.read())
    connection.close()
    return answer


def signed(
    stack: LocalStack, credentials: Credentials, method: str, target: str, body: bytes = b"", **more: Any
) -> list[tuple[str, str]]:
    request = AWSRequest(method=method, url=stack.api_url + target, data=body, headers={"Host": _host(stack)})
    service, region = more.get("service", "execute-api"), more.get("region", stack.region)
    SigV4Auth(credentials, service, region).add_auth(request)
    return [(name, value) for name, value in request.headers.items() if name.lower() != "host"]


def _host(stack: LocalStack) -> str:
    return urlsplit(stack.api_url).netloc


def test_the_event_has_payload_format_2(shop: LocalStack) -> None:
    headers = [
        ("Content-Type", "application/json; charset=utf-8"),
        ("X-Many", "a"),
        ("X-Many", "b"),
        ("Cookie", "one=1; two=2"),
        ("User-Agent", "tests"),
    ]
    answer = ask(shop, "POST", "/open/a%20b?q=1&q=2&empty=&name=%C3%A4", b'{"a": "\xc3\xa4"}', headers)
    assert answer.status == 201
    event = answer.json
    assert event["version"] == "2.0"
    assert event["routeKey"] == "POST /open/{name}"
    assert event["rawPath"] == "/open/a b"
    assert event["rawQueryString"] == "q=1&q=2&empty=&name=%C3%A4"
    assert event["queryStringParameters"] == {"q": "1,2", "empty": "", "name": "ä"}
    assert event["pathParameters"] == {"name": "a b"}
    assert event["headers"]["x-many"] == "a,b"
    assert event["cookies"] == ["one=1", "two=2"]
    assert "cookie" not in event["headers"]
    assert (event["body"], event["isBase64Encoded"]) == ('{"a": "ä"}', False)
    context = event["requestContext"]
    assert context["http"] == {
        "method": "POST",
        "path": "/open/a b",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "tests",
    }
    assert (context["stage"], context["accountId"]) == ("$default", "123456789012")
    assert context["apiId"] in context["domainName"]
    assert abs(context["timeEpoch"] / 1000 - datetime.datetime.now(datetime.UTC).timestamp()) < 60
    assert answer.headers["X-Name"] == "a b"
    assert answer.headers["Apigw-Requestid"] == context["requestId"]


def test_a_request_without_body_query_and_cookies_has_none_in_its_event(shop: LocalStack) -> None:
    event = ask(shop, "POST", "/open/x").json
    assert not {"body", "cookies", "queryStringParameters"} & set(event)


@pytest.mark.parametrize(
    ("content_type", "body", "encoded"),
    [
        ("text/plain", b"plain", False),
        ("application/xml", b"<a/>", False),
        ("application/x-www-form-urlencoded", b"a=1", True),
        ("application/octet-stream", b"\x00\xff", True),
        ("application/cloudevents+json", b"{}", True),
        ("application/json", b"\xff", True),
        (None, b"unsaid", True),
    ],
)
def test_only_text_arrives_as_text(
    shop: LocalStack, content_type: str | None, body: bytes, encoded: bool
) -> None:
    headers = [("Content-Type", content_type)] if content_type else []
    event = ask(shop, "POST", "/open/x", body, headers).json
    assert event["isBase64Encoded"] is encoded
    assert (base64.b64decode(event["body"]) if encoded else event["body"].encode()) == body


def test_answers_become_http(shop: LocalStack) -> None:
    binary = ask(shop, "GET", "/files/binary")
    assert (binary.status, binary.body, binary.headers["Content-Type"]) == (200, b"\x00\x01\x02", "image/png")
    cookies = ask(shop, "PUT", "/files/cookies")
    assert (cookies.status, cookies.headers.get_all("Set-Cookie")) == (204, ["a=1", "b=2"])


def test_a_malformed_answer_and_an_error_are_internal_server_errors(shop: LocalStack) -> None:
    shop.reset()
    for name in ("malformed", "missing"):
        answer = ask(shop, "GET", f"/files/{name}")
        assert (answer.status, answer.json) == (500, {"message": "Internal Server Error"})


def test_an_unknown_route_is_not_found(shop: LocalStack) -> None:
    for method, target in (
        ("GET", "/nowhere"),
        ("GET", "/open/x"),
        ("POST", "/open/x/y"),
        ("GET", "/files/"),
    ):
        answer = ask(shop, method, target)
        assert (answer.status, answer.json) == (404, {"message": "Not Found"})


def test_a_body_of_more_than_10_mb_is_too_large(shop: LocalStack) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(shop.api_url).port or 0), timeout=5) as connection:
        connection.sendall(b"POST /open/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10485761\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_iam_route_takes_a_valid_signature(shop: LocalStack) -> None:
    target = "/orders/7?b=2&a=1%202"
    answer = ask(shop, "GET", target, headers=signed(shop, shop.credentials, "GET", target))
    assert answer.status == 200
    assert answer.json == {"order": "7", "caller": "arn:aws:iam::123456789012:user/administrator"}
    assert answer.headers["Content-Type"] == "application/json"


def test_an_iam_route_takes_nothing_else(shop: LocalStack) -> None:
    admin, target = shop.credentials, "/orders/7"
    good = signed(shop, admin, "GET", target)
    forbidden = {
        "no signature": [],
        "a bearer": [("Authorization", "Bearer abc")],
        "another path": signed(shop, admin, "GET", "/orders/8"),
        "another method": signed(shop, admin, "POST", target),
        "another body": signed(shop, admin, "GET", target, b"other"),
        "another service": signed(shop, admin, "GET", target, service="states"),
        "another region": signed(shop, admin, "GET", target, region="us-east-1"),
        "a wrong secret": signed(shop, Credentials(admin.access_key, "wrong"), "GET", target),
        "an unknown key": signed(shop, Credentials("AKIAUNKNOWN", "x"), "GET", target),
        "an old date": [(n, "20200101T000000Z" if n == "X-Amz-Date" else v) for n, v in good],
    }
    for what, headers in forbidden.items():
        answer = ask(shop, "GET", target, headers=headers)
        assert (what, answer.status, answer.json) == (what, 403, {"message": "Forbidden"})
    assert ask(shop, "GET", target, headers=good).status == 200


def test_a_role_may_call_what_its_policy_names(shop: LocalStack) -> None:
    client = shop.client_of("sts", "ReaderRole")
    role = client._request_signer._credentials
    keys = Credentials(role.access_key, role.secret_key, role.token)
    allowed = ask(shop, "GET", "/orders/7", headers=signed(shop, keys, "GET", "/orders/7"))
    assert allowed.status == 200
    assert ":role/" in allowed.json["caller"]
    assert ask(shop, "GET", "/orders/8", headers=signed(shop, keys, "GET", "/orders/8")).status == 403


def test_a_route_with_throttling_answers_429(shop: LocalStack) -> None:
    shop.reset()
    statuses = [ask(shop, "PUT", "/files/cookies").status for _ in range(8)]
    assert statuses[:3] == [204, 204, 204]
    assert 429 in statuses
    assert ask(shop, "POST", "/open/x").status == 201


def test_buckets_refill_with_time() -> None:
    now = [0.0]
    buckets = Buckets(lambda: now[0])
    limits = Throttling(rate=2, burst=2)
    assert [buckets.take("a", limits) for _ in range(3)] == [True, True, False]
    assert buckets.take("b", limits)
    now[0] = 0.5
    assert [buckets.take("a", limits) for _ in range(2)] == [True, False]


def test_a_function_that_answers_too_late_is_a_503(shop: LocalStack) -> None:
    deployment = shop._running()
    (api,) = deployment.stack_context.apis.values()
    slow = Route("GET", "/slow", shop.physical_ids["StepFunctionAliaslive"], iam=False, timeout=0.0)
    api.routes.append(slow)
    deployment.stack_context.functions.allow(
        slow.function,
        {"Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"}, "Action": "*"},
    )
    answer = ask(shop, "GET", "/slow")
    api.routes.remove(slow)
    assert (answer.status, answer.json) == (503, {"message": "Service Unavailable"})


def test_without_a_permission_api_gateway_does_not_reach_the_function(shop: LocalStack) -> None:
    (api,) = shop._running().stack_context.apis.values()
    unpermitted = Route("GET", "/step", shop.physical_ids["ListenerFunctionAliaslive"], iam=False)
    api.routes.append(unpermitted)
    answer = ask(shop, "GET", "/step")
    api.routes.remove(unpermitted)
    assert answer.status == 500


def test_the_access_log_has_a_line_per_request(shop: LocalStack) -> None:
    shop.reset()
    ask(shop, "POST", "/open/x")
    ask(shop, "GET", "/nowhere")
    assert [line.text for line in shop.logs("access")] == ["POST /open/{name} 201", "- 404"]


def test_a_connection_is_kept_and_fast(shop: LocalStack) -> None:
    connection = http.client.HTTPConnection(_host(shop), timeout=5)
    for _ in range(3):
        connection.request("GET", "/nowhere")
        response = connection.getresponse()
        response.read()
        assert response.getheader("Connection") != "close"
    kept = connection.sock
    connection.request("GET", "/nowhere")
    connection.getresponse().read()
    assert connection.sock is kept
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("GET", "/a/b", "GET /a/b"),
        ("GET", "/a/c", "GET /a/{x}"),
        ("POST", "/a/c", "ANY /a/{x}"),
        ("GET", "/a/c/d", "ANY /a/{rest+}"),
        ("GET", "/z", "$default"),
    ],
)
def test_the_most_specific_route_is_taken(method: str, path: str, key: str) -> None:
    keys = ["$default", "ANY /a/{rest+}", "ANY /a/{x}", "GET /a/{x}", "GET /a/b"]
    routes = [Route(*_parts(each), "f", iam=False) for each in keys]
    found = HttpApi("api", routes).route_of(method, path)
    assert found is not None
    assert found[0].key == key


def _parts(key: str) -> tuple[str, str]:
    method, _, path = key.partition(" ")
    return (method, path) if path else ("ANY", key)
