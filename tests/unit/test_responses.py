"""How errors become HTTP answers."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from celonis_refresh.aws.configuration import (
    ConfigurationUnavailable,
    UnknownSource,
    WebhookSecretUnreadable,
)
from celonis_refresh.errors import Problem, RefreshError
from celonis_refresh.pipelines.errors import InvalidTrigger
from celonis_refresh.responses import (
    REFUSED_ALIKE,
    RETRY_SECONDS,
    STATUS,
    answer,
    answering,
    error_answer,
)
from celonis_refresh.runs.errors import RunNotFound, TableBusy
from celonis_refresh.webhooks.errors import InvalidSource, Malformed, NotAuthentic, TooLarge

CONTEXT = SimpleNamespace(aws_request_id="request-1")


class UnmappedError(RefreshError):
    """An error of this service that has no status."""


def answered(error: Exception) -> dict[str, Any]:
    def raising(event: dict[str, Any], context: Any) -> dict[str, Any]:
        raise error

    reported = answering(raising)({}, CONTEXT)
    return {**reported, "body": json.loads(reported["body"])}


def test_json_is_the_content_unless_the_headers_say_otherwise() -> None:
    plain = answer(200, {"a": 1})
    assert plain == {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": '{"a": 1}\n',
    }
    xml = answer(200, "<Ack/>", {"Content-Type": "text/xml"})
    assert (xml["headers"], xml["body"]) == ({"content-type": "text/xml"}, "<Ack/>")
    ready = answer(200, '{"challenge": "x"}', {"content-type": "application/json"})
    assert ready["body"] == '{"challenge": "x"}\n'
    assert answer(200, "", {"content-type": "application/json"})["body"] == ""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Malformed("No."), 400),
        (TooLarge("No."), 413),
        (RunNotFound("r"), 404),
        (TableBusy("throttled"), 503),
        (UnmappedError("No."), 500),
    ],
)
def test_an_error_is_its_status_its_name_and_its_sentence(error: RefreshError, status: int) -> None:
    reported = answered(error)
    assert reported["statusCode"] == status
    hint = {"hint": error.hint} if error.hint else {}
    assert reported["body"] == {"error": error.name, "message": str(error), **hint}


def test_the_message_of_an_error_ends_with_its_hint() -> None:
    body = answered(RunNotFound("r"))["body"]
    assert body["hint"].startswith("List the runs")
    assert body["message"] == f"There is no record of run 'r'. {body['hint']}"
    unread = answered(ConfigurationUnavailable("the parameter /stack/sources/shop"))["body"]
    assert unread["message"].endswith(f". {unread['hint']}")


REFUSALS = [
    NotAuthentic("The window is 300 s."),
    UnknownSource("/stack/sources/"),
    InvalidSource("shop", [Problem("secret", "expected the name of a secret")]),
    WebhookSecretUnreadable("that the source names", "does not exist"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: error.name)
def test_an_unauthenticated_sender_gets_the_same_response_to_every_error(error: RefreshError) -> None:
    assert error_answer(error) == error_answer(NotAuthentic("Another reason."))
    assert error_answer(error)["statusCode"] == 401
    assert {error.name for error in REFUSALS} == REFUSED_ALIKE


def test_an_unauthenticated_sender_does_not_see_which_parameter_could_not_be_read() -> None:
    reply = answered(ConfigurationUnavailable("the parameter /stack/sources/shop"))
    assert (reply["statusCode"], reply["body"]["error"]) == (503, "ConfigurationUnavailable")
    assert "stack" not in json.dumps(reply)


@pytest.mark.parametrize("name", STATUS)
def test_only_retryable_errors_have_a_retry_after_header(name: str) -> None:
    error = RefreshError("No.")
    error.__class__ = type(name, (RefreshError,), {})
    reported = error_answer(error)
    assert reported["statusCode"] == STATUS[name]
    assert reported["headers"].get("retry-after") == (RETRY_SECONDS if STATUS[name] == 503 else None)


def test_input_that_makes_no_sense_is_answered_field_by_field() -> None:
    problems = [Problem("mode", 'expected "FULL" or "DELTA"'), Problem("pipeline", "is required")]
    reported = answered(InvalidTrigger("The request", problems))
    assert reported["body"]["fields"] == [
        {"field": "mode", "expected": '"FULL" or "DELTA"'},
        {"field": "pipeline", "expected": "is required"},
    ]


def test_an_unexpected_error_is_a_500_with_only_the_request_id() -> None:
    reported = answered(ZeroDivisionError("a secret in a message"))
    assert reported["statusCode"] == 500
    assert reported["body"]["request_id"] == "request-1"
    assert "secret" not in json.dumps(reported)


def test_an_answer_passes_as_it_is() -> None:
    assert answering(lambda event, context: answer(204, None))({}, CONTEXT)["statusCode"] == 204
