"""The dead-letter queue: its length, and processing its messages again.

SQS cannot move these messages back, because they do not come from another queue. The end of a run is given to
the function that records ends; a start is an execution of the state machine with the same input. Both may
happen twice without harm: an end is recorded once, and an execution has the id of its message as its name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from botocore.exceptions import ClientError

from celonis_refresh.names import is_name
from refresh_cli.errors import CliError
from refresh_cli.stack import Stack

MAX_MESSAGES: Final = 200
"""Messages that one redrive takes."""
HIDDEN_SECONDS: Final = 600
"""How long SQS hides a message that was received: time for the question, and to process it."""
CLOSE_RUN, ALIAS = "CloseRun", "live"
ALREADY_STARTED: Final = "ExecutionAlreadyExists"


class LetterKind(StrEnum):
    """What a message is."""

    END = "end of a run"
    START = "start by a schedule"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class DeadLetter:
    """A message. ``subject``: its run or pipeline; ``payload``: JSON to process again."""

    message_id: str
    receipt: str
    kind: LetterKind
    subject: str
    payload: str
    sent_at: datetime | None
    reason: str

    def document(self) -> dict[str, Any]:
        """Return the message for ``--json``."""
        return {
            "message_id": self.message_id,
            "kind": str(self.kind),
            "subject": self.subject,
            "sent_at": self.sent_at.isoformat() if self.sent_at else None,
            "reason": self.reason,
        }


def queue_length(stack: Stack) -> int:
    """Return the number of messages, with those that are being processed. Raises errors of boto3."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = stack.client("sqs").get_queue_attributes(
        QueueUrl=stack.output("DeadLettersUrl"), AttributeNames=names
    )
    return sum(int(answer["Attributes"][name]) for name in names)


class DeadLetters:
    """Receives messages, and processes them again."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._sqs = stack.client("sqs")
        self._url = stack.output("DeadLettersUrl")

    def receive(self) -> list[DeadLetter]:
        """Return up to ``MAX_MESSAGES`` messages, which are hidden from others for some time."""
        found: dict[str, DeadLetter] = {}
        while len(found) < MAX_MESSAGES:
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=HIDDEN_SECONDS,
                WaitTimeSeconds=1,
                AttributeNames=["SentTimestamp"],
                MessageAttributeNames=["All"],
            )
            messages = answer.get("Messages", [])
            found |= {each["MessageId"]: read_letter(each, self._machine) for each in messages}
            if not messages:
                break
        return list(found.values())

    def release(self, letters: list[DeadLetter]) -> None:
        """Leave messages in the queue, visible at once."""
        for letter in letters:
            self._sqs.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=letter.receipt, VisibilityTimeout=0
            )

    def process(self, letter: DeadLetter) -> None:
        """Process a message again and remove it. Raises ``CliError``, errors of boto3."""
        match letter.kind:
            case LetterKind.END:
                self._record_end(letter)
            case LetterKind.START:
                self._start(letter)
            case LetterKind.UNKNOWN:
                raise CliError(
                    "The message is neither the end of a run nor a start",
                    letter.message_id,
                    "Read it (docs/runbooks/dead-letters.md), then delete it in SQS.",
                )
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=letter.receipt)

    def _record_end(self, letter: DeadLetter) -> None:
        function = self._physical_id(CLOSE_RUN)
        self._stack.client("lambda").invoke(
            FunctionName=function, Qualifier=ALIAS, InvocationType="Event", Payload=letter.payload.encode()
        )

    def _start(self, letter: DeadLetter) -> None:
        try:
            self._stack.client("stepfunctions").start_execution(
                stateMachineArn=self._machine, name=f"redrive-{letter.message_id}", input=letter.payload
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != ALREADY_STARTED:
                raise

    @property
    def _machine(self) -> str:
        return self._stack.output("StateMachineArn")

    def _physical_id(self, logical_id: str) -> str:
        for each in self._stack.resources:
            if each["LogicalResourceId"] == logical_id:
                return str(each["PhysicalResourceId"])
        raise CliError(f"The stack has no {logical_id}", self._stack.where, "Upgrade the stack.")


def read_letter(message: Mapping[str, Any], machine: str) -> DeadLetter:
    """Return what a message is. An end counts only if its execution is one of the state machine."""
    attributes = {name: each.get("StringValue", "") for name, each in _attributes(message).items()}
    body = _object(message["Body"])
    if "requestPayload" in body:  # Lambda has given up
        reason = str((body.get("requestContext") or {}).get("condition", ""))
        body = body["requestPayload"] if isinstance(body["requestPayload"], dict) else {}
    else:
        reason = attributes.get("ERROR_MESSAGE") or attributes.get("ERROR_CODE", "")
    kind, subject = _kind(body, machine)
    if attributes.get("IS_PAYLOAD_TRUNCATED") == "true":
        kind = LetterKind.UNKNOWN
    sent = message.get("Attributes", {}).get("SentTimestamp")
    return DeadLetter(
        str(message["MessageId"]),
        str(message["ReceiptHandle"]),
        kind,
        subject,
        json.dumps(body, ensure_ascii=False),
        datetime.fromtimestamp(int(sent) / 1000, UTC) if sent else None,
        " ".join(reason.split()),
    )


def _kind(body: Mapping[str, Any], machine: str) -> tuple[LetterKind, str]:
    detail = body.get("detail")
    if isinstance(detail, dict) and detail.get("executionArn"):
        is_ours = detail.get("stateMachineArn") == machine
        return LetterKind.END if is_ours else LetterKind.UNKNOWN, str(detail.get("name", ""))
    pipeline = body.get("pipeline")
    if isinstance(pipeline, str) and is_name(pipeline):
        return LetterKind.START, pipeline
    return LetterKind.UNKNOWN, ""


def _attributes(message: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    found: Mapping[str, Mapping[str, str]] = message.get("MessageAttributes", {})
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
