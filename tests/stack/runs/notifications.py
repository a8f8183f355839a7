"""Notifications that the service sends, and events that could not be delivered."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator

from local.aws.stack import LocalStack
from local.wait import until
from tests.stack.runs.celonis import Json
from tests.stack.runs.service_base import ServiceBase


class NotificationInbox(ServiceBase):
    """Reads the topic of notices through a queue of its own, and the dead-letter queue."""

    def __init__(self, stack: LocalStack, celonis_url: str) -> None:
        super().__init__(stack, celonis_url)
        self._notices: list[Json] = []
        self._queue = self._subscribe()

    def notices(self) -> list[Json]:
        """Every message to the topic so far, as SNS delivers it (``Subject``, ``Message``)."""
        self._notices += [json.loads(text) for text in self.messages(self._queue)]
        return self._notices

    def notices_about(self, run_id: str) -> list[str]:
        named = re.compile(rf"(?<![\w-]){re.escape(run_id)}(?![\w-])")
        return [notice["Message"] for notice in self.notices() if named.search(notice["Message"])]

    def notice_about(self, run_id: str) -> str:
        """The message about a run or an execution, sent after the record is closed, and at least once."""
        until(lambda: self.notices_about(run_id), f"a notice about {run_id}")
        (message,) = set(self.notices_about(run_id))
        return message

    def dead_letters(self) -> list[str]:
        """Takes all messages from the dead-letter queue."""
        return self.messages(self.stack.outputs["DeadLettersUrl"])

    def messages(self, url: str) -> list[str]:
        """Takes all messages from a queue."""
        client, found = self.stack.client("sqs"), []
        while batch := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                found.append(str(message["Body"]))
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    @contextlib.contextmanager
    def undeliverable_events(self, queue_policy: str | None = None) -> Iterator[list[Json]]:
        """Within the block, status changes reach no function. Yields those that are in the queue after it."""
        events, sqs = self.stack.client("events"), self.stack.client("sqs")
        rule = next(
            one["Name"] for one in events.list_rules()["Rules"] if "aws.states" in one["EventPattern"]
        )
        (target,) = events.list_targets_by_rule(Rule=rule)["Targets"]
        url, letters = self.stack.outputs["DeadLettersUrl"], list[Json]()
        policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
        nobody = {**target, "Arn": target["Arn"].replace(":function:", ":function:no-such-")}
        assert self.stack.settle()
        events.put_targets(Rule=rule, Targets=[nobody])
        if queue_policy is not None:
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": queue_policy})
        try:
            yield letters
            assert self.stack.settle()
            letters += [json.loads(text) for text in self.dead_letters()]
        finally:
            events.put_targets(Rule=rule, Targets=[target])
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})

    def _subscribe(self) -> str:
        sqs = self.stack.client("sqs")
        url = str(sqs.create_queue(QueueName="notices-of-the-tests")["QueueUrl"])
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.stack.client("sns").subscribe(
            TopicArn=self.stack.outputs["NoticesTopicArn"], Protocol="sqs", Endpoint=arn
        )
        return url
