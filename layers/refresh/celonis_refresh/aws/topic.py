"""The SNS topic of the stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from celonis_refresh.notifications.outbox import Message, NotSent

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef

MAX_SUBJECT = 100


class Topic(Struct, frozen=True):
    """Publishes to one topic."""

    client: SNSClient
    arn: str

    def publish(self, message: Message, title: str, text: str, attributes: Mapping[str, str]) -> None:
        """Publish a text with attributes, by which subscriptions can filter. Raises ``NotSent``."""
        values: dict[str, MessageAttributeValueTypeDef] = {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        }
        # A subject is ASCII, begins with a letter or digit, and has no line breaks.
        subject = " ".join(title.split()).encode("ascii", "replace").decode()[:MAX_SUBJECT]
        try:
            self.client.publish(TopicArn=self.arn, Subject=subject, Message=text, MessageAttributes=values)
        except ClientError as error:
            raise NotSent(message, str(error.response["Error"]["Code"])) from None
        except BotoCoreError as error:
            raise NotSent(message, type(error).__name__) from None
