"""The parameters of the five schemes. A sender is a preset of one of them."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from celonis_refresh.validation.convert import InvalidField

MAX_TOLERANCE: Final = 24 * 3600
_PLACES: Final = ("{id}", "{timestamp}", "{body}")


class Hmac(Struct, frozen=True, kw_only=True):
    """A keyed hash over the raw body, alone or with a delivery id and a time.

    ``encoding``  of the signature; ``hex`` is lower case, which is what nearly all senders send.
    ``key``       the secret's own UTF-8 bytes, or what ``whsec_`` and base64 wrap (Standard Webhooks).
    ``layout``    of the header: ``bare`` is prefix and signature; ``pairs`` is ``t=…,v1=…``;
                  ``versions`` is ``v1,…`` entries separated by spaces.
    ``template``  of what is signed: ``{body}``, and ``{id}`` and ``{timestamp}`` where the sender signs them.
    ``tolerance`` seconds that a signed time may lie before or after the clock.
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
    """A fixed value in a header, compared as a whole."""

    header: str


class BasicAuth(Struct, frozen=True, kw_only=True):
    """HTTP Basic; the secret is ``user:password`` in UTF-8, and the password may contain colons.

    ``key_header``  a header that may hold the whole secret instead, where the sender offers both.
    """

    header: str = "authorization"
    key_header: str = ""


class UrlToken(Struct, frozen=True, kw_only=True):
    """A fixed value in a field of the query string, for senders that can do nothing else: URLs get logged."""

    parameter: str = "token"


class Sns(Struct, frozen=True, kw_only=True):
    """A message of Amazon SNS, signed with a key of AWS. No secret: the topic tells ours from others'.

    ``tolerance``: seconds; SNS tries a delivery again for one hour at most.
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
