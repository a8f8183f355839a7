"""The ways into the service: a webhook, the runs API, an execution by hand, an event."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from urllib.parse import quote

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from local.aws.stack import LocalStack
from local.serve import REGION
from tests.stack.runs.celonis import Json
from tests.stack.runs.documents import WEBHOOK_SECRET, WORKFLOW_SUCCEEDED
from tests.stack.runs.service_base import ServiceBase

HTTP_SECONDS = 60.0


class EntryPoints(ServiceBase):
    """``responses``: every answer of the HTTP API."""

    def __init__(self, stack: LocalStack, celonis_url: str) -> None:
        super().__init__(stack, celonis_url)
        self.responses: list[str] = []
        self._session = requests.Session()
        self._session.trust_env = False

    def close(self) -> None:
        self._session.close()

    def webhook(
        self,
        source: str,
        body: object | None = None,
        *,
        delivery: str | None = None,
        secret: str = WEBHOOK_SECRET,
        headers: Json | None = None,
    ) -> requests.Response:
        """A webhook as GitHub sends it. ``body``: JSON, or bytes; a header of None is left out."""
        raw = body if isinstance(body, bytes) else json.dumps(body or WORKFLOW_SUCCEEDED).encode()
        digest = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
        own: Json = {
            "content-type": "application/json",
            "x-github-event": "workflow_run",
            "x-github-delivery": delivery or self.name("delivery"),
            "x-hub-signature-256": f"sha256={digest}",
        }
        sent = {name: value for name, value in {**own, **(headers or {})}.items() if value is not None}
        return self.send("POST", f"/webhooks/{source}", raw, sent)

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Json | None = None
    ) -> requests.Response:
        """One HTTP request, as it is."""
        answer = self._session.request(
            method, self.stack.api_url + path, data=body, headers=headers, timeout=HTTP_SECONDS
        )
        self.responses.append(answer.text)
        return answer

    def call(
        self, method: str, path: str, body: object = None, headers: Json | None = None
    ) -> requests.Response:
        """One request to the runs API, signed. ``body``: JSON, or bytes as they are."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {"content-type": "application/json", **(headers or {})} if raw else dict(headers or {})
        signed = AWSRequest(method=method, url=self.stack.api_url + path, data=raw, headers=given)
        SigV4Auth(self.stack.credentials, "execute-api", REGION).add_auth(signed)
        return self.send(method, path, raw, dict(signed.headers))

    def pages(self, path: str) -> Iterator[Json]:
        """Every page of a list of the runs API; ``path`` has a query."""
        page: Json = self.call("GET", path).json()
        yield page
        while page["next"]:
            page = self.call("GET", f"{path}&after={quote(page['next'], safe='')}").json()
            yield page

    def execute(self, document: object, name: str | None = None) -> str:
        """Starts an execution by hand; gives its name. ``document``: JSON, or text as it is."""
        text = document if isinstance(document, str) else json.dumps(document)
        started = self.stack.client("stepfunctions").start_execution(
            stateMachineArn=self.stack.outputs["StateMachineArn"],
            name=name or self.name("by-hand"),
            input=text,
        )
        return str(started["executionArn"]).rsplit(":", 1)[1]

    def hand_to(self, function: str, event: Json) -> None:
        """Delivers an event as AWS does: later, and again if it fails."""
        self.stack.client("lambda").invoke(
            FunctionName=self.stack.physical_ids[function],
            Qualifier="live",
            InvocationType="Event",
            Payload=json.dumps(event).encode(),
        )
