"""The viewer's credentials: signed requests, errors that the page shows, and renewed credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ProfileNotFound, ReadTimeoutError

from celonis_refresh.notifications.messages import execution_page
from refresh_cli.errors import CliError
from refresh_cli.page.backend import BackendError
from refresh_cli.page.viewer import Viewer
from refresh_cli.stack import Stack
from tests.cli.fake_api import FakeApi, fake_api

RUNS: dict[str, Any] = {"runs": [], "before": None}
EXPIRED = (403, {"message": "The security token included in the request is expired"})


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with fake_api() as made:
        yield made


def viewer(api: FakeApi, opened: list[str], keys: tuple[str, ...] = ("first", "second")) -> Viewer:
    """A viewer whose session has another access key each time it is opened."""

    def open_stack() -> Stack:
        opened.append(keys[min(len(opened), len(keys) - 1)])
        session = boto3.Session(
            aws_access_key_id=opened[-1], aws_secret_access_key="secret", region_name="eu-central-1"
        )
        return Stack("celonis-refresh", session, known_outputs={}, known_api_url=api.url)

    return Viewer(open_stack)


def error_of(viewing: Viewer, method: str = "GET", path: str = "/runs") -> BackendError:
    with pytest.raises(BackendError) as caught:
        viewing.api(method, path, {}, {}, b"")
    return caught.value


def test_a_request_is_signed_with_the_viewers_credentials(api: FakeApi) -> None:
    api.answer("GET /runs", (200, RUNS))
    answer = viewer(api, []).api("GET", "/runs", {"limit": "5"}, {}, b"")
    assert (answer.status, json.loads(answer.body)) == (200, RUNS)
    (sent,) = api.sent
    assert "Credential=first/" in sent.headers["authorization"]
    assert sent.query == {"limit": "5"}


def test_the_idempotency_key_and_the_body_are_passed_on(api: FakeApi) -> None:
    api.answer("POST /runs", (202, {"runs": []}))
    viewer(api, []).api("POST", "/runs", {}, {"Idempotency-Key": "one"}, b'{"pipeline": "inventory"}')
    (sent,) = api.sent
    assert sent.headers["idempotency-key"] == "one"
    assert sent.body == {"pipeline": "inventory"}


def test_after_expired_credentials_the_renewed_ones_are_used(api: FakeApi) -> None:
    opened: list[str] = []
    viewing = viewer(api, opened)
    api.answer("GET /runs", EXPIRED, (200, RUNS))
    error = error_of(viewing)
    assert (error.kind, error.status) == ("credentials", 401)
    assert "aws sso login" in error.action
    assert viewing.api("GET", "/runs", {}, {}, b"").status == 200
    assert opened == ["first", "second"]


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        ((403, {"message": "Forbidden"}), "permission", 403),
        ((404, {"message": "Not Found"}), "unreachable", 502),
        ((429, {"message": "Too Many Requests"}), "unreachable", 502),
        ((503, {"message": "Service Unavailable"}), "unreachable", 502),
        (None, "unreachable", 502),
    ],
)
def test_errors_of_aws_become_errors_that_the_page_shows(
    api: FakeApi, answer: tuple[int, Any] | None, kind: str, status: int
) -> None:
    api.answer("GET /runs", answer)
    error = error_of(viewer(api, []))
    assert (error.kind, error.status) == (kind, status)
    assert error.action


class Deployed:
    """A stack in AWS that may have another address, or be gone, each time it is opened."""

    def __init__(self, *urls: str | None) -> None:
        self.urls = list(urls)

    def __call__(self) -> Stack:
        url = self.urls.pop(0)
        if url is None:
            raise CliError(
                "There is no such stack", "stack shop (profile default, eu-central-1)", "Choose it."
            )
        session = boto3.Session(
            aws_access_key_id="key", aws_secret_access_key="secret", region_name="eu-central-1"
        )
        return Stack("shop", session, known_outputs={}, known_api_url=url)


@pytest.mark.parametrize("answer", [(403, {"message": "Forbidden"}), (404, {"message": "Not Found"}), None])
def test_a_stack_that_was_deleted_is_named_and_a_new_one_is_found(
    api: FakeApi, answer: tuple[int, Any] | None
) -> None:
    api.answer("GET /runs", answer, (200, {"runs": [], "before": None}))
    viewing = Viewer(Deployed(api.url, None, api.url))
    assert error_of(viewing).kind in ("permission", "unreachable")
    gone = error_of(viewing)
    assert (gone.kind, gone.status) == ("configuration", 502)
    assert str(gone) == "There is no such stack: stack shop (profile default, eu-central-1). Choose it."
    assert viewing.api("GET", "/runs", {}, {}, b"").status == 200


def test_a_profile_that_is_gone_is_an_error_of_the_configuration() -> None:
    def open_stack() -> Stack:
        raise ProfileNotFound(profile="prod")

    error = error_of(Viewer(open_stack))
    assert (error.kind, error.message) == ("configuration", "The AWS profile does not exist: prod.")


@pytest.mark.parametrize(
    ("region", "console"),
    [
        ("eu-central-1", "https://eu-central-1.console.aws.amazon.com/"),
        ("us-gov-west-1", "https://us-gov-west-1.console.amazonaws-us-gov.com/"),
        ("cn-north-1", "https://cn-north-1.console.amazonaws.cn/"),
    ],
)
def test_the_links_to_the_console_are_those_of_the_partition(
    monkeypatch: pytest.MonkeyPatch, region: str, console: str
) -> None:
    monkeypatch.setattr(Viewer, "_read_celonis_urls", lambda *_: {})
    session = boto3.Session(aws_access_key_id="key", aws_secret_access_key="secret", region_name=region)
    stack = Stack("shop", session, known_outputs={}, known_api_url="https://api.example")
    address = Viewer(lambda: stack).about()["execution_url"]
    assert address == f"{console}states/home?region={region}#/v2/executions/details/{{arn}}"
    arn = f"arn:aws:states:{region}:123456789012:execution:shop:otc-1"
    assert address.replace("{arn}", arn) == execution_page(arn)


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "GetSecretValue")


class Secrets:
    """Secrets Manager. ``calls``: what was requested.

    ``answers``: of the list and of each connection, one after another; the last one stays.
    """

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.calls: list[str] = []

    def list_secrets(self, **_: object) -> dict[str, Any]:
        names = self._answer("list")
        return {"SecretList": [{"Name": f"shop/connections/{name}"} for name in names]}

    def get_secret_value(self, SecretId: str) -> dict[str, Any]:  # noqa: N803 - the name of AWS
        url = self._answer(SecretId.removeprefix("shop/connections/"))
        return {"SecretString": json.dumps({"base_url": url, "api_token": "secret"})}

    def _answer(self, name: str) -> Any:
        self.calls.append(name)
        answers = self.answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def viewer(self) -> Viewer:
        """A viewer of the stack ``shop`` with these secrets."""
        session = boto3.Session(
            aws_access_key_id="key", aws_secret_access_key="secret", region_name="eu-central-1"
        )
        stack = Stack("shop", session, known_outputs={}, known_api_url="https://api.example")
        stack._clients["secretsmanager"] = self
        return Viewer(lambda: stack)


ACME, OTHER = "https://acme.eu-1.celonis.cloud", "https://other.eu-1.celonis.cloud"


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
def test_a_connection_that_cannot_be_read_leaves_the_links_of_the_others(code: str) -> None:
    secrets = Secrets(list=[["acme", "closed", "other"]], acme=[ACME], closed=[refused(code)], other=[OTHER])
    assert secrets.viewer().about()["celonis_urls"] == {"acme": ACME, "other": OTHER}


@pytest.mark.parametrize(
    "error",
    [
        refused("ThrottlingException"),
        refused("InternalServiceError"),
        ReadTimeoutError(endpoint_url="https://secretsmanager.eu-central-1.amazonaws.com"),
    ],
)
@pytest.mark.parametrize("name", ["list", "other"])
def test_a_transient_error_is_not_remembered(error: Exception, name: str) -> None:
    answers: dict[str, list[Any]] = {"list": [["acme", "other"]], "acme": [ACME], "other": [OTHER]}
    secrets = Secrets(**answers | {name: [error, *answers[name]]})
    viewing = secrets.viewer()
    assert viewing.about()["celonis_urls"] == ({} if name == "list" else {"acme": ACME})
    assert viewing.about()["celonis_urls"] == {"acme": ACME, "other": OTHER}
    assert secrets.calls.count("acme") == 1
    assert viewing.about()["celonis_urls"] == {"acme": ACME, "other": OTHER}
    assert secrets.calls.count("other") == (2 if name == "other" else 1)


def test_addresses_and_denied_secrets_are_read_once() -> None:
    denied = refused("AccessDeniedException")
    secrets = Secrets(list=[["acme", "closed"]], acme=[ACME], closed=[denied])
    viewing = secrets.viewer()
    assert [viewing.about()["celonis_urls"] for _ in range(2)] == [{"acme": ACME}] * 2
    assert secrets.calls == ["list", "acme", "closed"]


def test_without_permission_to_list_secrets_there_are_no_links() -> None:
    secrets = Secrets(list=[refused("AccessDeniedException")])
    viewing = secrets.viewer()
    assert [viewing.about()["celonis_urls"] for _ in range(2)] == [{}] * 2
    assert secrets.calls == ["list"]


@pytest.mark.parametrize("error", [refused("ExpiredTokenException"), NoCredentialsError()])
@pytest.mark.parametrize("name", ["list", "acme"])
def test_expired_credentials_are_an_error_also_for_the_links(error: Exception, name: str) -> None:
    answers: dict[str, list[Any]] = {"list": [["acme"]], "acme": [ACME]}
    viewing = Secrets(**answers | {name: [error, *answers[name]]}).viewer()
    with pytest.raises(BackendError) as caught:
        viewing.about()
    assert caught.value.kind == "credentials"
    assert viewing.about()["celonis_urls"] == {"acme": ACME}


def test_errors_of_the_service_are_passed_on_as_they_are(api: FakeApi) -> None:
    body = {"error": "RunClosed", "message": "The run has ended."}
    api.answer("POST /runs/one/cancel", (409, body))
    answer = viewer(api, []).api("POST", "/runs/one/cancel", {}, {}, b"{}")
    assert (answer.status, json.loads(answer.body)) == (409, body)


def test_missing_credentials_are_reported_and_looked_for_again(api: FakeApi) -> None:
    opened: list[str] = []

    def open_stack() -> Stack:
        opened.append("")
        session = boto3.Session(region_name="eu-central-1")
        session._session.set_credentials("", "")
        session._session._credentials = None
        session._session.register_component("credential_provider", NoProvider())
        return Stack("celonis-refresh", session, known_outputs={}, known_api_url=api.url)

    viewing = Viewer(open_stack)
    assert error_of(viewing).kind == "credentials"
    assert error_of(viewing).kind == "credentials"
    assert len(opened) == 2


class NoProvider:
    """Finds no credentials."""

    def load_credentials(self) -> None:
        """Find none."""
