"""What strangers, broken senders and fuzzers send: refused with 4xx, nothing started, nothing revealed."""

from __future__ import annotations

import base64
import gzip
import json
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest

from tests.stack.environment import StackEnvironment
from tests.stack.runs.celonis import Json
from tests.stack.runs.service import WEBHOOK_SECRET, WORKFLOW_SUCCEEDED, DeployedService
from tests.stack.triggers.signing import signed

BODY = json.dumps(WORKFLOW_SUCCEEDED).encode()
HEADER = "x-hub-signature-256"
MEGABYTE = 1024 * 1024


class AttackedSource(NamedTuple):
    """A source whose events would start a pipeline."""

    source: str
    pipeline: str
    job: str


@pytest.fixture(scope="module")
def target(environment: StackEnvironment) -> AttackedSource:
    job = environment.celonis.job()
    pipeline = environment.service.pipeline(jobs=[job])
    return AttackedSource(environment.service.source({"pipeline": pipeline}), pipeline, job)


@pytest.fixture
def attacked(environment: StackEnvironment, target: AttackedSource) -> Iterator[DeployedService]:
    """The service. Nothing that a test sends is started or claimed."""
    yield environment.service
    assert environment.service.is_free(target.pipeline)
    assert environment.celonis.executions(target.job) == []


def _signature(body: bytes, secret: str = WEBHOOK_SECRET) -> str:
    return str(signed("github", body, secret).headers[HEADER])


GOOD = _signature(BODY)
DIGEST = GOOD.removeprefix("sha256=")


@pytest.mark.parametrize(
    "signature",
    [
        _signature(BODY, "guess"),
        _signature(BODY + b" "),
        _signature(BODY, WEBHOOK_SECRET[:-1]),
        GOOD.upper(),
        DIGEST,
        GOOD[:-1],
        GOOD[:-2],
        GOOD + "00",
        GOOD + " ",
        f"{GOOD},{GOOD}",
        f"{_signature(BODY, 'guess')},{GOOD}",
        "sha1=" + DIGEST[:40],
        "sha256=" + base64.b64encode(bytes.fromhex(DIGEST)).decode(),
        "sha256=" + "0" * 64,
        "sha256=",
        "sha256=" + "é" * 64,
        "\xff\xfe",
        "sha256=" + "f" * 5000,
    ],
)
def test_a_forged_signature(attacked: DeployedService, target: AttackedSource, signature: str) -> None:
    answer = attacked.webhook(target.source, BODY, headers={HEADER: signature.encode("utf-8")})
    assert (answer.status_code, answer.json()["error"]) == (401, "NotAuthentic")
    assert DIGEST not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        BODY.replace(b"load-erp", b"load-crm"),
        BODY[:-1],
        BODY[: len(BODY) // 2],
        BODY + b"\n",
        b"",
        json.dumps(WORKFLOW_SUCCEEDED, indent=1).encode(),
        json.dumps(dict(reversed(WORKFLOW_SUCCEEDED.items()))).encode(),
        BODY.decode().encode("utf-16"),
        BODY.decode().encode("utf-8-sig"),
        base64.b64encode(BODY),
        gzip.compress(BODY),
        quote(BODY).encode(),
    ],
    ids=[
        "another value",
        "one byte less",
        "half of it",
        "one byte more",
        "empty",
        "indented",
        "in another order",
        "UTF-16",
        "with a byte order mark",
        "base64",
        "gzip",
        "percent-encoded",
    ],
)
def test_a_body_that_was_changed_on_its_way(
    attacked: DeployedService, target: AttackedSource, body: bytes
) -> None:
    answer = attacked.webhook(target.source, body, headers={HEADER: GOOD})
    assert (answer.status_code, answer.json()["error"]) == (401, "NotAuthentic")


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe\x00",
        b'{"action": "\xed\xa0\x80"}',
        b"[" * 100_000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b'{"action": "completed", "action": "completed"}',
        b'{"action": NaN}',
        b'{"action": 1e999}',
        b'{"action": "\\ud800"}',
        b"{" + b'"a":1,' * 10,
        b"null,null",
        b"\x00",
        b"1" * 100_000,
        b'"' + b"\\" * 100_001,
    ],
)
def test_a_body_that_is_signed_and_cannot_be_read(
    attacked: DeployedService, target: AttackedSource, body: bytes
) -> None:
    answer = attacked.webhook(target.source, body)
    assert (answer.status_code, answer.json()["error"]) == (400, "Malformed")


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b'"text"', b"0", b"true", b"{}", b'[{"action": "completed"}]']
)
def test_json_that_is_no_event_starts_nothing(
    attacked: DeployedService, target: AttackedSource, body: bytes
) -> None:
    answer = attacked.webhook(target.source, body)
    assert (answer.status_code, answer.json()["status"]) == (200, "ignored")


@pytest.mark.parametrize("size", [MEGABYTE + 1, 6 * MEGABYTE, 11 * MEGABYTE])
@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream"])
def test_a_body_that_is_too_large(
    attacked: DeployedService, target: AttackedSource, size: int, content_type: str
) -> None:
    answer = attacked.webhook(target.source, b"a" * size, headers={"content-type": content_type})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "image/png",
        "application/octet-stream",
        "x" * 4000,
        "/",
        "json",
    ],
)
def test_a_signed_event_of_another_content_type(
    attacked: DeployedService, target: AttackedSource, content_type: str
) -> None:
    answer = attacked.webhook(target.source, BODY, headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["error"]) == (400, "Malformed")
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert attacked.webhook(target.source, BODY, headers=form).status_code == 400


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_another_method(attacked: DeployedService, target: AttackedSource, method: str) -> None:
    headers = {"content-type": "application/json", HEADER: GOOD, "x-github-event": "workflow_run"}
    answer = attacked.send(method, f"/webhooks/{target.source}", BODY, headers)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        "..%2fpipelines%2f{pipeline}",
        "%2e%2e%2f{source}",
        "{source}%00",
        "{source}%2f",
        "{source}%0a",
        "{source}%20",
        "%00",
        "%ff%fe",
        "%F0%9F%98%80",
        "gith%C3%BCb",
        "a" * 49,
        "a" * 6000,
        "*",
        "{source};x=1",
        "$(id)",
        "'%20OR%20'1'='1",
        "%7B%7Bsource%7D%7D",
        "-{source}",
    ],
)
def test_a_trick_in_the_name_of_the_source(
    attacked: DeployedService, target: AttackedSource, name: str
) -> None:
    path = name.format(**target._asdict()) if "%7B" not in name else name
    answer = attacked.webhook(path, BODY)
    assert answer.status_code == 401
    assert answer.json() == attacked.webhook(target.source, BODY, secret="guess").json()


@pytest.mark.parametrize(
    "path", ["", "/", "/../runs", "//", "/a/b", "/%2e%2e/%2e%2e/etc/passwd", "?source={source}"]
)
def test_a_trick_in_the_path(attacked: DeployedService, target: AttackedSource, path: str) -> None:
    answer = _raw(attacked, f"POST /webhooks{path.format(source=target.source)} HTTP/1.1", BODY)
    assert 400 <= answer < 500


def test_a_flood_of_headers(attacked: DeployedService, target: AttackedSource) -> None:
    many = "\r\n".join(f"x-flood-{number}: {number}" for number in range(300))
    assert 400 <= _raw(attacked, f"POST /webhooks/{target.source} HTTP/1.1\r\n{many}", BODY) < 500
    long = "x-long: " + "a" * 100_000
    assert 400 <= _raw(attacked, f"POST /webhooks/{target.source} HTTP/1.1\r\n{long}", BODY) < 500
    some: Json = {f"x-flood-{number}": "a" * 90 for number in range(80)}
    wrong = attacked.webhook(target.source, BODY, secret="guess", headers=some)
    assert wrong.status_code == 401


def test_a_header_that_comes_twice(attacked: DeployedService, target: AttackedSource) -> None:
    """API Gateway joins them with a comma, so it is unknown which of them was meant."""
    twice = f"{HEADER}: {_signature(BODY, 'guess')}\r\n{HEADER}: {GOOD}\r\nx-github-event: workflow_run"
    assert _raw(attacked, f"POST /webhooks/{target.source} HTTP/1.1\r\n{twice}", BODY) == 401


def test_a_token_that_comes_twice(
    environment: StackEnvironment, attacked: DeployedService, target: AttackedSource
) -> None:
    secret = attacked.secret("webhooks", {"current": "the-token-in-the-address"})
    rule = {"pipeline": target.pipeline}
    source = attacked.source(rule, sender="airbyte", secret=secret)
    attacked.secrets.append("the-token-in-the-address")
    data = {"connection": {"id": "c"}, "jobId": 1, "success": True, "finishedAt": "2026"}
    body, typed = json.dumps({"data": data}).encode(), {"content-type": "application/json"}
    token = "the-token-in-the-address"
    for query in (
        f"?token={token}&token={token}", f"?token=x&token={token}", f"?TOKEN={token}", f"?token={token}%00",
        f"?token=%20{token}", "?token=", "?token", "?token[]=x", "?" + "&".join(["token=x"] * 200),
        "?token=%ff",
    ):  # fmt: skip
        answer = attacked.send("POST", f"/webhooks/{source}{query}", body, typed)
        assert answer.status_code in (400, 401), query
        assert token not in answer.text


def test_a_message_of_sns_that_is_not_amazons_is_refused_and_nothing_is_fetched(
    environment: StackEnvironment, attacked: DeployedService, target: AttackedSource
) -> None:
    topic = "arn:aws:sns:eu-central-1:123456789012:loads"
    fields: Json = {"sender": "aws_sns", "secret": None, "topics": [topic]}
    source = attacked.source({"pipeline": target.pipeline}, **fields)
    with socket.create_server(("127.0.0.1", 0)) as stand_in:
        stand_in.settimeout(0.2)
        own = f"http://127.0.0.1:{stand_in.getsockname()[1]}/cert.pem"
        for cert in (
            own, own.replace("http:", "https:"), "https://sns.eu-central-1.amazonaws.com@127.0.0.1/cert.pem",
            "https://sns.s3.amazonaws.com/cert.pem", "https://sns.eu-central-1.amazonaws.com.evil.example/c.pem",
            "http://sns.eu-central-1.amazonaws.com/c.pem", "https://sns.eu-central-1.amazonaws.com:8443/c.pem",
            "https://sns.zz-nowhere-99.amazonaws.com/c.pem", "https://sns.us-east-1.amazonaws.com.cn/c.pem",
            "file:///etc/passwd", "",
        ):  # fmt: skip
            answer = _sns(attacked, source, topic, SigningCertURL=cert)
            assert (answer.status_code, answer.json()["error"]) == (401, "NotAuthentic"), cert
        other = _sns(attacked, source, topic + "-of-a-stranger")
        assert other.status_code == 401
        confirm = {
            "Type": "SubscriptionConfirmation",
            "SubscribeURL": own,
            "Token": "t",
            "SigningCertURL": own,
        }
        assert _sns(attacked, source, topic, **confirm).status_code == 401
        with pytest.raises(TimeoutError):
            stand_in.accept()


def _sns(service: DeployedService, source: str, topic: str, **fields: str) -> Any:
    message = {
        "Type": "Notification", "MessageId": "m", "TopicArn": topic, "Message": "{}",
        "Timestamp": "2026-01-01T00:00:00.000Z", "SignatureVersion": "1", "Signature": "AAAA",
        "SigningCertURL": "https://sns.eu-central-1.amazonaws.com/x.pem", **fields,
    }  # fmt: skip
    headers = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": message["Type"]}
    return service.send("POST", f"/webhooks/{source}", json.dumps(message).encode(), headers)


def test_xml_that_expands_is_refused(attacked: DeployedService, target: AttackedSource) -> None:
    secret = attacked.secret("webhooks", {"current": "the-token-of-salesforce"})
    rule = {"pipeline": target.pipeline}
    source = attacked.source(rule, sender="salesforce_outbound_message", secret=secret)
    bombs = [
        b'<!DOCTYPE a [<!ENTITY x "aaaa"><!ENTITY y "&x;&x;">]><a>&y;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b"<a>" * 10_000,
        b"<a/>" * 10,
        b"{}",
    ]
    for bomb in bombs:
        path, typed = f"/webhooks/{source}?token=the-token-of-salesforce", {"content-type": "text/xml"}
        answer = attacked.send("POST", path, bomb, typed)
        assert (answer.status_code, answer.json()["error"]) == (400, "Malformed")


@pytest.mark.parametrize(
    "path",
    [
        "|".join(["[@,@]"] * 120),
        "|".join(["[@,@][]"] * 100),
        "|".join(["to_string([@])"] * 60),
        "join(workflow_run.name, [@,@,@][])",
        "!" * 900 + "a",
        "[::0]",
        "sum(@)",
        "sort_by(@, &a)",
    ],
)
def test_an_expression_that_blows_up(attacked: DeployedService, target: AttackedSource, path: str) -> None:
    source = attacked.source({"pipeline": target.pipeline, "when": "`true`", "reason": {"path": path}})
    big: list[Json] = [{"name": "x" * 1000} for _ in range(200)]
    answer = attacked.webhook(
        source,
        [*big]
        if "sort" in path or "sum" in path or "::" in path
        else {"a": big, "workflow_run": {"name": "x" * 9000}},
    )
    found = (answer.status_code, answer.json()["error"])
    assert found in ((422, "RuleError"), (401, "NotAuthentic"))  # the source itself may not be valid


def _raw(service: DeployedService, head: str, body: bytes) -> int:
    """The response status to a raw request; 0 if the connection is only closed."""
    address = urlsplit(service.stack.api_url)
    with socket.create_connection((address.hostname, address.port or 80), timeout=15) as connection:
        typed = "content-type: application/json\r\nconnection: close"
        connection.sendall(
            f"{head}\r\nhost: api\r\n{typed}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
        )
        first = connection.makefile("rb").readline().split()
    return int(first[1]) if len(first) > 1 else 0
