"""What leaves the service over HTTP when something is wrong: a name, a sentence, and no secret."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from celonis_refresh.errors import RefreshError
from celonis_refresh.http_answers import answer, answering, error_answer
from celonis_refresh.pipelines.errors import InvalidTrigger, Problem
from celonis_refresh.runs.errors import PipelineBusy, RunNotFound, TableBusy

CONTEXT = SimpleNamespace(aws_request_id="request-1")


def raising(error: Exception) -> dict[str, Any]:
    """The answer of a handler that raises this."""

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        raise error

    return answering(handler)({}, CONTEXT)


def test_a_body_is_json_unless_its_type_says_otherwise() -> None:
    assert answer(200, {"a": 1})["body"] == '{"a": 1}'
    assert answer(200, "plain", {"Content-Type": "text/plain"}) == {
        "statusCode": 200,
        "headers": {"content-type": "text/plain"},
        "body": "plain",
    }
    assert answer(200, "a text", {"x-other": "1"})["body"] == '"a text"'


def test_an_error_is_told_by_its_name_and_its_sentence() -> None:
    told = raising(RunNotFound("otc-1"))
    assert told["statusCode"] == 404
    assert json.loads(told["body"]) == {"error": "RunNotFound", "message": str(RunNotFound("otc-1"))}


@pytest.mark.parametrize(
    ("error", "status"), [(PipelineBusy("otc", "otc-1"), 409), (RefreshError("Something else."), 500)]
)
def test_the_status_goes_by_the_name_of_the_error(error: RefreshError, status: int) -> None:
    assert raising(error)["statusCode"] == status


def test_every_field_that_makes_no_sense_is_told() -> None:
    problems = [Problem("mode", "expected FULL"), Problem("tables", "expected a list")]
    body = json.loads(raising(InvalidTrigger("The trigger", problems))["body"])
    assert body["fields"] == [
        {"field": "mode", "expected": "expected FULL"},
        {"field": "tables", "expected": "expected a list"},
    ]


def test_what_passes_says_when_to_try_again() -> None:
    assert error_answer(TableBusy("TransactionConflict"))["headers"]["retry-after"] == "2"
    assert "retry-after" not in raising(RunNotFound("otc-1"))["headers"]


def test_an_error_that_nobody_expected_says_nothing_but_where_to_look() -> None:
    told = raising(KeyError("a secret"))
    assert told["statusCode"] == 500
    assert "secret" not in json.dumps(told)
    assert json.loads(told["body"])["request_id"] == "request-1"


def test_an_answer_passes_as_it_is() -> None:
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        return answer(202, event)

    assert answering(handler)({"x": 1}, CONTEXT) == answer(202, {"x": 1})
