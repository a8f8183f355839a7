"""The outbox: messages that a transaction has promised, each sent at least once.

The item of a message is put by the transaction that writes what the message reports. It is removed once the
message was sent. Reconcile sends what is left, for ``RETRY_SECONDS``.

A message is claimed for ``CLAIM_SECONDS`` by the function that sends it, so that two functions do not send it
at the same time. The transaction that puts a message claims it as well, without a further write. Another
function takes the message over when the claim has ended, because the sender has failed or died.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from threading import Thread
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import count, logger
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.table import Action, ConditionFailed, Table
from celonis_refresh.timing import Clock, Deadline, epoch, iso

UNSENT: Final = "UNSENT"
"""The status in the index of messages that were not sent yet."""
RETRY_SECONDS: Final = 86_400.0
"""Age from which a message that cannot be sent is given up."""
CLAIM_SECONDS: Final = 60.0
"""How long a function that sends a message keeps others from sending it."""
MAX_SEND_SECONDS: Final = 30.0
"""Maximum time of one send, including reads of secrets: a claim that ends earlier is renewed before."""


LOGGED_FACTS: Final = ("run_id", "pipeline", "source", "delivery_id")
"""Facts of a message that its log lines have."""
MAX_THREADS: Final = 8
"""Messages that are sent at the same time."""


def outbox_key(message_id: str) -> str:
    return f"outbox#{message_id}"


class MessageKind(StrEnum):
    """What a message is, and therefore which sender sends it."""

    NOTIFICATION = "notification"
    CALLBACK = "callback"
    EVENT = "event"


class Message(Struct, frozen=True):
    """A message to one target.

    ``message_id``: the same whenever the message is sent again, for example ``{run_id}/ended/{channel}``.
    ``target``: the name of a channel, the key of a callback, or "" for the event bus. ``facts``: JSON values
    without secrets, from which the sender makes the text. ``created_at``: as ``iso`` writes it.
    ``claimed_until``: epoch seconds until when one function sends it; 0 if none does.
    """

    message_id: str
    kind: MessageKind
    target: str
    facts: Mapping[str, Any]
    created_at: str
    claimed_until: float = 0.0


class NotSent(RefreshError):
    """A message could not be sent, and is sent again later. ``message_id``, ``target``, ``reason``."""

    def __init__(self, message: Message, reason: str) -> None:
        self.message_id, self.target, self.reason = message.message_id, message.target, reason
        super().__init__(
            f"Message {message.message_id} was not sent to {message.target or 'the bus'}: {reason}"
        )


class Undeliverable(NotSent):
    """A message that its target will never take, for example because the channel was removed."""


class SendResult(StrEnum):
    """What became of a message. ``TAKEN``: another function sends it, or has sent it."""

    SENT = "sent"
    FAILED = "failed"
    GIVEN_UP = "given up"
    TAKEN = "taken"


Sender = Callable[[Message, Deadline], None]
"""Sends a message once, within the deadline and its own time-out. Raises ``NotSent``, ``Undeliverable``."""


class Outbox(Struct, frozen=True):
    """Sends messages by kind. ``clock`` returns epoch seconds.

    ``default_channels``: of pipelines that name none. ``start`` starts a thread: several messages are sent at
    the same time, so that a slow target does not delay the others.
    """

    table: Table
    senders: Mapping[MessageKind, Sender]
    clock: Clock
    default_channels: tuple[str, ...] = ("topic",)
    start: Callable[[Thread], None] = Thread.start

    def message(self, message_id: str, kind: MessageKind, target: str, facts: Mapping[str, Any]) -> Message:
        """Return a message that is created now, and claimed if this function sends messages of its kind."""
        now = self.clock()
        claimed_until = now + CLAIM_SECONDS if kind in self.senders else 0.0
        return Message(message_id, kind, target, facts, iso(now), claimed_until)

    def put(self, message: Message) -> Action:
        """Return the action that promises a message, for the transaction that writes what it reports."""
        return self.table.put(
            {
                "pk": outbox_key(message.message_id),
                "message_id": message.message_id,
                "kind": message.kind,
                "target": message.target,
                "facts": dict(message.facts),
                "claimed_until": message.claimed_until,
                "status": UNSENT,
                "position": f"{message.created_at} {message.message_id}",
            }
        )

    def find(self, message_id: str) -> Message | None:
        """Return a message that was not sent yet."""
        item = self.table.get(outbox_key(message_id))
        return None if item is None else _from_item(item)

    def unsent(self, message_ids: Sequence[str], deadline: Deadline) -> list[Message]:
        """Return those of the messages that were not sent yet."""
        items = self.table.get_all([outbox_key(each) for each in message_ids], deadline)
        return [_from_item(item) for item in items.values()]

    def send_unsent(self, message_ids: Sequence[str], deadline: Deadline) -> None:
        """Send those of the messages that were not sent yet and that no other function sends.

        What fails is left to reconcile. No failure of one target keeps the others from being sent to.
        """
        if not message_ids:
            return
        try:
            messages = self.unsent(message_ids, deadline)
        except TableBusy as error:
            logger.warning("messages are left to reconcile", extra={"why": str(error)})
            return
        self._send_all(self.send_again, messages, deadline)

    def send_put(self, messages: Iterable[Message], deadline: Deadline) -> None:
        """As :meth:`send_unsent`, for messages that this function has just put and therefore claimed."""
        self._send_all(self.send, list(messages), deadline)

    def send(self, message: Message, deadline: Deadline) -> SendResult:
        """Send a message that this function has just put, and remove its item.

        A failure is left to reconcile. A claim that ends soon, because other targets were slow, is renewed.
        """
        if message.claimed_until - self.clock() < MAX_SEND_SECONDS:
            return self._claim_and_send(message, deadline)
        return self._send_claimed(message, deadline)

    def send_again(self, message: Message, deadline: Deadline) -> SendResult:
        """As :meth:`send`, for a message that was read, unless another function sends it."""
        if 0.0 < message.claimed_until - self.clock() <= 2 * CLAIM_SECONDS:  # else a clock was wrong
            return SendResult.TAKEN
        return self._claim_and_send(message, deadline)

    def _send_all(
        self,
        send: Callable[[Message, Deadline], SendResult],
        messages: Sequence[Message],
        deadline: Deadline,
    ) -> None:
        """Send messages at the same time, and wait for all of them."""
        for first in range(0, len(messages), MAX_THREADS):
            tasks = [
                partial(self._send_or_leave, send, message, deadline)
                for message in messages[first : first + MAX_THREADS]
            ]
            threads = [Thread(target=task, daemon=True) for task in tasks]
            for thread in threads:
                self.start(thread)
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _send_or_leave(
        self, send: Callable[[Message, Deadline], SendResult], message: Message, deadline: Deadline
    ) -> None:
        try:
            send(message, deadline)
        except Exception:  # noqa: BLE001 - logged whole; reconcile sends the message again
            logger.exception("a message was not sent", extra=_names(message))

    def _claim_and_send(self, message: Message, deadline: Deadline) -> SendResult:
        """Claim a message as it was read or put, unless another function has claimed or sent it since."""
        claimed = self._claim(message, self.clock() + CLAIM_SECONDS, deadline)
        return SendResult.TAKEN if claimed is None else self._send_claimed(claimed, deadline)

    def _claim(self, message: Message, until: float, deadline: Deadline) -> Message | None:
        """Write the end of a claim; return None if another function has claimed or sent the message since."""
        before = {"before": message.claimed_until}
        change = self.table.set(
            outbox_key(message.message_id), {"claimed_until": until}, "#claimed_until = :before", before
        )
        try:
            self.table.update(change, deadline)
        except ConditionFailed:
            return None
        return replace(message, claimed_until=until)

    def _send_claimed(self, message: Message, deadline: Deadline) -> SendResult:
        try:
            self.senders[message.kind](message, deadline)
        except Undeliverable as error:
            return self._give_up(message, error, deadline)
        except NotSent as error:
            if self._is_old(message):
                return self._give_up(message, error, deadline)
            _count(message, "NotificationsFailed")
            logger.warning("a message was not sent", extra={**_names(message), "why": str(error)})
            self._claim(message, 0.0, deadline)  # so that the next round need not wait for the end of it
            return SendResult.FAILED
        except Exception as error:
            if not self._is_old(message):
                raise
            return self._give_up(message, error, deadline)
        _count(message, "NotificationsSent")
        self._remove(message, deadline)
        return SendResult.SENT

    def _is_old(self, message: Message) -> bool:
        return self.clock() - epoch(message.created_at) >= RETRY_SECONDS

    def _give_up(self, message: Message, error: Exception, deadline: Deadline) -> SendResult:
        if message.kind is not MessageKind.CALLBACK:  # its receiver belongs to others: no alarm of ours
            count("NotificationsGivenUp")
        logger.error("a message is given up", extra={**_names(message), "why": str(error)})
        self._remove(message, deadline)
        return SendResult.GIVEN_UP

    def _remove(self, message: Message, deadline: Deadline) -> None:
        self.table.delete(self.table.remove(outbox_key(message.message_id), ""), deadline)


def _from_item(item: Mapping[str, Any]) -> Message:
    created_at = str(item["position"]).split(" ", 1)[0]
    kind = MessageKind(item["kind"])
    claimed_until = float(item["claimed_until"])
    return Message(
        str(item["message_id"]), kind, str(item["target"]), item["facts"], created_at, claimed_until
    )


def _count(message: Message, metric: str) -> None:
    if message.kind is MessageKind.NOTIFICATION:
        count(metric)


def _names(message: Message) -> dict[str, str]:
    """Return what log lines name of a message, with the run and the pipeline that it is about."""
    facts = message.facts["events"][0]["detail"] if message.kind is MessageKind.EVENT else message.facts
    ids = {name: str(facts[name]) for name in LOGGED_FACTS if facts.get(name)}
    return {**ids, "message_id": message.message_id, "kind": message.kind, "target": message.target}
