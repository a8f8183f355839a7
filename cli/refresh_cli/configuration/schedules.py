"""Schedules of a pipeline: entries in its file, and the EventBridge schedules that they become.

An entry is ``{name?, cron | rate | at, timezone?, options?, enabled?}``. The schedule is called
``{pipeline}.{name}``; a name that is left out is the position of the entry, from 1.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from celonis_refresh.errors import Problem
from celonis_refresh.names import NAME_PATTERN
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.errors import InvalidInput, InvalidTrigger
from celonis_refresh.pipelines.options import inapplicable, make_options
from celonis_refresh.validation.convert import InvalidField, PatternType, ValidatedType, convert

MAX_NAME: Final = 64
"""Characters of the name of an EventBridge schedule."""
MAX_SCHEDULES: Final = 20
REASON: Final = "schedule"
"""The reason of a run, unless the entry has one."""
DELIVERY: Final = "<aws.scheduler.schedule-arn>/<aws.scheduler.scheduled-time>"
RETRY: Final = {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 10}
DEFAULT_ZONE: Final = "UTC"
CRON_EXAMPLE: Final = '"0 4 ? * MON-FRI *"'

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class _CronField(NamedTuple):
    """Values from ``minimum`` to ``maximum``; ``names`` from ``minimum``; ``special``: AWS's own forms."""

    name: str
    minimum: int
    maximum: int
    names: Sequence[str] = ()
    special: str = r"(?!)"


_CRON: Final = (
    _CronField("minute", 0, 59),
    _CronField("hour", 0, 23),
    _CronField("day of the month", 1, 31, special=r"\?|L|LW|[0-9]{1,2}W"),
    _CronField("month", 1, 12, _MONTHS),
    _CronField("day of the week", 1, 7, _DAYS, special=r"\?|L|[1-7]L|[1-7]#[1-5]"),
    _CronField("year", 1970, 2199),
)


class Cron(ValidatedType):
    """Six fields of a cron expression of EventBridge Scheduler."""

    @classmethod
    def checked(cls, text: str) -> str:
        fields = text.split()
        if len(fields) != len(_CRON):
            raise ValueError(
                "expected six fields: minute, hour, day of the month, month, day of the week, year, "
                f"such as {CRON_EXAMPLE}"
            )
        for rule, field in zip(_CRON, fields, strict=True):
            if not all(_is_cron_part(rule, part) for part in field.upper().split(",")):
                raise ValueError(
                    f"the {rule.name} is not valid: expected values from {rule.minimum} to {rule.maximum}, "
                    "such as 1, 1-5, 0/15, 1,3 or *"
                )
        if (fields[2] == "?") == (fields[4] == "?"):
            raise ValueError(
                "expected ? as the day of the month or as the day of the week, and not as both, "
                f"such as {CRON_EXAMPLE}"
            )
        return " ".join(fields)


def _is_cron_part(rule: _CronField, part: str) -> bool:
    for offset, name in enumerate(rule.names):
        part = part.replace(name, str(rule.minimum + offset))
    if re.fullmatch(rule.special, part):
        return True
    match = re.fullmatch(r"(?:\*|([0-9]{1,4})(?:-([0-9]{1,4}))?)(?:/([1-9][0-9]{0,3}))?", part)
    if match is None:
        return False
    values = [int(value) for value in match.groups()[:2] if value is not None]
    return all(rule.minimum <= value <= rule.maximum for value in values) and values == sorted(values)


class Rate(PatternType):
    """A number of minutes, hours or days."""

    PATTERN = r"[1-9][0-9]{0,4} (?:minute|hour|day)s?"
    EXPECTED = 'expected a number of minutes, hours or days, such as "6 hours"'


class At(ValidatedType):
    """A date and a time of day without a time zone."""

    @classmethod
    def checked(cls, text: str) -> str:
        try:
            is_valid = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").isoformat() == text  # noqa: DTZ007
        except ValueError:
            is_valid = False
        if not is_valid:
            raise ValueError('expected a date and a time such as "2027-01-31T04:00:00"')
        return text


class TimeZone(ValidatedType):
    """The name of a time zone in the IANA database."""

    @classmethod
    def checked(cls, text: str) -> str:
        try:
            ZoneInfo(text)
        except (KeyError, ValueError, OSError):
            raise ValueError('expected a time zone of the IANA database, such as "Europe/Berlin"') from None
        return text


class ScheduleName(PatternType):
    """What follows the name of the pipeline in the name of a schedule."""

    PATTERN = r"[A-Za-z0-9_-]{1,62}"
    EXPECTED = "expected letters, digits, hyphens or underscores"


class ScheduleOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Options of the runs that a schedule starts."""

    mode: Any = None
    tables: Any = None
    reason: Annotated[str, Meta(min_length=1, max_length=256)] = REASON


class ScheduleEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of ``schedules`` in the file of a pipeline."""

    name: ScheduleName | None = None
    cron: Cron | None = None
    rate: Rate | None = None
    at: At | None = None
    timezone: TimeZone = TimeZone(DEFAULT_ZONE)
    options: ScheduleOptions = ScheduleOptions()
    enabled: bool = True

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.cron, self.rate, self.at)) != 1:
            raise InvalidField("expected one of cron, rate and at")

    @property
    def expression(self) -> str:
        kinds = (("cron", self.cron), ("rate", self.rate), ("at", self.at))
        return next(f"{kind}({value})" for kind, value in kinds if value is not None)


class _Entries(Struct, frozen=True, kw_only=True):
    schedules: Annotated[tuple[ScheduleEntry, ...], Meta(max_length=MAX_SCHEDULES)]


@dataclass(frozen=True)
class Schedule:
    """A schedule of a pipeline. ``options``: the execution's input without pipeline and delivery."""

    pipeline: str
    name: str
    expression: str
    timezone: str
    options: Mapping[str, Any]
    enabled: bool

    @property
    def full_name(self) -> str:
        return f"{self.pipeline}.{self.name}"

    def to_entry(self) -> dict[str, Any]:
        """Return the entry in a file; what is left out has its default."""
        kind, _, value = self.expression.partition("(")
        options = {key: value for key, value in self.options.items() if (key, value) != ("reason", REASON)}
        entry: dict[str, Any] = {"name": self.name, kind: value.removesuffix(")")}
        if self.timezone != DEFAULT_ZONE:
            entry["timezone"] = self.timezone
        if options:
            entry["options"] = options
        if not self.enabled:
            entry["enabled"] = False
        return entry


def read_schedules(pipeline: str, value: object, definition: Definition | None) -> list[Schedule]:
    """Return the schedules in the field ``schedules``. Raises ``InvalidInput`` with all problems.

    ``definition``: of the pipeline, if it is valid, to check that the options apply to it.
    """
    refused = partial(InvalidInput, f"The schedules of pipeline {pipeline!r}")
    entries = convert(_Entries, {"schedules": value}, refused).schedules
    problems = list(_option_problems(pipeline, entries, definition))
    schedules, names = [], set[str]()
    for index, entry in enumerate(entries):
        name = str(entry.name or index + 1)
        if name in names:
            problems.append(
                Problem(f"schedules.{index}.name", "two schedules of the pipeline have this name")
            )
        if len(f"{pipeline}.{name}") > MAX_NAME:
            most = MAX_NAME - len(pipeline) - 1
            problems.append(Problem(f"schedules.{index}.name", f"expected at most {most} characters"))
        names.add(name)
        options = {"mode": entry.options.mode, "tables": entry.options.tables, "reason": entry.options.reason}
        given = {key: value for key, value in options.items() if value is not None}
        schedules.append(
            Schedule(pipeline, name, entry.expression, str(entry.timezone), given, entry.enabled)
        )
    if problems:
        raise refused(problems)
    return schedules


def _option_problems(
    pipeline: str, entries: Sequence[ScheduleEntry], definition: Definition | None
) -> Sequence[Problem]:
    """Return options that no run, or no run of this pipeline, can have."""
    found: list[Problem] = []
    for index, entry in enumerate(entries):
        try:
            options = make_options(entry.options.mode, entry.options.tables, ())
            problems = inapplicable(pipeline, definition, options) if definition else []
        except InvalidTrigger as error:
            problems = list(error.problems)
        found.extend(Problem(f"schedules.{index}.options.{field}", text) for field, text in problems)
    return found


# ------------------------------------------------------------------------------------- EventBridge Scheduler


@dataclass(frozen=True)
class ScheduleTarget:
    """What the schedules of a stack start, and how. ``group``: the schedule group of the stack."""

    group: str
    state_machine: str
    role: str
    dead_letters: str


def to_request(schedule: Schedule, target: ScheduleTarget) -> dict[str, Any]:
    """Return the parameters of ``CreateSchedule`` and ``UpdateSchedule``."""
    run = {"pipeline": schedule.pipeline, **schedule.options, "delivery": DELIVERY}
    return {
        "Name": schedule.full_name,
        "GroupName": target.group,
        "Description": f"Starts pipeline {schedule.pipeline}; written by refresh push",
        "ScheduleExpression": schedule.expression,
        "ScheduleExpressionTimezone": schedule.timezone,
        "State": "ENABLED" if schedule.enabled else "DISABLED",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": target.state_machine,
            "RoleArn": target.role,
            "Input": json.dumps(run, ensure_ascii=False),
            "RetryPolicy": dict(RETRY),
            "DeadLetterConfig": {"Arn": target.dead_letters},
        },
    }


def from_response(response: Mapping[str, Any]) -> Schedule | None:
    """Return the schedule in an answer of ``GetSchedule``; None if no entry of a file can express it."""
    pipeline, _, name = str(response["Name"]).partition(".")
    expression = str(response["ScheduleExpression"])
    try:
        run = json.loads(response["Target"].get("Input", ""))
    except ValueError:
        return None
    is_ours = (
        re.fullmatch(NAME_PATTERN, pipeline)
        and isinstance(run, dict)
        and run.pop("pipeline", None) == pipeline
        and run.pop("delivery", None) == DELIVERY
    )
    if not is_ours:
        return None
    schedule = Schedule(
        pipeline,
        name,
        expression,
        str(response.get("ScheduleExpressionTimezone") or DEFAULT_ZONE),
        run,
        response.get("State") != "DISABLED",
    )
    try:
        read = read_schedules(pipeline, [schedule.to_entry()], None)
    except InvalidInput:
        return None
    return schedule if [each.to_entry() for each in read] == [schedule.to_entry()] else None


_COMPARED: Final = (
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "State",
    "FlexibleTimeWindow",
    "Target",
)


def comparable(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides whether two schedules do the same; the input as JSON."""
    compared = {name: request.get(name) for name in _COMPARED}
    compared["ScheduleExpressionTimezone"] = compared["ScheduleExpressionTimezone"] or DEFAULT_ZONE
    for name in ("StartDate", "EndDate"):
        if request.get(name) is not None:
            compared[name] = str(request[name])
    target = dict(compared["Target"] or {})
    with contextlib.suppress(ValueError):
        target["Input"] = json.loads(target.get("Input", ""))
    return {**compared, "Target": target}
