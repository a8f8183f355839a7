"""Functions that send at the same time send each message once: the end event twice, rounds of reconcile."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.notifications.outbox import CLAIM_SECONDS
from celonis_refresh.runs.callbacks import Callback, callback_item
from celonis_refresh.workflow.reconcile import MIN_AGE_SECONDS
from tests.fakes.interleaving import Interleaving
from tests.fakes.service import RUN, Crashed, job_definition
from tests.unit.workflow.commands_harness import CommandsHarness
from tests.unit.workflow.test_freshness import DAY, FreshnessHarness, fresh
from tests.unit.workflow.test_stuck import STUCK_AFTER, unreachable

Act = Callable[[CommandsHarness], Any]
Hook = Callable[[str, Literal["before", "after"]], None]
MESSAGE_ID = re.compile(r"^Notification: (.+)$", re.MULTILINE)
MAX_CALLS = 200


def listen(harness: CommandsHarness, hook: Hook) -> None:
    """Call ``hook`` before and after each outgoing call of every function."""
    service, notices = harness.service, harness.notices

    def notify(title: str, text: str, facts: dict[str, Any]) -> None:
        hook("Publish", "before")
        notices.append((title, text, facts))
        hook("Publish", "after")

    harness._notify = notify  # type: ignore[method-assign,assignment]
    service.dynamodb.before = lambda operation, _: hook(operation, "before")
    service.dynamodb.after = lambda operation, _: hook(operation, "after")
    harness.executions.hook = service.events.hook = service.celonis.hook = hook
    post = type(service.receiver).send

    def send(*arguments: Any, **named: Any) -> Any:
        hook("POST", "before")
        response = post(service.receiver, *arguments, **named)
        hook("POST", "after")
        return response

    service.receiver.send = send  # type: ignore[method-assign]


def sent(harness: CommandsHarness) -> Counter[str]:
    """How often each notification, event and callback was sent."""
    notifications = [found[1] for _, text, _ in harness.notices if (found := MESSAGE_ID.search(text))]
    callbacks = [str(request.url) for request in harness.service.receiver.sent]
    return Counter(notifications + harness.service.events.ids + callbacks)


def close(harness: CommandsHarness) -> None:
    harness.close()


def reconcile(harness: CommandsHarness) -> None:
    """A round, to which the messages that another function has just put are old enough."""
    harness.service.clock.sleep(MIN_AGE_SECONDS + 1)
    harness.round()


def failed() -> CommandsHarness:
    """A run that has failed and that a system waits for."""
    harness = CommandsHarness()
    callback = callback_item(RUN, Callback("https://adf.example.com/1"), harness.service.clock.now)
    table = harness.service.table
    table.transact([table.put(callback)], harness.service.deadline())
    harness.executions.end(RUN, "FAILED", "JobFailed", "It failed.")
    return harness


def stuck() -> CommandsHarness:
    harness = CommandsHarness(job_definition(notify={"stuck_after": STUCK_AFTER}))
    unreachable(harness)
    harness.service.clock.sleep(STUCK_AFTER)
    return harness


def stale() -> FreshnessHarness:
    harness = fresh()
    harness.service.clock.sleep(2 * DAY)
    return harness


CASES: list[tuple[Callable[[], CommandsHarness], Act, Act]] = [
    (failed, close, close),
    (failed, close, reconcile),
    (failed, reconcile, close),
    (failed, reconcile, reconcile),
    (stuck, reconcile, reconcile),
    (stale, reconcile, reconcile),
]


def ids(value: object) -> str:
    return str(getattr(value, "__name__", value))


def finish(harness: CommandsHarness) -> None:
    """Let a later round send what is left."""
    listen(harness, lambda *_: None)
    harness.service.clock.sleep(CLAIM_SECONDS)
    harness.round()
    assert list(harness.service.dynamodb.documents("outbox#")) == []


@pytest.mark.parametrize(("make", "act", "rival"), CASES, ids=ids)
def test_a_function_that_runs_at_any_call_of_another_sends_nothing_twice(
    make: Callable[[], CommandsHarness], act: Act, rival: Act
) -> None:
    alone = make()
    act(alone)
    finish(alone)
    expected = set(sent(alone))
    assert expected
    for number in range(MAX_CALLS):
        harness, left = make(), [number]

        def hook(name: str, when: str, harness: CommandsHarness = harness, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == -1:
                rival(harness)

        listen(harness, hook)
        act(harness)
        is_over = left[0] >= 0
        finish(harness)
        found = sent(harness)
        assert max(found.values()) == 1, (number, found)
        assert len(found) == len(expected), number
        if is_over:
            return
    raise AssertionError(f"more than {MAX_CALLS} calls")


@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.1, 0.5, 1.0]))
def test_functions_that_take_turns_at_each_call_send_nothing_twice(seed: int, share: float) -> None:
    harness = failed()
    turns = Interleaving(harness.service.clock, Random(seed), share)  # noqa: S311
    listen(harness, lambda *_: turns.pause())
    for act in (close, close, reconcile, reconcile):
        turns.spawn(lambda act=act: act(harness), RUN)  # type: ignore[misc]
    turns.run()
    finish(harness)
    assert max(sent(harness).values()) == 1


@pytest.mark.parametrize("act", [close, reconcile])
def test_a_message_whose_sender_has_died_is_sent_once_its_claim_has_ended(act: Act) -> None:
    harness = failed()

    def dies(name: str, when: str) -> None:
        if name == "Publish":
            raise Crashed

    listen(harness, dies)
    with pytest.raises(Crashed):
        act(harness)
    listen(harness, lambda *_: None)
    close(harness)
    assert sent(harness)[f"{RUN}/ended/topic"] == 0, "the sender may still be working"
    harness.service.clock.sleep(CLAIM_SECONDS)
    close(harness)
    assert sent(harness)[f"{RUN}/ended/topic"] == 1
    finish(harness)
    assert max(sent(harness).values()) == 1


@pytest.mark.parametrize("make", [failed, stuck, stale])
def test_a_message_costs_two_writes_where_nothing_fails(make: Callable[[], CommandsHarness]) -> None:
    """One puts and claims it, one removes it."""
    harness = make()
    writes: list[str] = []

    def note(operation: str, request: dict[str, Any]) -> None:
        actions = request.get("TransactItems", [{operation: request}])
        bodies = [body for action in actions for body in action.values()]
        keys = [body["Key"] if "Key" in body else body.get("Item", {}) for body in bodies]
        if operation in ("UpdateItem", "DeleteItem", "PutItem", "TransactWriteItems"):
            writes.extend(
                key["pk"]["S"] for key in keys if key.get("pk", {}).get("S", "").startswith("outbox#")
            )

    harness.service.dynamodb.before = note
    close(harness) if make is failed else reconcile(harness)
    counts = Counter(writes)
    assert counts
    assert set(counts.values()) == {2}, counts
