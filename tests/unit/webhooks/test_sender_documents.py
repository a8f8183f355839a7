"""docs/senders.md matches the table of senders in the code."""

from __future__ import annotations

import json
import re

import pytest

from celonis_refresh.webhooks.senders import SENDERS
from celonis_refresh.webhooks.sources import parse_source
from celonis_refresh.webhooks.verification import BasicAuth, Hmac, Scheme, Sns, StaticToken, UrlToken
from tests.template import pages

PAGE = "docs/senders.md"
ROWS = pages.table(PAGE, "What each one does")
IGNORED = pages.table(PAGE, "What each preset ignores")
RULE = re.compile(r"""`` ("(?:events|when)".*?) ``|(?<!`)`("(?:events|when)"[^`]*)`(?!`)""")
TOPIC = "arn:aws:sns:eu-central-1:123456789012:loads"
POSSIBLE = pages.table(PAGE, "What remains possible")


def signed(scheme: Scheme) -> str:
    """What is under the signature, as the page writes it."""
    if isinstance(scheme, Sns):
        return "id, time, message, topic"
    if not isinstance(scheme, Hmac):
        return "nothing"
    parts = [("id", scheme.signs_id), ("time", scheme.signs_time), ("body", True)]
    return ", ".join(name for name, is_signed in parts if is_signed)


def proof(scheme: Scheme) -> str:
    match scheme:
        case Hmac(encoding=encoding):
            return f"HMAC-SHA256, {'base64' if encoding == 'base64' else 'hex'}"
        case UrlToken():
            return "token in the address"
        case BasicAuth():
            return "HTTP Basic"
        case StaticToken():
            return "token|value"
    return "RSA"


def test_the_page_has_every_sender() -> None:
    assert set(ROWS) == set(SENDERS)
    text = " ".join(row[1] for row in POSSIBLE.values())
    assert set(pages.NAME.findall(text)) == set(SENDERS)


@pytest.mark.parametrize("name", SENDERS)
def test_what_is_signed_is_what_the_scheme_signs(name: str) -> None:
    row, sender = ROWS[name], SENDERS[name]
    if name not in ("custom", "snowflake"):
        assert row[2] == (signed(sender.scheme) if row[2] != "the same" else row[2]), name
    if row[1] not in ("the same under `svix-…`", "Standard Webhooks", "the same, through SNS"):
        assert any(word in row[1] for word in proof(sender.scheme).split("|")), name


@pytest.mark.parametrize("name", SENDERS)
def test_the_delivery_id_is_where_the_page_documents_it(name: str) -> None:
    sender, reported = SENDERS[name], ROWS[name][3]
    if not sender.delivery_id:
        assert reported.startswith("none")
    for place in sender.delivery_id:
        last = (place.header or place.path.partition(" ||")[0]).replace(".", "/").lower()
        assert last in reported.replace(".", "/").lower() or last.rsplit("/", 1)[-1] in reported.lower(), name
    assert ("the bytes of the body" in reported) == bool(sender.run)


@pytest.mark.parametrize("name", SENDERS)
def test_it_starts_on_the_documented_events(name: str) -> None:
    start = SENDERS[name].start
    assert ROWS[name][4].startswith("any ") == (not start.events and start.when == "`true`"), name
    if name not in ("snowflake",):
        assert all(f"`{event}`" in ROWS[name][4] for event in start.events), name


def test_the_page_documents_what_each_preset_ignores() -> None:
    assert set(IGNORED) == set(SENDERS)
    for name, sender in SENDERS.items():
        always, by_default = IGNORED[name][1:3]
        assert all(f"`{probe}`" in always for probe in sender.probes), name
        has_more = bool(sender.probes or sender.test or sender.test_header) or sender.handshake == "slack"
        assert (always == "–") == (not has_more), name
        assert by_default.startswith("nothing") == (ROWS[name][4].startswith("any ") or name == "aws_sns"), (
            name
        )


@pytest.mark.parametrize("name", SENDERS)
def test_every_rule_in_the_page_is_a_rule(name: str) -> None:
    secret = {"topics": [TOPIC]} if isinstance(SENDERS[name].scheme, Sns) else {"secret": "shop"}
    header = {"header": "x-token"} if name == "custom" else {}
    for span in map("".join, RULE.findall(IGNORED[name][3])):
        rule = json.loads(f'{{"pipeline": "p", {span}}}')
        parse_source("shop", {"sender": name, "rules": [rule], **secret, **header})


def test_only_where_neither_id_nor_time_is_signed_the_bytes_are_a_key() -> None:
    for sender in SENDERS.values():
        if sender.run:
            scheme = sender.scheme
            assert isinstance(scheme, Hmac)
            assert not scheme.signs_id
            assert not scheme.signs_time
            assert all(place.header for place in sender.delivery_id)
