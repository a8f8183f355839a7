"""boto3 clients of the local AWS: the administrator's, and those of a role."""

import threading
from typing import Any

import boto3
from botocore.config import Config

ADMIN_ACCESS_KEY = "AKIALOCALADMINISTRAT"
ADMIN_SECRET = "local-administrator"  # noqa: S105 - signs requests to loopback, opens nothing
_CONFIG = Config(
    retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=120, max_pool_connections=64
)


class Clients:
    """Clients for one endpoint, one region and one account, made once per service and principal."""

    def __init__(self, endpoint_url: str, region: str, account: str) -> None:
        self.endpoint_url = endpoint_url
        self.region = region
        self.account = account
        self._lock = threading.Lock()
        self._cache: dict[tuple[str, str], Any] = {}
        self._credentials: dict[tuple[str, str], dict[str, str]] = {}
        self._session = boto3.Session(region_name=region)

    def admin(self, service: str) -> Any:
        """Return a client without permission checks, for the deployment and for tests."""
        return self._client(service, ADMIN_ACCESS_KEY, {"id": ADMIN_ACCESS_KEY, "secret": ADMIN_SECRET})

    def as_role(self, service: str, role_arn: str, session_name: str) -> Any:
        """Return a client with the credentials of an assumed role."""
        credentials = self.role_credentials(role_arn, session_name)
        return self._client(service, credentials["id"], credentials)

    def role_credentials(self, role_arn: str, session_name: str) -> dict[str, str]:
        """Return `id`, `secret` and `token` of an assumed role; they are cached by session name."""
        key = (role_arn, session_name)
        with self._lock:
            cached = self._credentials.get(key)
        if cached is None:
            answer = self.admin("sts").assume_role(RoleArn=role_arn, RoleSessionName=session_name[:64])
            issued = answer["Credentials"]
            credentials = {
                "id": issued["AccessKeyId"],
                "secret": issued["SecretAccessKey"],
                "token": issued["SessionToken"],
            }
            with self._lock:
                cached = self._credentials.setdefault(key, credentials)
        return cached

    def forget_roles(self) -> None:
        """Forget all credentials, after roles were recreated."""
        with self._lock:
            self._credentials.clear()
            self._cache = {key: client for key, client in self._cache.items() if key[1] == ADMIN_ACCESS_KEY}

    def _client(self, service: str, principal: str, credentials: dict[str, str]) -> Any:
        with self._lock:
            client = self._cache.get((service, principal))
            if client is None:
                client = self._session.client(
                    service,
                    endpoint_url=self.endpoint_url,
                    aws_access_key_id=credentials["id"],
                    aws_secret_access_key=credentials["secret"],
                    aws_session_token=credentials.get("token"),
                    config=_CONFIG,
                )
                self._cache[(service, principal)] = client
            return client
