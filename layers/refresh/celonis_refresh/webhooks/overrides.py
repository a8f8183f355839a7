"""The parameters of a sender's row that a source may set itself."""

# No annotations from __future__: msgspec would compile the text of each at a cold start.
from typing import Annotated, Any, Final, Literal

from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import replace

from celonis_refresh.validation.convert import InvalidField, PatternType
from celonis_refresh.webhooks.rule_fields import Path
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
_PARAMETERS: Final = frozenset(name for kind in _KINDS.values() for name in kind.__struct_fields__)


class HeaderName(PatternType):
    PATTERN = r"[A-Za-z0-9-]{1,64}"
    EXPECTED = "expected the name of a header"

    @classmethod
    def checked(cls, text: str) -> str:
        return super().checked(text).lower()


class Topic(PatternType):
    PATTERN = r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?"
    EXPECTED = "expected the ARN of an SNS topic"


Word = Annotated[str, Meta(min_length=1, max_length=64)]


class PlaceField(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``{"header": name}`` or ``{"path": JMESPath}``."""

    header: HeaderName = HeaderName("")
    path: Path = Path("")

    def __post_init__(self) -> None:
        if bool(self.header) == bool(self.path):
            raise InvalidField('expected either {"header": name} or {"path": JMESPath}')

    def place(self) -> Place:
        return Place(header=self.header, path=self.path)


class Overrides(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All optional; what is not set is as the sender has it. The names are those of the scheme's model."""

    scheme: Literal["hmac", "static_token", "basic_auth", "url_token", "sns"] | None = None
    header: HeaderName | None = None
    key_header: HeaderName | None = None
    parameter: Word | None = None
    topics: Annotated[tuple[Topic, ...], Meta(max_length=50)] | None = None
    tolerance: Annotated[int, Meta(ge=1, le=MAX_TOLERANCE)] | None = None
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] | None = None
    encoding: Literal["hex", "hex_any_case", "base64"] | None = None
    key: Literal["text", "whsec"] | None = None
    layout: Literal["bare", "pairs", "versions"] | None = None
    prefix: Annotated[str, Meta(max_length=64)] | None = None
    version: Word | None = None
    template: Annotated[str, Meta(max_length=256)] | None = None
    id_header: HeaderName | None = None
    timestamp_header: HeaderName | None = None
    timestamp_key: Word | None = None
    delivery_id: Annotated[tuple[PlaceField, ...], Meta(max_length=5)] | None = None
    event_name: PlaceField | None = None

    def applied_to(self, sender: Sender) -> Sender:
        """The sender with these parameters. Raises ``InvalidField`` naming a field that does not fit."""
        changed: dict[str, Any] = {"scheme": self._scheme(sender)}
        if self.delivery_id is not None:
            changed["delivery_id"] = tuple(place.place() for place in self.delivery_id)
        if self.event_name is not None:
            changed["event_name"] = self.event_name.place()
        return replace(sender, **changed)

    def _scheme(self, sender: Sender) -> Scheme:
        kind = _KINDS[self.scheme] if self.scheme else type(sender.scheme)
        given = {name: getattr(self, name) for name in _PARAMETERS if getattr(self, name) is not None}
        known = kind.__struct_fields__
        for name in given:
            if name not in known:
                raise InvalidField(f"does not belong to the scheme of sender {sender.name}", name)
        if isinstance(sender.scheme, kind):
            given = {**{name: getattr(sender.scheme, name) for name in known}, **given}
        for name in _required(kind):
            if not given.get(name):
                raise InvalidField(f"is required for sender {sender.name}", name)
        scheme = kind(**given)
        if self.tolerance is not None and isinstance(scheme, Hmac) and not scheme.signs_time:
            raise InvalidField(f"sender {sender.name} does not sign a time", "tolerance")
        return scheme


def _required(kind: type[Scheme]) -> list[str]:
    """The parameters of a scheme that have no default."""
    defaults = zip(reversed(kind.__struct_fields__), reversed(kind.__struct_defaults__), strict=False)
    optional = {name for name, default in defaults if default is not NODEFAULT}
    return [name for name in kind.__struct_fields__ if name not in optional]
