"""Each sender has a page, each page a sender; its source is valid, and its event starts a run."""

from __future__ import annotations

import json
import re

import pytest

from celonis_refresh.webhooks.events import handshake, read_events
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.rules import apply_rules
from celonis_refresh.webhooks.senders import SENDERS
from celonis_refresh.webhooks.sources import Source, parse_source
from refresh_cli.configuration.documents import read_yaml
from tests.template import documents, pages

FOLDER = documents.ROOT / "docs" / "senders"
INDEX = "docs/senders.md"
MAX_LINES = 40
WITHOUT_EVENT = {"salesforce_outbound_message"}
"""Its event is XML."""


def page(sender: str) -> str:
    return pages.page(f"docs/senders/{sender}.md")


def blocks(sender: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page(sender), re.MULTILINE | re.DOTALL)


def source(sender: str) -> tuple[str, Source]:
    """The source of a page, with its name."""
    (text,) = blocks(sender, "yaml")
    (name,) = re.findall(r"`sources/([a-z0-9-]+)\.yaml`", page(sender))
    return name, parse_source(name, json.dumps(read_yaml(text).value))


def test_every_sender_has_a_page_that_the_index_links_to() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(SENDERS)
    linked = re.findall(r"\(senders/(\w+)\.md\)", pages.page(INDEX))
    assert sorted(linked) == sorted(SENDERS)


@pytest.mark.parametrize("sender", SENDERS)
def test_a_page_is_short(sender: str) -> None:
    assert len(page(sender).splitlines()) <= MAX_LINES


@pytest.mark.parametrize("sender", SENDERS)
def test_the_source_of_a_page_is_valid_and_of_its_sender(sender: str) -> None:
    name, found = source(sender)
    assert found.sender == sender
    assert f"`/webhooks/{name}`" in page(sender)
    asks = re.findall(r"^refresh secret webhook (\S+)$", page(sender), re.MULTILINE)
    assert asks == ([str(found.secret)] if found.secret else [])


@pytest.mark.parametrize("sender", SENDERS)
def test_the_event_of_a_page_starts_a_run(sender: str) -> None:
    name, found = source(sender)
    ((tested, file, options),) = re.findall(r"^refresh sources test (\S+) (\S+)(.*)$", page(sender), re.M)
    assert tested == name
    if sender in WITHOUT_EVENT:
        assert file == "event.xml"
        return
    (text,) = blocks(sender, "json")
    headers = dict(re.findall(r"-H ([\w-]+):(\S+)", options))
    request = WebhookRequest({"content-type": "application/json", **headers}, {}, text.encode())
    preset = found.effective()
    events = read_events(preset, request)
    assert handshake(preset, request, events) is None
    assert events
    for event in events:
        results = apply_rules(found, event)
        assert (len(results.matches), results.errors) == (len(found.rules), ()), results
