"""Notifications of runs, published to the SNS topic of the stack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

MAX_SUBJECT = 100


class Notifications(Struct, frozen=True):
    """Publishes a text and, below it, the facts as JSON."""

    client: SNSClient
    topic_arn: str

    def __call__(self, subject: str, text: str, facts: dict[str, Any]) -> None:
        self.client.publish(
            TopicArn=self.topic_arn,
            Subject=subject[:MAX_SUBJECT],
            Message=f"{text}\n\n{json.dumps(facts, indent=2)}",
        )
