"""Secrets of connections, webhooks and channels: validated as the service reads them, then written.

No function here returns, prints or raises a value of a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from botocore.exceptions import ClientError

from celonis_refresh.celonis.connection import parse_connection
from celonis_refresh.errors import RefreshError
from celonis_refresh.notifications.channels import AMAZON_Q, parse_channel
from celonis_refresh.notifications.messages import TOPIC
from celonis_refresh.pipelines.definition import ChannelName, ConnectionName
from celonis_refresh.webhooks.senders import SENDERS
from celonis_refresh.webhooks.sources import check_secret_name, parse_source
from celonis_refresh.webhooks.verification import Scheme, secret_problem
from refresh_cli.configuration.files import secret_problems
from refresh_cli.errors import CliError
from refresh_cli.stack import Stack

MAX_SECRET: Final = 65_536
"""Bytes of a secret."""
CORRECT: Final = "Enter it again, or correct the file."


class SecretKind(StrEnum):
    """The kinds of secrets; the value is the folder in their names."""

    CONNECTION = "connections"
    WEBHOOK = "webhooks"
    CHANNEL = "channels"


@dataclass(frozen=True)
class StoredSecret:
    """A secret as it was read. ``document``: None if it is not a JSON object or does not exist."""

    name: str
    exists: bool
    version: str | None = None
    document: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"StoredSecret({self.name!r})"


def check_name(kind: SecretKind, name: str) -> None:
    """Raise ``CliError`` for a name that the configuration cannot use. It is not repeated."""
    try:
        if kind is SecretKind.WEBHOOK:
            check_secret_name(name)
        else:
            (ConnectionName if kind is SecretKind.CONNECTION else ChannelName).checked(name)
    except ValueError as error:
        raise CliError("The name is not valid", f"NAME of a secret in {kind}", _sentence(error)) from None
    if kind is SecretKind.CHANNEL and name in (TOPIC, AMAZON_Q):
        raise CliError("This channel has no secret", name, "It is the SNS topic of the stack.")


def check_document(kind: SecretKind, name: str, document: object) -> None:
    """Check a connection or channel. Raises ``CliError`` with the fields and no values."""
    if not isinstance(document, dict):
        raise CliError("The secret is not valid", f"{kind}/{name}", "Expected a JSON object.")
    parse = parse_connection if kind is SecretKind.CONNECTION else parse_channel
    problems = secret_problems(lambda: parse(name, document))
    if not problems:
        return
    text = "; ".join(f"{field}: {expected}" for field, expected in problems)
    raise CliError("The secret is not valid, and was not written", f"{kind}/{name} ({text})", CORRECT)


def check_webhook_value(value: str, schemes: Iterable[tuple[str, Scheme]]) -> None:
    """Check the value of a webhook's secret for each source. Raises ``CliError`` without the value."""
    if not value.strip():
        raise CliError("The secret is not valid, and was not written", "it is empty", "Enter it again.")
    for source, scheme in schemes:
        if problem := secret_problem(scheme, value):
            raise CliError(
                "No request could match this secret, so it was not written",
                source,
                _sentence(problem),
            )


def schemes_of(stack: Stack, name: str) -> list[tuple[str, Scheme]]:
    """Return the sources of the stack that use a webhook's secret. Raises errors of boto3."""
    path = f"/{stack.name}/sources/"
    found: list[tuple[str, Scheme]] = []
    for page in stack.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=path):
        for each in page["Parameters"]:
            source_name = each["Name"].removeprefix(path)
            try:
                source = parse_source(source_name, each["Value"])
            except RefreshError:
                continue  # refresh check names its mistakes
            if source.secret == name:
                found.append((f"source {source_name}", source.effective().scheme))
    return found


def channel_names(stack: Stack) -> set[str]:
    """Return the names of the channels that have a secret. Raises errors of boto3."""
    path = f"{stack.name}/{SecretKind.CHANNEL}/"
    pages = stack.client("secretsmanager").get_paginator("list_secrets")
    found = pages.paginate(Filters=[{"Key": "name", "Values": [path]}])
    return {
        each["Name"].removeprefix(path)
        for page in found
        for each in page["SecretList"]
        if each["Name"].startswith(path)
    }


def scheme_of_sender(sender: str) -> tuple[str, Scheme]:
    """Return the scheme of a sender. Raises ``CliError``."""
    if sender not in SENDERS:
        raise CliError("There is no such sender", sender, f"Choose one of {', '.join(sorted(SENDERS))}.")
    return f"sender {sender}", SENDERS[sender].scheme


def rotated(stored: StoredSecret, value: str) -> dict[str, str] | None:
    """Return the document with a new value, which keeps the old one valid; None if nothing changes."""
    document = stored.document or {}
    current = document.get("current")
    if current == value:
        return None
    return {
        "current": value,
        **({"previous": current} if isinstance(current, str) and current.strip() else {}),
    }


def without_previous(stored: StoredSecret) -> dict[str, str] | None:
    """Return the document without the old value; None if it has none. Raises ``CliError``."""
    document = stored.document
    if document is None or not isinstance(document.get("current"), str):
        raise CliError(
            "The secret cannot be changed", stored.name, "It does not exist, or has no current value."
        )
    return {"current": document["current"]} if "previous" in document else None


class SecretStore:
    """Reads and writes secrets of a stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._client = stack.client("secretsmanager")

    def read(self, kind: SecretKind, name: str) -> StoredSecret:
        """Raises errors of boto3."""
        full = f"{self._stack.name}/{kind}/{name}"
        try:
            answer = self._client.get_secret_value(SecretId=full)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code == "ResourceNotFoundException":
                return StoredSecret(full, exists=self._exists(full))
            if code == "InvalidRequestException":
                raise CliError(
                    "The secret cannot be read", full, "Restore it, if it is scheduled for deletion."
                ) from None
            raise
        try:
            document = json.loads(answer.get("SecretString", ""))
        except ValueError:
            document = None
        return StoredSecret(
            full, True, str(answer["VersionId"]), document if isinstance(document, dict) else None
        )

    def write(self, stored: StoredSecret, document: Mapping[str, Any], kms_key: str | None = None) -> bool:
        """Write a secret; return whether it was created. Raises ``CliError`` and errors of boto3.

        A secret that changed since it was read is not written: the value of another user would be lost.
        """
        text = json.dumps(document, ensure_ascii=False)
        if len(text.encode(errors="replace")) > MAX_SECRET:
            raise CliError(
                "The secret is too large", stored.name, f"At most {MAX_SECRET} bytes are possible."
            )
        if not stored.exists:
            key = {"KmsKeyId": kms_key} if kms_key else {}
            self._client.create_secret(Name=stored.name, SecretString=text, **key)
            return True
        if self._version(stored.name) != stored.version:
            raise CliError(
                "The secret was not written, because it changed in the meantime",
                stored.name,
                "Repeat the command.",
            )
        self._client.put_secret_value(SecretId=stored.name, SecretString=text)
        return False

    def _exists(self, name: str) -> bool:
        """Return whether a secret without a value exists."""
        try:
            self._client.describe_secret(SecretId=name)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                return False
            raise
        return True

    def _version(self, name: str) -> str | None:
        versions = self._client.describe_secret(SecretId=name).get("VersionIdsToStages", {})
        current = [version for version, stages in versions.items() if "AWSCURRENT" in stages]
        return current[0] if current else None


def _sentence(error: object) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
