"""Any guess leads to the same comparisons of two digests: response times reveal nothing."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from celonis_refresh.webhooks import verification
from celonis_refresh.webhooks.errors import NotAuthentic
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.verification import (
    BasicAuth,
    Hmac,
    Scheme,
    StaticToken,
    UrlToken,
    verify,
)
from tests.fakes.signing import sign

SECRETS = ["user:the-current-secret", "user:the-previous-secret"]
GUESSES = ["x", "user:the-current-secreT", "Xser:the-current-secret", "user:the-current-secret-and-more"]
BODY, NOW = b'{"type": "loaded"}', 1_767_225_600.0
SIGNED = Hmac(header="x-signature")

Make = Callable[[str], WebhookRequest]


def _token(secret: str) -> WebhookRequest:
    return WebhookRequest({"x-token": secret}, {}, BODY)


def _url(secret: str) -> WebhookRequest:
    return WebhookRequest({}, {"token": secret}, BODY)


def _basic(secret: str) -> WebhookRequest:
    encoded = base64.b64encode(secret.encode()).decode()
    return WebhookRequest({"authorization": f"Basic {encoded}"}, {}, BODY)


def _signed(secret: str) -> WebhookRequest:
    return WebhookRequest(sign(SIGNED, secret, BODY), {}, BODY)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The lengths of both sides of every comparison."""
    seen: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        seen.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(verification, "hmac", SimpleNamespace(compare_digest=compare, new=hmac.new))
    return seen


@pytest.mark.parametrize(
    ("scheme", "make"),
    [(StaticToken(header="x-token"), _token), (UrlToken(), _url), (BasicAuth(), _basic), (SIGNED, _signed)],
    ids=["static_token", "url_token", "basic_auth", "hmac"],
)
def test_right_or_wrong_every_secret_is_compared_and_only_by_its_digest(
    compared: list[tuple[int, int]], scheme: Scheme, make: Make
) -> None:
    for offered in [*SECRETS, *GUESSES]:
        compared.clear()
        if offered in SECRETS:
            assert verify(scheme, make(offered), SECRETS, NOW).secret_index == SECRETS.index(offered)
        else:
            with pytest.raises(NotAuthentic):
                verify(scheme, make(offered), SECRETS, NOW)
        assert compared == [(32, 32)] * len(SECRETS)
