"""One function for all schemes."""

from __future__ import annotations

from collections.abc import Sequence

from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.schemes.fixed_values import (
    verify_basic_auth,
    verify_static_token,
    verify_url_token,
)
from celonis_refresh.webhooks.schemes.hmac_proof import verify_hmac
from celonis_refresh.webhooks.schemes.models import BasicAuth, Hmac, Scheme, Sns, StaticToken
from celonis_refresh.webhooks.schemes.proofs import Fetch, Proof


def verify(
    scheme: Scheme,
    request: WebhookRequest,
    secrets: Sequence[str],
    now: float,
    *,
    fetch: Fetch | None = None,
) -> Proof:
    """What the request proves about its origin.

    ``secrets``: all that are valid at the moment (the current and the previous); none is needed for ``Sns``.
    ``now``: seconds since 1970. ``fetch``: for ``Sns`` only, gets a certificate by its checked URL.
    Raises ``NotAuthentic`` or ``Malformed``, and for SNS whatever ``fetch`` raises.
    """
    if isinstance(secrets, str):
        raise TypeError("secrets: a list of secrets; of a text, every letter would be one")
    if isinstance(scheme, Hmac):
        return verify_hmac(scheme, request, secrets, now)
    if isinstance(scheme, StaticToken):
        return verify_static_token(scheme, request, secrets)
    if isinstance(scheme, BasicAuth):
        return verify_basic_auth(scheme, request, secrets)
    if isinstance(scheme, Sns):
        return _verify_sns(scheme, request, now, fetch)
    return verify_url_token(scheme, request, secrets)


def _verify_sns(scheme: Sns, request: WebhookRequest, now: float, fetch: Fetch | None) -> Proof:
    from celonis_refresh.webhooks.schemes.sns_proof import verify_sns  # loads RSA; no other scheme needs it

    if fetch is None:
        raise TypeError("verify() needs fetch for an SNS source")
    return verify_sns(scheme, request, now, fetch)
