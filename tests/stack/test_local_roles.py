"""Roles: every call of a function is checked, and refused unless it is allowed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws.clients import Clients
from local.aws.gateway.calls import parse_call
from local.aws.http_server import HttpRequest
from local.aws.roles.conditions import UnknownConditionError
from local.aws.roles.evaluation import AccessRequest, is_allowed
from local.aws.roles.required_access import CallContext, UnknownCallError, required_access
from local.aws.stack import LocalStack
from tests.stack.local_fixtures import aws, call, ended, refused_by_iam, shop, start

__all__ = ["shop"]

TABLE = "arn:aws:dynamodb:eu-central-1:1:table/t"


def statement(effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Statement": {"Effect": effect, "Action": "dynamodb:GetItem", "Resource": TABLE, **more}}


@pytest.mark.parametrize(
    ("documents", "access_request", "allowed"),
    [
        ([], AccessRequest("dynamodb:GetItem", TABLE), False),
        ([statement()], AccessRequest("dynamodb:GetItem", TABLE), True),
        ([statement()], AccessRequest("dynamodb:PutItem", TABLE), False),
        ([statement()], AccessRequest("dynamodb:GetItem", TABLE + "x"), False),
        ([statement(Action="dynamodb:get*")], AccessRequest("dynamodb:GetItem", TABLE), True),
        ([statement(Action=["s3:*", "*"])], AccessRequest("dynamodb:GetItem", TABLE), True),
        ([statement(Resource=TABLE[:-1] + "?")], AccessRequest("dynamodb:GetItem", TABLE), True),
        (
            [statement(), statement("Deny", Action="*", Resource="*")],
            AccessRequest("dynamodb:GetItem", TABLE),
            False,
        ),
        (
            [{"Statement": [{"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}]}],
            AccessRequest("s3:Get", "x"),
            False,
        ),
        (
            [{"Statement": [{"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}]}],
            AccessRequest("sqs:Get", "x"),
            True,
        ),
        ([statement(Resource="a", NotResource="b")], AccessRequest("dynamodb:GetItem", "b"), False),
    ],
)
def test_policies_are_evaluated_as_iam_does(
    documents: list[Mapping[str, Any]], access_request: AccessRequest, allowed: bool
) -> None:
    assert is_allowed(access_request, documents) is allowed


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"k": "a"}}, {"k": ["a"]}, True),
        ({"StringEquals": {"k": ["b", "a"]}}, {"K": ["a"]}, True),
        ({"StringEquals": {"k": "a"}}, {}, False),
        ({"StringEqualsIfExists": {"k": "a"}}, {}, True),
        ({"StringNotEquals": {"k": "a"}}, {"k": ["a"]}, False),
        ({"StringNotEquals": {"k": "a"}}, {}, True),
        ({"StringLike": {"k": "a*"}}, {"k": ["abc"]}, True),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "b"]}, True),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, {"k": ["a", "b"]}, False),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, {}, True),
        ({"ForAnyValue:StringLike": {"k": ["a*"]}}, {"k": ["x", "ab"]}, True),
        ({"ForAnyValue:StringLike": {"k": ["a*"]}}, {}, False),
        ({"Bool": {"k": "true"}}, {"k": ["true"]}, True),
        ({"Null": {"k": "true"}}, {}, True),
        ({"Null": {"k": "true"}}, {"k": ["x"]}, False),
        ({"ArnLike": {"k": "arn:aws:*"}}, {"k": ["arn:aws:x"]}, True),
        ({"NumericLessThan": {"k": "5"}}, {"k": ["4"]}, True),
        ({"StringEquals": {"k": "a"}, "StringLike": {"j": "b"}}, {"k": ["a"], "j": ["c"]}, False),
    ],
)
def test_conditions_are_evaluated_as_iam_does(
    condition: Any, context: Mapping[str, Sequence[str]], holds: bool
) -> None:
    assert (
        is_allowed(AccessRequest("dynamodb:GetItem", TABLE, context), [statement(Condition=condition)])
        is holds
    )


def test_an_operator_that_is_not_known_allows_nothing() -> None:
    with pytest.raises(UnknownConditionError, match="DateLessThan"):
        is_allowed(
            AccessRequest("dynamodb:GetItem", TABLE, {"k": ["1"]}),
            [statement(Condition={"DateLessThan": {"k": "2"}})],
        )


def access_requests(service: str, operation: str, **arguments: Any) -> set[tuple[str, str]]:
    """The permissions of a real boto3 call, read from the request that botocore would send."""
    clients = Clients("http://127.0.0.1:1", "eu-central-1", "1")
    sent: list[HttpRequest] = []

    def keep(request: Any, **_: Any) -> None:
        target = request.url.removeprefix("http://127.0.0.1:1")
        headers = [(name, _text(value)) for name, value in request.headers.items()]
        sent.append(HttpRequest(request.method, target, headers, _bytes(request.body)))
        raise _KeptError

    client = clients.admin(service)
    client.meta.events.register("before-send.*.*", keep)
    with pytest.raises(_KeptError):
        getattr(client, operation)(**arguments)
    call_context = CallContext(
        "eu-central-1", "1", lambda name: f"arn:aws:secretsmanager:eu-central-1:1:secret:{name}-abc"
    )
    return {
        (access_request.action, access_request.resource)
        for access_request in required_access(parse_call(sent[0]), call_context)
    }


class _KeptError(Exception):
    pass


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else (body or "").encode()


ARN = "arn:aws:{}:eu-central-1:1:{}"


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "expected"),
    [
        ("dynamodb", "get_item", {"TableName": "t", "Key": {"k": {"S": "a"}}}, {("dynamodb:GetItem", TABLE)}),
        (
            "dynamodb",
            "query",
            {"TableName": "t", "IndexName": "idx", "KeyConditionExpression": "k = :k"},
            {("dynamodb:Query", f"{TABLE}/index/idx")},
        ),
        (
            "dynamodb",
            "transact_write_items",
            {
                "TransactItems": [
                    {"Put": {"TableName": "t", "Item": {"k": {"S": "a"}}}},
                    {"Delete": {"TableName": "t", "Key": {"k": {"S": "b"}}}},
                    {"Update": {"TableName": "t", "Key": {"k": {"S": "c"}}, "UpdateExpression": "SET a = b"}},
                    {
                        "ConditionCheck": {
                            "TableName": "u",
                            "Key": {"k": {"S": "d"}},
                            "ConditionExpression": "attribute_exists(k)",
                        }
                    },
                ]
            },
            {
                ("dynamodb:PutItem", TABLE),
                ("dynamodb:DeleteItem", TABLE),
                ("dynamodb:UpdateItem", TABLE),
                ("dynamodb:ConditionCheckItem", TABLE[:-1] + "u"),
            },
        ),
        (
            "dynamodb",
            "transact_get_items",
            {"TransactItems": [{"Get": {"TableName": "t", "Key": {"k": {"S": "a"}}}}]},
            {("dynamodb:GetItem", TABLE)},
        ),
        (
            "dynamodb",
            "batch_write_item",
            {"RequestItems": {"t": [{"DeleteRequest": {"Key": {"k": {"S": "a"}}}}]}},
            {("dynamodb:BatchWriteItem", TABLE)},
        ),
        (
            "ssm",
            "get_parameter",
            {"Name": "/a/b"},
            {("ssm:GetParameter", ARN.format("ssm", "parameter/a/b"))},
        ),
        (
            "ssm",
            "get_parameters",
            {"Names": ["a", "/b"]},
            {
                ("ssm:GetParameters", ARN.format("ssm", "parameter/a")),
                ("ssm:GetParameters", ARN.format("ssm", "parameter/b")),
            },
        ),
        (
            "ssm",
            "get_parameters_by_path",
            {"Path": "/a/"},
            {("ssm:GetParametersByPath", ARN.format("ssm", "parameter/a/"))},
        ),
        (
            "secretsmanager",
            "get_secret_value",
            {"SecretId": "s"},
            {("secretsmanager:GetSecretValue", ARN.format("secretsmanager", "secret:s-abc"))},
        ),
        (
            "stepfunctions",
            "start_execution",
            {"stateMachineArn": ARN.format("states", "stateMachine:m")},
            {("states:StartExecution", ARN.format("states", "stateMachine:m"))},
        ),
        (
            "stepfunctions",
            "stop_execution",
            {"executionArn": ARN.format("states", "execution:m:e")},
            {("states:StopExecution", ARN.format("states", "execution:m:e"))},
        ),
        (
            "lambda",
            "invoke",
            {"FunctionName": ARN.format("lambda", "function:f:7")},
            {("lambda:InvokeFunction", ARN.format("lambda", "function:f:7"))},
        ),
        (
            "lambda",
            "invoke",
            {"FunctionName": "f", "Qualifier": "live"},
            {("lambda:InvokeFunction", ARN.format("lambda", "function:f:live"))},
        ),
        (
            "sqs",
            "send_message",
            {"QueueUrl": "http://127.0.0.1:1/1/q", "MessageBody": "x"},
            {("sqs:SendMessage", ARN.format("sqs", "q"))},
        ),
        (
            "sns",
            "publish",
            {"TopicArn": ARN.format("sns", "t"), "Message": "x"},
            {("sns:Publish", ARN.format("sns", "t"))},
        ),
        (
            "events",
            "put_events",
            {"Entries": [{"Source": "s", "DetailType": "d", "Detail": "{}"}]},
            {("events:PutEvents", ARN.format("events", "event-bus/default"))},
        ),
        (
            "cloudwatch",
            "put_metric_data",
            {"Namespace": "n", "MetricData": []},
            {("cloudwatch:PutMetricData", "*")},
        ),
        ("sts", "get_caller_identity", {}, set()),
    ],
)
def test_a_call_requires_the_action_and_the_resource_that_iam_checks(
    service: str, operation: str, arguments: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    assert access_requests(service, operation, **arguments) == expected


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("dynamodb", "execute_statement", {"Statement": "SELECT * FROM t"}),
        ("s3", "list_buckets", {}),
        ("iam", "list_users", {}),
    ],
)
def test_a_call_that_is_not_described_is_unknown(
    service: str, operation: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(UnknownCallError):
        access_requests(service, operation, **arguments)


def test_a_function_may_do_what_its_role_allows(shop: LocalStack) -> None:
    table = shop.outputs["TableName"]
    aws(shop, "dynamodb", "put_item", TableName=table, Item={"pk": {"S": "a"}, "sk": {"S": "b"}})
    secret = aws(shop, "secretsmanager", "get_secret_value", SecretId=shop.physical_ids["Credentials"])
    assert json.loads(secret["SecretString"])["user"] == "shop"
    found = aws(shop, "ssm", "get_parameter", Name="/shop/catalogue/books")
    assert found["Parameter"]["Value"] == '{"price": 12}'
    assert aws(shop, "sns", "publish", TopicArn=shop.physical_ids["Notices"], Message="hello")["MessageId"]
    identity = aws(shop, "sts", "get_caller_identity")
    assert shop.physical_ids["ApiFunctionRole"] in identity["Arn"]


def test_a_function_may_not_do_what_its_role_does_not_allow(shop: LocalStack) -> None:
    table = shop.outputs["TableName"]
    assert refused_by_iam(shop, "dynamodb", "scan", TableName=table)
    assert refused_by_iam(shop, "dynamodb", "get_item", TableName="another", Key={"pk": {"S": "a"}})
    assert refused_by_iam(shop, "secretsmanager", "get_secret_value", SecretId="shop/fixed")
    assert refused_by_iam(shop, "ssm", "get_parameter", Name="/elsewhere")
    assert refused_by_iam(shop, "sqs", "send_message", QueueUrl=shop.outputs["InboxUrl"], MessageBody="x")
    assert refused_by_iam(shop, "lambda", "invoke", FunctionName=shop.physical_ids["ListenerFunction"])
    assert refused_by_iam(shop, "iam", "list_users")
    assert refused_by_iam(shop, "dynamodb", "execute_statement", Statement="SELECT * FROM x")


def test_a_managed_policy_with_a_deny_and_a_condition_holds(shop: LocalStack) -> None:
    client, table = shop.client_of("dynamodb", "ReaderRole"), shop.outputs["TableName"]
    key = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    client.put_item(TableName=table, Item={**key, "state": {"S": "open"}})
    with pytest.raises(ClientError, match="DeleteItem"):
        client.delete_item(TableName=table, Key=key)
    query = {
        "TableName": table,
        "IndexName": "by-state",
        "KeyConditionExpression": "#s = :s",
        "ExpressionAttributeNames": {"#s": "state"},
    }
    assert client.query(**query, ExpressionAttributeValues={":s": {"S": "open"}})["Count"] == 1
    with pytest.raises(ClientError, match=r"AccessDenied.*index/by-state"):
        client.query(**query, ExpressionAttributeValues={":s": {"S": "done"}})


def test_a_policy_that_is_taken_away_is_missed_at_once(shop: LocalStack) -> None:
    iam, role = shop.client("iam"), shop.physical_ids["ApiFunctionRole"]
    table = shop.outputs["TableName"]
    item = {"pk": {"S": "x"}, "sk": {"S": "y"}}
    aws(shop, "dynamodb", "put_item", TableName=table, Item=item)
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    for name in names:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    assert refused_by_iam(shop, "dynamodb", "put_item", TableName=table, Item=item)
    shop.reset()


def test_a_state_machine_calls_under_its_own_role(shop: LocalStack) -> None:
    assert ended(shop, start(shop, ["a"]))["status"] == "SUCCEEDED"
    iam, role = shop.client("iam"), shop.physical_ids["OrdersRole"]
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        if "lambda:InvokeFunction" in json.dumps(document):
            iam.delete_role_policy(RoleName=role, PolicyName=name)
    failed = ended(shop, start(shop, ["a"]))
    assert failed["error"] == "Lambda.AWSLambdaException"
    assert "is not authorized to perform: lambda:InvokeFunction" in failed["cause"]
    shop.reset()


def test_a_function_without_the_permission_fails_as_in_aws(shop: LocalStack) -> None:
    failed = ended(shop, start(shop, [{"do": "scan"}]))
    assert failed["error"] == "ClientError"
    assert "dynamodb:Scan" in failed["cause"]


def test_unknown_access_keys_are_rejected(shop: LocalStack) -> None:
    call(shop, do="context")
    clients = Clients(shop.aws_endpoint_url, shop.region, shop.account)
    client = clients._client("dynamodb", "x", {"id": "ASIAAAAAAAAAAAAAAAAA", "secret": "x", "token": "x"})
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        client.list_tables()
