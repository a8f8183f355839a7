"""An authentic request is parsed or malformed; a configuration is valid or refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.webhooks.errors import InvalidSource, Malformed, WebhookError
from celonis_refresh.webhooks.events import Event, handshake, preflight, read_events
from celonis_refresh.webhooks.expressions import PathError, check_path, search
from celonis_refresh.webhooks.request import MAX_DEPTH, WebhookRequest, parse_json
from celonis_refresh.webhooks.rules import apply_rules
from celonis_refresh.webhooks.senders import SENDERS
from celonis_refresh.webhooks.soap import read_notifications
from celonis_refresh.webhooks.sources import parse_source

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=12)
documents = st.recursive(
    leaves | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=15,
)
json_like = st.text(alphabet='{}[]":,\\ue0123456789.-+tfnNaIy ', max_size=60)
senders = st.sampled_from(sorted(SENDERS)).map(SENDERS.__getitem__)


@given(documents)
def test_every_json_document_is_read(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=200) | json_like.map(str.encode))
def test_anything_else_is_malformed(raw: bytes) -> None:
    with contextlib.suppress(Malformed):
        json.dumps(parse_json(raw), ensure_ascii=False, allow_nan=False).encode()


@given(st.integers(1, 3 * MAX_DEPTH), st.lists(st.sampled_from("[{"), min_size=1, max_size=5))
def test_depth_is_counted_over_lists_and_objects(depth: int, kinds: list[str]) -> None:
    opening = [kinds[level % len(kinds)] for level in range(depth)]
    text = "".join("[" if kind == "[" else '{"[{":' for kind in opening) + '"]}"'
    text += "".join("]" if kind == "[" else "}" for kind in reversed(opening))
    try:
        parse_json(text)
        is_read = True
    except Malformed:
        is_read = False
    assert is_read is (depth <= MAX_DEPTH)


headers = st.dictionaries(
    st.sampled_from(["content-type", "x-github-event", "x-github-delivery", "webhook-request-origin"]),
    st.sampled_from(["application/x-www-form-urlencoded", "ping", "push", "a.example"]) | texts,
)
shaped = st.dictionaries(
    st.sampled_from(["type", "eventType", "event", "data", "id", "challenge", "Type", "Message", "payload"]),
    st.sampled_from(["url_verification", "test_event", "Notification"]) | documents,
)
bodies = st.one_of(
    st.binary(max_size=100),
    shaped.map(lambda value: json.dumps(value).encode()),
    st.lists(shaped, max_size=3).map(lambda value: json.dumps(value).encode()),
    documents.map(lambda value: b"payload=" + json.dumps(value).encode()),
)


@given(senders, headers, bodies, st.sampled_from(["POST", "OPTIONS"]))
def test_a_request_is_answered_read_or_refused(
    sender: Any, head: dict[str, str], body: bytes, method: str
) -> None:
    request = WebhookRequest(head, {}, body, method)
    with contextlib.suppress(WebhookError):
        answer = preflight(sender, request) or handshake(sender, request)
        assert answer is None or answer.status == 200
        assert answer is None or all(value.isprintable() for value in answer.headers.values())
    with contextlib.suppress(WebhookError):
        for event in read_events(sender, request):
            assert event.delivery_id is None or 0 < len(event.delivery_id) <= 256


@given(
    st.binary(max_size=200) | st.text(alphabet='<>/!?&;="aNotificaEnvlpBdy[] ', max_size=100).map(str.encode)
)
def test_any_xml_is_read_or_malformed(raw: bytes) -> None:
    with contextlib.suppress(Malformed):
        read_notifications(raw)


WORDS = [
    "a",
    "b.c",
    "@",
    "*",
    "[]",
    "[0]",
    "[::0]",
    "[?",
    "]",
    "(",
    ")",
    "{",
    "}",
    ":",
    ",",
    "|",
    "||",
    "&&",
    "!",
    "==",
]
WORDS += [
    "<",
    "`1`",
    "`null`",
    "`[",
    "'x'",
    '"q"',
    "&a",
    "length",
    "sort_by",
    "join",
    "sum",
    "to_number",
    "max",
    " ",
    "\\",
]
expressions = st.lists(st.sampled_from(WORDS), max_size=8).map("".join) | st.text(max_size=30)


@given(expressions, documents)
def test_any_expression_is_refused_at_once_or_applied_or_in_error(expression: str, document: Any) -> None:
    with contextlib.suppress(PathError):
        assert check_path(expression) == expression
        search(expression, document)


fields = st.sampled_from(
    ["sender", "secret", "rules", "header", "template", "tolerance", "expect", "topics", "colour"]
)
rule = st.dictionaries(
    st.sampled_from(["pipeline", "when", "mode", "tables", "reason", "events"]),
    documents
    | st.sampled_from(["p", "FULL", "all", "a == 'x'"])
    | st.fixed_dictionaries({"path": expressions}),
)


@given(st.dictionaries(fields, documents | st.sampled_from(["github", "name"]) | st.lists(rule, max_size=3)))
def test_any_configuration_is_sound_or_refused(document: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidSource):
        parse_source("erp", document).effective()
    with contextlib.suppress(InvalidSource):
        parse_source("erp", json.dumps(document)).effective()


@given(st.text(min_size=12, max_size=60) | st.text("0123456789abcdef", min_size=32, max_size=200))
def test_the_value_of_a_secret_name_is_never_repeated(value: str) -> None:
    said = ""
    try:
        parse_source("erp", {"sender": "github", "secret": value, "rules": [{"pipeline": "p"}]})
    except InvalidSource as error:
        said = f"{error} {error!r} {error.__context__!r}"
    assert value not in said


@given(
    st.dictionaries(st.sampled_from(["when", "mode", "tables"]), expressions, min_size=1),
    documents | st.dictionaries(st.sampled_from("abc"), documents),
)
def test_any_sound_rule_matches_or_not_or_is_in_error(paths: dict[str, str], body: Any) -> None:
    rules = [{"pipeline": "p", **{k: v if k == "when" else {"path": v} for k, v in paths.items()}}]
    with contextlib.suppress(InvalidSource):
        source = parse_source("erp", {"sender": "custom", "secret": "n", "header": "x", "rules": rules})
        event = Event(None, None, body)
        verdict = apply_rules(source, event)
        for found in verdict.matches:
            assert found.mode in ("FULL", "DELTA", None)
            assert found.tables in ("all", None) or 0 < len(found.tables) <= 200
            assert found.reason.isprintable()
        assert len(verdict.matches) + len(verdict.errors) <= len(source.rules)
        assert bool(verdict.ignored) == (not verdict.matches)
        assert verdict.ignored.startswith("the event of custom starts nothing" if verdict.ignored else "")
