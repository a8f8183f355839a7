"""Messages that a transaction has promised are sent at least once, and given up after a day."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from celonis_refresh.notifications.outbox import (
    CLAIM_SECONDS,
    MAX_SEND_SECONDS,
    MAX_THREADS,
    RETRY_SECONDS,
    UNSENT,
    Message,
    MessageKind,
    NotSent,
    Outbox,
    SendResult,
    Undeliverable,
    outbox_key,
)
from celonis_refresh.runs.table import Table
from celonis_refresh.timing import Deadline
from tests.fakes.clock import FakeClock

ID = "otc-1/ended/slack-team"


class FakeSender:
    """Takes messages, or raises ``error``."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.error: Exception | None = None

    def __call__(self, message: Message, deadline: Deadline) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(message)


@pytest.fixture
def sender() -> FakeSender:
    return FakeSender()


@pytest.fixture
def outbox(table: Table, sender: FakeSender, clock: FakeClock) -> Outbox:
    return Outbox(table, {MessageKind.NOTIFICATION: sender}, clock, start=Thread.run)


@pytest.fixture
def message(outbox: Outbox, table: Table, deadline: Deadline) -> Message:
    message = outbox.message(ID, MessageKind.NOTIFICATION, "slack-team", {"run_id": "otc-1"})
    table.transact([outbox.put(message)], deadline)
    return message


def test_a_message_is_in_the_index_of_unsent_ones(message: Message, table: Table) -> None:
    item = table.get(outbox_key(ID)) or {}
    assert (item["status"], item["position"]) == (UNSENT, f"{message.created_at} {ID}")


def test_a_sent_message_is_removed(
    outbox: Outbox, message: Message, sender: FakeSender, deadline: Deadline
) -> None:
    assert outbox.unsent([ID, "another"], deadline) == [message]
    assert outbox.send(message, deadline) is SendResult.SENT
    assert sender.sent == [message]
    assert (outbox.find(ID), outbox.unsent([ID], deadline)) == (None, [])


def test_what_cannot_be_sent_stays_for_a_day(
    outbox: Outbox, message: Message, sender: FakeSender, clock: FakeClock, deadline: Deadline
) -> None:
    sender.error = NotSent(message, "status 500")
    assert outbox.send(message, deadline) is SendResult.FAILED
    clock.sleep(RETRY_SECONDS - 1)
    assert outbox.send_again(stored(outbox), Deadline.after(10, clock)) is SendResult.FAILED
    clock.sleep(1)
    assert outbox.send_again(stored(outbox), Deadline.after(10, clock)) is SendResult.GIVEN_UP
    assert outbox.find(ID) is None


def test_a_message_that_its_target_rejects_is_abandoned_at_once(
    outbox: Outbox, message: Message, sender: FakeSender, deadline: Deadline
) -> None:
    sender.error = Undeliverable(message, "the channel does not exist")
    assert outbox.send(message, deadline) is SendResult.GIVEN_UP
    assert outbox.find(ID) is None


def stored(outbox: Outbox) -> Message:
    """The message as another function reads it."""
    message = outbox.find(ID)
    assert message is not None
    return message


def test_a_message_that_another_function_sends_is_left_until_its_claim_ends(
    outbox: Outbox, message: Message, sender: FakeSender, clock: FakeClock, deadline: Deadline
) -> None:
    clock.sleep(CLAIM_SECONDS - 1)
    assert outbox.send_again(stored(outbox), deadline) is SendResult.TAKEN
    outbox.send_unsent([ID], deadline)
    assert sender.sent == []
    clock.sleep(1)
    outbox.send_unsent([ID], Deadline.after(10, clock))
    assert [sent.message_id for sent in sender.sent] == [ID]


def test_only_one_of_two_functions_that_read_the_message_takes_it_over(
    outbox: Outbox, message: Message, sender: FakeSender, clock: FakeClock
) -> None:
    sender.error = NotSent(message, "status 500")
    clock.sleep(CLAIM_SECONDS)
    one, other = stored(outbox), stored(outbox)
    assert outbox.send_again(one, Deadline.after(10, clock)) is SendResult.FAILED
    assert outbox.send_again(other, Deadline.after(10, clock)) is SendResult.TAKEN


def test_a_message_that_was_not_sent_can_be_sent_again_at_once(
    outbox: Outbox, message: Message, sender: FakeSender, deadline: Deadline
) -> None:
    sender.error = NotSent(message, "status 500")
    assert outbox.send(message, deadline) is SendResult.FAILED
    sender.error = None
    assert outbox.send_again(stored(outbox), deadline) is SendResult.SENT


def test_a_message_that_was_sent_since_it_was_read_is_not_put_again(
    outbox: Outbox, message: Message, table: Table, clock: FakeClock
) -> None:
    clock.sleep(CLAIM_SECONDS)
    read = stored(outbox)
    table.delete(table.remove(outbox_key(ID), ""), Deadline.after(10, clock))
    assert outbox.send_again(read, Deadline.after(10, clock)) is SendResult.TAKEN
    assert outbox.find(ID) is None


def test_a_claim_that_ends_soon_is_renewed_before_the_message_is_sent(
    outbox: Outbox, message: Message, sender: FakeSender, clock: FakeClock
) -> None:
    """Other targets were slow."""
    sender.error = ZeroDivisionError()
    clock.sleep(CLAIM_SECONDS - MAX_SEND_SECONDS + 1)
    with pytest.raises(ZeroDivisionError):
        outbox.send(message, Deadline.after(10, clock))
    assert stored(outbox).claimed_until == clock.now + CLAIM_SECONDS
    assert outbox.send(message, Deadline.after(10, clock)) is SendResult.TAKEN  # it was claimed since


def test_a_claim_of_a_function_whose_clock_was_ahead_does_not_block_a_message(
    outbox: Outbox, message: Message, sender: FakeSender, clock: FakeClock
) -> None:
    clock.sleep(-3600)
    assert outbox.send_again(stored(outbox), Deadline.after(10, clock)) is SendResult.SENT


def test_a_function_that_sends_nothing_claims_nothing(
    table: Table, outbox: Outbox, clock: FakeClock, deadline: Deadline
) -> None:
    other = Outbox(table, {}, clock)
    table.transact([other.put(other.message(ID, MessageKind.NOTIFICATION, "topic", {}))], deadline)
    assert outbox.send_again(stored(outbox), deadline) is SendResult.SENT


def test_several_messages_are_sent_at_the_same_time(
    table: Table, clock: FakeClock, deadline: Deadline
) -> None:
    """The first target answers only after the second message was sent."""
    has_arrived = Event()
    sent: list[str] = []

    def send(message: Message, deadline: Deadline) -> None:
        if message.target == "slow":
            assert has_arrived.wait(30.0)
        sent.append(message.target)
        has_arrived.set()

    outbox = Outbox(table, {MessageKind.NOTIFICATION: send}, clock)
    messages = [outbox.message(f"otc-1/{name}", MessageKind.NOTIFICATION, name, {}) for name in ("slow", "b")]
    table.transact([outbox.put(message) for message in messages], deadline)
    outbox.send_put(messages, deadline)
    assert sent == ["b", "slow"]


def test_one_target_that_fails_keeps_no_other_from_being_sent_to(
    table: Table, clock: FakeClock, deadline: Deadline
) -> None:
    sent: list[str] = []

    def send(message: Message, deadline: Deadline) -> None:
        if message.target == "0":
            raise ZeroDivisionError
        sent.append(message.target)

    outbox = Outbox(table, {MessageKind.NOTIFICATION: send}, clock, start=Thread.run)
    names = [str(number) for number in range(2 * MAX_THREADS + 1)]
    messages = [outbox.message(f"otc-1/{name}", MessageKind.NOTIFICATION, name, {}) for name in names]
    table.transact([outbox.put(message) for message in messages], deadline)
    outbox.send_put(messages, deadline)
    assert sent == names[1:]
    assert outbox.find("otc-1/0") is not None
