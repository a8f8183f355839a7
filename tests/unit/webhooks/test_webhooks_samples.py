"""What each sender really sends, in its own field names with other values: success, failure, start, test and
redelivery, from the signed request to its result.

``samples/{sender}.json``: a sample that is ``like`` another one is that one with its own headers and body
merged in; a redelivery comes after the one that it is like. ``right`` is the expected result.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.webhooks import senders
from celonis_refresh.webhooks.events import Event
from celonis_refresh.webhooks.expressions import is_true
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.rules import apply_rules
from celonis_refresh.webhooks.senders import SENDERS
from celonis_refresh.webhooks.sources import Source, parse_source
from celonis_refresh.webhooks.verification import BasicAuth, Hmac, Sns, StaticToken, UrlToken
from celonis_refresh.workflow.webhook import Reply
from tests.fakes.signing import sign
from tests.unit.webhooks import sns_messages
from tests.unit.workflow.webhook_harness import SECRET, WebhookHarness

FOLDER = Path(__file__).with_name("samples")
FILES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
}
FIELDS = sorted(
    {
        word
        for name, text in vars(senders).items()
        if name.isupper() and isinstance(text, str)
        for word in re.findall("[A-Za-z_]+", text)
    }
)
KINDS = {"success", "failure", "start", "test", "redelivery"}


class Sample(NamedTuple):
    sender: str
    name: str

    @property
    def file(self) -> dict[str, Any]:
        return FILES[self.sender]

    @property
    def own(self) -> dict[str, Any]:
        return next(one for one in self.file["samples"] if one["name"] == self.name)

    @property
    def whole(self) -> dict[str, Any]:
        """The sample merged with the one that it is like."""
        if "like" not in self.own:
            return self.own
        whole: dict[str, Any] = merged(Sample(self.sender, self.own["like"]).whole, self.own)
        return whole

    def __str__(self) -> str:
        return f"{self.sender}: {self.name}"


SAMPLES = [Sample(sender, one["name"]) for sender, file in FILES.items() for one in file["samples"]]


def merged(one: Any, other: Any) -> Any:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return other
    return {**one, **{key: merged(one.get(key), value) for key, value in other.items()}}


def source_of(sample: Sample) -> Source:
    secret = {"topics": sample.file["topics"]} if "topics" in sample.file else {"secret": "shop"}
    rules = sample.own.get("rules", [{"pipeline": "otc"}])
    return parse_source(
        "shop", {"sender": sample.sender, "rules": rules, **secret, **sample.file.get("source", {})}
    )


def raw_of(sample: Mapping[str, Any]) -> bytes:
    if "text" in sample:
        return str(sample["text"]).encode()
    body = [sample["body"]] if sample.get("in_list") else sample["body"]
    return json.dumps(body).encode()


def request_of(sample: Sample, whole: Mapping[str, Any], secret: str, at: int) -> WebhookRequest:
    """The request with the headers and the body in ``whole``, proven as its sender proves it."""
    scheme = source_of(sample).effective().scheme
    default = "text/xml; charset=utf-8" if "text" in whole else "application/json"
    headers: dict[str, str] = {"content-type": default, **whole.get("headers", {})}
    if isinstance(scheme, Sns):
        message = whole["message"]
        text = message if isinstance(message, str) else json.dumps(message)
        raw = sns_messages.body(Message=text, **whole["envelope"])
        return WebhookRequest({"content-type": "text/plain; charset=UTF-8"}, {}, raw)
    raw, query = raw_of(whole), {}
    match scheme:
        case Hmac(id_header=id_header):
            headers |= sign(scheme, secret, raw, message_id=headers.get(id_header, ""), timestamp=at)
        case StaticToken(header=name):
            headers[name] = secret
        case BasicAuth(key_header=name) if whole.get("proof") == "key":
            headers[name] = secret
        case BasicAuth(header=name):
            headers[name] = f"Basic {base64.b64encode(secret.encode()).decode()}"
        case UrlToken(parameter=name):
            query = {name: secret}
    return WebhookRequest(headers, query, raw)


def sent(harness: WebhookHarness, sample: Sample, **changes: Any) -> Reply:
    """The answer to the sample with these fields changed."""
    harness.secrets = [sample.file.get("secret", SECRET)]
    whole = {**sample.whole, **changes}
    request = request_of(sample, whole, harness.secrets[0], int(harness.service.clock.now))
    return harness.receive(request, source_of(sample))


def outcome(reply: Reply) -> str:
    """The result of a request, in one word."""
    body = reply.body
    if isinstance(body, str):
        if "<Ack>true</Ack>" in body:
            return "acknowledged"
        body = json.loads(body or "{}")
        if body.get("status") != "ignored":
            assert reply.status == 200
            return "answered"
    if body.get("status") == "ignored":
        assert reply.status == 200
        return "ignored"
    (run,) = body["runs"]
    assert reply.status == (200 if run["status"] == "duplicate" else 202)
    return str(run["status"])


@pytest.fixture
def harness() -> WebhookHarness:
    made = WebhookHarness()
    made.service.job().add_past_start(600.0)
    return made


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_real_event_comes_to_what_is_right(harness: WebhookHarness, sample: Sample) -> None:
    own = sample.own
    again = own["right"] in ("duplicate", "joined") or own["kind"] == "redelivery"
    if again:
        first = sent(harness, Sample(sample.sender, own["like"]))
        assert outcome(first) in ("started", "acknowledged")
        harness.service.clock.sleep(30.0)
    reply = sent(harness, sample)
    assert outcome(reply) == own["right"], reply.body
    expected = own.get("runs", int(again or own["right"] == "started"))
    assert len(harness.executions.known) == expected


@pytest.mark.parametrize("sender", SENDERS)
def test_every_sender_has_samples_of_every_kind(sender: str) -> None:
    assert {one["kind"] for one in FILES[sender]["samples"]} >= KINDS


def test_every_sample_is_of_a_sender_and_has_a_name_of_its_own() -> None:
    assert set(FILES) == set(SENDERS)
    assert len(set(SAMPLES)) == len(SAMPLES)


NO_EVENTS: list[Any] = [None, [], 42, "x", {}, True, [[]], [None], [{}], [{"id": "1"}]]
OTHER_BODIES = {"aws_sns", "snowflake", "salesforce_outbound_message"}
LISTS = {"azure_event_grid", "azure_event_grid_header"}


@pytest.mark.parametrize("body", NO_EVENTS, ids=json.dumps)
@pytest.mark.parametrize("sender", sorted(set(SENDERS) - OTHER_BODIES))
def test_a_proven_body_without_fields_starts_nothing(harness: WebhookHarness, sender: str, body: Any) -> None:
    """Not even where the headers name an event that starts something."""
    if sender in LISTS and body == [{"id": "1"}]:
        return
    reply = sent(harness, Sample(sender, FILES[sender]["samples"][0]["name"]), body=body, in_list=False)
    assert reply.status == 200
    assert harness.executions.known == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["x", "success", "Microsoft.x", "pipeline"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(SENDERS)), json_values)
def test_a_senders_own_condition_is_never_an_error(sender: str, body: Any) -> None:
    """An error would be a 422 for the sender, and no owner could correct it."""
    start = SENDERS[sender].start
    source = source_of(Sample(sender, FILES[sender]["samples"][0]["name"]))
    for name in (*start.events, None):
        assert apply_rules(source, Event(None, name, body)).errors == ()
    assert is_true(SENDERS[sender].test or "`false`", body) in (True, False)
