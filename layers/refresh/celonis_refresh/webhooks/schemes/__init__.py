"""The schemes by which a sender proves itself: five models, and ``verify`` for all."""

from __future__ import annotations

from celonis_refresh.webhooks.schemes.models import BasicAuth, Hmac, Scheme, Sns, StaticToken, UrlToken
from celonis_refresh.webhooks.schemes.proofs import Fetch, Proof
from celonis_refresh.webhooks.schemes.secrets import secret_problem
from celonis_refresh.webhooks.schemes.verification import verify

__all__ = [
    "BasicAuth",
    "Fetch",
    "Hmac",
    "Proof",
    "Scheme",
    "Sns",
    "StaticToken",
    "UrlToken",
    "secret_problem",
    "verify",
]
