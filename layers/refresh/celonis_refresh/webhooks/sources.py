"""The configuration of a source: the sender, the name of its secret, and the pipelines that its events start.

The JSON is in a parameter (``/{stack}/sources/{name}``); the secret is ``{stack}/webhooks/{secret}``.
Example: ``{"sender": "github", "secret": "github", "rules": [{"pipeline": "order-to-cash", "mode":
"DELTA"}]}``
"""

# No annotations from __future__: msgspec would compile the text of each at a cold start.
import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import replace

from celonis_refresh.errors import WHOLE, Problem
from celonis_refresh.names import PipelineName
from celonis_refresh.validation.convert import InvalidField, PatternType, ValidatedType, convert
from celonis_refresh.webhooks.errors import InvalidSource, Malformed
from celonis_refresh.webhooks.expressions import check_path
from celonis_refresh.webhooks.request import Json, parse_json
from celonis_refresh.webhooks.senders import SENDERS, Location, Sender
from celonis_refresh.webhooks.verification import (
    MAX_TOLERANCE,
    BasicAuth,
    Hmac,
    Scheme,
    Sns,
    StaticToken,
    UrlToken,
)

MAX_NAME: Final = 128
_NAME: Final = r"[A-Za-z0-9/_+.@-](?:[A-Za-z0-9/_+=.@-]*[A-Za-z0-9/_+.@-])?"
# Prefixes of secrets of Standard Webhooks, dbt, Shopify, Stripe, GitHub, GitLab and Slack, in any case: they
# are matched in lower case, because a pattern that ignores case is slow to compile.
_ISSUED: Final = r"whsec_|dbt[a-z]_|shp[a-z]{2}_|[rs]k_(?:live|test)_|gh[pousr]_|github_pat_|glpat-|xox[a-z]-"
# Prefixes that only their case distinguishes from words: AWS, JSON Web Tokens.
_ISSUED_AS_IS: Final = r"(?:AKIA|ASIA)[A-Z0-9]{16}|eyJ"
_RANDOM: Final = r"[0-9a-fA-F-]{32,}|(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+]{40,}"


def check_secret_name(value: str) -> str:
    """Return the name. Raises ``ValueError`` without the value, which may be the secret itself."""
    if len(value) > MAX_NAME or not re.fullmatch(_NAME, value):
        raise ValueError(
            f"expected the name of a secret: at most {MAX_NAME} of letters, digits and /_+=.@-, not its value"
        )
    if _is_issued(value) or re.fullmatch(_RANDOM, value):
        raise ValueError("expected the name of a secret; this looks like the secret itself")
    return value


def _is_issued(value: str) -> bool:
    return bool(re.match(_ISSUED, value.lower()) or re.match(_ISSUED_AS_IS, value))


MAX_TABLES: Final = 200
"""Tables of a partial load; more are loaded by a complete load."""
MAX_TABLE_NAME: Final = 256
MAX_REASON: Final = 256
MODES: Final = ("FULL", "DELTA")
ALL_TABLES: Final = "all"

Tables: TypeAlias = tuple[str, ...] | Literal["all"]


class Path(ValidatedType):
    """A JMESPath."""

    @classmethod
    def checked(cls, text: str) -> str:
        return check_path(text)


class AtPath(Struct, frozen=True, forbid_unknown_fields=True):
    """A value that is read from the event by this JMESPath."""

    path: Path


def is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(table, str) and 0 < len(table) <= MAX_TABLE_NAME for table in value
    )


Elsewhere: TypeAlias = Annotated[AtPath, Meta(description='{"path": JMESPath}')]
TableName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_TABLE_NAME)]
TableNames: TypeAlias = Annotated[
    tuple[TableName, ...],
    Meta(
        min_length=1,
        max_length=MAX_TABLES,
        description=f"a list of 1 to {MAX_TABLES} tables (ids, names or aliases)",
    ),
]
Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_REASON)]

ModeField: TypeAlias = Literal["FULL", "DELTA"] | Elsewhere | None
TablesField: TypeAlias = TableNames | Literal["all"] | Elsewhere | None
ReasonField: TypeAlias = Text | Elsewhere | None


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


class TopicArn(PatternType):
    PATTERN = r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?"
    EXPECTED = "expected the ARN of an SNS topic"


Word = Annotated[str, Meta(min_length=1, max_length=64)]


class LocationField(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``{"header": name}`` or ``{"path": JMESPath}``."""

    header: HeaderName = HeaderName("")
    path: Path = Path("")

    def __post_init__(self) -> None:
        if bool(self.header) == bool(self.path):
            raise InvalidField('expected either {"header": name} or {"path": JMESPath}')

    def place(self) -> Location:
        return Location(header=self.header, path=self.path)


class Overrides(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Optional parameters that replace those of the sender; the names are those of the scheme."""

    scheme: Literal["hmac", "static_token", "basic_auth", "url_token", "sns"] | None = None
    header: HeaderName | None = None
    key_header: HeaderName | None = None
    parameter: Word | None = None
    topics: Annotated[tuple[TopicArn, ...], Meta(max_length=50)] | None = None
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
    delivery_id: Annotated[tuple[LocationField, ...], Meta(max_length=5)] | None = None
    event_name: LocationField | None = None

    def applied_to(self, sender: Sender) -> Sender:
        """Return the sender with these parameters. Raises ``InvalidField`` for one that does not fit."""
        changed: dict[str, Any] = {"scheme": self._scheme(sender)}
        if self.delivery_id is not None:
            changed["delivery_id"] = tuple(place.place() for place in self.delivery_id)
        if self.event_name is not None:
            changed["event_name"] = self.event_name.place()
        return replace(sender, **changed)

    def _scheme(self, sender: Sender) -> Scheme:
        kind = _KINDS[self.scheme] if self.scheme else type(sender.scheme)
        overrides = {name: getattr(self, name) for name in _PARAMETERS if getattr(self, name) is not None}
        fields = kind.__struct_fields__
        for name in overrides:
            if name not in fields:
                raise InvalidField(f"does not belong to the scheme of sender {sender.name}", name)
        if isinstance(sender.scheme, kind):
            overrides = {**{name: getattr(sender.scheme, name) for name in fields}, **overrides}
        for name in _required(kind):
            if not overrides.get(name):
                raise InvalidField(f"is required for sender {sender.name}", name)
        scheme = kind(**overrides)
        if self.tolerance is not None and isinstance(scheme, Hmac) and not scheme.signs_time:
            raise InvalidField(f"sender {sender.name} does not sign a time", "tolerance")
        return scheme


def _required(kind: type[Scheme]) -> list[str]:
    """Return the parameters of a scheme that have no default."""
    defaults = zip(reversed(kind.__struct_fields__), reversed(kind.__struct_defaults__), strict=False)
    optional = {name for name, default in defaults if default is not NODEFAULT}
    return [name for name in kind.__struct_fields__ if name not in optional]


MAX_CALLBACK_RULES: Final = 24
"""Pipelines per event with callback addresses, each of which is one more action."""
MAX_RULES: Final = 30
"""Pipelines that one event may start: a transaction has at most 100 actions, three for each pipeline."""
MAX_DOCUMENT: Final = 64 * 1024


class SecretName(ValidatedType):
    @classmethod
    def checked(cls, text: str) -> str:
        return check_secret_name(text)


class SenderName(ValidatedType):
    @classmethod
    def checked(cls, text: str) -> str:
        if text not in SENDERS:
            raise ValueError(f"expected one of {', '.join(sorted(SENDERS))}")
        return text


class HostPattern(PatternType):
    """A host name, or ``*.`` and a name of two parts or more. The last part of an IP address is a number."""

    PATTERN = r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
    EXPECTED = "expected a host name such as hooks.example.com, or *.example.com for all names that end so"

    @classmethod
    def checked(cls, text: str) -> str:
        return super().checked(text[:256].lower())


EventName = Annotated[str, Meta(min_length=1, max_length=256)]


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one kind of event starts.

    ``events``  names of events; empty: any
    ``when``    JMESPath over the event's body that gives true or false; None: the sender's own condition
    ``mode``    "FULL", "DELTA" or ``{"path": …}``; None: as in the definition
    ``tables``  ids, names or aliases, "all" or ``{"path": …}``; None: as in the definition
    ``reason``  text for the run's record, or ``{"path": …}``; None: sender, event and delivery id
    ``callback``  ``{"path": …}``: the address to which the result is posted; None: as the sender says
    """

    pipeline: PipelineName
    events: Annotated[tuple[EventName, ...], Meta(max_length=50)] = ()
    when: Path | None = None
    mode: ModeField = None
    tables: TablesField = None
    reason: ReasonField = None
    callback: AtPath | None = None


class Source(Overrides, frozen=True, kw_only=True):
    """One source of webhooks. ``secret``: the name of a secret, never its value.

    ``expect``: values that top-level fields of the event's body must have; otherwise the request is refused.
    ``callback_hosts``: hosts of the callback addresses of its events; None: those of the sender.
    The inherited fields replace parameters of the sender.
    """

    sender: SenderName
    secret: SecretName | None = None
    rules: Annotated[tuple[Rule, ...], Meta(min_length=1, max_length=MAX_RULES)]
    expect: dict[str, str | int] = {}
    callback_hosts: Annotated[tuple[HostPattern, ...], Meta(min_length=1, max_length=20)] | None = None

    def effective(self) -> Sender:
        """Return the sender with the parameters of this source."""
        sender = self.applied_to(SENDERS[self.sender])
        if self.callback_hosts is None:
            return sender
        return replace(sender, callback_hosts=self.callback_hosts)

    def __post_init__(self) -> None:
        sender = self.effective()
        is_sns = isinstance(sender.scheme, Sns)
        if is_sns and self.secret is not None:
            raise InvalidField("expected none, since AWS signs the messages of SNS", "secret")
        if not is_sns and self.secret is None:
            raise InvalidField("expected the name of the secret", "secret")
        for index, rule in enumerate(self.rules):
            _check_reachable(sender, index, rule)
            _check_callback(sender, index, rule)
        has_callbacks = sender.callback or any(rule.callback for rule in self.rules)
        if has_callbacks and len(self.rules) > MAX_CALLBACK_RULES:
            raise InvalidField(f"expected at most {MAX_CALLBACK_RULES} rules with callbacks", "rules")


def _check_callback(sender: Sender, index: int, rule: Rule) -> None:
    """Check that the callbacks of a rule can be stored and that their hosts are known."""
    if rule.callback is None:
        return
    if sender.body in ("list", "soap"):
        problem = f"is not supported for {sender.name}, which sends several events in a request"
        raise InvalidField(problem, f"rules.{index}.callback")
    if not sender.callback_hosts:
        raise InvalidField("needs callback_hosts in the source", f"rules.{index}.callback")


def _check_reachable(sender: Sender, index: int, rule: Rule) -> None:
    """Check that a rule about events outside of the sender's own condition has a condition."""
    if rule.events and not sender.event_name:
        raise InvalidField(f"{sender.name} does not name its events", f"rules.{index}.events")
    default_events = sender.start.events
    if rule.when is None and rule.events and default_events and not set(rule.events) & set(default_events):
        raise InvalidField(
            f"is required for events other than {', '.join(default_events)}", f"rules.{index}.when"
        )


def parse_source(name: str, document: str | Mapping[str, Any]) -> Source:
    """Return the source in the text of a parameter or in parsed JSON.

    Raises ``InvalidSource`` with the fields of all problems and no values.
    """
    parsed = _parsed(name, document) if isinstance(document, str) else document
    return convert(Source, parsed, partial(InvalidSource, name))


def _parsed(name: str, text: str) -> Json:
    if len(text) > MAX_DOCUMENT:
        raise InvalidSource(name, [Problem(WHOLE, f"at most {MAX_DOCUMENT} characters")])
    try:
        return parse_json(text)
    except Malformed as error:
        raise InvalidSource(name, [Problem(WHOLE, f"must be JSON. {error.message}")]) from None
