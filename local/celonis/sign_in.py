"""Authentication: OAuth clients, application keys, API keys, and issued tokens.

No credential leaves this module; others see its kind and the number of the token.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote_plus

from local.celonis import world
from local.celonis.answers import ApiResponse, as_json, refusal
from local.celonis.setups import PlatformSettings


@dataclass(frozen=True, repr=False)
class Credentials:
    """The credentials that the platform accepts."""

    client_id: str = world.CLIENT_ID
    client_secret: str = world.CLIENT_SECRET
    app_key: str = world.APP_KEY
    api_key: str = world.API_KEY
    scopes: tuple[str, ...] = (world.SCOPE,)


@dataclass(frozen=True)
class Caller:
    """The caller. ``kind``: oauth, app_key, api_key, none or refused; ``token``: the number of the token."""

    kind: str
    token: int | None = None
    scopes: tuple[str, ...] | None = None

    @property
    def is_known(self) -> bool:
        """Whether the platform accepts the credential."""
        return self.kind not in {"none", "refused"}


@dataclass(frozen=True)
class _IssuedToken:
    number: int
    dies_at: float
    scopes: tuple[str, ...]


class SignIn:
    """The state of the token endpoint. Times are seconds of the given clock."""

    def __init__(self, clock: Callable[[], float], new_token: Callable[[], str]) -> None:
        self.credentials = Credentials()
        self._clock = clock
        self._new_token = new_token
        self._tokens: dict[str, _IssuedToken] = {}
        self._handed_out = 0

    @property
    def valid_tokens(self) -> int:
        """Return how many tokens are valid now."""
        return sum(1 for token in self._tokens.values() if self._clock() < token.dies_at)

    def clear(self) -> None:
        """Reset to the default credentials, without any token."""
        self.credentials = Credentials()
        self._tokens = {}

    def revoke_all(self) -> int:
        """Revoke all tokens. Return how many there were."""
        count = self.valid_tokens
        self._tokens = {}
        return count

    def caller(self, authorization: str | None) -> Caller:
        """Return the caller of this ``Authorization`` header."""
        if not authorization:
            return Caller("none")
        scheme, _, value = authorization.partition(" ")
        if scheme == "AppKey" and _same(value, self.credentials.app_key):
            return Caller("app_key")
        if scheme == "Bearer" and _same(value, self.credentials.api_key):
            return Caller("api_key")
        token = self._tokens.get(value) if scheme == "Bearer" else None
        if token is None or self._clock() >= token.dies_at:
            return Caller("refused")
        return Caller("oauth", token.number, token.scopes)

    def token(self, authorization: str | None, body: bytes, settings: PlatformSettings) -> ApiResponse:
        """Answer ``POST /oauth2/token`` (``grant_type=client_credentials``)."""
        form = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
        if form.get("grant_type") != "client_credentials":
            return refusal(400, "oauth", "unsupported_grant_type")
        presented = _client(authorization, form, unquote_plus if settings.basic_is_form_encoded else str)
        if presented is None:
            return refusal(400, "oauth", "invalid_request")
        method, client_id, secret = presented
        is_client = _same(client_id, self.credentials.client_id) and _same(
            secret, self.credentials.client_secret
        )
        if not is_client or method not in settings.client_auth_methods:
            return refusal(401, settings.token_refusal_shape)
        return self._answer(tuple(form.get("scope", "").split()), settings)

    def _answer(self, requested: tuple[str, ...], settings: PlatformSettings) -> ApiResponse:
        if not requested or not set(requested) <= set(self.credentials.scopes):
            if settings.wrong_scope == "token_400":
                return refusal(400, "oauth", "invalid_scope")
            if settings.wrong_scope == "token_403":
                return refusal(403, "oauth", "invalid_scope")
        granted = tuple(scope for scope in requested if scope in self.credentials.scopes)
        lives = settings.token_lives_seconds
        self._handed_out += 1
        text = self._new_token()
        dies_at = self._clock() + (settings.token_seconds if lives is None else lives)
        self._tokens[text] = _IssuedToken(self._handed_out, dies_at, granted)
        record: dict[str, object] = {"access_token": text, "token_type": "Bearer", "scope": " ".join(granted)}
        if settings.token_tells_expiry:
            record["expires_in"] = int(settings.token_seconds)
        return as_json(record, effect={"token": self._handed_out})


def _client(
    authorization: str | None, form: dict[str, str], decode: Callable[[str], str]
) -> tuple[str, str, str] | None:
    """Return method, id and secret of a client; None if they are unreadable or sent in both ways."""
    scheme, _, value = (authorization or "").partition(" ")
    in_body = "client_id" in form and "client_secret" in form
    if scheme.lower() != "basic":
        return ("client_secret_post", form["client_id"], form["client_secret"]) if in_body else None
    if in_body:
        return None
    try:
        user, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return None
    return ("client_secret_basic", decode(user), decode(password)) if colon else None


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
