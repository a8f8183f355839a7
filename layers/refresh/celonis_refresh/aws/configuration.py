"""Pipelines and sources from Parameter Store; connections and webhook secrets from Secrets Manager."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from aws_lambda_powertools.utilities.parameters import SSMProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.exceptions import ClientError
from msgspec import Struct

from celonis_refresh.aws.clients import is_transient
from celonis_refresh.celonis.connection import Connection, parse_connection
from celonis_refresh.errors import Problem, RefreshError
from celonis_refresh.names import NAME_RULE, is_name
from celonis_refresh.pipelines.definition import Definition, DefinitionPage, parse_definition
from celonis_refresh.pipelines.errors import InvalidInput, InvalidTrigger, UnknownPipeline

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

    from celonis_refresh.webhooks.sources import Source

A = TypeVar("A")

GONE = {
    "ResourceNotFoundException": "does not exist",
    "InvalidRequestException": "cannot be read now; most likely it is scheduled for deletion",
}
"""Problems of a secret, by error codes of Secrets Manager."""

DENIED = {
    "AccessDeniedException": "cannot be read: access is denied; check the policies of the secret and its key",
    "DecryptionFailure": "cannot be decrypted; check the policy and the state of its key",
}
"""Problems of a connection's secret. For a webhook's secret these codes are a 500: the sender retries."""


PAGE_REQUESTS = 10
"""Requests for one page of names: 100 pipelines."""
EXPIRED_TOKEN = frozenset({"InvalidNextToken", "ValidationException"})
"""Error codes of Parameter Store for a pagination token that is no longer valid."""


class SecretUnreadable(RefreshError):
    """A secret does not exist or is not a JSON object. Its content is never repeated.

    ``which``: how to find it. It is not the name if that may be a secret in the wrong field.
    """

    def __init__(self, which: str, problem: str) -> None:
        self.which = which
        self.problem = problem
        super().__init__(
            f"The secret {which} {problem}.",
            hint="Create or correct it in Secrets Manager (see the README).",
        )


class WebhookSecretUnreadable(SecretUnreadable):
    """A webhook's secret does not exist or has the wrong shape, so no request can be verified with it."""


class UnknownSource(RefreshError):
    """No source of that name is defined."""

    def __init__(self, where: str) -> None:
        super().__init__("There is no such source.", hint=f"Sources are parameters under {where}.")


class SourceNotFound(RefreshError):
    """No source of that name is defined; for callers that IAM has authenticated."""

    def __init__(self, source: str, where: str) -> None:
        self.source = source
        super().__init__(
            f"There is no source named {source!r}.",
            hint=f"Define it as a parameter under {where}, or check the name with GET /sources.",
        )


class ConfigurationUnavailable(RefreshError):
    """Parameter Store or Secrets Manager did not answer or throttled the call."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"AWS did not return {what} in time.", hint="Try again.")


def is_transient_error(error: Exception) -> bool:
    """Return whether a cached value stays in use after this error."""
    return isinstance(error, ConfigurationUnavailable)


def _read(name: str, call: Callable[..., A], **request: Any) -> A:
    """Return the answer of AWS. Raises ``ConfigurationUnavailable`` for transient errors of ``name``."""
    try:
        return call(**request)
    except Exception as error:
        if is_transient(error):
            raise ConfigurationUnavailable(name) from None
        raise


class SecretVersion(NamedTuple):
    """The values of a webhook's secret and the id of their version in Secrets Manager."""

    values: tuple[str, ...]
    version: str


class Parameters:
    """The parameters ``/{stack}/pipelines/{name}`` and ``/{stack}/sources/{name}``."""

    def __init__(self, client: SSMClient, stack: str) -> None:
        self.client = client
        self.stack = stack
        self._provider = SSMProvider(boto3_client=client)

    def pipeline(self, name: str) -> Definition:
        """Raises ``UnknownPipeline``, ``InvalidDefinition``, and ``InvalidTrigger`` for an invalid name."""
        return self.parse_pipeline(name, self._text(self.pipeline_name(name)))

    def pipeline_name(self, name: str) -> str:
        """Return the parameter of a pipeline. Raises ``InvalidTrigger`` for an invalid name."""
        if not is_name(name):
            expected = f"expected the name of a pipeline: {NAME_RULE}"
            raise InvalidTrigger("The trigger", [Problem("pipeline", expected)])
        return f"/{self.stack}/pipelines/{name}"

    def parse_pipeline(self, name: str, text: str | None) -> Definition:
        """Raises ``UnknownPipeline``, ``InvalidDefinition``."""
        if text is None:
            raise UnknownPipeline(name, where=self.pipeline_name(name))
        return parse_definition(name, text)

    def pipelines_of_source(self, name: str) -> frozenset[str] | None:
        """Return the pipelines that a source names; None if it does not exist. Raises ``InvalidSource``."""
        from celonis_refresh.webhooks.sources import parse_source  # only reconcile needs it

        text = self._text(self.source_name(name))
        if text is None:
            return None
        return frozenset(rule.pipeline for rule in parse_source(name, text).rules)

    def source_name(self, name: str) -> str:
        return f"{self.sources_path}{name}"

    def unknown_source(self) -> UnknownSource:
        return UnknownSource(self.sources_path)

    def texts(self, names: Sequence[str]) -> dict[str, str]:
        """Return the values of at most ten parameters by name, without those that do not exist."""
        answer = _read(names[0], self.client.get_parameters, Names=list(names))
        return {each["Name"]: each["Value"] for each in answer["Parameters"]}

    @property
    def sources_path(self) -> str:
        return f"/{self.stack}/sources/"

    def pipelines(self, limit: int | None = None) -> list[str]:
        """Return the names of all pipelines, or of ``limit`` of them (ten per request)."""
        return self._names(f"/{self.stack}/pipelines/", limit)

    def pipeline_page(self, token: str | None) -> DefinitionPage:
        """Return ten definitions as texts. An expired token returns the first page."""
        return self._page(f"/{self.stack}/pipelines/", token)

    def _page(self, path: str, token: str | None) -> DefinitionPage:
        """Return ten parameters under a path. An expired token returns the first page."""
        after: dict[str, Any] = {"NextToken": token} if token else {}
        try:
            answer = _read(path, self.client.get_parameters_by_path, Path=path, **after)
        except ClientError as error:
            if token is None or error.response["Error"]["Code"] not in EXPIRED_TOKEN:
                raise
            return self._page(path, None)
        texts = {each["Name"].removeprefix(path): each["Value"] for each in answer["Parameters"]}
        return DefinitionPage(texts, answer.get("NextToken"))

    def pipeline_names(self, token: str | None) -> tuple[list[str], str | None]:
        """Return a page of names, read with at most ``PAGE_REQUESTS`` requests, and the next token."""
        return self._name_page(f"/{self.stack}/pipelines/", token)

    def source_names(self, token: str | None) -> tuple[list[str], str | None]:
        """As :meth:`pipeline_names`, for sources."""
        return self._name_page(self.sources_path, token)

    def _name_page(self, path: str, token: str | None) -> tuple[list[str], str | None]:
        names: set[str] = set()
        for _ in range(PAGE_REQUESTS):
            texts, token = self._page(path, token)
            names |= texts.keys()
            if token is None:
                break
        return sorted(names), token

    def sources(self) -> list[str]:
        return self._names(self.sources_path)

    def is_paused(self, name: str) -> bool:
        """Return whether the pipeline is defined, valid and paused."""
        try:
            return self.pipeline(name).paused
        except (InvalidInput, UnknownPipeline):
            return False

    def source_text(self, name: str) -> str:
        """Return the JSON of a source. Raises ``UnknownSource``."""
        text = self._text(f"{self.sources_path}{name}") if is_name(name) else None
        if text is None:
            raise UnknownSource(self.sources_path)
        return text

    def source(self, name: str) -> Source:
        """Return a source for a caller of the API. Raises ``SourceNotFound``, ``InvalidSource``."""
        try:
            text = self.source_text(name)
        except UnknownSource:
            raise SourceNotFound(name, self.sources_path) from None
        from celonis_refresh.webhooks.sources import parse_source  # only the API needs it here

        return parse_source(name, text)

    def _names(self, path: str, limit: int | None = None) -> list[str]:
        def names_under_path() -> list[str]:
            pages = self.client.get_paginator("get_parameters_by_path").paginate(Path=path)
            names = (each["Name"].removeprefix(path) for page in pages for each in page["Parameters"])
            return list(islice(names, limit))

        return _read(path, names_under_path)

    def _text(self, name: str) -> str | None:
        def get() -> str:
            try:
                return str(self._provider.get(name, force_fetch=True, max_age=0))
            except GetParameterError as error:
                raise error.__context__ or error from None  # that of boto3

        try:
            return _read(name, get)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ParameterNotFound":
                return None
            raise


class Secrets(Struct, frozen=True):
    """The secrets of the stack: ``{stack}/connections/…``, ``{stack}/webhooks/…``, ``{stack}/channels/…``."""

    client: SecretsManagerClient
    stack: str

    def connection(self, name: str) -> Connection:
        """Raises ``ConnectionInvalid``, ``SecretUnreadable``."""
        full = f"{self.stack}/connections/{name}"
        try:
            return parse_connection(name, self.json_object(full, repr(full))[0], full)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            problem = DENIED.get(code, "may not be read by this function")
            raise SecretUnreadable(repr(full), f"{problem} ({code})") from None

    def webhook(self, name: str) -> SecretVersion:
        """Return ``current`` and, during a rotation, ``previous``, which may be empty.

        Raises ``WebhookSecretUnreadable``.
        """
        which = f"that the source names, one of {self.stack}/webhooks/,"
        try:
            document, version = self.json_object(f"{self.stack}/webhooks/{name}", which)
        except SecretUnreadable as error:
            raise WebhookSecretUnreadable(which, error.problem) from None
        values = [document[key] for key in ("current", "previous") if key in document]
        texts = all(isinstance(value, str) for value in values)
        if not document.get("current") or len(values) < len(document) or not texts:
            problem = 'needs a text "current" and, during a rotation, "previous"; it has no other fields'
            raise WebhookSecretUnreadable(which, problem)
        return SecretVersion(tuple(values), version)

    def json_object(self, name: str, which: str) -> tuple[Mapping[str, Any], str]:
        """Return the JSON object in a secret and its version id. ``which`` names it in errors."""
        try:
            what = f"the secret {which}"
            answer = _read(what, self.client.get_secret_value, SecretId=name)
        except ClientError as error:
            problem = GONE.get(error.response["Error"]["Code"])
            if problem is None:
                raise
            raise SecretUnreadable(which, problem) from None
        text = answer.get("SecretString")
        if text is None:
            raise SecretUnreadable(which, "is binary; JSON as text is expected")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise SecretUnreadable(which, "is not JSON") from None
        if not isinstance(document, dict):
            raise SecretUnreadable(which, "is not a JSON object")
        return document, answer["VersionId"]
