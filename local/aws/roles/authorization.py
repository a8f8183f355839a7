"""Checks every AWS call of a function, a state machine or a schedule against its role."""

import json
import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote

from local.aws.clients import ADMIN_ACCESS_KEY, Clients
from local.aws.gateway.calls import AwsCall
from local.aws.gateway.errors import access_denied, error_response
from local.aws.gateway.gateway import Next
from local.aws.http_server import HttpRequest, HttpResponse
from local.aws.roles.conditions import UnknownConditionError
from local.aws.roles.evaluation import AccessRequest, is_allowed
from local.aws.roles.required_access import CallContext, UnknownCallError, required_access

log = logging.getLogger(__name__)


class RolePolicies:
    """The current policies of a role, inline and attached."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._lock = threading.Lock()
        self._cache: dict[str, list[dict[str, Any]]] = {}
        self._changes = 0

    def forget(self) -> None:
        """Read the policies again, after a change in IAM."""
        with self._lock:
            self._changes += 1
            self._cache.clear()

    def of(self, role_name: str) -> list[dict[str, Any]]:
        with self._lock:
            statements, changes = self._cache.get(role_name), self._changes
        if statements is None:
            try:
                statements = [*self._inline(role_name), *self._attached(role_name)]
            except self._clients.admin("iam").exceptions.NoSuchEntityException:
                # The role was deleted in the meantime: it is allowed nothing.
                return []
            with self._lock:
                if changes == self._changes:  # otherwise the policies may be those before the change
                    self._cache[role_name] = statements
        return statements

    def _inline(self, role_name: str) -> list[dict[str, Any]]:
        iam = self._clients.admin("iam")
        names = iam.list_role_policies(RoleName=role_name)["PolicyNames"]
        return [
            _document(iam.get_role_policy(RoleName=role_name, PolicyName=name)["PolicyDocument"])
            for name in names
        ]

    def _attached(self, role_name: str) -> list[dict[str, Any]]:
        iam = self._clients.admin("iam")
        documents = []
        for policy in iam.list_attached_role_policies(RoleName=role_name)["AttachedPolicies"]:
            version = iam.get_policy(PolicyArn=policy["PolicyArn"])["Policy"]["DefaultVersionId"]
            answer = iam.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId=version)
            documents.append(_document(answer["PolicyVersion"]["Document"]))
        return documents


class Grant(NamedTuple):
    """A request of a role that was allowed."""

    role_arn: str
    action: str
    resource: str


class Denial(NamedTuple):
    """A request of a role that was denied."""

    role_arn: str
    action: str
    resource: str


class Authorization:
    """A layer of the gateway: the administrator is allowed, roles need an Allow, others are denied.

    `grants`: all requests allowed so far, which show what policies are used for. `refusals`: all requests
    denied so far, which show what policies lack.
    """

    def __init__(self, clients: Clients, role_of_key: Callable[[str], str | None]) -> None:
        self._clients = clients
        self._role_of_key = role_of_key
        self._policies = RolePolicies(clients)
        self._secret_arns: dict[str, str] = {}
        self.grants: set[Grant] = set()
        self.refusals: set[Denial] = set()

    def __call__(self, call: AwsCall, _request: HttpRequest, proceed: Next) -> HttpResponse:
        if call.access_key == ADMIN_ACCESS_KEY:
            return self._as_administrator(call, proceed)
        role_arn = self._role_of_key(call.access_key) if call.access_key else None
        if role_arn is None:
            code = "InvalidClientTokenId" if call.protocol == "query" else "UnrecognizedClientException"
            return error_response(
                call, code, "The security token included in the request is invalid.", status=403
            )
        refusal = self.refusal(call, role_arn)
        return proceed() if refusal is None else access_denied(call, refusal)

    def _as_administrator(self, call: AwsCall, proceed: Next) -> HttpResponse:
        try:
            return proceed()
        finally:
            if call.service == "iam" and not call.operation.startswith(("Get", "List")):
                self._policies.forget()

    def refusal(self, call: AwsCall, role_arn: str) -> str | None:
        """Return the reason for a denial, in the words of AWS; None if the call is allowed."""
        call_context = CallContext(self._clients.region, self._clients.account, self._secret_arn)
        try:
            access_requests = required_access(call, call_context)
            documents = self._policies.of(role_arn.rsplit("/", 1)[-1])
            denied = next(
                (
                    access_request
                    for access_request in access_requests
                    if not is_allowed(access_request, documents)
                ),
                None,
            )
        except (UnknownCallError, UnknownConditionError) as error:
            log.warning("denied to %s: %s", role_arn, error)
            self.refusals.add(Denial(role_arn, f"{call.service}:{call.operation}", str(error)))
            return f"User: {role_arn} is not authorized to perform: {call.service}:{call.operation} ({error})"
        if denied is None:
            self.grants.update(
                Grant(role_arn, access_request.action, access_request.resource)
                for access_request in access_requests
            )
            return None
        self.refusals.add(Denial(role_arn, denied.action, denied.resource))
        return (
            f"User: {role_arn} is not authorized to perform: {denied.action} on resource: {denied.resource}"
        )

    def allows(self, role_arn: str, access_request: AccessRequest) -> bool:
        """Return whether the policies of the role allow one request."""
        return is_allowed(access_request, self._policies.of(role_arn.rsplit("/", 1)[-1]))

    def _secret_arn(self, name: str) -> str | None:
        if name not in self._secret_arns:
            client = self._clients.admin("secretsmanager")
            try:
                self._secret_arns[name] = str(client.describe_secret(SecretId=name)["ARN"])
            except client.exceptions.ResourceNotFoundException:
                return None
        return self._secret_arns[name]


def _document(value: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(unquote(value)) if isinstance(value, str) else dict(value)
    return document
