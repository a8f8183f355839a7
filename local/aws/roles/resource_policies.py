"""Resource policies of functions, queues and topics, and trust policies of roles."""

import json
from typing import Any
from urllib.parse import unquote

from local.aws.arns import Arn
from local.aws.clients import Clients
from local.aws.errors import LocalStackError
from local.aws.roles.evaluation import AccessRequest, is_service_allowed
from local.aws.runtime.functions import Functions


class UntrustedError(LocalStackError):
    """The trust policy of the role does not allow this service."""


class ResourcePolicies:
    """Reads the current policies."""

    def __init__(self, clients: Clients, functions: Functions) -> None:
        self._clients = clients
        self._functions = functions

    def of(self, arn: str) -> list[dict[str, Any]]:
        """Return the statements of the resource's own policy, if it has one."""
        parsed = Arn.parse(arn)
        if parsed.service == "lambda":
            return self._functions.permissions(arn)
        if parsed.service == "sqs":
            client = self._clients.admin("sqs")
            url = client.get_queue_url(QueueName=parsed.resource)["QueueUrl"]
            answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
            return _statements(answer.get("Attributes", {}).get("Policy"))
        answer = self._clients.admin("sns").get_topic_attributes(TopicArn=arn)
        return _statements(answer["Attributes"].get("Policy"))

    def check_trust(self, role_arn: str, service: str) -> None:
        """Raises UntrustedError when the trust policy of the role does not name the service."""
        check_trust(self._clients, role_arn, service)


def check_trust(clients: Clients, role_arn: str, service: str) -> None:
    """Raises UntrustedError when the trust policy of the role does not name the service."""
    role = clients.admin("iam").get_role(RoleName=role_arn.rsplit("/", 1)[-1])["Role"]
    document = role["AssumeRolePolicyDocument"]
    statements = _statements(json.dumps(document) if isinstance(document, dict) else unquote(document))
    context = {"aws:SourceAccount": [clients.account]}
    if not is_service_allowed(service, AccessRequest("sts:AssumeRole", role_arn, context), statements):
        raise UntrustedError(f"the role {role_arn} does not let {service} assume it")


def _statements(policy: str | None) -> list[dict[str, Any]]:
    statements = json.loads(policy).get("Statement", []) if policy else []
    return statements if isinstance(statements, list) else [statements]
