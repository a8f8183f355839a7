"""The content types in which a sender's events are taken."""

from __future__ import annotations

import pytest

from celonis_refresh.webhooks.errors import Malformed
from celonis_refresh.webhooks.request import BodyKind, WebhookRequest, check_media_type

JSON = [
    "application/json",
    "application/json; charset=utf-8",
    "APPLICATION/JSON",
    "application/cloudevents+json",
]
JSON += ["application/vnd.acme.event-v1+json", "text/json", "", "  application/json ;charset=x"]
FORM = ["application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8"]
XML = ["text/xml", "text/xml; charset=utf-8", "application/xml", "application/soap+xml", ""]
BATCH = ["application/cloudevents-batch+json"]
PLAIN = ["text/plain", "text/plain; charset=UTF-8"]
TAKEN: dict[BodyKind, list[str]] = {
    "json": JSON + FORM,
    "list": JSON + BATCH,
    "sns": JSON + PLAIN,
    "soap": XML,
}
OTHERS = [
    "image/png",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "json",
    "/",
    "application/",
]
OTHERS += ["application/jsonx", "xapplication/json", "application/json,application/json", "text/html", "\x00"]


def request(content_type: str) -> WebhookRequest:
    return WebhookRequest({"content-type": content_type} if content_type else {}, {}, b"{}")


@pytest.mark.parametrize(("kind", "content_type"), [(kind, one) for kind in TAKEN for one in TAKEN[kind]])
def test_what_the_sender_sends_is_taken(kind: BodyKind, content_type: str) -> None:
    check_media_type(kind, request(content_type))


@pytest.mark.parametrize("kind", TAKEN)
@pytest.mark.parametrize("content_type", [*OTHERS, *JSON, *FORM, *XML, *PLAIN])
def test_everything_else_is_refused_and_not_repeated(kind: BodyKind, content_type: str) -> None:
    if content_type in TAKEN[kind]:
        return
    with pytest.raises(Malformed) as reported:
        check_media_type(kind, request(content_type))
    assert content_type not in str(reported.value) or content_type in ("/", "json")
