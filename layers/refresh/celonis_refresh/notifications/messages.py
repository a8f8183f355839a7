"""Notifications: what happened, to which pipeline, and what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from celonis_refresh.notifications.outbox import Message, MessageKind, Outbox
from celonis_refresh.pipelines.definition import Notify
from celonis_refresh.pipelines.fresh_within import DEADLINE
from celonis_refresh.timing import iso

TOPIC: Final = "topic"
"""The channel that every stack has: its SNS topic."""
RETRY, START, SHOW, CANCEL = "retry", "start", "show", "cancel"
RESUME, DELIVERIES, DOCTOR, SECRET = "resume", "deliveries", "doctor", "secret channel"
"""Commands of the tool ``refresh``."""

NOTHING: Final = "Nothing."
"""The advice where nothing is to be done."""
Severity = Literal["error", "warning", "ok"]


class IncidentKind(StrEnum):
    """The two states of a pipeline that notifications report: whether its runs fail, and its freshness."""

    RUNS = "runs"
    FRESHNESS = "freshness"


class _Kind(NamedTuple):
    """How a kind of notification reads. ``advice``: what to do. ``incident``: what it opens or resolves."""

    severity: Severity
    title: str
    lead: str
    advice: str
    incident: IncidentKind | None = None


_RUN: Final = "Run {run_id} of pipeline {pipeline} {ended}"
ENDED: Final[Mapping[str, str]] = {
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "timed out",
    "ABORTED": "was stopped",
}
"""The end of a run in words, by its status."""
KINDS: Final[Mapping[str, _Kind]] = {
    "failed": _Kind(
        "error",
        "{pipeline}: {status}",
        f"{_RUN}.",
        "Fix the cause, then start a new execution with the same input.",
        IncidentKind.RUNS,
    ),
    "warning": _Kind(
        "warning",
        "{pipeline}: {status} with a warning",
        f"{_RUN} with a warning.",
        "Check the warning; the run itself is complete.",
        IncidentKind.RUNS,
    ),
    "recovered": _Kind(
        "ok",
        "{pipeline}: recovered",
        f"{_RUN}: the pipeline has recovered.",
        NOTHING,
        IncidentKind.RUNS,
    ),
    "refused": _Kind(
        "error",
        "Celonis Refresh: execution {status}",
        "Execution {execution} {ended} before it became a run.",
        "Correct the input of the execution or the pipeline that it names, then start it again.",
    ),
    "stuck": _Kind(
        "warning",
        "{pipeline}: run makes no progress",
        "Run {run_id} of pipeline {pipeline} waits and makes no progress.",
        "Nothing if the cause ends by itself: the run then continues. Otherwise fix it, or cancel the run.",
        IncidentKind.RUNS,
    ),
    "cancelled": _Kind(
        "ok",
        "{pipeline}: run cancelled",
        "Run {run_id} of pipeline {pipeline}, which made no progress, was cancelled.",
        NOTHING,
        IncidentKind.RUNS,
    ),
    "configuration": _Kind(
        "error",
        "{name}: configuration not usable",
        "An event of source {source} could not start a run, because the configuration cannot be used.",
        "Correct the field in the parameter; it is used within a minute. Then send the event again.",
    ),
    "configuration found": _Kind(
        "error",
        "{name}: configuration not usable",
        "The configuration cannot be used.",
        "Correct the fields in the parameter; a notification follows within ten minutes.",
    ),
    "configuration usable": _Kind(
        "ok",
        "{name}: configuration usable again",
        "The configuration can be used again.",
        NOTHING,
    ),
    "stale": _Kind(
        "error",
        "{pipeline}: stale",
        "The data of pipeline {pipeline} {age}.",
        "Find out why no run has succeeded, then start one.",
        IncidentKind.FRESHNESS,
    ),
    "will be late": _Kind(
        "warning",
        "{pipeline}: will be late",
        "The data of pipeline {pipeline} will be stale before a run can refresh it.",
        "Check whether a run has started and what it waits for; start one if none has.",
        IncidentKind.FRESHNESS,
    ),
    "fresh again": _Kind(
        "ok",
        "{pipeline}: fresh again",
        "The data of pipeline {pipeline} is fresh again.",
        NOTHING,
        IncidentKind.FRESHNESS,
    ),
}
CHANNEL_UNUSABLE: Final = "ChannelUnusable"
_CHANNEL: Final = _Kind(
    "warning",
    "{name}: channel {channel} cannot be used",
    "Notifications to channel {channel} are published to the topic instead. Runs go on.",
    "Enter the secret of the channel, or correct its name in {place}.",
)
"""The report of a channel that cannot be used."""
_UNKNOWN: Final = _Kind("warning", "{pipeline}: {what}", "Pipeline {pipeline}: {what}.", "")

_BY_CAUSE: Final[Mapping[str, tuple[str, str, str]]] = {
    "failed_run": ("Fix the cause of the failure, then retry the run.", RETRY, "last_run_id"),
    "slow_run": ("See what the run waits for.", SHOW, "active_run_id"),
    "pending_run": ("Nothing: the pending run starts by itself.", SHOW, "pipeline"),
    "paused": ("Resume the pipeline.", RESUME, "pipeline"),
    "paused_in_definition": (
        'Set "paused" to false in the definition, or delete the field. A resume does not end this pause.',
        SHOW,
        "pipeline",
    ),
    "invalid_definition": ("Correct the definition; no run can start before.", SHOW, "pipeline"),
}
"""By the cause of stale data: what to do, the command, and the fact that is its argument."""

LABELS: Final[Mapping[str, str]] = {
    "pipeline": "Pipeline",
    "source": "Source",
    "parameter": "Parameter",
    "fields": "Fields",
    "delivery_id": "Delivery",
    "step": "Step",
    "error": "Error",
    "triggered_by": "Triggered by",
    "started_at": "Started",
    "ended_at": "Ended",
    "input": "Input",
    "waiting_since": "Waiting since",
    "failing_since": "Failing since",
    "last_success_at": "Last success",
    "last_success_started_at": "Data from",
    "fresh_within": "Fresh within",
    "due_at": "Due",
    "stale_since": "Stale since",
    "expected_end": "Expected end, at the earliest",
    "last_run_id": "Last run",
    "last_outcome": "Outcome of the last run",
}
"""Facts that have a label of their own, in this order; others follow with their names."""
_WAS: Final[Mapping[str, Mapping[str, str]]] = {
    "recovered": {"failing_since": "Was failing since"},
    "fresh again": {"stale_since": "Was stale since"},
}
"""Labels of a state that has ended, by the kind of notification."""
_TIME: Final = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_MINUTES_OF_A_DAY: Final = 1440
_IN_TEXT: Final = frozenset(
    {
        "active_run_id", "can_retry", "cause", "channel", "execution", "execution_arn", "incident", "links",
        "name", "outcome", "resend", "run_id", "since", "skips", "state", "status", "waiting_for_run", "what",
    }
)  # fmt: skip
"""Facts that stand elsewhere than among the fields."""
_OF_ERROR: Final = frozenset({"error", "fields"})
"""Facts that are not shown once the error has been corrected."""
NO_SUCCESS: Final = "none is recorded"
_CONSOLE: Final = "console.aws.amazon.com"
_CONSOLES: Final = {"cn-": "console.amazonaws.cn", "us-gov-": "console.amazonaws-us-gov.com"}
"""Hosts of the console by the prefix of a region."""
_SINCE: Final[Mapping[tuple[IncidentKind, bool], str]] = {
    (IncidentKind.RUNS, True): "the pipeline has recovered since",
    (IncidentKind.RUNS, False): "the pipeline has failed again since",
    (IncidentKind.FRESHNESS, True): "the data is fresh again since",
    (IncidentKind.FRESHNESS, False): "the data is stale again since",
}
"""What has happened since a late notification, by its incident and whether it opens it."""


class Place(Struct, frozen=True):
    """Where the service runs. ``is_local``: as the stack of ``make local``."""

    stack: str
    account: str
    region: str
    is_local: bool = False

    def command(self, name: str, argument: object = "") -> str:
        """Return a command of the tool ``refresh`` for this stack.

        It finds the stack of ``make local`` without options. With options it uses a stack in AWS.
        """
        options = "" if self.is_local else f" --stack {self.stack} --region {self.region}"
        return f"refresh{options} {name} {argument}".rstrip()


class Notification(Struct, frozen=True):
    """A notification as a person reads it.

    ``key``: the same for all notifications of an incident. ``opens``: the incident, instead of resolving it.
    ``fields``: labels and values. ``links``: names and addresses. ``command``: one or more lines. ``facts``:
    those of the message, for programs.
    """

    message_id: str
    key: str
    severity: Severity
    title: str
    lead: str
    body: str
    fields: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]
    advice: str
    command: str
    created_at: str
    facts: Mapping[str, Any]
    place: Place
    opens: bool
    is_late: bool = False

    @property
    def text(self) -> str:
        """The whole notification as plain text."""
        fields = "\n".join(f"{label}: {value}" for label, value in self.fields)
        links = "\n".join(f"{name}: {address}" for name, address in self.links)
        advice = f"What to do: {self.advice}" if self.advice else ""
        parts = [self.lead, self.body, fields, links, advice, self.command]
        return "\n\n".join([*filter(None, parts), f"Notification: {self.message_id}"])


def notification_messages(
    outbox: Outbox,
    notify: Notify | None,
    what: str,
    facts: Mapping[str, Any],
    *,
    occasion: str = "",
) -> list[Message]:
    """Return one message for each channel of a pipeline, to be put in the outbox.

    ``notify``: None if the definition is not known; then the channels are those of the stack. ``what``: a
    key of ``KINDS``, or any other text. ``facts``: JSON values without secrets, with ``pipeline``, and
    ``run_id`` if it is about a run; with ``incident`` if it belongs to an incident of its own. ``occasion``:
    the same for the same event; a repeated event then makes no other message.
    """
    subject = facts.get("run_id") or facts.get("pipeline") or "service"
    prefix = f"{subject}/{occasion or f'{what}-{iso(outbox.clock())}'}"
    return [
        outbox.message(f"{prefix}/{channel}", MessageKind.NOTIFICATION, channel, {**facts, "what": what})
        for channel in channels_of(outbox, notify)
    ]


def channels_of(outbox: Outbox, notify: Notify | None) -> tuple[str, ...]:
    """Return the channels of a pipeline, or those of the stack if it names none."""
    own = own_channels(notify)
    return outbox.default_channels if own is None else own


def own_channels(notify: Notify | None) -> tuple[str, ...] | None:
    """Return the channels that a pipeline names; None if it names none."""
    return notify.channels if notify is not None and isinstance(notify.channels, tuple) else None


def incident_of(facts: Mapping[str, Any]) -> IncidentKind | None:
    """Return the kind of incident that a notification opens or resolves."""
    return KINDS.get(str(facts.get("what")), _UNKNOWN).incident


def render(message: Message, place: Place, *, is_late: bool = False) -> Notification:
    """Return the notification of a message.

    ``is_late``: the state of the pipeline has changed since the message was put.
    """
    facts = message.facts
    kind = _kind_of(facts)
    subject = str(facts.get("pipeline") or facts.get("name") or "Celonis Refresh")
    ended = ENDED.get(str(facts.get("status")), f"ended {facts.get('status')}")
    names = _Names({"pipeline": subject, "name": subject, "ended": ended, "age": _age(facts), **facts})
    incident = facts.get("incident") or facts.get("pipeline") or subject
    advice, command = _advice(facts, place, kind)
    title, lead, opens = kind.title.format_map(names), kind.lead.format_map(names), kind.severity != "ok"
    if facts.get("what") == "recovered" and facts.get("stale_since"):
        lead = f"{lead[:-1]}, but its data is still stale."
    if is_late and kind.incident:
        title, lead = f"{title}, sent late", f"Sent late: {_SINCE[kind.incident, opens]}. {lead}"
        advice = NOTHING if opens else "See the latest run and the freshness of the pipeline."
        command = "" if opens else place.command(SHOW, facts.get("pipeline"))
    zone = _zone_of(facts)
    suffix = f"/{kind.incident}" if kind.incident is IncidentKind.FRESHNESS else ""
    return Notification(
        message_id=message.message_id,
        key=f"{place.stack}/{incident}{suffix}",
        severity=kind.severity,
        title=f"{title} ({place.stack})",
        lead=_with_times(lead, zone),
        body=_with_times(str(facts.get("outcome") or ""), zone),
        fields=tuple((label, _with_times(value, zone)) for label, value in _fields(facts, place)),
        links=tuple(_links(facts, place)),
        advice=_with_times(advice, zone),
        command=command,
        created_at=message.created_at,
        facts=facts,
        place=place,
        opens=opens,
        is_late=is_late,
    )


def open_again(resolution: Notification) -> Notification:
    """Return what opens the incident again that a late resolution has resolved.

    The notification that had opened it is not stored any more.
    """
    pipeline = resolution.facts.get("pipeline")
    is_fresh = incident_of(resolution.facts) is IncidentKind.FRESHNESS
    what = "not fresh" if is_fresh else "failing"
    return replace(
        resolution,
        severity="error",
        title=f"{pipeline}: still {what} ({resolution.place.stack})",
        lead=f"Pipeline {pipeline} is {what}: an older notification has resolved this incident by mistake.",
        body="",
        fields=tuple(_fields({"pipeline": pipeline}, resolution.place)),
        links=(),
        advice="See the latest run and the freshness of the pipeline.",
        command=resolution.place.command(SHOW, pipeline),
        opens=True,
    )


def _kind_of(facts: Mapping[str, Any]) -> _Kind:
    if facts.get("what") == "configuration found" and facts.get("error") == CHANNEL_UNUSABLE:
        return _CHANNEL
    return KINDS.get(str(facts.get("what")), _UNKNOWN)


def _advice(facts: Mapping[str, Any], place: Place, kind: _Kind) -> tuple[str, str]:
    """Return what to do, and the command that does it; "" if there is none."""
    what = str(facts.get("what"))
    if kind is _CHANNEL:
        where = facts.get("parameter") or "the template parameter NotificationChannels"
        return kind.advice.format(place=where), place.command(SECRET, facts.get("channel"))
    if what.startswith("configuration"):
        return _configuration_advice(facts, place, kind)
    if what in ("stale", "will be late") and facts.get("can_retry") is False:
        advice = "Fix the cause of the failure, then start a new run: a retry fails again."
        return advice, place.command(START, facts.get("pipeline"))
    if what in ("stale", "will be late"):
        advice, command, argument = _BY_CAUSE.get(str(facts.get("cause")), (kind.advice, START, "pipeline"))
        return advice, place.command(command, facts.get(argument) or facts.get("pipeline"))
    if what == "recovered" and facts.get("stale_since"):
        advice = (
            "Start a run, unless one starts soon: the data counts from the start of its run, "
            f"{facts.get('last_success_started_at')}, and was due by {facts.get('due_at')}."
        )
        return advice, place.command(START, facts.get("pipeline"))
    return _run_advice(facts, place, kind)


def _run_advice(facts: Mapping[str, Any], place: Place, kind: _Kind) -> tuple[str, str]:
    what, run_id, arn = facts.get("what"), facts.get("run_id"), str(facts.get("execution_arn") or "")
    if what == "failed" and facts.get("can_retry"):
        skips = ", ".join(facts.get("skips") or ())
        skipped = f"; it skips {skips}, which succeeded" if skips else ""
        return f"Fix the cause, then retry the run{skipped}.", place.command(RETRY, run_id)
    if what == "failed" and facts.get("error") == "UnknownTable":
        return "Start a new run with tables that exist: the same request fails again.", ""
    if what == "failed" and arn:
        return kind.advice, _start_again(arn, place)
    if what == "stuck":
        other = facts.get("waiting_for_run")
        advice = (
            f"Nothing if run {other} ends by itself: this run then continues. Otherwise see why it waits."
        )
        commands = (place.command(SHOW, other or run_id), place.command(CANCEL, run_id))
        return advice if other else kind.advice, "\n".join(commands)
    if what == "warning" and run_id:
        return kind.advice, place.command(SHOW, run_id)
    return kind.advice, ""


def _start_again(execution_arn: str, place: Place) -> str:
    """Return a command of the AWS CLI that starts an execution with the same input; "" on the local stack."""
    if place.is_local:
        return ""
    machine = execution_arn.replace(":execution:", ":stateMachine:").rpartition(":")[0]
    described = (
        f"aws stepfunctions describe-execution --region {place.region} --execution-arn {execution_arn} "
        "--query input --output text"
    )
    return (
        f"aws stepfunctions start-execution --region {place.region} --state-machine-arn {machine} "
        f'--input "$({described})"'
    )


def _configuration_advice(facts: Mapping[str, Any], place: Place, kind: _Kind) -> tuple[str, str]:
    error, pipeline, source = (facts.get(name) for name in ("error", "pipeline", "source"))
    starts = [place.command(START, pipeline)] if pipeline and error != "UnknownPipeline" else []
    deliveries = place.command(DELIVERIES, source or "")
    if facts.get("what") == "configuration usable":
        if not facts.get("resend"):
            return kind.advice, ""
        advice = "Send the events again that were refused" + (", or start the pipeline." if starts else ".")
        return advice, "\n".join([deliveries, *starts])
    if error == "UnknownPipeline":
        advice = "Correct the pipeline in the rule, or define the pipeline. Then send the event again."
        return advice, deliveries
    advice = kind.advice
    if facts.get("what") == "configuration" and starts:
        advice = f"{advice[:-1]} or start the pipeline."
    return advice, "\n".join([place.command(DOCTOR), *([deliveries] if source else [])])


class _Names(dict[str, Any]):
    """Facts for a text; a missing one is its name."""

    def __missing__(self, name: str) -> str:
        return name


def _fields(facts: Mapping[str, Any], place: Place) -> Iterator[tuple[str, str]]:
    what, hidden = facts.get("what"), set(_IN_TEXT)
    if what == "configuration usable":
        hidden |= _OF_ERROR
    if facts.get("due_at") == facts.get("stale_since"):
        hidden.add("due_at")
    if what == "recovered" and not facts.get("last_success_at"):
        hidden.add("last_success_at")  # it is the first one
    others = {name: name.replace("_", " ").capitalize() for name in facts if name not in {*LABELS, *hidden}}
    for name, label in {**LABELS, **_WAS.get(str(what), {}), **others}.items():
        if name in hidden:
            continue
        if name == "last_success_at" and name in facts:
            yield label, str(facts[name] or NO_SUCCESS)
        elif facts.get(name) not in (None, "", []):
            yield label, _limit(facts) if name == "fresh_within" else _shown(facts[name])
    yield "Stack", f"{place.stack} in account {place.account}, region {place.region}"


def _limit(facts: Mapping[str, Any]) -> str:
    """Return ``fresh_within`` as people read it."""
    limit = facts.get("fresh_within")
    return shown_duration(limit) if isinstance(limit, int) else str(limit)


def _age(facts: Mapping[str, Any]) -> str:
    """Return how stale data is too old."""
    if not (facts.get("last_success_at") or facts.get("last_success_started_at")):
        return "has never been refreshed"
    limit = facts.get("fresh_within")
    if isinstance(limit, int):
        return f"is older than its limit of {shown_duration(limit)}"
    return f"has missed its deadline, {limit}" if limit else "is stale"


def shown_duration(seconds: int) -> str:
    """Return ``5 min``, ``24 h`` or ``3 days``."""
    minutes = seconds // 60
    if minutes > _MINUTES_OF_A_DAY and minutes % _MINUTES_OF_A_DAY == 0:
        return f"{minutes // _MINUTES_OF_A_DAY} days"
    parts = ((minutes // 60, "h"), (minutes % 60, "min"), (seconds % 60, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def _with_times(text: str, zone: str) -> str:
    """Return a text with its times, as ``iso`` writes them, as people read them."""
    return _TIME.sub(lambda found: shown_time(found.group(), zone), text)


def shown_time(text: str, zone: str = "") -> str:
    """Return ``2026-11-29 11:01 UTC``, with a time zone also ``(12:01 Europe/Berlin)``."""
    at = datetime.fromisoformat(text)
    utc = f"{at:%Y-%m-%d %H:%M} UTC"
    if not zone or zone == "UTC":
        return utc
    from zoneinfo import ZoneInfo  # few pipelines need it

    local = at.astimezone(ZoneInfo(zone))
    day = "" if local.date() == at.date() else f"{local:%Y-%m-%d} "
    return f"{utc} ({day}{local:%H:%M} {zone})"


def _zone_of(facts: Mapping[str, Any]) -> str:
    """Return the time zone of ``fresh_within``; "" if it has none."""
    found = DEADLINE.fullmatch(str(facts.get("fresh_within", "")).strip())
    return found[3] if found else ""


def _shown(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _links(facts: Mapping[str, Any], place: Place) -> Iterator[tuple[str, str]]:
    if arn := str(facts.get("execution_arn") or ""):
        yield "Execution in the AWS console", execution_page(arn)
    for name, address in dict(facts.get("links") or {}).items():
        yield str(name), str(address)
    if incident_of(facts) is IncidentKind.FRESHNESS:
        yield "Dashboard in the AWS console", dashboard_page(place)


def execution_page(arn: str) -> str:
    """Return the address of an execution's page in the AWS console."""
    _, _, _, region, *_ = [*arn.split(":"), "", "", ""]
    return (
        f"{console_address(region)}/states/home?region={region}#/v2/executions/details/{quote(arn, safe=':')}"
    )


def dashboard_page(place: Place) -> str:
    """Return the address of the stack's dashboard in the AWS console."""
    name = quote(f"{place.stack}-{place.region}")
    return (
        f"{console_address(place.region)}/cloudwatch/home?region={place.region}#dashboards/dashboard/{name}"
    )


def console_address(region: str) -> str:
    """Return the address of the AWS console, which the partition of the region decides."""
    host = next((host for prefix, host in _CONSOLES.items() if region.startswith(prefix)), _CONSOLE)
    return f"https://{region}.{host}"
