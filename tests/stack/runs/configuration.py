"""Pipelines, sources, connections and secrets, as people configure them."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Sequence
from typing import Any

from local.serve import STACK_NAME
from tests.stack.runs.celonis import Json
from tests.stack.runs.documents import PACE, WEBHOOK_SECRET, definition
from tests.stack.runs.service_base import ServiceBase


class ServiceConfiguration(ServiceBase):
    """Names of pipelines, sources and connections are never used twice: each test has its own."""

    def pipeline(self, *, jobs: Sequence[Any] = (), loads: Sequence[Any] = (), **fields: Any) -> str:
        """The name of a new pipeline. A job may be given as its id alone."""
        name = self.name("pipeline")
        self.define(name, jobs=jobs, loads=loads, **fields)
        return name

    def define(
        self, pipeline: str, *, jobs: Sequence[Any] = (), loads: Sequence[Any] = (), **fields: Any
    ) -> None:
        self.parameter(f"pipelines/{pipeline}", json.dumps(definition(jobs=jobs, loads=loads, **fields)))

    def shorten_poll_interval(self, pipeline: str) -> None:
        """Gives a pipeline short poll and settle times; leaves the rest as it is."""
        path = f"pipelines/{pipeline}"
        found = self.stack.client("ssm").get_parameter(Name=f"/{STACK_NAME}/{path}")["Parameter"]["Value"]
        self.parameter(path, json.dumps({**json.loads(found), **PACE}))

    def source(self, *rules: Json, **fields: Any) -> str:
        """The name of a new source that signs as GitHub does, with WEBHOOK_SECRET."""
        name = self.name("source")
        document = {"sender": "github", "secret": self._webhook_secret, "rules": list(rules), **fields}
        self.parameter(f"sources/{name}", json.dumps(document))
        return name

    def connection(self, auth: Json, **fields: Any) -> str:
        """The name of a new connection to the simulator."""
        return self.secret("connections", self._connection(auth, **fields))

    def change_connection(self, name: str, auth: Json) -> None:
        text = json.dumps(self._connection(auth))
        self.stack.client("secretsmanager").put_secret_value(
            SecretId=f"{STACK_NAME}/connections/{name}", SecretString=text
        )

    def _connection(self, auth: Json, **fields: Any) -> Json:
        known = {"base_url": self.celonis_url, "allow_http": True, "allow_any_host": True, "auth": auth}
        return {**known, **fields}

    def secret(self, kind: str, document: Json) -> str:
        """The name of a new secret below ``{stack}/{kind}/``."""
        name = self.name(kind.rstrip("s"))
        text = json.dumps(document)
        self.stack.client("secretsmanager").create_secret(
            Name=f"{STACK_NAME}/{kind}/{name}", SecretString=text
        )
        return name

    def parameter(self, path: str, text: str) -> None:
        self.stack.client("ssm").put_parameter(
            Name=f"/{STACK_NAME}/{path}", Value=text, Type="String", Overwrite=True
        )

    @functools.cached_property
    def _webhook_secret(self) -> str:
        """The name of the secret that the sources of the tests share, made for the first of them."""
        client, name = self.stack.client("secretsmanager"), "tests"
        with contextlib.suppress(client.exceptions.ResourceExistsException):
            text = json.dumps({"current": WEBHOOK_SECRET})
            client.create_secret(Name=f"{STACK_NAME}/webhooks/{name}", SecretString=text)
        return name
