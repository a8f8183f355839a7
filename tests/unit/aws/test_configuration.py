"""Parameters and secrets as AWS gives them, and as AWS fails to give them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from celonis_refresh.aws import configuration
from celonis_refresh.aws.configuration import (
    ConfigurationUnavailable,
    Parameters,
    Secrets,
    SecretUnreadable,
    is_transient_error,
)
from celonis_refresh.celonis.errors import ConnectionInvalid
from celonis_refresh.errors import RefreshError
from celonis_refresh.names import NAME_PATTERN
from celonis_refresh.pipelines.errors import InvalidDefinition, InvalidTrigger, UnknownPipeline

VALUE = "a-secret-that-nobody-may-see"


def refusal(code: str, status: int = 400) -> ClientError:
    metadata = {"HTTPStatusCode": status}
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": metadata}, "Get")


TRANSIENT_ERRORS = [
    refusal("ThrottlingException"),
    refusal("TooManyUpdates"),
    refusal("RequestLimitExceeded"),
    refusal("InternalServerError", 500),
    refusal("ServiceUnavailable", 503),
    ReadTimeoutError(endpoint_url="https://ssm"),
    ConnectTimeoutError(endpoint_url="https://ssm"),
    EndpointConnectionError(endpoint_url="https://ssm"),
]


@dataclass
class FakeParameters:
    """Parameter Store and Secrets Manager in one. ``reads``: the names, in order."""

    values: dict[str, str] = field(default_factory=dict)
    error: Exception | None = None
    reads: list[str] = field(default_factory=list)

    def get_parameter(self, Name: str, **_: object) -> dict[str, Any]:  # noqa: N803 - AWS's name
        return {"Parameter": {"Value": self._value(Name, "ParameterNotFound")}}

    def get_parameters(self, Names: list[str]) -> dict[str, Any]:  # noqa: N803 - AWS's name
        self.reads.append(Names[0])
        if self.error:
            raise self.error
        found = [name for name in Names if name in self.values]
        return {"Parameters": [{"Name": name, "Value": self.values[name]} for name in found]}

    def get_secret_value(self, SecretId: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        text = self._value(SecretId, "ResourceNotFoundException")
        return {"SecretString": text, "VersionId": sha256(text.encode()).hexdigest()[:32]}

    def _value(self, name: str, missing: str) -> str:
        self.reads.append(name)
        if self.error:
            raise self.error
        if name not in self.values:
            raise refusal(missing)
        return self.values[name]

    @property
    def parameters(self) -> Parameters:
        return Parameters(cast("Any", self), "stack")

    @property
    def secrets(self) -> Secrets:
        return Secrets(cast("Any", self), "stack")


@pytest.mark.parametrize("error", TRANSIENT_ERRORS, ids=str)
def test_what_passes_is_reported_as_such_and_names_nothing_but_the_name(error: Exception) -> None:
    aws = FakeParameters(error=error)
    for ask in (
        lambda: aws.parameters.pipeline("otc"),
        lambda: aws.secrets.webhook("github"),
        lambda: aws.secrets.connection("default"),
    ):
        with pytest.raises(ConfigurationUnavailable) as reported:
            ask()
        assert is_transient_error(reported.value)
        assert str(reported.value).endswith("Try again.")


def test_what_does_not_pass_is_raised_as_it_is() -> None:
    aws = FakeParameters(error=refusal("AccessDeniedException"))
    with pytest.raises(ClientError) as reported:
        aws.secrets.webhook("github")
    assert not is_transient_error(reported.value)


@pytest.mark.parametrize("code", ["AccessDeniedException", "DecryptionFailure"])
def test_a_connection_that_may_not_be_read_is_named_with_the_reason(code: str) -> None:
    with pytest.raises(SecretUnreadable, match=code) as reported:
        FakeParameters(error=refusal(code)).secrets.connection("default")
    assert "stack/connections/default" in str(reported.value)


@pytest.mark.parametrize("name", ["..", "a/b", "a b", "a\0", "", "é", "-a", "a" * 49, "a\n", "*", "../otc"])
def test_an_invalid_name_is_never_read(name: str) -> None:
    aws = FakeParameters()
    with pytest.raises(InvalidTrigger) as reported:
        aws.parameters.pipeline(name)
    assert NAME_PATTERN in str(reported.value)
    assert aws.reads == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (None, "The secret 'stack/connections/main' does not exist."),
        (refusal("AccessDeniedException"), "The secret 'stack/connections/main' cannot be read: access is "),
        (refusal("DecryptionFailure"), "The secret 'stack/connections/main' cannot be decrypted; "),
    ],
)
def test_the_secret_of_a_connection_that_cannot_be_read_is_named(error: Exception | None, said: str) -> None:
    with pytest.raises(SecretUnreadable) as reported:
        FakeParameters(error=error).secrets.connection("main")
    assert said in str(reported.value)
    assert not is_transient_error(reported.value)


def test_a_part_of_the_pipelines_is_listed_with_few_requests() -> None:
    read: list[int] = []

    def pages(Path: str) -> Iterator[dict[str, Any]]:  # noqa: N803 - AWS's name
        for page in range(30):
            read.append(page)
            yield {"Parameters": [{"Name": f"{Path}p{page:02}{one}"} for one in range(10)]}

    client = SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=pages))
    names = Parameters(cast("Any", client), "stack").pipelines(100)
    assert (len(names), names[0], len(read)) == (100, "p000", 10)


class PagedParameters:
    """Three pages of pipelines. ``expired``: the error code of any token."""

    def __init__(self, expired: str = "") -> None:
        self.expired = expired
        self.tokens: list[str | None] = []

    def get_parameters_by_path(self, Path: str, NextToken: str | None = None) -> dict[str, Any]:  # noqa: N803
        self.tokens.append(NextToken)
        if NextToken is not None and self.expired:
            raise refusal(self.expired)
        page = int(NextToken or 0)
        parameters = [{"Name": f"{Path}p{page}{one}", "Value": f"text {one}"} for one in range(10)]
        return {"Parameters": parameters, **({"NextToken": str(page + 1)} if page < 2 else {})}


def test_definitions_are_read_in_pages_of_ten() -> None:
    parameters = Parameters(cast("Any", PagedParameters()), "stack")
    first, last = parameters.pipeline_page(None), parameters.pipeline_page("2")
    assert (len(first.texts), first.texts["p00"], first.token) == (10, "text 0", "1")
    assert (next(iter(last.texts)), last.token) == ("p20", None)


def test_names_are_listed_in_pages_of_bounded_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "PAGE_REQUESTS", 2)
    client = PagedParameters()
    parameters = Parameters(cast("Any", client), "stack")
    names, token = parameters.pipeline_names(None)
    assert (len(names), names[0], names[-1], token, client.tokens) == (20, "p00", "p19", "2", [None, "1"])
    names, token = parameters.pipeline_names(token)
    assert (len(names), names[0], token) == (10, "p20", None)


@pytest.mark.parametrize("code", ["InvalidNextToken", "ValidationException"])
def test_an_expired_token_reads_the_first_page(code: str) -> None:
    client = PagedParameters(expired=code)
    page = Parameters(cast("Any", client), "stack").pipeline_page("1")
    assert next(iter(page.texts)) == "p00"
    assert client.tokens == ["1", None]


def test_another_refusal_of_a_page_is_an_error() -> None:
    parameters = Parameters(cast("Any", PagedParameters(expired="AccessDeniedException")), "stack")
    with pytest.raises(ClientError):
        parameters.pipeline_page("1")
    parameters = Parameters(cast("Any", PagedParameters(expired="ThrottlingException")), "stack")
    with pytest.raises(ConfigurationUnavailable):
        parameters.pipeline_page("1")


def test_the_secret_of_a_connection_that_is_not_valid_is_named() -> None:
    with pytest.raises(ConnectionInvalid, match="The secret 'stack/connections/main' of connection 'main'"):
        FakeParameters({"stack/connections/main": "{}"}).secrets.connection("main")


def test_what_is_not_there_is_unknown() -> None:
    aws = FakeParameters()
    with pytest.raises(UnknownPipeline):
        aws.parameters.pipeline("otc")
    assert aws.reads == ["/stack/pipelines/otc"]


def test_a_pipeline_is_paused_where_its_definition_says_so_and_nowhere_else() -> None:
    aws = FakeParameters(
        {"/stack/pipelines/otc": json.dumps({"data_pool": "p", "jobs": [{"job": "j"}], "paused": True})}
    )
    assert aws.parameters.is_paused("otc")
    aws.values["/stack/pipelines/otc"] = "{"
    with pytest.raises(InvalidDefinition):
        aws.parameters.pipeline("otc")
    assert not aws.parameters.is_paused("otc")
    assert not aws.parameters.is_paused("none")


@pytest.mark.parametrize(
    ("document", "values"),
    [
        ({"current": VALUE}, (VALUE,)),
        ({"current": VALUE, "previous": "old"}, (VALUE, "old")),
        ({"previous": "old", "current": VALUE}, (VALUE, "old")),
        ({"current": VALUE, "previous": ""}, (VALUE, "")),
    ],
)
def test_a_secret_is_its_current_and_its_previous_value(
    document: dict[str, object], values: tuple[str, ...]
) -> None:
    aws = FakeParameters({"stack/webhooks/github": json.dumps(document)})
    assert aws.secrets.webhook("github").values == values


@pytest.mark.parametrize(
    "text",
    [
        "",
        VALUE,
        f'"{VALUE}"',
        "[]",
        "{}",
        json.dumps({"previous": VALUE}),
        json.dumps({"current": ""}),
        json.dumps({"current": [VALUE]}),
        json.dumps({"current": VALUE, "previous": None}),
        json.dumps({"current": VALUE, "prev": "old"}),
        "[" * 100_000,
    ],
)
def test_a_secret_of_another_shape_is_refused_and_never_repeated(text: str) -> None:
    aws = FakeParameters({"stack/webhooks/github": text})
    with pytest.raises(SecretUnreadable) as reported:
        aws.secrets.webhook("github")
    assert VALUE not in str(reported.value)
    assert "one of stack/webhooks/" in str(reported.value)


def test_a_secret_that_is_not_there_is_reported() -> None:
    with pytest.raises(SecretUnreadable, match="does not exist"):
        FakeParameters().secrets.webhook("github")


@pytest.mark.parametrize("error", [None, refusal("InternalServerError", 500)], ids=str)
def test_the_name_of_a_webhooks_secret_is_not_repeated(error: Exception | None) -> None:
    """It may be the secret itself, and anyone can send a request."""
    with pytest.raises(RefreshError) as reported:
        FakeParameters(error=error).secrets.webhook("correct-horse-battery")
    assert "horse" not in repr(reported.value) + str(reported.value) + repr(vars(reported.value))


def test_a_secret_that_is_scheduled_for_deletion_is_reported() -> None:
    aws = FakeParameters(error=refusal("InvalidRequestException"))
    for ask in (lambda: aws.secrets.webhook("github"), lambda: aws.secrets.connection("default")):
        with pytest.raises(SecretUnreadable, match="scheduled for deletion") as reported:
            ask()
        assert "Secrets Manager" in str(reported.value)


def test_a_secret_that_is_binary_is_reported_and_never_repeated() -> None:
    class BinarySecret(FakeParameters):
        def get_secret_value(self, SecretId: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
            return {"Name": SecretId, "SecretBinary": VALUE.encode()}

    for ask in (
        lambda: BinarySecret().secrets.webhook("github"),
        lambda: BinarySecret().secrets.connection("default"),
    ):
        with pytest.raises(SecretUnreadable, match="is binary") as reported:
            ask()
        assert VALUE not in str(reported.value)
