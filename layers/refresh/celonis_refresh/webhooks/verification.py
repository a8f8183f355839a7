"""Verification schemes of webhooks: parameters of each scheme, and checks of a request against them."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from celonis_refresh.validation.convert import InvalidField
from celonis_refresh.webhooks.errors import Malformed, NotAuthentic
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.sns_message import check_certificate_url, read_envelope, timestamp_of

MAX_TOLERANCE: Final = 24 * 3600
_PLACES: Final = ("{id}", "{timestamp}", "{body}")


class Hmac(Struct, frozen=True, kw_only=True):
    """A keyed hash over the raw body, optionally with a delivery id and a time.

    ``encoding``  of the signature; ``hex`` is lower case
    ``key``       the secret's UTF-8 bytes, or base64 after ``whsec_`` (Standard Webhooks)
    ``layout``    of the header: ``bare`` is prefix and signature; ``pairs`` is ``t=…,v1=…``;
                  ``versions`` is ``v1,…`` entries separated by spaces
    ``template``  of the signed text: ``{body}``, with ``{id}`` and ``{timestamp}`` if the sender signs them
    ``tolerance`` seconds that a signed time may differ from the clock
    """

    header: str
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    encoding: Literal["hex", "hex_any_case", "base64"] = "hex"
    key: Literal["text", "whsec"] = "text"
    layout: Literal["bare", "pairs", "versions"] = "bare"
    prefix: str = ""
    version: str = "v1"
    template: str = "{body}"
    id_header: str = ""
    timestamp_header: str = ""
    timestamp_key: str = "t"
    tolerance: int = 300

    def __post_init__(self) -> None:
        _check_tolerance(self.tolerance)
        if self.template.count("{body}") != 1 or not set("{}").isdisjoint(_without_places(self.template)):
            raise InvalidField(
                "expected {body} once, and no places but {id}, {timestamp}, {body}", "template"
            )
        if self.signs_id != bool(self.id_header):
            raise InvalidField(
                "expected the header that {id} in template stands for, and only then", "id_header"
            )
        if self.signs_time and self.layout != "pairs" and not self.timestamp_header:
            raise InvalidField(
                "expected the header that {timestamp} in template stands for", "timestamp_header"
            )

    @property
    def signs_id(self) -> bool:
        return "{id}" in self.template

    @property
    def signs_time(self) -> bool:
        return "{timestamp}" in self.template


class StaticToken(Struct, frozen=True, kw_only=True):
    """A fixed value in a header."""

    header: str


class BasicAuth(Struct, frozen=True, kw_only=True):
    """HTTP Basic; the secret is ``user:password`` in UTF-8, and the password may contain colons.

    ``key_header``: a header that may have the whole secret instead, for senders that offer both.
    """

    header: str = "authorization"
    key_header: str = ""


class UrlToken(Struct, frozen=True, kw_only=True):
    """A fixed value in the query string, for senders without another scheme: URLs are often logged."""

    parameter: str = "token"


class Sns(Struct, frozen=True, kw_only=True):
    """A message of Amazon SNS, signed by AWS. There is no secret: only these topics are accepted.

    ``tolerance``: seconds; SNS retries a delivery for at most one hour.
    """

    topics: tuple[str, ...]
    tolerance: int = 3900

    def __post_init__(self) -> None:
        _check_tolerance(self.tolerance)


Scheme: TypeAlias = Hmac | StaticToken | BasicAuth | UrlToken | Sns


def _without_places(template: str) -> str:
    for place in _PLACES:
        template = template.replace(place, " ")
    return template


def _check_tolerance(seconds: int) -> None:
    if not 1 <= seconds <= MAX_TOLERANCE:
        raise InvalidField(f"expected 1 to {MAX_TOLERANCE} seconds", "tolerance")


Fetch: TypeAlias = Callable[[str], bytes]
"""Returns a certificate by its checked URL. Its errors are passed on, so that SNS retries after a network
error."""


class Proof(Struct, frozen=True):
    """What was verified. ``id`` and ``timestamp`` (epoch seconds): if they are signed, else None.

    ``secret_index``: the index of the matching secret, which shows when the previous one is no longer used.
    """

    id: str | None = None
    timestamp: int | None = None
    secret_index: int | None = None


def to_bytes(text: str) -> bytes:
    """Return the bytes of any text, even with unpaired surrogates."""
    return text.encode("utf-8", "surrogatepass")


def same(one: bytes, other: bytes) -> bool:
    """Return whether both are equal, in constant time; hashing hides the lengths as well."""
    return hmac.compare_digest(sha256(one).digest(), sha256(other).digest())


def first_match(offered: Sequence[bytes], expected: Iterable[bytes]) -> int:
    """Return the index of the expected value that equals an offered one; always compares all pairs.

    An empty expected value matches nothing. Raises ``NotAuthentic``.
    """
    matches = []
    for index, value in enumerate(expected):
        equal = [same(candidate, value) for candidate in offered]
        if value and True in equal:
            matches.append(index)
    if not matches:
        raise NotAuthentic("The request does not match any secret of its source.")
    return matches[0]


def header(request: WebhookRequest, name: str) -> str:
    """Return a required header. Raises ``NotAuthentic``."""
    value = request.headers.get(name)
    if not value:
        raise NotAuthentic(f"The request has no header {name!r}.")
    return value


def check_window(timestamp: float, now: float, tolerance: int) -> None:
    """Check that a signed time is within ``tolerance`` seconds of the clock. Raises ``NotAuthentic``."""
    if not abs(now - timestamp) <= tolerance:
        raise NotAuthentic(
            f"The request was signed more than {tolerance} s before or after now.",
            hint="Check the clock of the sender, or whether an old request was sent again.",
        )


WHSEC: Final = "whsec_"
_ED25519: Final = ("whpk_", "whsk_")


def matching_secret(
    offered: Sequence[bytes], secrets: Sequence[str], expected: Callable[[str], bytes]
) -> int:
    """Return the index of the secret whose ``expected`` value equals an offered one.

    Raises ``NotAuthentic``.
    """
    forms = [(index, form) for index, secret in enumerate(secrets) for form in _forms(secret)]
    return forms[first_match(offered, [expected(form) for _, form in forms])][0]


def _forms(secret: str) -> list[str]:
    """Return the secret as stored and stripped; nothing for a blank secret."""
    stripped = secret.strip()
    return list(dict.fromkeys((secret, stripped))) if stripped else []


def key_of(scheme: Hmac, secret: str) -> bytes:
    """Return the key in a secret; empty if it has none, which matches no signature.

    Base64 may lack padding and contain white space, as in the libraries of Standard Webhooks and Svix.
    """
    if scheme.key == "text":
        return to_bytes(secret)
    text = "".join(secret.split()).removeprefix(WHSEC).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def secret_problem(scheme: Scheme, secret: str) -> str | None:
    """Return why no request can match this secret, without its value; None if it is usable.

    ``verify`` treats an unusable secret as one that does not match, so that a sender learns nothing about it.
    """
    if not secret.strip():
        return "it is empty"
    if isinstance(scheme, Hmac) and scheme.key == "whsec" and secret.strip().startswith(_ED25519):
        return "it is an Ed25519 key, and v1a signatures are not supported; expected a whsec_ secret"
    if isinstance(scheme, Hmac) and not key_of(scheme, secret):
        return f"expected {WHSEC} and then base64, as the sender shows it"
    if isinstance(scheme, BasicAuth) and not scheme.key_header and not is_credentials(secret):
        return "expected user:password"
    if isinstance(scheme, StaticToken) and not _is_header_text(secret.strip()):
        return "a header cannot hold its control characters, such as a line break"
    return None


def is_credentials(secret: str) -> bool:
    """Return whether it has the form ``user:password``."""
    return all(secret.partition(":"))


def _is_header_text(text: str) -> bool:
    return all(char == "	" or (char >= " " and char != "\x7f") for char in text)


_TEMPLATE_PLACE: Final = r"(\{id\}|\{timestamp\}|\{body\})"
_HEX: Final = {"hex": "[0-9a-f]+", "hex_any_case": "[0-9a-fA-F]+"}


def signed_content(scheme: Hmac, body: bytes, message_id: str, timestamp: str) -> bytes:
    """Return the signed bytes: the template with its values."""
    fill = {"{id}": to_bytes(message_id), "{timestamp}": to_bytes(timestamp), "{body}": body}
    return b"".join(fill.get(part, to_bytes(part)) for part in re.split(_TEMPLATE_PLACE, scheme.template))


def hmac_digest(scheme: Hmac, key: bytes, signed: bytes) -> bytes:
    """Return the signature; empty for an empty key, which matches nothing."""
    return hmac.new(key, signed, scheme.algorithm).digest() if key else b""


def encode(scheme: Hmac, signature: bytes) -> str:
    return base64.b64encode(signature).decode("ascii") if scheme.encoding == "base64" else signature.hex()


def decode(scheme: Hmac, text: str) -> bytes:
    """Return the signature in a text of exactly the sender's form and length. Raises ``Malformed``."""
    try:
        signature = _decoded(scheme, text)
    except (binascii.Error, ValueError):
        signature = b""
    if len(signature) != hmac.new(b"", digestmod=scheme.algorithm).digest_size:
        raise Malformed(f"The signature in header {scheme.header!r} cannot be read.")
    return signature


def _decoded(scheme: Hmac, text: str) -> bytes:
    if scheme.encoding == "base64":
        signature = base64.b64decode(text, validate=True)
        # Only one text per signature: decoders ignore unused bits of the last character.
        return signature if base64.b64encode(signature) == to_bytes(text) else b""
    return bytes.fromhex(text) if re.fullmatch(_HEX[scheme.encoding], text) else b""


MAX_SIGNATURES: Final = 16
"""Signatures in one header; a sender sends two or three during a rotation."""
_SECONDS: Final = r"[0-9]{1,11}"
"""ASCII digits only: ``int`` and ``float`` would accept signs, blanks, other digits, nan and inf."""


class _Claim(Struct, frozen=True):
    """The signatures in the header as text, and the signed time as text (empty if there is none)."""

    signatures: Sequence[str]
    time: str = ""


def verify_hmac(scheme: Hmac, request: WebhookRequest, secrets: Sequence[str], now: float) -> Proof:
    """Raises ``NotAuthentic`` or ``Malformed``. The window is checked last."""
    claim = _claim(scheme, header(request, scheme.header))
    if scheme.timestamp_header:
        claim = _Claim(claim.signatures, header(request, scheme.timestamp_header))
    message_id = header(request, scheme.id_header) if scheme.id_header else ""
    timestamp = _seconds(claim.time) if scheme.signs_time else None
    offered = [decode(scheme, text) for text in claim.signatures]
    signed = signed_content(scheme, request.body, message_id, claim.time)
    index = matching_secret(
        offered, secrets, lambda secret: hmac_digest(scheme, key_of(scheme, secret), signed)
    )
    if timestamp is not None:
        check_window(timestamp, now, scheme.tolerance)
    return Proof(id=message_id or None, timestamp=timestamp, secret_index=index)


def _claim(scheme: Hmac, value: str) -> _Claim:
    if scheme.layout == "pairs":
        claim = _pairs(scheme, value)
    elif scheme.layout == "versions":
        claim = _Claim(
            [text for version, text in _entries(scheme, value, " ", ",") if version == scheme.version]
        )
    else:
        claim = _Claim([_without_prefix(scheme, value)])
    if not claim.signatures:
        raise NotAuthentic(f"Header {scheme.header!r} holds no {scheme.version} signature.")
    return claim


def _pairs(scheme: Hmac, value: str) -> _Claim:
    """Parse ``t=…,v1=…``. Two times are refused, because it is unknown which one is signed."""
    entries = _entries(scheme, value, ",", "=")
    times = [text for name, text in entries if name == scheme.timestamp_key]
    if len(times) > 1:
        raise _unreadable(scheme)
    return _Claim([text for name, text in entries if name == scheme.version], "".join(times))


def _entries(scheme: Hmac, value: str, between: str, within: str) -> list[tuple[str, str]]:
    """Return the entries of a list. ``v1,a,v1,b``, two headers that were joined, is refused."""
    entries = [entry.partition(within) for entry in value.split(between)]
    is_valid = all(name and text and "," not in text for name, _, text in entries)
    if len(entries) > MAX_SIGNATURES or not is_valid:
        raise _unreadable(scheme)
    return [(name.strip(" "), text) for name, _, text in entries]


def _without_prefix(scheme: Hmac, value: str) -> str:
    if not value.startswith(scheme.prefix):
        raise _unreadable(scheme)
    return value.removeprefix(scheme.prefix)


def _seconds(text: str) -> int:
    if not re.fullmatch(_SECONDS, text):
        raise Malformed("The time of the signature is not a number of seconds.")
    return int(text)


def _unreadable(scheme: Hmac) -> Malformed:
    return Malformed(f"Header {scheme.header!r} does not have the form that its sender gives it.")


def verify_url_token(scheme: UrlToken, request: WebhookRequest, secrets: Sequence[str]) -> Proof:
    """Raises ``NotAuthentic``."""
    offered = request.query.get(scheme.parameter)
    if not offered:
        raise NotAuthentic(f"The query string has no parameter {scheme.parameter!r}.")
    return _same_value(offered, secrets)


def verify_basic_auth(scheme: BasicAuth, request: WebhookRequest, secrets: Sequence[str]) -> Proof:
    """Raises ``NotAuthentic``, or ``Malformed`` if the credentials cannot be decoded."""
    if scheme.key_header == scheme.header or (scheme.key_header and scheme.header not in request.headers):
        return _same_value(header(request, scheme.key_header), secrets)
    word, _, encoded = header(request, scheme.header).partition(" ")
    if word.lower() != "basic":
        raise NotAuthentic(f"Header {scheme.header!r} holds no HTTP Basic credentials.")
    try:
        offered = base64.b64decode(encoded.strip(" "), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(f"The credentials in header {scheme.header!r} cannot be decoded.") from None
    index = matching_secret(
        [offered], secrets, lambda secret: to_bytes(secret) if is_credentials(secret) else b""
    )
    return Proof(secret_index=index)


def _same_value(offered: str, secrets: Sequence[str]) -> Proof:
    """Compare the whole value, blanks included. Raises ``NotAuthentic``."""
    return Proof(secret_index=matching_secret([to_bytes(offered)], secrets, to_bytes))


def verify(
    scheme: Scheme,
    request: WebhookRequest,
    secrets: Sequence[str],
    now: float,
    *,
    fetch: Fetch | None = None,
) -> Proof:
    """Verify a request and return what was verified.

    ``secrets``: all that are valid now (current and previous); none for ``Sns``. ``now``: epoch seconds.
    ``fetch``: returns a certificate by its checked URL, for ``Sns`` only. Raises ``NotAuthentic`` or
    ``Malformed``, and errors of ``fetch``.
    """
    if isinstance(secrets, str):
        raise TypeError("secrets: a list of secrets; of a text, every letter would be one")
    if isinstance(scheme, Hmac):
        return verify_hmac(scheme, request, secrets, now)
    if isinstance(scheme, StaticToken):
        return _same_value(header(request, scheme.header), secrets)
    if isinstance(scheme, BasicAuth):
        return verify_basic_auth(scheme, request, secrets)
    if isinstance(scheme, Sns):
        return _verify_sns(scheme, request, now, fetch)
    return verify_url_token(scheme, request, secrets)


def _verify_sns(scheme: Sns, request: WebhookRequest, now: float, fetch: Fetch | None) -> Proof:
    """Verify an SNS message; fetch its certificate only after topic, address and time are checked."""
    from celonis_refresh.webhooks.sns_signature import check_signature  # loads RSA

    if fetch is None:
        raise TypeError("verify() needs fetch for an SNS source")
    envelope = read_envelope(request.body)
    if envelope["TopicArn"] not in scheme.topics:
        raise NotAuthentic("The SNS message comes from a topic that its source does not expect.")
    url = check_certificate_url(envelope["SigningCertURL"], envelope["TopicArn"])
    timestamp = timestamp_of(envelope)
    check_window(timestamp, now, scheme.tolerance)
    check_signature(envelope, fetch(url), now)
    return Proof(id=envelope["MessageId"], timestamp=int(timestamp))
