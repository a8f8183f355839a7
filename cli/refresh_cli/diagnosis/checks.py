"""The checks of a stack. Each is a few requests, or one for each secret and pipeline; nothing is changed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from celonis_refresh.aws.configuration import Secrets
from celonis_refresh.celonis.connection import parse_connection
from celonis_refresh.errors import RefreshError
from celonis_refresh.notifications.channels import AMAZON_Q, parse_channel
from celonis_refresh.notifications.messages import TOPIC
from celonis_refresh.pipelines.definition import Definition, parse_definition
from celonis_refresh.webhooks.sources import Source, parse_source
from celonis_refresh.webhooks.verification import secret_problem
from refresh_cli.api import RunsApi
from refresh_cli.aws_errors import DENIED
from refresh_cli.diagnosis.dead_letters import queue_length
from refresh_cli.diagnosis.findings import ASK, WORKERS, Command, DoctorFinding, Level, finding_of
from refresh_cli.errors import ApiUnavailable, CliError
from refresh_cli.stack import Stack

MAX_PIPELINES: Final = 200
ONLINE_SECONDS: Final = 120.0
"""After this time, no other pipeline is checked in Celonis."""
MAX_NAMES: Final = 100
"""Alarms that one ``DescribeAlarms`` takes."""
MIN_CONCURRENCY: Final = 100
TOPIC_OUTPUT: Final = "NoticesTopicArn"
THROTTLED_WITHIN: Final = timedelta(hours=24)

CREDENTIALS, STACK, VERSION, CONFIGURATION = "credentials", "stack", "version", "configuration"
SECRETS, CELONIS, PIPELINES, ALARMS = "secrets", "celonis", "pipelines", "alarms"
SUBSCRIPTIONS = "subscriptions"
DEAD_LETTERS, LAMBDA, STATES, PARAMETERS = "dead letters", "lambda quota", "step functions", "parameter store"


@dataclass
class StackConfiguration:
    """The pipelines and sources of a stack that are valid, by name; ``findings``: those that are not."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    findings: list[DoctorFinding] = field(default_factory=list)


def ok(check: str, message: str, subject: str = "") -> DoctorFinding:
    return DoctorFinding(Level.OK, check, subject, message)


# --------------------------------------------------------------------------------------------------- stack


def check_credentials(stack: Stack) -> Iterator[DoctorFinding]:
    """Whose credentials they are; needs no permission. Raises errors of boto3."""
    caller = stack.client("sts").get_caller_identity()
    yield ok(CREDENTIALS, f"AWS accepts them: {caller['Arn']}.")


def check_stack(stack: Stack) -> Iterator[DoctorFinding]:
    """Whether CloudFormation has finished, and finished well."""
    status = str(stack.description["StackStatus"])
    if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"):
        yield ok(STACK, f"{stack.where} is {status}; its address is {stack.api_url}.")
    elif status.endswith("_IN_PROGRESS"):
        text = f"{stack.where} is {status}."
        yield DoctorFinding(Level.WARNING, STACK, "", text, "Wait for its end.")
    else:
        text = f"{stack.where} is {status}: its last deployment failed."
        yield DoctorFinding(
            Level.ERROR, STACK, "", text, "Read the events of the stack, then deploy it again."
        )


def check_version(stack: Stack, own: str | None) -> Iterator[DoctorFinding]:
    """Whether the stack has the version of this tool. ``own``: None if the tool is not installed."""
    deployed = stack.outputs.get("Version")
    if deployed is None:
        text = "The stack has no output Version: it is older than this tool."
        yield DoctorFinding(Level.WARNING, VERSION, "", text, "Upgrade the stack (docs/deployment.md).")
    elif own is None:
        yield ok(VERSION, f"The stack has version {deployed}; the tool is not installed as a package.")
    elif deployed == own:
        yield ok(VERSION, f"The stack and the tool have version {own}.")
    else:
        older = "stack" if _numbers(deployed) < _numbers(own) else "tool"
        text = f"The stack has version {deployed}, the tool {own}."
        yield DoctorFinding(Level.WARNING, VERSION, "", text, f"Upgrade the {older} (docs/deployment.md).")


def own_version() -> str | None:
    """Return the version of the installed tool."""
    try:
        return version("celonis-refresh")
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(".") if part.isdecimal()]


# ------------------------------------------------------------------------------------------- configuration


def read_stack_configuration(stack: Stack, command: Command) -> StackConfiguration:
    """Read all pipelines and sources. Raises errors of boto3."""
    found = StackConfiguration()
    for name, text in _parameters(stack, "pipelines"):
        try:
            found.definitions[name] = parse_definition(name, text)
        except RefreshError as error:
            found.findings.append(_invalid(f"pipeline {name}", error, command))
    for name, text in _parameters(stack, "sources"):
        try:
            found.sources[name] = parse_source(name, text)
        except RefreshError as error:
            found.findings.append(_invalid(f"source {name}", error, command))
    found.findings += _unknown_pipelines(found)
    return found


def check_configuration(found: StackConfiguration) -> Iterator[DoctorFinding]:
    """Whether every pipeline and source can be read."""
    yield from found.findings
    if not found.findings:
        counts = f"{_number(found.definitions, 'pipeline')} and {_number(found.sources, 'source')}"
        yield ok(CONFIGURATION, f"{counts} are valid.")


def _parameters(stack: Stack, folder: str) -> Iterator[tuple[str, str]]:
    path = f"/{stack.name}/{folder}/"
    for page in stack.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=path):
        for each in page["Parameters"]:
            yield each["Name"].removeprefix(path), each["Value"]


def _invalid(subject: str, error: RefreshError, command: Command) -> DoctorFinding:
    action = f"Correct its file, then: {command('push', 'FOLDER')}"
    return DoctorFinding(Level.ERROR, CONFIGURATION, subject, error.message, action)


def _unknown_pipelines(found: StackConfiguration) -> Iterator[DoctorFinding]:
    invalid = {each.subject.removeprefix("pipeline ") for each in found.findings}
    for name, source in found.sources.items():
        for pipeline in sorted({rule.pipeline for rule in source.rules} - found.definitions.keys() - invalid):
            text = f"A rule starts pipeline {pipeline}, which does not exist."
            action = "Create the pipeline, or correct the rule."
            yield DoctorFinding(Level.ERROR, CONFIGURATION, f"source {name}", text, action)


def _number(things: Mapping[str, object] | Sequence[object], word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


# ------------------------------------------------------------------------------------------------- secrets


@dataclass(frozen=True)
class NeededSecret:
    """A secret that the configuration needs. ``read``: raises if it cannot be used; returns a remark.

    ``words``: those of the command that enters it; ``users``: the pipelines or sources that name it.
    """

    name: str
    words: tuple[str, str, str]
    user: str
    users: Sequence[str]
    read: Callable[[], str]

    @property
    def kind(self) -> str:
        """``connection``, ``webhook`` or ``channel``."""
        return self.words[1]


def needed_secrets(
    stack: Stack, found: StackConfiguration, default_channels: Sequence[str] = ()
) -> list[NeededSecret]:
    """Return the secrets of all pipelines, sources and channels, each once."""
    secrets = Secrets(stack.client("secretsmanager"), stack.name)
    connections, webhooks = defaultdict[str, list[str]](list), defaultdict[str, list[Source]](list)
    channels = defaultdict[str, list[str]](list)
    for name, definition in found.definitions.items():
        connections[str(definition.connection)].append(name)
        for channel in definition.notify.channels or ():
            channels[str(channel)].append(name)
    for source in found.sources.values():
        if source.secret:
            webhooks[str(source.secret)].append(source)
    for default in default_channels:
        channels[default].append("the stack")
    return [
        *(_connection(secrets, name, users) for name, users in connections.items()),
        *(_webhook(secrets, name, using, found.sources) for name, using in webhooks.items()),
        *(
            _channel(secrets, name, users)
            for name, users in channels.items()
            if name not in (TOPIC, AMAZON_Q)
        ),
    ]


def check_secrets(needed: Sequence[NeededSecret], where: str, command: Command) -> Iterator[DoctorFinding]:
    """Whether the readers of the service can use every secret. No value is returned."""
    results = [result for _, result in read_secrets(needed, where, command)]
    denied = [each.name for each, result in zip(needed, results, strict=True) if result is None]
    if denied:
        yield secrets_denied(denied)
    bad = [result for result in results if result is not None and result.level is not Level.OK]
    yield from bad
    good = len(results) - len(denied) - len(bad)
    if good or not needed:
        yield ok(SECRETS, f"{_number(range(good), 'secret')} can be used.")


def read_secrets(
    needed: Sequence[NeededSecret], where: str, command: Command
) -> list[tuple[NeededSecret, DoctorFinding | None]]:
    """Return what is wrong with each secret, or that nothing is; None if it may not be read."""
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(
            zip(needed, pool.map(lambda each: _read_secret(each, where, command), needed), strict=True)
        )


def secrets_denied(names: Sequence[str]) -> DoctorFinding:
    """Return the finding for secrets that may not be read."""
    text = f"Not checked: you may not call secretsmanager:GetSecretValue for {_some(names)}."
    return DoctorFinding(Level.WARNING, SECRETS, "", text, ASK)


def _read_secret(needed: NeededSecret, where: str, command: Command) -> DoctorFinding | None:
    subject = f"{needed.name} ({_users(needed.user, needed.users)})"
    try:
        remark = needed.read()
    except ClientError as error:
        if error.response["Error"]["Code"] in DENIED:
            return None
        return finding_of(error, SECRETS, "secretsmanager", where, subject)
    except RefreshError as error:
        action = f"Enter it: {command(*needed.words)}"
        return DoctorFinding(Level.ERROR, SECRETS, subject, error.message, action)
    except BotoCoreError as error:
        return finding_of(error, SECRETS, "secretsmanager", where, subject)
    if remark:
        action = f"End it: {command(*needed.words, '--drop-previous')}"
        return DoctorFinding(Level.WARNING, SECRETS, subject, remark, action)
    return ok(SECRETS, "", subject)


class UnusableSecret(RefreshError):
    """No request could match a webhook's secret."""


def _connection(secrets: Secrets, name: str, users: Sequence[str]) -> NeededSecret:
    full = f"{secrets.stack}/connections/{name}"

    def read() -> str:
        parse_connection(name, secrets.json_object(full, repr(full))[0], full)
        return ""

    return NeededSecret(full, ("secret", "connection", name), "pipeline", users, read)


def _webhook(
    secrets: Secrets, name: str, using: Sequence[Source], sources: Mapping[str, Source]
) -> NeededSecret:
    names = [source for source, each in sources.items() if each in using]

    def read() -> str:
        values = secrets.webhook(name).values
        for source in using:
            for value, which in zip(values, ("current", "previous"), strict=False):
                if problem := secret_problem(source.effective().scheme, value):
                    raise UnusableSecret(f"{which} cannot work: {problem}.")
        return "A rotation has not ended: the previous value is still accepted." if len(values) > 1 else ""

    full = f"{secrets.stack}/webhooks/{name}"
    return NeededSecret(full, ("secret", "webhook", name), "source", names, read)


def _channel(secrets: Secrets, name: str, users: Sequence[str]) -> NeededSecret:
    full = f"{secrets.stack}/channels/{name}"

    def read() -> str:
        parse_channel(name, secrets.json_object(full, repr(full))[0])
        return ""

    return NeededSecret(full, ("secret", "channel", name), "pipeline", users, read)


def channels_of_stack(stack: Stack) -> list[str]:
    """Return the default channels; none if the stack may not be read, which another check reports."""
    try:
        given = stack.description.get("Parameters", [])
    except (ClientError, BotoCoreError, CliError):
        return []
    values = [each["ParameterValue"] for each in given if each["ParameterKey"] == "NotificationChannels"]
    return [name for value in values for name in value.split(",") if name]


def _users(word: str, names: Sequence[str]) -> str:
    return f"{word} {_some(names)}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


# ------------------------------------------------------------------------------------------------ Celonis


def check_pipelines(
    api: RunsApi,
    names: Sequence[str],
    where: str,
    command: Command,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[DoctorFinding]:
    """What Celonis has of each pipeline. The stack asks Celonis; nothing is started."""
    end = clock() + ONLINE_SECONDS
    first, rest = names[:MAX_PIPELINES], list(names[MAX_PIPELINES:])

    def ask(name: str) -> list[DoctorFinding] | None:
        if clock() >= end:
            return None
        try:
            answer = api.post(f"/pipelines/{name}/check")
        except ApiUnavailable as error:
            return [_unavailable(name, error, api.url)]
        except (CliError, ClientError, BotoCoreError) as error:
            return [finding_of(error, PIPELINES, "execute-api", where, name)]
        return [_online_finding(name, each, command) for each in answer["findings"]]

    with ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(ask, first))
    rest = [name for name, answer in zip(first, answers, strict=True) if answer is None] + rest
    found = [finding for answer in answers for finding in answer or ()]
    yield from _celonis(found)
    yield from _grouped(each for each in found if each.check == PIPELINES and each.level is not Level.OK)
    bad = {each.subject for each in found if each.level is Level.ERROR}
    unchecked = {each.subject for each in found if each.message.startswith("Not checked")}
    good = len(first) - sum(answer is None for answer in answers) - len(bad | unchecked)
    if good or not names:
        yield ok(PIPELINES, f"{_number(range(good), 'pipeline')} can run: everything exists in Celonis.")
    if rest:
        text = f"{_number(rest, 'pipeline')} not checked in the available time: {_some(rest)}."
        action = f"Check them: {command('check', 'FOLDER', '--online')}"
        yield DoctorFinding(Level.WARNING, PIPELINES, "", text, action)


def _unavailable(name: str, error: ApiUnavailable, url: str) -> DoctorFinding:
    """Return the finding for an API that cannot answer, the same for all pipelines, so that it is one line.

    An API that answers nothing is an error; an answer that says "not now" is a warning.
    """
    if error.status:
        action = error.action or "Try again."
        return DoctorFinding(Level.WARNING, PIPELINES, name, f"Not checked: {error.what}.", action)
    return DoctorFinding(Level.ERROR, PIPELINES, name, f"{error.what}: {url}.", error.action)


def _online_finding(name: str, finding: Mapping[str, Any], command: Command) -> DoctorFinding:
    level, fact, subject = Level(str(finding["level"])), fact_of(finding), str(finding["subject"])
    if finding.get("field") == "connection":
        action = connection_action(finding, command)
        return DoctorFinding(level, CELONIS, name, f"{subject}: {fact}", action)
    text = ": ".join(filter(None, (str(finding.get("field") or ""), fact)))
    action = str(finding.get("hint") or "Correct the pipeline.") if level is Level.ERROR else ""
    return DoctorFinding(level, PIPELINES, name, text, action)


def fact_of(finding: Mapping[str, Any]) -> str:
    """Return the message of a finding of the API without what to do."""
    return str(finding["message"]).removesuffix(str(finding.get("hint") or "")).rstrip()


def connection_action(finding: Mapping[str, Any], command: Command) -> str:
    """Return what to do about what the API found of a connection; empty if nothing."""
    enter, hint = command("secret", "connection", str(finding["subject"])), str(finding.get("hint") or "")
    match finding.get("error"), finding.get("status"):
        case "SecretUnreadable" | "ConnectionInvalid" | "ConnectionUnusable", _:
            return f"Enter it: {enter}"
        case "AuthenticationFailed", _:
            return f"{hint} To enter the credentials again: {enter}"
        case "CelonisThrottled", _:
            return (
                "The credentials are not the cause. If this happens often, raise poll.floor or run fewer "
                f"jobs at a time. Wait a minute, then check again: {command('doctor')}"
            )
        case "CelonisUnavailable", None:
            return (
                "Check the address in the secret, and the network between the stack and Celonis (DNS, proxy, "
                f"firewall, TLS). To enter another address: {enter}"
            )
        case "CelonisUnavailable", int(status) if status < HTTPStatus.BAD_REQUEST:
            return f"{hint} To enter another address: {enter}"
    return hint


def _celonis(found: Iterable[DoctorFinding]) -> Iterator[DoctorFinding]:
    """One line for each connection and what Celonis says of it, however many pipelines use it."""
    users = defaultdict[tuple[Level, str, str], list[str]](list)
    for each in found:
        if each.check == CELONIS:
            users[each.level, each.message, each.action].append(each.subject)
    for (level, message, action), names in users.items():
        yield DoctorFinding(level, CELONIS, _users("pipeline", names), message, action)


def _grouped(found: Iterable[DoctorFinding]) -> Iterator[DoctorFinding]:
    """What is the same for several pipelines is one line."""
    subjects = defaultdict[tuple[Level, str, str], list[str]](list)
    for each in found:
        subjects[each.level, each.message, each.action].append(each.subject)
    for (level, message, action), names in subjects.items():
        yield DoctorFinding(level, PIPELINES, _some(names), message, action)


# ---------------------------------------------------------------------------------- alarms and dead letters


def check_alarms(stack: Stack) -> Iterator[DoctorFinding]:
    """The alarms of the stack that are in the state ALARM. Raises errors of boto3."""
    names = list(_alarm_names(stack))
    client = stack.client("cloudwatch")
    alarming: list[Mapping[str, Any]] = []
    for start in range(0, len(names), MAX_NAMES):
        answer = client.describe_alarms(AlarmNames=names[start : start + MAX_NAMES], MaxRecords=MAX_NAMES)
        alarming += [each for each in answer["MetricAlarms"] if each["StateValue"] == "ALARM"]
    for alarm in alarming:
        text, _, runbook = str(alarm.get("AlarmDescription") or "").partition("Runbook ")
        action = f"Follow {runbook}." if runbook else "Open it in CloudWatch."
        message = text.strip() or "The alarm is in the state ALARM."
        yield DoctorFinding(Level.ERROR, ALARMS, str(alarm["AlarmName"]), message, action)
    if not alarming:
        yield ok(ALARMS, f"{_number(names, 'alarm')}, none in the state ALARM.")


def _alarm_names(stack: Stack) -> Iterator[str]:
    for each in stack.resources:
        if each["ResourceType"] == "AWS::CloudWatch::Alarm" and each.get("PhysicalResourceId"):
            yield str(each["PhysicalResourceId"])


def check_subscriptions(stack: Stack) -> Iterator[DoctorFinding]:
    """Whether the topic has a confirmed subscription. Raises errors of boto3."""
    pages = stack.client("sns").get_paginator("list_subscriptions_by_topic")
    found = [
        each for page in pages.paginate(TopicArn=stack.output(TOPIC_OUTPUT)) for each in page["Subscriptions"]
    ]
    confirmed = [each for each in found if each["SubscriptionArn"].startswith("arn:")]
    if confirmed:
        yield ok(SUBSCRIPTIONS, f"The topic has {_number(confirmed, 'confirmed subscription')}.")
        return
    text = "Nobody receives alarms, and notifications of pipelines that name no other channel: "
    if found:
        text += f"of {_number(found, 'subscription')} of the topic, none is confirmed."
        action = "Open the link in the mail of AWS that asks for it."
    else:
        text += "the topic has no subscription."
        action = "Add one (docs/notifications.md)."
    yield DoctorFinding(Level.WARNING, SUBSCRIPTIONS, "", text, action)


def check_dead_letters(stack: Stack, command: Command) -> Iterator[DoctorFinding]:
    """How many messages are in the dead-letter queue. Raises errors of boto3."""
    waiting = queue_length(stack)
    if not waiting:
        yield ok(DEAD_LETTERS, "The queue is empty.")
        return
    text = f"{_number(range(waiting), 'message')}: ends of runs or starts of schedules that were given up."
    action = f"Fix the cause (docs/runbooks/dead-letters.md), then: {command('doctor', '--redrive')}"
    yield DoctorFinding(Level.ERROR, DEAD_LETTERS, "", text, action)


# -------------------------------------------------------------------------------------------------- quotas


def check_lambda(stack: Stack) -> Iterator[DoctorFinding]:
    """How many functions can run at the same time in the account. Raises errors of boto3."""
    limits = stack.client("lambda").get_account_settings()["AccountLimit"]
    free = int(limits["UnreservedConcurrentExecutions"])
    text = f"{free} of {limits['ConcurrentExecutions']} concurrent executions are not reserved."
    if free >= MIN_CONCURRENCY:
        yield ok(LAMBDA, text)
    else:
        action = "Request a higher quota, or reserve some for the trigger (ReservedConcurrency)."
        yield DoctorFinding(Level.WARNING, LAMBDA, "", text, action)


def check_states(stack: Stack, now: datetime) -> Iterator[DoctorFinding]:
    """Whether state transitions were throttled in the last day. Raises errors of boto3."""
    metric = {
        "Namespace": "AWS/States",
        "MetricName": "ThrottledEvents",
        "Dimensions": [{"Name": "ServiceMetric", "Value": "StateTransition"}],
    }
    period = int(THROTTLED_WITHIN.total_seconds())
    answer = stack.client("cloudwatch").get_metric_statistics(
        **metric, StartTime=now - THROTTLED_WITHIN, EndTime=now, Period=period, Statistics=["Sum"]
    )
    throttled = int(sum(each["Sum"] for each in answer["Datapoints"]))
    if not throttled:
        yield ok(STATES, "No state transition of the account was throttled in the last 24 hours.")
    else:
        text = f"{throttled} state transitions of the account were throttled in the last 24 hours."
        action = "Request a higher quota of state transitions, or spread the schedules."
        yield DoctorFinding(Level.WARNING, STATES, "", text, action)


def check_parameter_store(stack: Stack) -> Iterator[DoctorFinding]:
    """Whether the higher throughput is enabled. Raises errors of boto3."""
    setting = "/ssm/parameter-store/high-throughput-enabled"
    value = stack.client("ssm").get_service_setting(SettingId=setting)["ServiceSetting"]["SettingValue"]
    if value == "true":
        yield ok(PARAMETERS, "The higher throughput is enabled.")
    else:
        text = "40 reads a second in the account, enough for 80 webhooks a second (docs/limits.md)."
        yield ok(PARAMETERS, text)
