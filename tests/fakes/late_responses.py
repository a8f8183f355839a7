"""A client whose transactions may get no response in time, and that sends them again, as botocore does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from celonis_refresh.aws.clients import CLIENT_TIMEOUTS
from tests.fakes.contended_dynamodb import ContendedDynamoDB
from tests.fakes.interleaving import Interleaving

TIMEOUTS = CLIENT_TIMEOUTS["response"]
AROUND_SECONDS = 0.05
"""How much earlier or later than the next attempt a late request arrives."""
PAUSE_SECONDS = 1.0
"""Maximum pause before an attempt (retry mode "standard")."""
RETRIED = "TransactionInProgressException"
"""The error code of a transaction that botocore retries."""


@dataclass
class LateResponses:
    """``share``: of the attempts that get no response in time; each arrives at some time. ``late``: how many
    there were."""

    dynamodb: ContendedDynamoDB
    workers: Interleaving
    random: Random
    share: float
    late: int = field(default=0, init=False)

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        for retries in range(TIMEOUTS.attempts):
            is_last = retries + 1 == TIMEOUTS.attempts
            if self.random.random() < self.share:
                self._send_late(request, self.random.uniform(0, PAUSE_SECONDS))
                continue
            try:
                return self.dynamodb.transact_write_items(**request)
            except ClientError as error:
                error.response["ResponseMetadata"] = {"RetryAttempts": retries}
                if is_last or error.response["Error"]["Code"] != RETRIED:
                    raise
            self.workers.sleep(self.random.uniform(0, PAUSE_SECONDS))
        raise ReadTimeoutError(endpoint_url="https://dynamodb.eu-central-1.amazonaws.com")

    def _send_late(self, request: dict[str, Any], pause: float) -> None:
        """Let the request arrive when the next attempt does, the worst time for it."""
        self.late += 1
        until_next = TIMEOUTS.read + pause

        def arrive() -> None:
            try:
                self.dynamodb.transact_write_items(**request)
            except ClientError:
                return  # nobody gets this response

        arrives_in = until_next + self.random.uniform(-AROUND_SECONDS, AROUND_SECONDS)
        self.workers.spawn(arrive, "", self.workers.clock.now + arrives_in)
        self.workers.sleep(until_next)

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        call: Callable[..., dict[str, Any]] = getattr(self.dynamodb, operation)
        return call
