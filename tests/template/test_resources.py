"""Rules for the template as a whole."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest

from tests.template import documents

PARAMETERS: documents.Document = documents.template()["Parameters"]
OUTPUTS: documents.Document = documents.template()["Outputs"]
CONSTRAINTS = {"AllowedValues", "AllowedPattern", "MinValue", "MaxValue", "MinLength", "MaxLength"}
DEAD_LETTERS = {"Fn::GetAtt": ["DeadLetters", "Arn"]}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_described_constrained_and_has_a_default(name: str) -> None:
    parameter = PARAMETERS[name]
    assert parameter["Description"]
    assert "Default" in parameter
    assert CONSTRAINTS & set(parameter)


@pytest.mark.parametrize(
    ("table", "allowed"),
    [
        ("", True),
        ("VBAK", True),
        ("Sales orders (ö/ß) {x}", True),
        ('VBAK"', False),
        ("VBAK\\", False),
        ("VB\nAK", False),
    ],
)
def test_the_name_of_a_table_stays_inside_the_json_that_it_is_put_into(table: str, *, allowed: bool) -> None:
    pattern = PARAMETERS["Tables"]["AllowedPattern"]
    assert (re.fullmatch(pattern, table) is not None) is allowed


def test_the_environments_of_samconfig_set_parameters_that_there_are() -> None:
    config = tomllib.loads((documents.ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    assert set(config) == {"version", "dev", "prod"}
    for name in ("dev", "prod"):
        given = config[name]["deploy"]["parameters"]
        assert given["capabilities"] == "CAPABILITY_IAM"
        assert len(given["stack_name"]) <= 51
        for parameter, _, value in (each.partition("=") for each in given["parameter_overrides"]):
            allowed = PARAMETERS[parameter].get("AllowedValues")
            assert allowed is None or value in map(str, allowed)


def test_every_parameter_is_used_and_in_a_group() -> None:
    groups = documents.template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(PARAMETERS)
    body = json.dumps({key: documents.template()[key] for key in ("Conditions", "Globals", "Resources")})
    assert [name for name in PARAMETERS if f'"{name}"' not in body and f"${{{name}}}" not in body] == []


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_is_described(name: str) -> None:
    assert OUTPUTS[name]["Description"]


def targets() -> list[documents.Document]:
    """What rules and schedules start."""
    rules = documents.translated_resources("AWS::Events::Rule").values()
    schedules = documents.translated_resources("AWS::Scheduler::Schedule").values()
    of_rules = [target for rule in rules for target in rule["Targets"]]
    return of_rules + [schedule["Target"] for schedule in schedules]


RECONCILE = "ReconcileAliaslive"
"""A lost round of reconcile is no dead letter: the next one does its work."""


def test_every_rule_and_schedule_but_the_rounds_has_a_dead_letter_queue() -> None:
    assert len(targets()) >= 3
    without = [target for target in targets() if target.get("DeadLetterConfig") != {"Arn": DEAD_LETTERS}]
    assert [RECONCILE in json.dumps(target["Arn"]) for target in without] == [True]


def test_every_function_that_is_invoked_asynchronously_is_retried_and_has_a_dead_letter_queue() -> None:
    arns = [json.dumps(target["Arn"]) for target in targets()]
    asynchronous = {name for name in documents.functions() if any(f'"{name}Alias' in arn for arn in arns)}
    configured = documents.translated_resources("AWS::Lambda::EventInvokeConfig").values()
    failures = {each["FunctionName"]["Ref"]: each["DestinationConfig"] for each in configured}
    kept = {"OnFailure": {"Destination": DEAD_LETTERS}}
    assert failures == {**dict.fromkeys(asynchronous, kept), "Reconcile": {}}
    assert all(each["MaximumRetryAttempts"] == 2 for each in configured)
    assert {"CloseRun", "Reconcile"} <= asynchronous


def test_every_rule_may_write_to_the_dead_letter_queue() -> None:
    (policy,) = documents.translated_resources("AWS::SQS::QueuePolicy").values()
    statements = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
    allowed = [statement["Condition"]["ArnEquals"]["aws:SourceArn"] for statement in statements]
    rules = documents.translated_resources("AWS::Events::Rule")
    assert allowed == [{"Fn::GetAtt": [name, "Arn"]} for name in rules]


ALARMS = documents.resources("AWS::CloudWatch::Alarm")


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_described_and_sends_a_notification(name: str) -> None:
    assert ALARMS[name]["AlarmDescription"]
    assert ALARMS[name]["AlarmActions"] == [{"Ref": "Notices"}]
    silent = "breaching" if name == "ReconcileMissingAlarm" else "notBreaching"
    assert ALARMS[name]["TreatMissingData"] == silent


def test_the_alarm_about_dead_letters_watches_what_arrives() -> None:
    """What lies in the queue stays for 14 days: an alarm on that sends one notification, and no other."""
    alarm = ALARMS["DeadLettersAlarm"]
    assert alarm["MetricName"] == "NumberOfMessagesSent"
    assert alarm["Dimensions"][0]["Value"] == {"Fn::GetAtt": ["DeadLetters", "QueueName"]}


def test_the_alarm_about_reconcile_spans_fifteen_minutes() -> None:
    alarm = ALARMS["ReconcileMissingAlarm"]
    periods = {query["MetricStat"]["Period"] for query in alarm["Metrics"] if "MetricStat" in query}
    assert [period * alarm["EvaluationPeriods"] for period in periods] == [900]


def test_every_function_has_an_alarm_about_throttles() -> None:
    watched = [alarm["Dimensions"] for alarm in ALARMS.values() if alarm.get("MetricName") == "Throttles"]
    expected = [[{"Name": "FunctionName", "Value": {"Ref": name}}] for name in documents.functions()]
    assert sorted(map(json.dumps, watched)) == sorted(map(json.dumps, expected))


@pytest.mark.parametrize("kind", ["AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"])
def test_a_topic_and_a_queue_are_used_over_tls_only(kind: str) -> None:
    (policy,) = documents.resources(kind).values()
    (denied,) = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Deny"]
    assert (denied["Principal"], denied["Condition"]) == ("*", {"Bool": {"aws:SecureTransport": "false"}})


def test_alarms_may_publish() -> None:
    """A policy of the topic's own replaces the default one, under which they could."""
    (policy,) = documents.resources("AWS::SNS::TopicPolicy").values()
    (allowed,) = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
    assert (allowed["Principal"], allowed["Action"]) == (
        {"Service": "cloudwatch.amazonaws.com"},
        "sns:Publish",
    )


@pytest.mark.parametrize("name", ["RefreshLogs", "AccessLogs"])
def test_delivered_logs_need_no_room_in_the_resource_policy_of_the_account(name: str) -> None:
    group = documents.resources("AWS::Logs::LogGroup")[name]
    assert group["LogGroupName"]["Fn::Sub"].startswith("/aws/vendedlogs/")


def routes() -> dict[str, Any]:
    (api,) = documents.translated_resources("AWS::ApiGatewayV2::Api").values()
    return {
        f"{method.upper()} {path}": route.get("security")
        for path, methods in api["Body"]["paths"].items()
        for method, route in methods.items()
    }


def test_the_webhook_address_alone_is_open() -> None:
    securities = {route: json.dumps(security) for route, security in routes().items()}
    opened = {route for route, security in securities.items() if security == json.dumps([{"NONE": []}])}
    closed = {route for route, security in securities.items() if security == json.dumps([{"AWS_IAM": []}])}
    assert opened | closed == set(securities)
    assert "POST /webhooks/{source}" in opened
    assert {route.partition(" ")[2] for route in opened} == {"/webhooks/{source}"}
    assert {"POST /runs", "GET /runs", "GET /runs/{run_id}"} <= closed


def test_the_api_is_throttled_and_its_log_leaves_the_query_out() -> None:
    (api,) = documents.resources("AWS::Serverless::HttpApi").values()
    opened = {route for route in routes() if "/webhooks/" in route}
    assert set(api["RouteSettings"]) == opened
    settings = [api["DefaultRouteSettings"], *api["RouteSettings"].values()]
    assert all(set(each) == {"ThrottlingRateLimit", "ThrottlingBurstLimit"} for each in settings)
    assert all(each != api["DefaultRouteSettings"] for each in api["RouteSettings"].values())
    fields = json.loads(api["AccessLogSettings"]["Format"])
    assert fields["path"] == "$context.path"
    assert not any("query" in value.lower() for value in fields.values())


def test_the_table_expires_what_is_old_and_can_be_restored() -> None:
    (table,) = documents.resources("AWS::DynamoDB::Table").values()
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_the_table_is_protected_unless_a_parameter_says_otherwise() -> None:
    (table,) = documents.resources("AWS::DynamoDB::Table").values()
    assert table["DeletionProtectionEnabled"] == {"Ref": "DeletionProtection"}
    assert PARAMETERS["DeletionProtection"]["Default"] == "true"


KEY = {"Fn::If": ["HasKmsKey", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]}


def test_your_own_key_encrypts_secrets_table_topic_queue_and_logs() -> None:
    for kind in ("AWS::SecretsManager::Secret", "AWS::Logs::LogGroup"):
        assert [name for name, each in documents.resources(kind).items() if each["KmsKeyId"] != KEY] == []
    for kind in ("AWS::SNS::Topic", "AWS::SQS::Queue"):
        assert [each["KmsMasterKeyId"] for each in documents.resources(kind).values()] == [KEY]
    (table,) = documents.resources("AWS::DynamoDB::Table").values()
    assert table["SSESpecification"]["Fn::If"][1]["KMSMasterKeyId"] == {"Ref": "KmsKeyArn"}


def test_the_placeholders_of_secrets_never_change() -> None:
    """CloudFormation puts a changed one into the secret, and the value that a user filled in is lost."""
    secrets = documents.resources("AWS::SecretsManager::Secret")
    assert secrets["DefaultConnection"]["SecretString"] == (
        '{"base_url": "https://REPLACE-ME.celonis.cloud", '
        '"auth": {"type": "oauth_client", "client_id": "REPLACE-ME", "client_secret": "REPLACE-ME"}}'
    )
    assert secrets["GithubWebhook"]["GenerateSecretString"] == {
        "SecretStringTemplate": "{}",
        "GenerateStringKey": "current",
        "PasswordLength": 48,
        "ExcludePunctuation": True,
    }
    assert {"SecretString", "GenerateSecretString"} & set(secrets["GithubWebhook"]) == {
        "GenerateSecretString"
    }


def test_the_longest_name_of_a_stack_is_the_one_that_is_documented() -> None:
    suffixes = [
        schedule["Name"]["Fn::Sub"].removeprefix("${AWS::StackName}")
        for schedule in documents.translated_resources("AWS::Scheduler::Schedule").values()
    ]
    assert 64 - max(map(len, suffixes)) == 51
    for page in ("docs/deployment.md", "docs/limits.md"):
        assert "at most 51 characters" in (documents.ROOT / page).read_text(encoding="utf-8")


def test_the_schedule_of_a_pipeline_is_off_until_it_is_enabled() -> None:
    schedules = documents.translated_resources("AWS::Scheduler::Schedule").values()
    starting = [schedule for schedule in schedules if schedule["Target"]["Arn"] == {"Ref": "Refresh"}]
    assert [schedule["State"] for schedule in starting] == [{"Ref": "ScheduleState"}]
    assert starting[0]["ScheduleExpressionTimezone"] == {"Ref": "ScheduleTimezone"}
    assert PARAMETERS["ScheduleState"]["Default"] == "DISABLED"


def leaves(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [leaf for name, value in node.items() if name != "type" for leaf in leaves(value)]
    return [str(node)]


def test_secrets_hold_placeholders_or_are_generated() -> None:
    secrets = documents.resources("AWS::SecretsManager::Secret")
    written = {name: json.loads(secret.get("SecretString", "{}")) for name, secret in secrets.items()}
    assert all("REPLACE-ME" in leaf for secret in written.values() for leaf in leaves(secret))
    generated = {name for name, secret in secrets.items() if "GenerateSecretString" in secret}
    assert generated == {name for name, secret in written.items() if not secret}
    assert set(secrets) == {"DefaultConnection", "GithubWebhook"}
