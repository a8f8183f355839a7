"""The configuration of a source: who sends, with which secret, and what its events start.

The JSON lives in a parameter (``/{stack}/sources/{name}``); its secret is ``{stack}/webhooks/{secret}``::

    {"sender": "github", "secret": "github",
     "rules": [{"pipeline": "order-to-cash", "mode": "DELTA"}]}
"""

# No annotations from __future__: msgspec would compile the text of each at a cold start.
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from celonis_refresh.errors import WHOLE, Problem
from celonis_refresh.names import PipelineName
from celonis_refresh.validation.convert import InvalidField, ValidatedType, convert
from celonis_refresh.webhooks.documents import Json, parse_json
from celonis_refresh.webhooks.errors import InvalidSource, Malformed
from celonis_refresh.webhooks.overrides import Overrides
from celonis_refresh.webhooks.rule_fields import ModeField, Path, ReasonField, TablesField
from celonis_refresh.webhooks.schemes.models import Sns
from celonis_refresh.webhooks.secret_names import check_secret_name
from celonis_refresh.webhooks.senders import SENDERS, Sender

MAX_RULES: Final = 30
"""One event may start that many pipelines: a transaction of the table takes 100 actions, three for each."""
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


EventName = Annotated[str, Meta(min_length=1, max_length=256)]


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one kind of event starts.

    ``events``  names of events that the rule is about; empty: any.
    ``when``    JMESPath over the event's body that gives true or false; None: the sender's own condition.
    ``mode``    "FULL", "DELTA" or ``{"path": …}`` to where the event says so; None: as in the definition.
    ``tables``  ids, names or aliases, or "all", or ``{"path": …}``; None: as in the definition.
    ``reason``  text for the run's record, or ``{"path": …}``; None: sender, event and delivery id.
    """

    pipeline: PipelineName
    events: Annotated[tuple[EventName, ...], Meta(max_length=50)] = ()
    when: Path | None = None
    mode: ModeField = None
    tables: TablesField = None
    reason: ReasonField = None


class Source(Overrides, frozen=True, kw_only=True):
    """One upstream system. ``secret`` is the name of a secret, never its value.

    ``expect``: fields at the top of the event's body that must have these values, or the request is refused.
    The other fields, inherited, replace parameters of the sender's scheme.
    """

    sender: SenderName
    secret: SecretName | None = None
    rules: Annotated[tuple[Rule, ...], Meta(min_length=1, max_length=MAX_RULES)]
    expect: dict[str, str | int] = {}  # noqa: RUF012 - a new one for each source

    def effective(self) -> Sender:
        """The sender's row of the table with this source's own parameters in it."""
        return self.applied_to(SENDERS[self.sender])

    def __post_init__(self) -> None:
        sender = self.effective()
        is_sns = isinstance(sender.scheme, Sns)
        if is_sns and self.secret is not None:
            raise InvalidField("expected none, since AWS signs the messages of SNS", "secret")
        if not is_sns and self.secret is None:
            raise InvalidField("expected the name of the secret", "secret")
        for index, rule in enumerate(self.rules):
            _check_reachable(sender, index, rule)


def _check_reachable(sender: Sender, index: int, rule: Rule) -> None:
    """The sender's own condition is about certain events; a rule about others needs its own condition."""
    if rule.events and not sender.event_name:
        raise InvalidField(f"{sender.name} does not name its events", f"rules.{index}.events")
    known = sender.start.events
    if rule.when is None and rule.events and known and not set(rule.events) & set(known):
        raise InvalidField(f"is required for events other than {', '.join(known)}", f"rules.{index}.when")


def parse_source(name: str, document: str | Mapping[str, Any]) -> Source:
    """The source in a parameter's text, or in JSON that is parsed already.

    Raises ``InvalidSource``: every problem names its field, none repeats a value.
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
