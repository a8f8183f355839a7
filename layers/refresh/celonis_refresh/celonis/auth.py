"""The headers that authenticate a request to Celonis.

A token of an OAuth client is valid for about 15 minutes. Runs last longer, so tokens are refreshed.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from math import isfinite
from typing import TypeAlias
from urllib.parse import quote_plus, urlencode

from msgspec import Struct

from celonis_refresh.celonis.connection import ApiKey, AppKey, Connection, OAuthClient
from celonis_refresh.celonis.error_responses import Signer, failure
from celonis_refresh.celonis.errors import CelonisUnavailable
from celonis_refresh.celonis.transport import Answer, Call, Transport, read_json

TOKEN_PATH = "/oauth2/token"  # noqa: S105 - a path
DEFAULT_TOKEN_LIFE = 899.0
REFRESH_MARGIN = 60.0
_FORM = "application/x-www-form-urlencoded"
_MIN_REDACTED = 4

_CLIENT_ADVICE = (
    "Check in the secret of the connection that client_id and client_secret belong to an OAuth client of this"
    " team that still exists, that its secret was not replaced, and that it has the scope {scope}."
)
_APP_KEY_ADVICE = (
    "Check in the secret of the connection that the application key is complete, belongs to this team and "
    "still exists. Celonis replaces keys by OAuth clients."
)
_API_KEY_ADVICE = (
    "Check in the secret of the connection that the API key is complete, still exists, and belongs to a user "
    "of this team who is still active. Celonis replaces keys by OAuth clients."
)


class KeyAuthenticator:
    """An application key (``AppKey …``) or a user's API key (``Bearer …``)."""

    def __init__(self, scheme: str, key: str, name: str, advice: str) -> None:
        self._header = f"{scheme} {key}"
        self.signer = Signer(name, advice, lambda text: _without(text, (key,)))

    def headers(self, timeout: float) -> dict[str, str]:  # noqa: ARG002 - needs no request
        return {"Authorization": self._header}

    def discard_token(self) -> bool:
        return False


class _Token(Struct, frozen=True):
    value: str
    obtained: float
    refresh_at: float

    def __repr__(self) -> str:
        return "_Token(…)"


class TokenAuthenticator:
    """An OAuth client: ``POST /oauth2/token`` with ``grant_type=client_credentials`` (documented)."""

    def __init__(
        self, connection: Connection, client: OAuthClient, transport: Transport, clock: Callable[[], float]
    ) -> None:
        self._base_url = connection.base_url
        self._client = client
        self._transport = transport
        self._clock = clock
        self._basic = _basic(client)
        self._token: _Token | None = None
        self._is_discarded = False
        advice = _CLIENT_ADVICE.format(scope=client.scope)
        self.signer = Signer(f"the OAuth client of {_of(connection)}", advice, self._redact)

    def headers(self, timeout: float) -> dict[str, str]:
        """Return the headers of one request; may request a token, within ``timeout`` seconds.

        Raises AuthenticationFailed, CelonisUnavailable or CelonisThrottled; then the request itself was not
        sent.
        """
        token = self._token
        if token is None or not self._is_valid(token):
            # The old token is kept until then, because an answer that repeats it must be redacted.
            token = self._token = self._request_token(timeout)
            self._is_discarded = False
        return {"Authorization": f"Bearer {token.value}"}

    def discard_token(self) -> bool:
        """Discard the token. Returns False if the next headers would be the same."""
        self._is_discarded = True
        return True

    def _is_valid(self, token: _Token) -> bool:
        # If the clock was set back, the token's age is unknown.
        return not self._is_discarded and token.obtained <= self._clock() < token.refresh_at

    def _request_token(self, timeout: float) -> _Token:
        call, headers = self._request()
        requested_at = self._clock()
        answer = self._transport.send(self._base_url, call, headers, timeout)
        if not answer.is_success:
            raise failure(answer, call, self.signer, self._clock())
        value, life = _token_fields(answer, call)
        return _Token(value, requested_at, requested_at + life - min(REFRESH_MARGIN, life / 10))

    def _request(self) -> tuple[Call, dict[str, str]]:
        form = {"grant_type": "client_credentials", "scope": self._client.scope}
        headers = {}
        if self._client.method == "client_secret_post":
            form |= {"client_id": self._client.client_id, "client_secret": self._client.client_secret}
        else:
            headers["Authorization"] = f"Basic {self._basic}"
        body = urlencode(form).encode()
        doing = "asking for an access token"
        call = Call(
            "POST",
            TOKEN_PATH,
            doing,
            "OAuth token endpoint",
            "",
            (),
            body,
            _FORM,
            signs_in=True,
            name="sign_in",
        )
        return call, headers

    def _redact(self, text: str) -> str:
        secret = self._client.client_secret
        token = self._token.value if self._token else ""
        return _without(text, (secret, quote_plus(secret), self._basic, token))


Authenticator: TypeAlias = KeyAuthenticator | TokenAuthenticator
"""Authenticates the requests of one connection."""


def authenticator(connection: Connection, transport: Transport, clock: Callable[[], float]) -> Authenticator:
    """Return the authenticator for the credentials of ``connection``. ``clock``: epoch seconds."""
    match connection.auth:
        case OAuthClient() as client:
            return TokenAuthenticator(connection, client, transport, clock)
        case AppKey(key):
            return KeyAuthenticator(
                "AppKey", key, f"the application key of {_of(connection)}", _APP_KEY_ADVICE
            )
        case ApiKey(key):
            return KeyAuthenticator("Bearer", key, f"the API key of {_of(connection)}", _API_KEY_ADVICE)


def _token_fields(answer: Answer, call: Call) -> tuple[str, float]:
    """Return the access token and its life in seconds."""
    try:
        body = read_json(answer)
    except ValueError:
        body = None
    token = body.get("access_token") if isinstance(body, dict) else None
    if not isinstance(token, str) or not token or not all("!" <= char <= "~" for char in token):
        raise CelonisUnavailable(
            f"Celonis answered {answer.status} without an access token while {call.doing}.",
            hint="Check that base_url is the address of the team itself.",
            method=call.method,
            path=call.path,
            status=answer.status,
        )
    return token, _life(body.get("expires_in"))


def _life(value: object) -> float:
    try:
        life = float(value) if isinstance(value, str | int | float) else DEFAULT_TOKEN_LIFE
    except (ValueError, OverflowError):
        return DEFAULT_TOKEN_LIFE
    return life if isfinite(life) and life > 0 else DEFAULT_TOKEN_LIFE


def _basic(client: OAuthClient) -> str:
    # RFC 6749, 2.3.1: both parts are form-encoded first.
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    return base64.b64encode(pair.encode()).decode()


def _without(text: str, secrets: tuple[str, ...]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _MIN_REDACTED:
            text = text.replace(secret, "***")
    return text


def _of(connection: Connection) -> str:
    return f"connection {connection.name!r}"
