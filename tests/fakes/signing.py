"""The counterpart of ``verify``: signs requests as a sender does, for tests and the demo."""

from __future__ import annotations

from celonis_refresh.webhooks.verification import (
    Hmac,
    encode,
    hmac_digest,
    key_of,
    secret_problem,
    signed_content,
)


def sign(
    scheme: Hmac, secret: str, body: bytes, *, message_id: str = "", timestamp: int | None = None
) -> dict[str, str]:
    """The headers (lower-case names) that prove ``body``, as the sender itself would send them.

    ``timestamp``: whole seconds since 1970, where the scheme signs it; ``message_id`` likewise.
    Raises ``ValueError`` when one of them is missing, or the secret is unusable (without repeating it).
    """
    problem = secret_problem(scheme, secret)
    if problem:
        raise ValueError(f"secret: {problem}")
    if scheme.signs_time and timestamp is None:
        raise ValueError("timestamp: this scheme signs one")
    if scheme.signs_id and not message_id:
        raise ValueError("message_id: this scheme signs one")
    time = "" if timestamp is None else str(timestamp)
    signature = hmac_digest(scheme, key_of(scheme, secret), signed_content(scheme, body, message_id, time))
    headers = {scheme.header: _laid_out(scheme, encode(scheme, signature), time)}
    if scheme.id_header:
        headers[scheme.id_header] = message_id
    if scheme.timestamp_header:
        headers[scheme.timestamp_header] = time
    return headers


def _laid_out(scheme: Hmac, signature: str, time: str) -> str:
    if scheme.layout == "versions":
        return f"{scheme.version},{signature}"
    if scheme.layout == "bare":
        return scheme.prefix + signature
    stamp = f"{scheme.timestamp_key}={time}," if time and not scheme.timestamp_header else ""
    return f"{stamp}{scheme.version}={signature}"
