"""``doctor``: one line for each check, with what to do; and the dead-letter queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest
from botocore.exceptions import ClientError
from click.testing import Result

from celonis_refresh.pipelines.definition import Definition, parse_definition
from refresh_cli.api import RunsApi
from refresh_cli.app import App
from refresh_cli.commands import doctor
from refresh_cli.diagnosis import checks, dead_letters
from refresh_cli.diagnosis.checks import StackConfiguration
from tests.cli.fake_api import FakeApi, Sent, serving
from tests.cli.fake_stack import ACCOUNT, NAME, OUTPUTS, OWNED_PIPELINE, REGION, FakeStack, fake_stack
from tests.template import documents

VALUE = "value-that-nobody-may-see"
MACHINE = OUTPUTS["StateMachineArn"]
POOL, MODEL = "6f3ad3a2-5b0e-4c7f-9a43-1d2f8c6e0b71", "a1b2c3d4-0002-4e5f-8a9b-0c1d2e3f4a5b"
PIPELINE = {"data_pool": POOL, "loads": [{"data_model": MODEL}]}
CONNECTION = {
    "base_url": "https://acme.eu-1.celonis.cloud",
    "auth": {"type": "oauth_client", "client_id": "id", "client_secret": VALUE},
}
EXISTS = {"level": "ok", "field": "data_pool", "subject": POOL, "message": "The data pool is visible."}
SIGNED_IN = {"level": "ok", "field": "connection", "subject": "default", "message": "Celonis accepts it."}


class Doctor:
    """The command against a stack in moto and a fake API."""

    def __init__(self, stack: FakeStack, api: FakeApi) -> None:
        self.stack, self.api = stack, api
        self._denied: list[tuple[Any, str, Any]] = []
        self.answer(OWNED_PIPELINE)

    def answer(self, pipeline: str, *findings: dict[str, Any]) -> None:
        """Set what Celonis has of a pipeline; by default, everything."""
        found = list(findings) or [SIGNED_IN, EXISTS]
        is_ok = all(each["level"] != "error" for each in found)
        document = {"pipeline": pipeline, "ok": is_ok, "findings": found}
        self.api.answer(f"POST /pipelines/{pipeline}/check", (200, document))

    def run(self, *arguments: str) -> Result:
        ended = self.stack.run("doctor", *arguments, api_url=self.api.url)
        assert VALUE not in ended.output
        assert [name for name in self.stack.written if name not in ("DeleteMessage",)] == []
        return ended

    def findings(self, check: str, exit_code: int = 0) -> list[tuple[str, str, str, str]]:
        """The findings of a check: level, subject, message, action."""
        ended = self.run("--json")
        assert ended.exit_code == exit_code, ended.output
        return [
            (each["level"], each["subject"], each["message"], each["action"])
            for each in json.loads(ended.stdout)["findings"]
            if each["check"] == check
        ]

    def put(self, folder: str, name: str, document: Any) -> None:
        value = json.dumps(document)
        parameter = f"/{NAME}/{folder}/{name}"
        self.stack.client("ssm").put_parameter(Name=parameter, Value=value, Type="String", Overwrite=True)

    def secret(self, name: str, document: Any) -> None:
        self.stack.client("secretsmanager").create_secret(
            Name=f"{NAME}/{name}", SecretString=json.dumps(document)
        )

    def deny(self, service: str, operation: str) -> None:
        """Let AWS refuse an operation."""

        def refuse(model: Any, **_: Any) -> None:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, model.name)

        event = f"before-parameter-build.{service}.{operation}"
        self.stack.client(service).meta.events.register(event, refuse)
        self._denied.append((service, event, refuse))

    def remove(self) -> None:
        """Remove what other tests of this process must not find in moto."""
        for service, event, refuse in self._denied:
            self.stack.client(service).meta.events.unregister(event, refuse)
        client = self.stack.client
        client("sqs").delete_queue(QueueUrl=OUTPUTS["DeadLettersUrl"])
        client("sns").delete_topic(TopicArn=OUTPUTS["NoticesTopicArn"])
        client("stepfunctions").delete_state_machine(stateMachineArn=MACHINE)
        client("cloudwatch").delete_alarms(AlarmNames=list(ALARMS))


@pytest.fixture
def healthy() -> Iterator[Doctor]:
    """A stack without problems."""
    api = FakeApi()
    with serving(api.take) as api.url, fake_stack() as stack:
        stack.stack.known_outputs = {**OUTPUTS, "Version": checks.own_version() or "0.1.0"}
        stack.client("sqs").create_queue(QueueName="dead-letters")
        stack.client("sns").create_topic(Name="notices")
        subscribe(stack)
        made = Doctor(stack, api)
        made.secret("connections/default", CONNECTION)
        made.secret("webhooks/github", {"current": VALUE})
        # The account settings and the setting of Parameter Store are not in moto.
        for service, operation, response in (
            ("lambda", "GetAccountSettings", {"AccountLimit": concurrency(1000)}),
            ("ssm", "GetServiceSetting", {"ServiceSetting": {"SettingValue": "false"}}),
        ):
            answer_with(stack, service, operation, response)
        try:
            yield made
        finally:
            made.remove()


def subscribe(stack: FakeStack) -> str:
    answer = stack.client("sns").subscribe(
        TopicArn=OUTPUTS["NoticesTopicArn"], Protocol="email", Endpoint="ana@example.com"
    )
    return str(answer["SubscriptionArn"])


def concurrency(free: int) -> dict[str, int]:
    return {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": free}


def answer_with(stack: FakeStack, service: str, operation: str, response: dict[str, Any]) -> None:
    client = stack.client(service)
    name = {"GetAccountSettings": "get_account_settings", "GetServiceSetting": "get_service_setting"}[
        operation
    ]
    setattr(client, name, lambda **_: response)


def test_a_healthy_stack_has_one_line_for_each_check_and_no_errors(healthy: Doctor) -> None:
    ended = healthy.run()
    assert ended.exit_code == 0, ended.output
    lines = [line.split("  ") for line in ended.stdout.splitlines()[1:-2]]
    assert {line[0] for line in lines} == {"ok"}
    assert len(lines) == 13
    assert ended.stdout.endswith("0 errors, 0 warnings.\n")
    assert healthy.api.requests() == [f"POST /pipelines/{OWNED_PIPELINE}/check"]


def test_pipelines_and_sources_that_are_not_valid(healthy: Doctor) -> None:
    healthy.put("pipelines", "billing", {"data_pool": POOL})
    healthy.put("sources", "dbt", {"sender": "nobody"})
    healthy.put("sources", "sap", {"sender": "sap", "secret": "github", "rules": [{"pipeline": "gone"}]})
    found = healthy.findings(checks.CONFIGURATION, exit_code=1)
    assert [(level, subject) for level, subject, _, _ in found] == [
        ("error", "pipeline billing"),
        ("error", "source dbt"),
        ("error", "source sap"),
    ]
    assert "gone, which does not exist" in found[2][2]


def test_secrets_that_cannot_be_used_name_their_users_and_the_command(healthy: Doctor) -> None:
    rules = [{"pipeline": OWNED_PIPELINE}]
    healthy.put("sources", "dbt", {"sender": "dbt_cloud", "secret": "dbt", "rules": rules})
    healthy.put("sources", "sap", {"sender": "sap", "secret": "sap", "rules": rules})
    healthy.put("sources", "qlik", {"sender": "qlik", "secret": "qlik", "rules": rules})
    healthy.secret("webhooks/sap", {"current": VALUE})
    healthy.secret("webhooks/qlik", {"current": VALUE, "previous": VALUE})
    healthy.secret("channels/ops", {"type": "slack", "url": f"ftp://{VALUE}"})
    healthy.put(
        "pipelines", "a", {**PIPELINE, "connection": "team-b", "notify": {"channels": ["ops", "topic"]}}
    )
    healthy.answer("a")
    found = {subject: rest for _, subject, *rest in healthy.findings(checks.SECRETS, exit_code=1)}
    assert set(found) == {
        "",
        f"{NAME}/connections/team-b (pipeline a)",
        f"{NAME}/webhooks/dbt (source dbt)",
        f"{NAME}/webhooks/sap (source sap)",
        f"{NAME}/webhooks/qlik (source qlik)",
        f"{NAME}/channels/ops (pipeline a)",
    }
    assert found[f"{NAME}/webhooks/dbt (source dbt)"][1] == "Enter it: refresh secret webhook dbt"
    assert "does not exist" in found[f"{NAME}/webhooks/dbt (source dbt)"][0]
    assert "expected user:password" in found[f"{NAME}/webhooks/sap (source sap)"][0]
    assert "--drop-previous" in found[f"{NAME}/webhooks/qlik (source qlik)"][1]
    assert found[""][0] == "2 secrets can be used."


@pytest.mark.parametrize(
    ("service", "operation", "check", "action"),
    [
        ("secretsmanager", "GetSecretValue", checks.SECRETS, "secretsmanager:GetSecretValue"),
        ("ssm", "GetParametersByPath", checks.CONFIGURATION, "ssm:GetParametersByPath"),
        ("sqs", "GetQueueAttributes", checks.DEAD_LETTERS, "sqs:GetQueueAttributes"),
        ("cloudwatch", "DescribeAlarms", checks.ALARMS, "cloudwatch:DescribeAlarms"),
        ("sns", "ListSubscriptionsByTopic", checks.SUBSCRIPTIONS, "sns:ListSubscriptionsByTopic"),
        ("cloudwatch", "GetMetricStatistics", checks.STATES, "cloudwatch:GetMetricStatistics"),
        ("cloudformation", "DescribeStacks", checks.STACK, "cloudformation:DescribeStacks"),
        ("cloudformation", "ListStackResources", checks.ALARMS, "cloudformation:ListStackResources"),
    ],
)
def test_what_may_not_be_read_is_a_warning_that_names_the_action(
    healthy: Doctor, service: str, operation: str, check: str, action: str
) -> None:
    if operation == "DescribeAlarms":
        add_alarm(healthy)
    healthy.deny(service, operation)
    ((level, _, message, _),) = healthy.findings(check)
    assert level == "warning"
    assert f"you may not call {action}" in message


def test_without_permission_for_the_api_one_warning_is_shown(healthy: Doctor) -> None:
    for name in ("a", "b"):
        healthy.put("pipelines", name, PIPELINE)
    with serving(lambda _: (403, {"message": "Forbidden"})) as healthy.api.url:
        found = healthy.findings(checks.PIPELINES)
    assert {level for level, *_ in found} == {"warning"}
    assert all("execute-api:Invoke" in message for _, _, message, _ in found)


def test_credentials_that_aws_does_not_accept_end_the_command(healthy: Doctor) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "expired"}}, "GetCallerIdentity")

    healthy.stack.client("sts").meta.events.register("before-parameter-build.sts", refuse)
    ended = healthy.run()
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "AWS does not accept the credentials" in ended.stderr


def test_what_celonis_lacks_is_an_error_of_the_pipeline(healthy: Doctor) -> None:
    gone = {"level": "error", "field": "loads.0.data_model", "subject": MODEL, "message": "It was not found."}
    healthy.put("pipelines", "billing", PIPELINE)
    healthy.answer("billing", SIGNED_IN, gone)
    bad, good = healthy.findings(checks.PIPELINES, exit_code=1)
    assert bad[:3] == ("error", "billing", "loads.0.data_model: It was not found.")
    assert good[2].startswith("1 pipeline can run")


def test_credentials_that_celonis_refuses_are_one_line_for_all_pipelines(healthy: Doctor) -> None:
    refused = {**SIGNED_IN, "level": "error", "message": "Celonis refused the credentials."}
    for name in ("a", "b", "c", "d"):
        healthy.put("pipelines", name, PIPELINE)
        healthy.answer(name, refused)
    found = healthy.findings(checks.CELONIS, exit_code=1)
    assert [each[:3] for each in found if each[0] == "error"] == [
        ("error", "pipeline a, b, c and 1 more", "default: Celonis refused the credentials.")
    ]


ENTER = "refresh secret connection default"
THROTTLED = (
    "The credentials are not the cause. If this happens often, raise poll.floor or run fewer jobs at a time. "
    "Wait a minute, then check again: refresh doctor"
)
UNREACHABLE = (
    "Check the address in the secret, and the network between the stack and Celonis (DNS, proxy, firewall, "
    f"TLS). To enter another address: {ENTER}"
)


@pytest.mark.parametrize(
    ("error", "status", "advice"),
    [
        ("AuthenticationFailed", 401, f"Do this. To enter the credentials again: {ENTER}"),
        ("SecretUnreadable", None, f"Enter it: {ENTER}"),
        ("ConnectionInvalid", None, f"Enter it: {ENTER}"),
        (
            "CelonisUnavailable",
            None,
            UNREACHABLE,
        ),
        ("CelonisUnavailable", 503, "Do this."),
        ("CelonisUnavailable", 200, f"Do this. To enter another address: {ENTER}"),
        ("CelonisUnavailable", 302, f"Do this. To enter another address: {ENTER}"),
        (
            "CelonisThrottled",
            429,
            THROTTLED,
        ),
        (None, None, ""),
    ],
)
def test_what_to_do_about_a_connection_depends_on_what_happened(
    healthy: Doctor, error: str | None, status: int | None, advice: str
) -> None:
    details: dict[str, Any] = {"error": error, "status": status, "hint": "Do this." if error else None}
    message = "It failed. The rest was not checked. Do this."
    finding: dict[str, Any] = {
        "level": "error",
        "field": "connection",
        "subject": "default",
        "message": message,
    }
    finding |= {name: value for name, value in details.items() if value}
    healthy.answer(OWNED_PIPELINE, finding)
    ((_, _, text, action),) = healthy.findings(checks.CELONIS, exit_code=1)
    assert action == advice
    assert text == f"default: {message.removesuffix(' Do this.') if error else message}"


def test_a_permission_that_celonis_denies_is_named_and_not_called_a_mistake(healthy: Doctor) -> None:
    hint = "Permission needed in Celonis: view the data pool."
    denied = {"level": "error", "field": "jobs.0.job", "subject": "job", "message": f"Denied. {hint}"}
    healthy.answer(OWNED_PIPELINE, SIGNED_IN, {**denied, "error": "PermissionDenied", "hint": hint})
    (finding,) = healthy.findings(checks.PIPELINES, exit_code=1)
    assert finding == ("error", OWNED_PIPELINE, "jobs.0.job: Denied.", hint)


def test_an_api_without_an_answer_is_a_warning(healthy: Doctor) -> None:
    healthy.api.answer(
        f"POST /pipelines/{OWNED_PIPELINE}/check", (503, {"error": "Busy", "message": "Busy."})
    )
    ((level, subject, *_),) = healthy.findings(checks.PIPELINES)
    assert (level, subject) == ("warning", OWNED_PIPELINE)


def test_an_api_that_is_silent_is_one_error_for_all_pipelines(healthy: Doctor) -> None:
    healthy.put("pipelines", "a", PIPELINE)
    with serving(lambda _: (200, {})) as url:
        pass  # nobody listens there any more
    healthy.api.url = url
    ((level, subject, message, action),) = healthy.findings(checks.PIPELINES, exit_code=1)
    assert (level, subject) == ("error", f"a, {OWNED_PIPELINE}")
    assert message == f"The API did not answer: {url}."
    assert action == "Check the network and the stack, then try again."


def test_a_stack_that_does_not_exist_is_one_sentence(healthy: Doctor) -> None:
    healthy.stack.stack.name = "nosuch"
    ended = healthy.run()
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("Error: There is no such stack: stack nosuch")
    assert ended.stderr.count("nosuch") == 1


def test_quotas_of_a_local_stack_are_not_checked(healthy: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = healthy.stack.client("ssm").meta
    monkeypatch.setattr(meta, "_endpoint_url", "http://127.0.0.1:4566")
    for check in (checks.LAMBDA, checks.STATES, checks.PARAMETERS):
        assert healthy.findings(check) == []


def test_the_checks_in_celonis_are_bounded_in_number_and_in_time() -> None:
    asked: list[str] = []

    def take(sent: Sent) -> tuple[int, Any]:
        asked.append(sent.path)
        return 200, {"findings": [SIGNED_IN]}

    class Keys:
        access_key, secret_key, token = "AKIATEST", "secret", None

    names = [f"p{number}" for number in range(checks.MAX_PIPELINES + 5)]
    times = iter([0.0] * 4 + [checks.ONLINE_SECONDS] * len(names))
    with serving(take) as url:
        api = RunsApi(url, REGION, Keys, is_local=True)
        found = list(checks.check_pipelines(api, names, "here", App().command, lambda: next(times)))
    assert len(asked) == 3
    assert found[-1].message.startswith(f"{len(names) - 3} pipelines not checked in the available time")


ALARMS = ("letters", "of-others")


def add_alarm(healthy: Doctor, state: str = "OK") -> None:
    client = healthy.stack.client("cloudwatch")
    text = "The end of a run could not be recorded. Runbook docs/runbooks/dead-letters.md"
    client.put_metric_alarm(
        AlarmName="letters", AlarmDescription=text, MetricName="m", Namespace="n", Period=60,
        EvaluationPeriods=1, Threshold=0, ComparisonOperator="GreaterThanThreshold", Statistic="Sum",
    )  # fmt: skip
    client.put_metric_alarm(
        AlarmName="of-others", MetricName="m", Namespace="n", Period=60,
        EvaluationPeriods=1, Threshold=0, ComparisonOperator="GreaterThanThreshold", Statistic="Sum",
    )  # fmt: skip
    for name in ALARMS:
        client.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")
    resource = {
        "LogicalResourceId": "A",
        "ResourceType": "AWS::CloudWatch::Alarm",
        "PhysicalResourceId": "letters",
    }
    healthy.stack.stack.resources = [resource]


def test_a_topic_to_which_nobody_is_subscribed_is_a_warning(healthy: Doctor) -> None:
    assert healthy.findings(checks.SUBSCRIPTIONS) == [
        ("ok", "", "The topic has 1 confirmed subscription.", "")
    ]
    client = healthy.stack.client("sns")
    for each in client.list_subscriptions()["Subscriptions"]:
        client.unsubscribe(SubscriptionArn=each["SubscriptionArn"])
    ((level, _, message, action),) = healthy.findings(checks.SUBSCRIPTIONS)
    assert level == "warning"
    assert message.endswith("the topic has no subscription.")
    assert action == "Add one (docs/notifications.md)."


def test_a_subscription_that_was_not_confirmed_is_a_warning(healthy: Doctor) -> None:
    def pending(parsed: dict[str, Any], **_: Any) -> None:
        for each in parsed["Subscriptions"]:
            each["SubscriptionArn"] = "PendingConfirmation"

    event = "after-call.sns.ListSubscriptionsByTopic"
    healthy.stack.client("sns").meta.events.register(event, pending)
    ((level, _, message, action),) = healthy.findings(checks.SUBSCRIPTIONS)
    assert level == "warning"
    assert message.endswith("of 1 subscription of the topic, none is confirmed.")
    assert "mail" in action


def test_alarms_in_other_states_are_ok(healthy: Doctor) -> None:
    add_alarm(healthy, "INSUFFICIENT_DATA")
    ((level, _, message, _),) = healthy.findings(checks.ALARMS)
    assert (level, message) == ("ok", "1 alarm, none in the state ALARM.")


def test_an_alarm_of_the_stack_names_its_runbook(healthy: Doctor) -> None:
    add_alarm(healthy, "ALARM")
    found = healthy.findings(checks.ALARMS, exit_code=1)
    assert found == [
        (
            "error",
            "letters",
            "The end of a run could not be recorded.",
            "Follow docs/runbooks/dead-letters.md.",
        )
    ]


@pytest.mark.parametrize(
    ("deployed", "own", "level", "action"),
    [
        ("0.1.0", "0.1.0", "ok", ""),
        ("0.9.0", "0.10.0", "warning", "Upgrade the stack (docs/deployment.md)."),
        ("1.0.0", "0.10.0", "warning", "Upgrade the tool (docs/deployment.md)."),
        (None, "0.1.0", "warning", "Upgrade the stack (docs/deployment.md)."),
    ],
)
def test_versions(healthy: Doctor, deployed: str | None, own: str, level: str, action: str) -> None:
    healthy.stack.stack.known_outputs = {**OUTPUTS, **({"Version": deployed} if deployed else {})}
    (found,) = checks.check_version(healthy.stack.stack, own)
    assert (found.level, found.action) == (level, action)


def test_the_version_of_the_template_is_that_of_the_package() -> None:
    text = (documents.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{documents.template()["Outputs"]["Version"]["Value"]}"\n' in text


def test_a_deployment_that_failed(healthy: Doctor) -> None:
    healthy.stack.stack.description = {"StackStatus": "UPDATE_ROLLBACK_COMPLETE"}
    ((level, *_),) = healthy.findings(checks.STACK, exit_code=1)
    assert level == "error"


def test_quotas_that_are_low_are_warnings(healthy: Doctor) -> None:
    answer_with(healthy.stack, "lambda", "GetAccountSettings", {"AccountLimit": concurrency(10)})
    ((level, _, message, _),) = healthy.findings(checks.LAMBDA)
    assert (level, message) == ("warning", "10 of 1000 concurrent executions are not reserved.")
    now = datetime.now(UTC)
    healthy.stack.client("cloudwatch").put_metric_data(
        Namespace="AWS/States",
        MetricData=[
            {
                "MetricName": "ThrottledEvents",
                "Dimensions": [{"Name": "ServiceMetric", "Value": "StateTransition"}],
                "Timestamp": now - timedelta(hours=1),
                "Value": 7,
            }
        ],
    )
    (throttled,) = checks.check_states(healthy.stack.stack, now)
    assert (throttled.level, throttled.message[:2]) == ("warning", "7 ")


def test_default_channels_of_the_stack_need_their_secret(healthy: Doctor) -> None:
    given = [{"ParameterKey": "NotificationChannels", "ParameterValue": "topic,ops"}]
    healthy.stack.stack.description = {"Parameters": given}
    stack, found = healthy.stack.stack, StackConfiguration(definitions=definitions())
    needed = checks.needed_secrets(stack, found, checks.channels_of_stack(stack))
    assert [each.name for each in needed] == [f"{NAME}/connections/default", f"{NAME}/channels/ops"]


def definitions() -> dict[str, Definition]:
    return {"a": parse_definition("a", json.dumps(PIPELINE))}


# -------------------------------------------------------------------------------------------- dead letters

END = {"detail": {"executionArn": "arn:run-1", "stateMachineArn": MACHINE, "name": "run-1"}}
START = {"pipeline": OWNED_PIPELINE, "delivery": "schedule/2026-01-01T04:00:00Z"}


def message(body: Any, **attributes: str) -> dict[str, Any]:
    values = {name: {"StringValue": value} for name, value in attributes.items()}
    text = body if isinstance(body, str) else json.dumps(body)
    return {"MessageId": "id", "ReceiptHandle": "handle", "Body": text, "MessageAttributes": values}


@pytest.mark.parametrize(
    ("body", "kind", "subject", "payload"),
    [
        (END, "end of a run", "run-1", END),
        (
            {"requestPayload": END, "requestContext": {"condition": "RetriesExhausted"}},
            "end of a run",
            "run-1",
            END,
        ),
        (START, "start by a schedule", OWNED_PIPELINE, START),
        ({"detail": {**END["detail"], "stateMachineArn": "of others"}}, "unknown", "run-1", None),
        ({"requestPayload": "text"}, "unknown", "", {}),
        ("no json", "unknown", "", {}),
        ([1], "unknown", "", {}),
        ({"pipeline": "Not A Name"}, "unknown", "", None),
    ],
)
def test_what_a_message_is(body: Any, kind: str, subject: str, payload: Any) -> None:
    letter = dead_letters.read_letter(message(body), MACHINE)
    assert (letter.kind, letter.subject) == (kind, subject)
    assert payload is None or json.loads(letter.payload) == payload


def test_an_input_that_was_cut_off_is_not_started() -> None:
    letter = dead_letters.read_letter(message(START, IS_PAYLOAD_TRUNCATED="true"), MACHINE)
    assert letter.kind == "unknown"


@pytest.fixture
def letters(healthy: Doctor) -> Doctor:
    """A start by a schedule, and a message that nobody understands."""
    states = healthy.stack.client("stepfunctions")
    definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})
    role = f"arn:aws:iam::{ACCOUNT}:role/machine"
    states.create_state_machine(name="refresh", definition=definition, roleArn=role)
    for body in (START, {"text": "of others"}):
        healthy.stack.client("sqs").send_message(
            QueueUrl=OUTPUTS["DeadLettersUrl"], MessageBody=json.dumps(body)
        )
    return healthy


def executions(letters: Doctor) -> list[dict[str, Any]]:
    found = letters.stack.client("stepfunctions").list_executions(stateMachineArn=MACHINE)["executions"]
    return list(found)


def length(letters: Doctor) -> int:
    return dead_letters.queue_length(letters.stack.stack)


def test_messages_are_counted_with_the_command_that_processes_them(letters: Doctor) -> None:
    ((level, _, message, action),) = letters.findings(checks.DEAD_LETTERS, exit_code=1)
    assert (level, message[:10]) == ("error", "2 messages")
    assert "refresh doctor --redrive" in action


def test_redrive_starts_what_a_schedule_could_not_and_keeps_what_it_does_not_know(letters: Doctor) -> None:
    ended = letters.run("--redrive", "--yes")
    assert ended.exit_code == 1
    assert f"start by a schedule {OWNED_PIPELINE} is started" in ended.stdout
    assert "failed: unknown: The message is neither the end of a run nor a start" in ended.stdout
    (execution,) = executions(letters)
    described = letters.stack.client("stepfunctions").describe_execution(
        executionArn=execution["executionArn"]
    )
    assert json.loads(described["input"]) == START
    assert execution["name"].startswith("redrive-")
    assert length(letters) == 1
    again = json.loads(letters.run("--redrive", "--yes", "--json").stdout)
    assert (again["processed"], len(again["failed"])) == ([], 1)
    assert len(executions(letters)) == 1


def test_redrive_needs_a_confirmation(letters: Doctor) -> None:
    ended = letters.run("--redrive")
    assert (ended.exit_code, executions(letters), length(letters)) == (2, [], 2)
    assert "there is no terminal to ask" in ended.stderr


def test_redrive_that_is_declined_leaves_the_messages_visible(
    letters: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(doctor, "sys", type("sys", (), {"stdin": Terminal()}))
    monkeypatch.setattr(click, "confirm", declined)
    assert letters.run("--redrive").exit_code == 1
    assert executions(letters) == []
    assert len(dead_letters.DeadLetters(letters.stack.stack).receive()) == 2


def declined(*_: Any, **__: Any) -> None:
    raise click.Abort


def test_an_empty_queue(healthy: Doctor) -> None:
    ended = healthy.run("--redrive", "--yes")
    assert (ended.exit_code, ended.stdout) == (0, "The dead-letter queue is empty.\n")
