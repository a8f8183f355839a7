"""A connection: one Celonis team and its credentials, parsed from the JSON of a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from celonis_refresh.celonis.addresses import host_of
from celonis_refresh.celonis.errors import ConnectionInvalid, SecretProblem

CELONIS_DOMAIN = ".celonis.cloud"
DEFAULT_SCOPE = "integration.data-pools"
# The value in a new secret until it is filled in.
PLACEHOLDER = "REPLACE-ME"

ClientMethod: TypeAlias = Literal["client_secret_basic", "client_secret_post"]
CLIENT_METHODS: tuple[ClientMethod, ...] = ("client_secret_basic", "client_secret_post")

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::\d+)?"
_FIELD_NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,39}"


class _Credentials(Struct, frozen=True):
    """Credentials, which never appear in a ``repr``."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class OAuthClient(_Credentials, frozen=True):
    """An OAuth client of the team, as Celonis recommends."""

    client_id: str
    client_secret: str
    method: ClientMethod = "client_secret_basic"
    scope: str = DEFAULT_SCOPE


class AppKey(_Credentials, frozen=True):
    """An application key of the team."""

    key: str


class ApiKey(_Credentials, frozen=True):
    """An API key of a user."""

    key: str


Auth: TypeAlias = OAuthClient | AppKey | ApiKey


class Connection(Struct, frozen=True):
    """One team. ``base_url``: scheme and host without a trailing slash."""

    name: str
    base_url: str
    auth: Auth

    @property
    def host(self) -> str:
        """The team's host, to compare with ``Address.host``."""
        return host_of(urlsplit(self.base_url))


def parse_connection(name: str, secret: Mapping[str, object], where: str = "") -> Connection:
    """Parse the secret of connection ``name``; ``where``: its name in Secrets Manager.

    Its fields are ``base_url``, ``auth`` and, for a simulated Celonis, ``allow_http`` and ``allow_any_host``.
    Raises ConnectionInvalid with all invalid fields and no values.
    """
    reader = _Reader()
    top = reader.mapping(secret, "the secret")
    base_url, auth = "", None
    if top is not None:
        reader.refuse_placeholders({**top, "auth": None}, "")
        reader.refuse_unknown(top, {"base_url", "auth", "allow_http", "allow_any_host"}, "")
        base_url = reader.base_url(top)
        fields = reader.mapping(top.get("auth"), "auth")
        auth = None if fields is None else _auth(reader, fields)
    if reader.problems or auth is None:
        raise ConnectionInvalid(name, list(reader.problems.values()), where=where)
    return Connection(name=name, base_url=base_url, auth=auth)


def _auth(reader: _Reader, auth: Mapping[str, object]) -> Auth | None:
    """Return the credentials; None or unusable ones if the reader has recorded problems."""
    reader.refuse_placeholders(auth, "auth.")
    kind = auth.get("type")
    if kind == "oauth_client":
        reader.refuse_unknown(auth, {"type", "client_id", "client_secret", "method", "scope"}, "auth.")
        method = next(
            (each for each in CLIENT_METHODS if each == auth.get("method", CLIENT_METHODS[0])), None
        )
        if method is None:
            reader.report("auth.method", " or ".join(CLIENT_METHODS))
        scope = reader.text(
            auth.get("scope", DEFAULT_SCOPE), "auth.scope", "scopes, separated by spaces", " "
        )
        client_id = reader.credential(auth, "client_id")
        client_secret = reader.credential(auth, "client_secret")
        return None if method is None else OAuthClient(client_id, client_secret, method, scope)
    if kind in ("app_key", "api_key"):
        reader.refuse_unknown(auth, {"type", "key"}, "auth.")
        key = reader.credential(auth, "key")
        return AppKey(key) if kind == "app_key" else ApiKey(key)
    reader.report("auth.type", "oauth_client, app_key or api_key")
    return None


class _Reader:
    """Reads the fields of one secret. ``problems``: the first problem of each field."""

    def __init__(self) -> None:
        self.problems: dict[str, SecretProblem] = {}

    def report(self, field_name: str, expected: str, problem: str = "is not usable") -> None:
        self.problems.setdefault(field_name, SecretProblem(field_name, problem, expected))

    def mapping(self, value: object, field_name: str) -> Mapping[str, object] | None:
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return value
        self.report(field_name, "a JSON object")
        return None

    def refuse_placeholders(self, fields: Mapping[str, object], prefix: str) -> None:
        for key, value in fields.items():
            if isinstance(value, str) and PLACEHOLDER in value:
                self.report(prefix + _shown(key), f"a value in place of {PLACEHOLDER}", "was never filled in")

    def refuse_unknown(self, fields: Mapping[str, object], allowed: set[str], prefix: str) -> None:
        for key in fields:
            if key not in allowed:
                expected = "only " + ", ".join(prefix + name for name in sorted(allowed))
                self.report(prefix + _shown(key), expected, "is an unknown field")

    def text(self, value: object, field_name: str, expected: str, also: str = "") -> str:
        """Return a stripped text that fits into a header: visible ASCII characters and those in ``also``."""
        text = value.strip() if isinstance(value, str) else ""
        if not text or not all("!" <= char <= "~" or char in also for char in text):
            self.report(field_name, expected)
            return ""
        return text

    def credential(self, auth: Mapping[str, object], key: str) -> str:
        return self.text(auth.get(key), f"auth.{key}", "the value as Celonis shows it, without spaces")

    def flag(self, fields: Mapping[str, object], key: str) -> bool:
        value = fields.get(key, False)
        if not isinstance(value, bool):
            self.report(key, "true or false")
            return False
        return value

    def base_url(self, fields: Mapping[str, object]) -> str:
        allow_http, any_host = self.flag(fields, "allow_http"), self.flag(fields, "allow_any_host")
        expected = f"https://{{team}}.{{realm}}{CELONIS_DOMAIN}, without a path"
        text = self.text(fields.get("base_url"), "base_url", expected)
        parts = _split(text)
        if parts is None or parts.scheme not in (("https", "http") if allow_http else ("https",)):
            self.report("base_url", expected)
            return ""
        host = host_of(parts)
        known_host = any_host or (parts.hostname or "").endswith(CELONIS_DOMAIN)
        if not re.fullmatch(_HOST, host) or not known_host:
            self.report("base_url", expected)
        return f"{parts.scheme}://{host}"


def _split(text: str) -> SplitResult | None:
    """Return the parts of an address of scheme and host only; otherwise None."""
    try:
        parts = urlsplit(text)
        has_more = parts.path.strip("/") or "?" in text or "#" in text or "@" in text or parts.port == 0
    except ValueError:
        return None
    return None if has_more else parts


def _shown(key: str) -> str:
    """Return the name of a field, unless it looks like a misplaced value."""
    return key if re.fullmatch(_FIELD_NAME, key) else "(a name that is not shown)"
