"""Telling somebody: one message to the topic of notices."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

MAX_SUBJECT = 100


class Notifications(Struct, frozen=True):
    """Publishes a text for people with the facts as JSON behind it."""

    client: SNSClient
    topic_arn: str

    def __call__(self, subject: str, text: str, facts: dict[str, Any]) -> None:
        self.client.publish(
            TopicArn=self.topic_arn,
            Subject=subject[:MAX_SUBJECT],
            Message=f"{text}\n\n{json.dumps(facts, indent=2)}",
        )
