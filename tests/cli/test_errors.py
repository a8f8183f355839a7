"""Bad input: one clear sentence, and exit code 2."""

from __future__ import annotations

import json
import re

import pytest

from tests.cli.conftest import KEYS
from tests.cli.fake_api import CONTROL, ODD, PLAIN, Answer, Ended, FakeApi, Tool, serving


def refused(ended: Ended) -> str:
    """The one line that is shown."""
    assert (ended.code, ended.out) == (2, ""), ended
    assert ended.err.startswith("Error: ")
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err
    return ended.err.removeprefix("Error: ").strip()


def test_a_wrong_profile(no_aws: Tool) -> None:
    assert refused(no_aws("--profile", "prodd", "runs")) == (
        "The AWS profile does not exist: prodd. aws configure list-profiles shows the profiles; choose one "
        "with --profile."
    )


def test_no_credentials(no_aws: Tool) -> None:
    text = refused(no_aws("--region", "eu-central-1", "runs"))
    assert text == (
        "There are no AWS credentials: stack celonis-refresh (profile default, eu-central-1). Sign in to "
        "AWS, choose --profile, or run make local."
    )


def test_no_region(no_aws: Tool) -> None:
    keys = {name: value for name, value in KEYS.items() if name != "AWS_REGION"}
    text = refused(no_aws("--stack", "s", "runs", **keys))
    assert "No AWS region is set" in text
    assert text.endswith("run make local.")


def _aws(status: int, code: str, message: str) -> Answer:
    text = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    return status, text.encode()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            _aws(400, "ValidationError", "Stack with id refesh does not exist"),
            "There is no such stack: stack refesh (profile default, eu-central-1). Choose it with --stack,",
        ),
        (
            _aws(403, "AccessDenied", "User: u is not authorized to perform: cloudformation:DescribeStacks"),
            "A permission is missing: DescribeStacks, stack refesh (profile default, eu-central-1) (User: u",
        ),
        (
            _aws(403, "ExpiredToken", "The security token included in the request is expired"),
            "AWS does not accept the credentials: stack refesh",
        ),
        (
            _aws(400, "Odd", "Oh"),
            "AWS refused DescribeStacks: stack refesh (profile default, eu-central-1) (Odd:",
        ),
    ],
)
def test_a_stack_that_cannot_be_read(no_aws: Tool, answer: Answer, expected: str) -> None:
    with serving(lambda _: answer) as url:
        ended = no_aws("--stack", "refesh", "runs", **KEYS, AWS_ENDPOINT_URL=url)
    assert refused(ended).startswith(expected)


def test_a_stack_of_something_else(no_aws: Tool) -> None:
    text = (
        "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>shop</StackName><CreationTime>"
        "2026-11-01T00:00:00Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus></member></Stacks>"
        "</DescribeStacksResult></DescribeStacksResponse>"
    )
    with serving(lambda _: (200, text.encode())) as url:
        ended = no_aws("--stack", "shop", "runs", **KEYS, AWS_ENDPOINT_URL=url)
    assert refused(ended).startswith("The stack has no output ApiUrl: stack shop")


def test_aws_does_not_answer(no_aws: Tool) -> None:
    ended = no_aws(
        "--stack", "s", "runs", **KEYS, AWS_ENDPOINT_URL="http://127.0.0.1:1", AWS_MAX_ATTEMPTS="1"
    )
    assert refused(ended).startswith("AWS did not answer: stack s")


def test_a_missing_permission(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", (403, {"message": "Forbidden"}))
    assert refused(tool("runs")) == (
        "A permission is missing: execute-api:Invoke for GET /runs. Ask for it (docs/waiting.md has a "
        "policy), or use another --profile."
    )


def test_expired_credentials(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", (403, {"message": "The security token included in the request is expired"}))
    assert refused(tool("runs")).startswith("The API does not accept the credentials: GET /runs")


def test_an_api_that_hangs_up(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", None)
    assert refused(tool("runs")) == (
        f"The API did not answer: GET {api.url}/runs (the connection failed). Check the network and the "
        "stack, then try again."
    )


def test_an_api_that_is_not_there(tool: Tool) -> None:
    text = refused(tool("runs", REFRESH_API_URL="http://127.0.0.1:1"))
    assert text.startswith("The API did not answer: GET http://127.0.0.1:1/runs (the connection failed).")


def test_an_address_that_is_none(tool: Tool) -> None:
    text = refused(tool("runs", REFRESH_API_URL="example"))
    assert text == "REFRESH_API_URL is not an address: example. Set it to the output ApiUrl of the stack."


def test_an_answer_that_is_not_json(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", (200, b"<html>"))
    assert refused(tool("runs")).startswith("The answer of the API is not JSON: GET /runs.")


def test_an_error_of_the_service_is_shown_with_its_fields(tool: Tool, api: FakeApi) -> None:
    fields = [{"field": "limit", "expected": "a number"}, {"field": "status", "expected": "a status"}]
    problems = "limit: expected a number; status: expected a status"
    body = {"error": "InvalidTrigger", "message": f"The request is not valid: {problems}.", "fields": fields}
    api.answer("GET /runs", (400, body))
    text = f"The request is not valid: {problems}. docs/errors.md describes InvalidTrigger."
    assert refused(tool("runs")) == text
    assert json.loads(tool("runs", "--json").err) == {
        "error": "InvalidTrigger",
        "what": "The request is not valid",
        "which": problems,
        "action": "docs/errors.md describes InvalidTrigger.",
    }
    api.answer("GET /runs", (400, {**body, "message": "The request is not valid."}))
    assert json.loads(tool("runs", "--json").err)["which"] == "limit: a number; status: a status"


RUN = "orders-20261128T100000Z-aaaa1111"


@pytest.mark.parametrize(
    ("arguments", "request_", "message", "which", "action"),
    [
        (
            ("--stack", "s", "retry", RUN),
            f"POST /runs/{RUN}/retry",
            f"Run {RUN} has ended already (FAILED).",
            f"run {RUN}",
            f"refresh --stack s retry {RUN} repeats what it did not finish; or start a new run.",
        ),
        (("start", "otc"), "POST /runs", "The table is busy.", "pipeline otc", "Try again."),
        (("runs", "otc"), "GET /runs", "The table is busy.", "pipeline otc", "Try again."),
        (("runs",), "GET /runs", "The table is busy.", "GET /runs", "Try again."),
        (
            ("sources", "test", "dbt", "-"),
            "POST /sources/dbt/test",
            "There is no source named 'dbt'.",
            "source dbt",
            "Define it.",
        ),
    ],
)
def test_an_error_of_the_service_has_the_same_three_parts(
    tool: Tool,
    api: FakeApi,
    arguments: tuple[str, ...],
    request_: str,
    message: str,
    which: str,
    action: str,
) -> None:
    hint = action.replace(f"refresh --stack s retry {RUN}", f"POST /runs/{RUN}/retry")
    api.answer(request_, (409, {"error": "E", "message": f"{message} {hint}", "hint": hint}))
    parts = {"error": "E", "what": message.rstrip("."), "which": which, "action": action}
    assert json.loads(tool(*arguments, "--json", stdin="{}").err) == parts
    is_named = which.split()[-1] in message
    fact = message if is_named else f"{message.rstrip('.')}: {which}."
    assert refused(tool(*arguments, stdin="{}")) == f"{fact} {action}"


def test_an_unexpected_error_names_its_request(tool: Tool, api: FakeApi) -> None:
    hint = "See the log for this request id."
    body = {"error": "InternalError", "message": f"Unexpected error. {hint}", "hint": hint, "request_id": "7"}
    api.answer("GET /runs", (500, body))
    assert refused(tool("runs")) == f"Unexpected error: GET /runs, request id 7. {hint}"


def test_an_error_cannot_control_the_terminal(tool: Tool, api: FakeApi) -> None:
    message = f"Celonis says {ODD}"
    api.answer("GET /runs", (400, {"error": "InvalidTrigger", "message": message}))
    text = f"Celonis says {PLAIN}: GET /runs. docs/errors.md describes InvalidTrigger."
    assert refused(tool("runs")) == text
    shown = tool("runs", "--json").err
    assert not re.search(CONTROL, shown)
    assert json.loads(shown)["what"] == message


def test_an_unexpected_status(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", (502, b"bad"))
    assert refused(tool("runs")) == (
        "The API answered 502: GET /runs (Bad Gateway). Try again. If this persists, see the log of the "
        "function Api."
    )


def test_with_json_the_error_is_json(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", (403, {"message": "Forbidden"}))
    ended = tool("runs", "--json")
    assert (ended.code, ended.out) == (2, "")
    assert json.loads(ended.err) == {
        "error": "Forbidden",
        "what": "A permission is missing",
        "which": "execute-api:Invoke for GET /runs",
        "action": "Ask for it (docs/waiting.md has a policy), or use another --profile.",
    }


def test_wrong_usage(tool: Tool) -> None:
    ended = tool("runs", "--limit", "0")
    assert ended.code == 2
    assert "Invalid value for '--limit'" in ended.err


@pytest.mark.parametrize(
    ("arguments", "command", "what"),
    [
        (("--json", "runs", "--limit", "0"), "refresh runs", "Invalid value for '--limit'"),
        (("runs", "--limit", "0", "--json"), "refresh runs", "Invalid value for '--limit'"),
        (("runs", "--unknown", "--json"), "refresh runs", "No such option '--unknown'"),
        (("--unknown", "runs", "--json"), "refresh", "No such option '--unknown'"),
        (("unknown", "--json"), "refresh", "No such command 'unknown'"),
        (("secret", "unknown", "--json"), "refresh secret", "No such command 'unknown'"),
        (("cancel", "--json"), "refresh cancel", "Missing argument"),
        (
            ("secret", "webhook", "--unknown", "--json"),
            "refresh secret webhook",
            "No such option '--unknown'",
        ),
        (("--json",), "refresh", "Missing command"),
        (("--json", "secret"), "refresh secret", "Missing command"),
    ],
)
def test_with_json_wrong_usage_is_json(
    tool: Tool, arguments: tuple[str, ...], command: str, what: str
) -> None:
    ended = tool(*arguments)
    assert (ended.code, ended.out) == (2, "")
    shown = json.loads(ended.err)
    assert shown["what"].startswith(what)
    assert {name: shown[name] for name in ("error", "which", "action")} == {
        "error": "UsageError",
        "which": command,
        "action": f"To see its options: {command} --help",
    }


def test_an_argument_that_is_no_option_does_not_make_json(tool: Tool, api: FakeApi) -> None:
    pause = {"by": "arn:x", "at": "2026-11-28T10:00:00+00:00", "reason": "--json"}
    api.answer("POST /pipelines/orders/pause", (200, {"pipeline": "orders", "paused": True, "pause": pause}))
    assert not tool("pause", "orders", "--reason", "--json").out.startswith("{")
    assert not tool("cancel", "--", "--json").err.startswith("{")


def test_requests_are_signed(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", (200, {"runs": [], "before": None}))
    assert tool("runs", "a_b", "--before", "2026 x/y").code == 0
    (sent,) = api.sent
    assert sent.query == {"pipeline": "a_b", "limit": "20", "before": "2026 x/y"}
    assert sent.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIATEST/")
    assert "/eu-central-1/execute-api/aws4_request" in sent.headers["authorization"]


def test_a_session_token_is_sent(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", (200, {"runs": [], "before": None}))
    assert tool("runs", AWS_SESSION_TOKEN="token").code == 0
    assert api.sent[0].headers["x-amz-security-token"] == "token"


def test_an_option_before_or_after_the_command_wins_over_the_variable(no_aws: Tool) -> None:
    for arguments in (("--stack", "mine", "runs"), ("runs", "--stack", "mine")):
        text = refused(no_aws(*arguments, REFRESH_STACK="theirs", AWS_REGION="eu-central-1"))
        assert "stack mine" in text
    assert "stack theirs" in refused(no_aws("runs", REFRESH_STACK="theirs", AWS_REGION="eu-central-1"))
