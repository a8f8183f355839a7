"""Reads the secrets of channels."""

from __future__ import annotations

from botocore.exceptions import ClientError
from msgspec import Struct

from celonis_refresh.aws.configuration import DENIED, Secrets, SecretUnreadable
from celonis_refresh.notifications.channels import Channel, ChannelUnusable, parse_channel


class ChannelSecrets(Struct, frozen=True):
    """The secrets ``{stack}/channels/{name}``."""

    secrets: Secrets

    def channel(self, name: str) -> Channel:
        """Raises ``ChannelUnusable``, ``ConfigurationUnavailable``."""
        full = f"{self.secrets.stack}/channels/{name}"
        try:
            document, _ = self.secrets.json_object(full, repr(full))
        except SecretUnreadable as error:
            raise ChannelUnusable(name, f"the secret {full!r} {error.problem}") from None
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in DENIED:
                raise
            raise ChannelUnusable(name, f"the secret {full!r} {DENIED[code]} ({code})") from None
        return parse_channel(name, document)
