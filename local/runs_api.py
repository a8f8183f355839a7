"""A client of the runs API of a running stack, with IAM signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SECONDS = 35


@dataclass(frozen=True)
class RunsApi:
    """``url``: the URL of the API."""

    url: str
    credentials: Credentials
    region: str

    def get(self, path: str) -> Any:
        """Return the JSON of a GET. Raises ``requests.HTTPError``."""
        return self._send("GET", path, b"").json()

    def post(self, path: str, body: bytes) -> requests.Response:
        """Raises ``requests.HTTPError``."""
        return self._send("POST", path, body)

    def ask(self, path: str, body: bytes, key: str) -> int:
        """Return the status of a POST with an idempotency key."""
        return self._answer("POST", path, body, {"idempotency-key": key}).status_code

    def _send(self, method: str, path: str, body: bytes) -> requests.Response:
        answer = self._answer(method, path, body, {})
        answer.raise_for_status()
        return answer

    def _answer(self, method: str, path: str, body: bytes, more: dict[str, str]) -> requests.Response:
        headers = ({"content-type": "application/json"} if body else {}) | more
        signed = AWSRequest(method=method, url=self.url + path, data=body, headers=headers)
        SigV4Auth(self.credentials, "execute-api", self.region).add_auth(signed)
        return requests.request(
            method, self.url + path, data=body, headers=dict(signed.headers), timeout=SECONDS
        )
