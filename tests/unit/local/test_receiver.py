"""What ``make receiver`` prints."""

from __future__ import annotations

import json
import re
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from celonis_refresh.notifications.payloads import signed_headers
from local.receiver import ReceivedRequest
from tests.template import pages

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_request_is_shown_with_its_signature_and_its_body() -> None:
    headers = {"webhook-id": "run-1/ended/local", "content-type": "application/json"}
    request = ReceivedRequest("webhook", headers, '{"title": "Ä", "data": {"a": 1}}'.encode())
    lines = request.text().splitlines()
    assert lines[:3] == ["POST /webhook", "webhook-id: run-1/ended/local", "{"]
    assert '  "title": "Ä",' in lines
    assert "content-type" not in request.text()
    assert ReceivedRequest("slack", {}, b"no JSON \xff").text() == "POST /slack\nno JSON \ufffd\n"


def signed(age: int = 0, body: bytes = b'{"type": "notification.failed", "data": {}}') -> ReceivedRequest:
    headers = signed_headers(SECRET, "run-1/failed", int(time.time()) - age, body)
    return ReceivedRequest("webhook", {name.lower(): value for name, value in headers.items()}, body)


def test_a_signed_request_is_shown_as_it_was_sent_and_whether_its_signature_fits() -> None:
    request = signed()
    assert "body as sent: " + request.body.decode() in request.text().splitlines()
    assert "secret" not in request.text()
    assert "signature fits the secret" in request.text(SECRET).splitlines()
    assert "signature DOES NOT FIT the secret" in request.text("whsec_b3RoZXI=").splitlines()
    changed = ReceivedRequest(request.name, request.headers, request.body + b" ")
    assert "signature DOES NOT FIT the secret" in changed.text(SECRET).splitlines()


@pytest.fixture
def documented(tmp_path: Path) -> Callable[..., Any]:
    """``verify`` of docs/local.md."""
    (code,) = re.findall(r"^```python\n(.*?)^```", pages.page("docs/local.md"), re.M | re.S)
    path = tmp_path / "verify.py"
    path.write_text(code, encoding="utf-8")
    verify: Callable[..., Any] = runpy.run_path(str(path))["verify"]
    return verify


def test_the_documented_code_verifies_what_is_sent(documented: Callable[..., Any]) -> None:
    request = signed()
    assert documented(SECRET, request.headers, request.body) == json.loads(request.body)


@pytest.mark.parametrize(
    ("age", "secret", "body"),
    [
        (0, "whsec_b3RoZXI=", None),
        (0, SECRET, b'{"type":"notification.failed","data":{}}'),
        (400, SECRET, None),
        (-400, SECRET, None),
    ],
    ids=["another secret", "serialized again", "old", "of the future"],
)
def test_the_documented_code_refuses_anything_else(
    documented: Callable[..., Any], age: int, secret: str, body: bytes | None
) -> None:
    request = signed(age=age)
    with pytest.raises(ValueError, match="webhook"):
        documented(secret, request.headers, body or request.body)
