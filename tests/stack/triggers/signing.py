"""Signs any event as a sender does."""

from __future__ import annotations

import json
import time

from celonis_refresh.webhooks.senders import SENDERS
from celonis_refresh.webhooks.verification import Hmac
from tests.fakes.signing import sign
from tests.stack.triggers.sender_requests import Json, SenderRequest


def signed(
    sender: str, event: object, secret: str, headers: Json | None = None, *, at: float | None = None
) -> SenderRequest:
    """``event``: JSON, or bytes as they are. ``at``: seconds since 1970, by default now."""
    scheme = SENDERS[sender].scheme
    if not isinstance(scheme, Hmac):
        raise TypeError(f"{sender} signs nothing")
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    stamp = int(at or time.time()) if scheme.signs_time else None
    proof = sign(scheme, secret, body, timestamp=stamp, message_id="msg_1" if scheme.signs_id else "")
    sent = {"content-type": "application/json", **proof, **(headers or {})}
    return SenderRequest(sender, body, sent, secret=secret)
