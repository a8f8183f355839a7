from __future__ import annotations

import json
import re
from typing import Any

import pytest

from celonis_refresh.webhooks.errors import InvalidSource
from celonis_refresh.webhooks.expressions import MAX_EXPRESSION, check_path
from celonis_refresh.webhooks.senders import SENDERS, Location
from celonis_refresh.webhooks.sources import parse_source
from celonis_refresh.webhooks.verification import BasicAuth, Hmac, Sns, StaticToken, UrlToken

TOPIC = "arn:aws:sns:eu-central-1:123456789012:loads"
RULES = [{"pipeline": "order-to-cash"}]


def source(**fields: Any) -> dict[str, Any]:
    return {"sender": "github", "secret": "celonis-refresh/github", "rules": RULES, **fields}


def problems(document: Any) -> dict[str, str]:
    with pytest.raises(InvalidSource) as refusal:
        parse_source("erp", document)
    assert "'erp'" in str(refusal.value)
    return {problem.field: problem.expected for problem in refusal.value.problems}


@pytest.mark.parametrize("name", sorted(set(SENDERS) - {"aws_sns", "snowflake", "custom"}))
def test_a_sender_a_secret_and_a_rule_are_enough(name: str) -> None:
    document = source(sender=name)
    parsed = parse_source("erp", json.dumps(document))
    assert parsed.effective() == SENDERS[name]
    assert parsed == parse_source("erp", document)


@pytest.mark.parametrize("name", ["aws_sns", "snowflake"])
def test_sns_requires_topics_and_no_secret(name: str) -> None:
    document = {"sender": name, "topics": [TOPIC], "rules": RULES}
    assert parse_source("erp", document).effective().scheme == Sns(topics=(TOPIC,))
    assert "topics" in problems({"sender": name, "rules": RULES})
    assert "topics" in problems({**document, "topics": []})
    assert "secret" in problems({**document, "secret": "name"})
    assert "topics.0" in problems({**document, "topics": ["arn:aws:sqs:eu-central-1:123456789012:loads"]})


@pytest.mark.parametrize(
    ("fields", "scheme"),
    [
        ({"sender": "gitlab", "header": "X-Own-Token"}, StaticToken(header="x-own-token")),
        ({"sender": "airbyte", "parameter": "key"}, UrlToken(parameter="key")),
        ({"sender": "custom", "header": "X-Token"}, StaticToken(header="x-token")),
        ({"sender": "custom", "scheme": "basic_auth"}, BasicAuth()),
        ({"sender": "servicenow", "scheme": "static_token", "header": "x-t"}, StaticToken(header="x-t")),
        ({"sender": "custom", "scheme": "hmac", "header": "X-Sig"}, Hmac(header="x-sig")),
        (
            {
                "sender": "custom",
                "scheme": "hmac",
                "header": "x-sig",
                "algorithm": "sha512",
                "encoding": "base64",
                "key": "whsec",
                "layout": "pairs",
                "version": "s",
                "template": "{timestamp}:{id}:{body}",
                "timestamp_key": "ts",
                "id_header": "X-Id",
                "tolerance": 60,
            },
            Hmac(
                header="x-sig",
                algorithm="sha512",
                encoding="base64",
                key="whsec",
                layout="pairs",
                version="s",
                template="{timestamp}:{id}:{body}",
                timestamp_key="ts",
                id_header="x-id",
                tolerance=60,
            ),
        ),
    ],
)
def test_a_source_sets_parameters_of_its_scheme(fields: dict[str, Any], scheme: object) -> None:
    assert parse_source("erp", source(**fields)).effective().scheme == scheme


def test_a_source_configures_the_fields_of_id_and_name() -> None:
    parsed = parse_source(
        "erp",
        source(
            sender="sap", delivery_id=[{"header": "X-Id"}, {"path": "run.id"}], event_name={"path": "kind"}
        ),
    ).effective()
    assert parsed.delivery_id == (Location(header="x-id"), Location(path="run.id"))
    assert parsed.event_name == Location(path="kind")


@pytest.mark.parametrize(
    ("fields", "field", "expected"),
    [
        ({"sender": "gitthub"}, "sender", "expected one of airbyte"),
        ({"secret": None}, "secret", "expected the name"),
        ({"rules": []}, "rules", "1 to 30 entries"),
        ({"rules": RULES * 31}, "rules", "1 to 30 entries"),
        ({"colour": "red"}, "colour", "not a known field"),
        ({"topics": [TOPIC]}, "topics", "does not belong"),
        ({"parameter": "token"}, "parameter", "does not belong"),
        ({"tolerance": 60}, "tolerance", "does not sign a time"),
        ({"sender": "slack", "tolerance": 0}, "tolerance", "from 1 to 86400"),
        ({"sender": "slack", "tolerance": "60"}, "tolerance", "a whole number"),
        ({"sender": "custom"}, "header", "is required"),
        ({"sender": "custom", "scheme": "hmac"}, "header", "is required"),
        ({"scheme": "magic"}, "scheme", '"hmac", '),
        ({"header": "two words"}, "header", "name of a header"),
        ({"template": "{id}.{body}"}, "id_header", "{id}"),
        ({"template": "{bdy}"}, "template", "{body} once"),
        ({"delivery_id": [{}]}, "delivery_id.0", "either"),
        ({"delivery_id": [{"path": "a ="}]}, "delivery_id.0.path", "position 2"),
        ({"event_name": {"path": "a", "header": "b"}}, "event_name", "either"),
        ({"expect": {"a": []}}, "expect.a", "whole number"),
        ({"rules": [{}]}, "rules.0.pipeline", "is required"),
        ({"rules": [{"pipeline": "a/b"}]}, "rules.0.pipeline", "a letter"),
        ({"rules": [*RULES, {"pipeline": "p", "when": "a == "}]}, "rules.1.when", "position 5"),
        ({"rules": [{"pipeline": "p", "when": "a 'b'"}]}, "rules.0.when", "position 2"),
        ({"rules": [{"pipeline": "p", "when": "'b"}]}, "rules.0.when", "position 0"),
        ({"rules": [{"pipeline": "p", "when": ""}]}, "rules.0.when", "found nothing"),
        ({"rules": [{"pipeline": "p", "when": "a == `success`"}]}, "rules.0.when", "single quotes"),
        ({"rules": [{"pipeline": "p", "when": "(" * 900}]}, "rules.0.when", "too deeply"),
        ({"rules": [{"pipeline": "p", "when": "a" * (MAX_EXPRESSION + 1)}]}, "rules.0.when", "at most"),
        ({"rules": [{"pipeline": "p", "when": "a && lenght(b) > `0`"}]}, "rules.0.when", "position 5"),
        ({"rules": [{"pipeline": "p", "mode": "full"}]}, "rules.0.mode", '"FULL"'),
        ({"rules": [{"pipeline": "p", "mode": {"path": "a["}}]}, "rules.0.mode.path", "position 2"),
        (
            {"rules": [{"pipeline": "p", "mode": {"path": "a", "x": 1}}]},
            "rules.0.mode.x",
            "not a known field",
        ),
        ({"rules": [{"pipeline": "p", "mode": ["FULL"]}]}, "rules.0.mode", "path"),
        ({"rules": [{"pipeline": "p", "tables": []}]}, "rules.0.tables", "1 to 200"),
        ({"rules": [{"pipeline": "p", "tables": ["t"] * 201}]}, "rules.0.tables", "1 to 200"),
        ({"rules": [{"pipeline": "p", "tables": "some"}]}, "rules.0.tables", '"all"'),
        ({"rules": [{"pipeline": "p", "tables": [""]}]}, "rules.0.tables.0", "1 to 256"),
        ({"rules": [{"pipeline": "p", "reason": ""}]}, "rules.0.reason", "256"),
        ({"rules": [{"pipeline": "p", "whne": "a"}]}, "rules.0.whne", "not a known field"),
        ({"rules": [{"pipeline": "p", "events": ["push"]}]}, "rules.0.when", "workflow_run"),
        (
            {"sender": "airbyte", "rules": [{"pipeline": "p", "events": ["a"]}]},
            "rules.0.events",
            "does not name",
        ),
    ],
)
def test_names_the_field_and_what_was_expected(fields: dict[str, Any], field: str, expected: str) -> None:
    found = problems({k: v for k, v in source(**fields).items() if v is not None})
    assert list(found) == [field]
    assert expected in found[field]


def test_reports_every_problem_at_once() -> None:
    found = problems({"sender": "github", "secret": "a b", "rules": [{"pipeline": "", "mode": "x"}], "x": 1})
    assert set(found) == {"secret", "rules.0.pipeline", "rules.0.mode", "x"}


@pytest.mark.parametrize(
    "document", ["", "{", "[]", "null", "[" * 1000, '{"sender": "a", "sender": "b"}', " " * 70000]
)
def test_refuses_what_is_no_json_object(document: str) -> None:
    assert set(problems(document)) == {"(the whole document)"}


SECRETS = [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "dbtc_whsec_example_token",
    "shpss_0123456789abcdef",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "glpat-abcdefghij",
    "xoxb-123-456",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.e30.abc",
    "8f742231b10e8888abcd99fff00085a5",
    "13792a34-cac6-4fda-95a8-c58e00a3954e",
    "j3FzwDDeqyQRfB1SDNCWahXepY5insj9jogq0AOWo1",
    "j3Fzw+DDeqyQRfB1SDN/CWahXepY5insj9jogq0AOWo=",
    "It's a Secret to Everybody",
    "gh-secret-é",
    "hook:p@ss",
    '{"current": "s3cret"}',
    "name\n",
    "s" * 129,
]


@pytest.mark.parametrize("value", SECRETS)
def test_refuses_a_secret_in_the_place_of_its_name_and_never_repeats_it(value: str) -> None:
    document = source(secret=value)
    assert "name of a secret" in problems(document)["secret"]
    with pytest.raises(InvalidSource) as refusal:
        parse_source("erp", document)
    assert value not in f"{refusal.value!s} {refusal.value!r} {refusal.value.__context__!r}"


@pytest.mark.parametrize(
    "field", ["sender", "header", "encoding", "key", "tolerance", "expect", "rules", "scheme", "unknown"]
)
def test_repeats_no_value_of_any_field(field: str) -> None:
    for value in ("s3cret-value é", ["s3cret-value"], {"s3cret-value": ["s3cret-value"]}):
        with pytest.raises(InvalidSource) as refusal:
            parse_source("erp", source(**{field: value}))
        assert "s3cret-value" not in str(refusal.value)


def test_an_unknown_field_name_is_shown_only_if_it_has_the_form_of_one() -> None:
    assert set(problems(source(**{"whsec_abc/def+": 1, "colour": 1}))) == {"(unnamed)", "colour"}


@pytest.mark.parametrize(
    "name",
    ["github", "celonis-refresh/github", "prod/hooks/dbt_cloud@v2", "asia/hooks", "global-hook", "a.b+c=d"],
)
def test_takes_the_names_that_people_give_secrets(name: str) -> None:
    assert parse_source("erp", source(secret=name)).secret == name


def test_a_rule_about_the_senders_own_event_needs_no_condition() -> None:
    parse_source("erp", source(rules=[{"pipeline": "p", "events": ["workflow_run"]}]))
    parse_source("erp", source(sender="stripe", rules=[{"pipeline": "p", "events": ["anything"]}]))
    parse_source("erp", source(rules=[{"pipeline": "p", "events": ["push"], "when": "`true`"}]))


def test_a_source_cannot_be_changed() -> None:
    parsed = parse_source("erp", source())
    with pytest.raises(AttributeError, match="immutable"):
        parsed.secret = None  # type: ignore[misc]


@pytest.mark.parametrize("name", SENDERS)
def test_every_row_of_the_table_is_sound(name: str) -> None:
    sender = SENDERS[name]
    paths = [sender.start.when, *(place.path for place in sender.delivery_id if place.path)]
    paths += [sender.test] if sender.test else []
    for path in paths:
        check_path(path)
    headers = [getattr(sender.scheme, field, "") for field in ("header", "id_header", "timestamp_header")]
    assert all(re.fullmatch("[a-z0-9-]*", header) for header in headers)
    assert all(place.header or place.path for place in sender.delivery_id)
