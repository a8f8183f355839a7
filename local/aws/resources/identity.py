"""IAM roles and policies."""

import json

from local.aws.moto_adjustments.managed_policies import provide_managed_policy
from local.aws.resources.registry import CreatedResource, ResourceRequest, creates


@creates("AWS::IAM::Role")
def role(request: ResourceRequest) -> CreatedResource:
    properties, client = request.properties, request.client("iam")
    name = request.name("RoleName")
    settings = properties.pick("Path", "Description", "MaxSessionDuration", "PermissionsBoundary")
    answer = client.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(properties.need("AssumeRolePolicyDocument")),
        Tags=request.tags(),
        **settings,
    )["Role"]
    for arn in properties.get("ManagedPolicyArns", []):
        _attach(request, name, arn)
    for policy in properties.get("Policies", []):
        _put(request, name, policy["PolicyName"], policy["PolicyDocument"])
    return CreatedResource(name, {"Arn": answer["Arn"], "RoleId": answer["RoleId"]})


@creates("AWS::IAM::Policy")
def policy(request: ResourceRequest) -> CreatedResource:
    properties = request.properties
    name, document = properties.need("PolicyName"), properties.need("PolicyDocument")
    for role_name in properties.need("Roles"):
        _put(request, role_name, name, document)
    return CreatedResource(name, {"Id": name})


@creates("AWS::IAM::ManagedPolicy")
def managed_policy(request: ResourceRequest) -> CreatedResource:
    properties, client = request.properties, request.client("iam")
    answer = client.create_policy(
        PolicyName=request.name("ManagedPolicyName", longest=128),
        PolicyDocument=json.dumps(_dated(properties.need("PolicyDocument"))),
        **properties.pick("Path", "Description"),
    )["Policy"]
    for role_name in properties.get("Roles", []):
        client.attach_role_policy(RoleName=role_name, PolicyArn=answer["Arn"])
    return CreatedResource(answer["Arn"], {"PolicyArn": answer["Arn"]})


def _attach(request: ResourceRequest, role_name: str, arn: str) -> None:
    if ":iam::aws:policy/" in arn:
        provide_managed_policy(arn, request.stack_context.account)
    request.client("iam").attach_role_policy(RoleName=role_name, PolicyArn=arn)


def _put(request: ResourceRequest, role_name: str, name: str, document: dict[str, object]) -> None:
    text = json.dumps(_dated(document))
    request.client("iam").put_role_policy(RoleName=role_name, PolicyName=name, PolicyDocument=text)


def _dated(document: dict[str, object]) -> dict[str, object]:
    """Add a version: IAM treats a policy without one as 2008; the rules used here are the same in both."""
    return {"Version": "2012-10-17", **document}
