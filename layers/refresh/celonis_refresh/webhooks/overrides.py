"""The parameters of a sender's row that a source may set itself."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields, replace
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from celonis_refresh.webhooks.paths import check_path
from celonis_refresh.webhooks.schemes.models import (
    MAX_TOLERANCE,
    BasicAuth,
    Hmac,
    Scheme,
    Sns,
    StaticToken,
    UrlToken,
)
from celonis_refresh.webhooks.senders import Place, Sender

_KINDS: Final[dict[str, type[Scheme]]] = {
    "hmac": Hmac,
    "static_token": StaticToken,
    "basic_auth": BasicAuth,
    "url_token": UrlToken,
    "sns": Sns,
}
_PARAMETERS: Final = frozenset(field.name for kind in _KINDS.values() for field in fields(kind))
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_TOPIC: Final = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?")


def _lower_header(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError("expected the name of a header")
    return name.lower()


def _topic(arn: str) -> str:
    if not _TOPIC.fullmatch(arn):
        raise ValueError("expected the ARN of an SNS topic")
    return arn


HeaderName = Annotated[str, AfterValidator(_lower_header)]
Word = Annotated[str, Field(min_length=1, max_length=64)]
Topic = Annotated[str, AfterValidator(_topic)]


class PlaceField(BaseModel):
    """``{"header": name}`` or ``{"path": JMESPath}``."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    header: HeaderName = ""
    path: Annotated[str, AfterValidator(check_path)] = ""

    @model_validator(mode="after")
    def _one_of_them(self) -> PlaceField:
        if bool(self.header) == bool(self.path):
            raise ValueError('expected either {"header": name} or {"path": JMESPath}')
        return self

    def place(self) -> Place:
        return Place(header=self.header, path=self.path)


class Overrides(BaseModel):
    """All optional; what is not set is as the sender has it. The names are those of the scheme's model."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    scheme: Literal["hmac", "static_token", "basic_auth", "url_token", "sns"] | None = None
    header: HeaderName | None = None
    parameter: Word | None = None
    topics: Annotated[tuple[Topic, ...], Field(max_length=50)] | None = None
    tolerance: Annotated[int, Field(strict=True, ge=1, le=MAX_TOLERANCE)] | None = None
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] | None = None
    encoding: Literal["hex", "hex_any_case", "base64"] | None = None
    key: Literal["text", "whsec"] | None = None
    layout: Literal["bare", "pairs", "versions"] | None = None
    prefix: Annotated[str, Field(max_length=64)] | None = None
    version: Word | None = None
    template: Annotated[str, Field(max_length=256)] | None = None
    id_header: HeaderName | None = None
    timestamp_header: HeaderName | None = None
    timestamp_key: Word | None = None
    delivery_id: Annotated[tuple[PlaceField, ...], Field(max_length=5)] | None = None
    event_name: PlaceField | None = None

    def applied_to(self, sender: Sender) -> Sender:
        """The sender with these parameters. Raises ``ValueError`` naming a field that does not fit."""
        changed: dict[str, Any] = {"scheme": self._scheme(sender)}
        if self.delivery_id is not None:
            changed["delivery_id"] = tuple(place.place() for place in self.delivery_id)
        if self.event_name is not None:
            changed["event_name"] = self.event_name.place()
        return replace(sender, **changed)

    def _scheme(self, sender: Sender) -> Scheme:
        kind = _KINDS[self.scheme] if self.scheme else type(sender.scheme)
        given = {name: getattr(self, name) for name in _PARAMETERS if getattr(self, name) is not None}
        known = [field.name for field in fields(kind)]
        for name in given:
            if name not in known:
                raise ValueError(f"{name}: does not belong to the scheme of sender {sender.name}")
        if isinstance(sender.scheme, kind):
            given = {**{name: getattr(sender.scheme, name) for name in known}, **given}
        required = [field.name for field in fields(kind) if field.default is MISSING]
        for name in required:
            if not given.get(name):
                raise ValueError(f"{name}: is required for sender {sender.name}")
        scheme = kind(**given)
        if self.tolerance is not None and isinstance(scheme, Hmac) and not scheme.signs_time:
            raise ValueError(f"tolerance: sender {sender.name} signs no time")
        return scheme
