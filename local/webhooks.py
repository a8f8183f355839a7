"""Sends the webhook of a file in ``events/``, signed as GitHub signs it."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import requests

SECONDS = 35


def send_github(api_url: str, secret: str, file: Path, delivery: str | None = None) -> requests.Response:
    """Post the file's body with its headers and the signature of the sent bytes."""
    event = json.loads(file.read_text())
    body = json.dumps(event["body"]).encode()
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {**event["headers"], "x-hub-signature-256": f"sha256={digest}"}
    if delivery is not None:
        headers["x-github-delivery"] = delivery
    return requests.post(api_url + event["path"], data=body, headers=headers, timeout=SECONDS)
