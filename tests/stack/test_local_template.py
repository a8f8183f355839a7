"""Parameters, intrinsic functions and the refusal of unsupported properties."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from local.aws.errors import DeploymentError, TemplateError, UnsupportedResourceError
from local.aws.stack import LocalStack
from local.aws.template.intrinsics import Evaluator
from local.aws.template.parameters import resolve_parameters
from tests.stack.local_fixtures import deploy_shop


class KnownReferences:
    """References for the evaluator."""

    def ref(self, name: str) -> Any:
        return {"Name": "shop", "List": ["a", "b"], "Flag": True}[name]

    def get_att(self, logical_id: str, attribute: str) -> Any:
        return f"{logical_id}/{attribute}"

    def condition(self, name: str) -> bool:
        return {"Yes": True, "No": False}[name]

    def mapping(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        return {"Sizes": {"eu": {"small": 1}}}[name]


@pytest.mark.parametrize(
    ("node", "value"),
    [
        ({"Ref": "Name"}, "shop"),
        ({"Fn::GetAtt": "Table.Arn"}, "Table/Arn"),
        ({"Fn::GetAtt": ["Table", "Stream.Arn"]}, "Table/Stream.Arn"),
        ({"Fn::Sub": "${Name}-${Table.Arn}-${!Literal}"}, "shop-Table/Arn-${Literal}"),
        ({"Fn::Sub": ["${x}/${Name}", {"x": {"Ref": "Name"}}]}, "shop/shop"),
        ({"Fn::Sub": "${Flag}"}, "true"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Name"}]]}, "a-shop"),
        ({"Fn::Join": [",", {"Ref": "List"}]}, "a,b"),
        ({"Fn::Select": ["1", {"Ref": "List"}]}, "b"),
        ({"Fn::Split": ["/", "a/b"]}, ["a", "b"]),
        ({"Fn::If": ["No", "then", "else"]}, "else"),
        ({"a": {"Fn::If": ["No", "then", {"Ref": "AWS::NoValue"}]}, "b": 1}, {"b": 1}),
        ([1, {"Ref": "AWS::NoValue"}], [1]),
        ({"Fn::FindInMap": ["Sizes", "eu", "small"]}, 1),
        ({"Fn::Base64": "a"}, "YQ=="),
        ({"Fn::ToJsonString": {"a": {"Ref": "Name"}}}, '{"a": "shop"}'),
        ({"Fn::Length": {"Ref": "List"}}, 2),
        ({"Fn::And": [{"Condition": "Yes"}, {"Fn::Not": [{"Condition": "No"}]}]}, True),
        ({"Fn::Or": [{"Condition": "No"}, {"Fn::Equals": [1, "1"]}]}, True),
    ],
)
def test_intrinsic_functions_give_what_cloudformation_gives(node: Any, value: Any) -> None:
    assert Evaluator(KnownReferences()).value(node) == value


@pytest.mark.parametrize(
    "node", [{"Fn::Transform": {}}, {"Fn::Select": [7, ["a"]]}, {"Fn::FindInMap": ["Sizes", "us", "small"]}]
)
def test_what_cannot_be_resolved_is_refused(node: Any) -> None:
    with pytest.raises(TemplateError):
        Evaluator(KnownReferences()).value(node)


def resolve(spec: dict[str, Any], *given: str) -> Any:
    values = {"P": given[0]} if given else {}
    return resolve_parameters({"P": spec}, values, lambda name: f"ssm:{name}")["P"]


@pytest.mark.parametrize(
    ("spec", "given", "value"),
    [
        ({"Type": "String", "Default": "x"}, (), "x"),
        ({"Type": "String", "Default": "x"}, ("",), ""),
        ({"Type": "Number", "Default": 5}, (), "5"),
        ({"Type": "CommaDelimitedList"}, ("a, b",), ["a", "b"]),
        ({"Type": "CommaDelimitedList", "Default": ""}, (), []),
        ({"Type": "List<Number>"}, ("1,2",), ["1", "2"]),
        ({"Type": "AWS::SSM::Parameter::Value<String>"}, ("/a",), "ssm:/a"),
    ],
)
def test_parameters_are_resolved(spec: dict[str, Any], given: tuple[str, ...], value: Any) -> None:
    assert resolve(spec, *given) == value


@pytest.mark.parametrize(
    ("spec", "given", "words"),
    [
        ({"Type": "String"}, (), "must have values"),
        ({"Type": "String", "AllowedValues": ["a"]}, ("b",), "one of a"),
        ({"Type": "String", "AllowedPattern": "[a-z]+"}, ("a1",), "pattern"),
        ({"Type": "String", "MinLength": 2}, ("a",), "at least 2"),
        ({"Type": "String", "MaxLength": 2}, ("abc",), "at most 2"),
        ({"Type": "Number"}, ("many",), "a number"),
        ({"Type": "Number", "MinValue": 3}, ("2",), "at least 3"),
        ({"Type": "Number", "MaxValue": 3}, ("4",), "at most 3"),
        ({"Type": "Number", "AllowedValues": [1, 3]}, ("2",), "one of 1, 3"),
        ({"Type": "List<Number>"}, ("1,x",), "a number"),
        ({"Type": "CommaDelimitedList", "AllowedPattern": '[^"]*'}, ('a,b"c',), "pattern"),
        (
            {"Type": "String", "AllowedPattern": "a", "ConstraintDescription": "only an a"},
            ("b",),
            "only an a",
        ),
    ],
)
def test_a_parameter_that_breaks_its_rules_is_refused(
    spec: dict[str, Any], given: tuple[str, ...], words: str
) -> None:
    with pytest.raises(TemplateError, match=words):
        resolve(spec, *given)


def test_a_secret_parameter_is_not_shown() -> None:
    with pytest.raises(TemplateError) as caught:
        resolve({"Type": "String", "NoEcho": True, "MinLength": 9}, "hush")
    assert "hush" not in str(caught.value)


def test_an_unknown_parameter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="Colour"):
        deploy_shop(tmp_path, parameters={"Colour": "red"})


CIRCLE = """
Resources:
  A: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: !Ref B}}
  B: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: !Ref A}}
"""


def deploy_text(tmp_path: Path, text: str) -> LocalStack:
    template = tmp_path / "template.yaml"
    template.write_text("Transform: AWS::Serverless-2016-10-31\n" + text, encoding="utf-8")
    return deploy_shop(tmp_path / "state", template=template)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (
            "Resources: {Bucket: {Type: 'AWS::S3::Bucket'}}",
            UnsupportedResourceError,
            "Bucket .AWS::S3::Bucket",
        ),
        (
            "Resources: {Q: {Type: 'AWS::SQS::Queue', Properties: {Colour: red}}}",
            UnsupportedResourceError,
            "Q .AWS::SQS::Queue.: Colour",
        ),
        (
            "Resources: {T: {Type: 'AWS::SNS::Topic', Properties: {TopicName: 'not a name!'}}}",
            DeploymentError,
            "T .AWS::SNS::Topic",
        ),
        (
            "Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {Handler: a.b, CodeUri: nil}}}",
            TemplateError,
            "F .AWS::Serverless::Function.: CodeUri nil does not exist",
        ),
        ("Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {Handler: 7}}}", TemplateError, "F"),
        (
            CIRCLE,
            TemplateError,
            "Circular",
        ),
    ],
)
def test_a_template_that_cannot_be_deployed_is_refused(
    tmp_path: Path, text: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        deploy_text(tmp_path, text)


def test_a_role_that_does_not_trust_lambda_is_refused(tmp_path: Path) -> None:
    text = """
Resources:
  R:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement: [{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: sts:AssumeRole}]
  F:
    Type: AWS::Serverless::Function
    Properties: {Handler: index.handler, Runtime: python3.13, InlineCode: "", Role: !GetAtt R.Arn}
"""
    with pytest.raises(DeploymentError, match=r"F .*lambda.amazonaws.com"):
        deploy_text(tmp_path, text)


def test_a_definition_with_a_placeholder_that_has_no_value_is_refused(tmp_path: Path) -> None:
    text = """
Resources:
  M:
    Type: AWS::Serverless::StateMachine
    Properties:
      Definition: {QueryLanguage: JSONata, StartAt: A, States: {A: {Type: Succeed, Output: "${Missing}"}}}
"""
    with pytest.raises(DeploymentError, match="Missing"):
        deploy_text(tmp_path, text)
