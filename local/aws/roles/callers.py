"""Identifies and authorizes the caller of an IAM route of the HTTP API."""

import time
from typing import Any

from local.aws.clients import ADMIN_ACCESS_KEY, ADMIN_SECRET, Clients
from local.aws.http_api.signatures import signer
from local.aws.http_server import HttpRequest
from local.aws.moto_adjustments.assumed_roles import assumed_role
from local.aws.roles.authorization import Authorization
from local.aws.roles.evaluation import AccessRequest


class Callers:
    """Checks signature, then permission: the administrator may call all, a role what its policies allow."""

    def __init__(self, clients: Clients, authorization: Authorization) -> None:
        self._clients = clients
        self._authorization = authorization

    def identify(self, request: HttpRequest, arn: str) -> dict[str, Any] | None:
        """Return `requestContext.authorizer.iam` of a caller who may invoke this API ARN, or None."""
        key = signer(request, self._clients.region, self._secret, time.time())
        if key is None:
            return None
        role = assumed_role(key, self._clients.account)
        if role is None and key != ADMIN_ACCESS_KEY:
            return None
        if role is not None and not self._authorization.allows(
            role.role_arn, AccessRequest("execute-api:Invoke", arn)
        ):
            return None
        user_arn = role.role_arn if role else f"arn:aws:iam::{self._clients.account}:user/administrator"
        return {
            "accessKey": key,
            "accountId": self._clients.account,
            "callerId": key,
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": user_arn,
            "userId": key,
        }

    def _secret(self, access_key: str) -> str | None:
        if access_key == ADMIN_ACCESS_KEY:
            return ADMIN_SECRET
        role = assumed_role(access_key, self._clients.account)
        return role.secret if role else None
