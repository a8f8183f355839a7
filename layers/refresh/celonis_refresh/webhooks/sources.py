"""The configuration of a source: who sends, with which secret, and what its events start.

The JSON lives in a parameter (``/{stack}/sources/{name}``); its secret is ``{stack}/webhooks/{secret}``::

    {"sender": "github", "secret": "github",
     "rules": [{"pipeline": "order-to-cash", "mode": "DELTA"}]}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from celonis_refresh.webhooks.documents import Json, parse_json
from celonis_refresh.webhooks.errors import InvalidSource, Malformed, Problem
from celonis_refresh.webhooks.overrides import Overrides
from celonis_refresh.webhooks.paths import check_path
from celonis_refresh.webhooks.rule_fields import ModeField, ReasonField, TablesField
from celonis_refresh.webhooks.schemes.models import Sns
from celonis_refresh.webhooks.secret_names import check_secret_name
from celonis_refresh.webhooks.senders import SENDERS, Sender

MAX_RULES: Final = 30
"""One event may start that many pipelines: a transaction of the table takes 100 actions, three for each."""
MAX_DOCUMENT: Final = 64 * 1024
PIPELINE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,47}")
_WHOLE: Final = "(the whole document)"
_FIELD_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,40}")


def _check_pipeline(name: str) -> str:
    if not PIPELINE_NAME.fullmatch(name):
        raise ValueError("expected a letter, then up to 47 letters, digits, hyphens or underscores")
    return name


def _check_expected_value(value: object) -> str | int:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return value
    raise ValueError("expected a text or a whole number")


ExpectedValue = Annotated[str | int, PlainValidator(_check_expected_value)]
EventName = Annotated[str, Field(min_length=1, max_length=256)]


class Rule(BaseModel):
    """What one kind of event starts.

    ``events``  names of events that the rule is about; empty: any.
    ``when``    JMESPath over the event's body that gives true or false; None: the sender's own condition.
    ``mode``    "FULL", "DELTA" or ``{"path": …}`` to where the event says so; None: as in the definition.
    ``tables``  ids, names or aliases, or "all", or ``{"path": …}``; None: as in the definition.
    ``reason``  text for the run's record, or ``{"path": …}``; None: sender, event and delivery id.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    pipeline: Annotated[str, AfterValidator(_check_pipeline)]
    events: Annotated[tuple[EventName, ...], Field(max_length=50)] = ()
    when: Annotated[str, AfterValidator(check_path)] | None = None
    mode: ModeField = None
    tables: TablesField = None
    reason: ReasonField = None


class Source(Overrides):
    """One upstream system. ``secret`` is the name of a secret, never its value.

    ``expect``: fields at the top of the event's body that must have these values, or the request is refused.
    The other fields, inherited, replace parameters of the sender's scheme.
    """

    # The one validator that is used, and so the one that is built: at import, where Lambda has most power.
    model_config = ConfigDict(defer_build=False)

    sender: str
    secret: Annotated[str, AfterValidator(check_secret_name)] | None = None
    rules: Annotated[tuple[Rule, ...], Field(max_length=MAX_RULES)]
    expect: dict[str, ExpectedValue] = Field(default_factory=dict)

    def effective(self) -> Sender:
        """The sender's row of the table with this source's own parameters in it."""
        return self.applied_to(SENDERS[self.sender])

    @model_validator(mode="after")
    def _consistent(self) -> Source:
        if self.sender not in SENDERS:
            raise ValueError(f"sender: expected one of {', '.join(sorted(SENDERS))}")
        if not self.rules:
            raise ValueError("rules: expected at least one")
        sender = self.effective()
        is_sns = isinstance(sender.scheme, Sns)
        if is_sns and self.secret is not None:
            raise ValueError("secret: expected none, since AWS signs the messages of SNS")
        if not is_sns and self.secret is None:
            raise ValueError("secret: expected the name of the secret")
        for index, rule in enumerate(self.rules):
            _check_reachable(sender, index, rule)
        return self


def _check_reachable(sender: Sender, index: int, rule: Rule) -> None:
    """The sender's own condition is about certain events; a rule about others needs its own condition."""
    if rule.events and not sender.event_name:
        raise ValueError(f"rules.{index}.events: {sender.name} does not name its events")
    known = sender.start.events
    if rule.when is None and rule.events and known and not set(rule.events) & set(known):
        raise ValueError(f"rules.{index}.when: is required for events other than {', '.join(known)}")


def parse_source(name: str, document: str | Mapping[str, Any]) -> Source:
    """The source in a parameter's text, or in JSON that is parsed already.

    Raises ``InvalidSource``: every problem names its field, none repeats a value.
    """
    try:
        return Source.model_validate(_parsed(name, document) if isinstance(document, str) else document)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
    raise InvalidSource(name, [_problem(each) for each in found])


def _parsed(name: str, text: str) -> Json:
    if len(text) > MAX_DOCUMENT:
        raise InvalidSource(name, [Problem(_WHOLE, f"at most {MAX_DOCUMENT} characters")])
    try:
        return parse_json(text)
    except Malformed as error:
        raise InvalidSource(name, [Problem(_WHOLE, f"must be JSON. {error.message}")]) from None


def _problem(error: Any) -> Problem:
    where = ".".join(_shown(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "is not a field that is known here"
    if error["type"] == "missing":
        message = "is required"
    if not where:  # a check of the whole source, which names its field itself
        where, found, rest = message.partition(": ")
        where, message = (where, rest) if found else (_WHOLE, message)
    return Problem(where, message[:1].lower() + message[1:])


def _shown(part: str | int) -> str:
    """A name that nobody here chose is not repeated: it might be a secret put in the wrong place."""
    return str(part) if _FIELD_NAME.fullmatch(str(part)) else "(unnamed)"
