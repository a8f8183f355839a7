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

from celonis_refresh.aws.clients import call_aws
from celonis_refresh.celonis.connection import Connection, parse_connection
from celonis_refresh.errors import Problem, RefreshError
from celonis_refresh.names import NAME_RULE, is_name
from celonis_refresh.pipelines.definition import Definition, parse_definition
from celonis_refresh.pipelines.errors import InvalidInput, InvalidTrigger, UnknownPipeline

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

A = TypeVar("A")

GONE = {
    "ResourceNotFoundException": "does not exist",
    "InvalidRequestException": "cannot be read now; most likely it is scheduled for deletion",
}
"""Problems of a secret by the error code of Secrets Manager."""

DENIED = {
    "AccessDeniedException": "cannot be read: access is denied; check the policies of the secret and its key",
    "DecryptionFailure": "cannot be decrypted; check the policy and the state of its key",
}
"""Problems of a connection's secret. For a webhook's secret these codes are a 500: the sender retries."""


class SecretUnreadable(RefreshError):
    """A secret does not exist or is not a JSON object. Its content is never repeated.

    ``which``: how to find it. This is not its name where the name may be a secret that was put into the wrong
    field.
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
    return call_aws(lambda: ConfigurationUnavailable(name), call, **request)


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

    def _names(self, path: str, limit: int | None = None) -> list[str]:
        def found() -> list[str]:
            pages = self.client.get_paginator("get_parameters_by_path").paginate(Path=path)
            names = (each["Name"].removeprefix(path) for page in pages for each in page["Parameters"])
            return list(islice(names, limit))

        return _read(path, found)

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
    """The secrets ``{stack}/connections/{name}`` and ``{stack}/webhooks/{name}``."""

    client: SecretsManagerClient
    stack: str

    def connection(self, name: str) -> Connection:
        """Raises ``ConnectionInvalid``, ``SecretUnreadable``."""
        full = f"{self.stack}/connections/{name}"
        try:
            return parse_connection(name, self._object(full, repr(full))[0], full)
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
            document, version = self._object(f"{self.stack}/webhooks/{name}", which)
        except SecretUnreadable as error:
            raise WebhookSecretUnreadable(which, error.problem) from None
        values = [document[key] for key in ("current", "previous") if key in document]
        texts = all(isinstance(value, str) for value in values)
        if not document.get("current") or len(values) < len(document) or not texts:
            problem = 'needs a text "current" and, during a rotation, "previous"; it has no other fields'
            raise WebhookSecretUnreadable(which, problem)
        return SecretVersion(tuple(values), version)

    def _object(self, name: str, which: str) -> tuple[Mapping[str, Any], str]:
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
