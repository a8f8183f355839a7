"""Callbacks: the result of a run, posted to the systems that wait for it.

When a run has ended, each of its callbacks becomes a message of the outbox (:func:`promise_results`), which
:class:`CallbackSender` sends. A callback that the index did not show yet keeps its status ``CALLBACK``: list
these, and call the same function for their runs. It also promises the result of dropped pending runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from msgspec import Struct

from celonis_refresh.notifications.http import HttpPost, is_success
from celonis_refresh.notifications.outbox import Message, MessageKind, NotSent, Outbox, Undeliverable
from celonis_refresh.runs.callbacks import StoredCallback, callbacks_of, find_callback, promised
from celonis_refresh.runs.errors import RunNotFound
from celonis_refresh.runs.queued import QueuedRun, RunLookup
from celonis_refresh.runs.records import Run, RunStatus, cut
from celonis_refresh.runs.table import ConditionFailed, Table, pipeline_of
from celonis_refresh.timing import Deadline

CALLBACK_SECONDS: Final = 10.0
"""Time limit of a request: a receiver may take longer than a chat."""
GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
"""Statuses that mean that nobody waits any more."""
DROPPED: Final = "DROPPED"
"""The status in a callback of a pending run that was dropped, so that it never began."""
MAX_MESSAGE: Final = 2048
"""Bytes of an outcome in a callback."""


def callback_facts(run: Run) -> dict[str, Any]:
    """Return what a callback says about an ended run: JSON values without secrets."""
    error = run.item.get("error")
    return {
        "run_id": run.run_id,
        "pipeline": run.pipeline,
        "status": str(run.status),
        "error": None if error is None else str(error),
        "outcome": cut(str(run.item.get("outcome", "")), MAX_MESSAGE),
    }


def dropped_facts(run_id: str) -> dict[str, Any]:
    """Return the same of a pending run that was dropped, or of a run whose record has expired."""
    return {
        "run_id": run_id,
        "pipeline": pipeline_of(run_id),
        "status": DROPPED,
        "error": "RunNotFound",
        "outcome": "The pending run was dropped before it began. Send the event again to start a new run.",
    }


def callback_facts_of(run_id: str, found: Run | QueuedRun | None) -> dict[str, Any] | None:
    """Return what is to be posted about a run; None while it is open or pending.

    ``found``: what ``RunLookup`` finds, None if it finds no run.
    """
    if found is None:
        return dropped_facts(run_id)
    return callback_facts(found) if isinstance(found, Run) and not found.is_open else None


def callback_payload(facts: Mapping[str, Any], format_: str) -> dict[str, Any]:
    """Return the JSON body of a callback. ``facts``: of :func:`callback_facts`.

    With ``azure_data_factory``, an activity with "Report status on callback" fails where the run failed
    (https://learn.microsoft.com/azure/data-factory/control-flow-webhook-activity#additional-notes).
    """
    if format_ != "azure_data_factory":
        return dict(facts)
    if facts["status"] == RunStatus.SUCCEEDED:
        return {"Output": dict(facts), "StatusCode": str(HTTPStatus.OK.value)}
    error = {"ErrorCode": facts["error"] or facts["status"], "Message": facts["outcome"]}
    status = HTTPStatus.INTERNAL_SERVER_ERROR.value
    return {"Output": dict(facts), "Error": error, "StatusCode": str(status)}


def promise_results(outbox: Outbox, lookup: RunLookup, run_id: str, deadline: Deadline) -> list[Message]:
    """Promise the result of a run to its callbacks; return new messages, none while it is open or pending.

    Can be repeated. Raises ``TableBusy``.
    """
    try:
        found = lookup.get(run_id)
    except RunNotFound:
        found = None
    facts = callback_facts_of(run_id, found)
    if facts is None:
        return []
    return promise_callbacks(outbox, callbacks_of(outbox.table, run_id, deadline), facts, deadline)


def promise_callbacks(
    outbox: Outbox, callbacks: Iterable[StoredCallback], facts: Mapping[str, Any], deadline: Deadline
) -> list[Message]:
    """Put a message for each callback of an ended run into the outbox; return those that are new.

    Can be repeated. Raises ``TableBusy``.
    """
    messages = []
    for stored in callbacks:
        message_id = f"{stored.run_id}/callback/{stored.callback.digest}"
        message = outbox.message(message_id, MessageKind.CALLBACK, stored.key, facts)
        try:
            outbox.table.transact([promised(outbox.table, stored.key), outbox.put(message)], deadline)
        except ConditionFailed:
            continue  # promised before, or removed
        messages.append(message)
    return messages


class CallbackSender(Struct, frozen=True):
    """Sends one message of the kind ``callback``: the ``Sender`` of the outbox."""

    table: Table
    post: HttpPost

    def __call__(self, message: Message, deadline: Deadline) -> None:
        """Post the result once and remove the callback. Raises ``NotSent``, ``Undeliverable``, ``TableBusy``.

        A callback that is not there was posted before.
        """
        stored = find_callback(self.table, message.target)
        if stored is None:
            return
        body = json.dumps(callback_payload(message.facts, stored.callback.format)).encode()
        status = self.post(message, stored.callback.address, body, {}, deadline)
        if status in GONE:
            self._remove(stored, deadline)
            raise Undeliverable(message, f"HTTP {status}: nobody waits for this callback any more")
        if not is_success(status):
            raise NotSent(message, f"HTTP {status}")
        self._remove(stored, deadline)

    def _remove(self, stored: StoredCallback, deadline: Deadline) -> None:
        self.table.delete(self.table.remove(stored.key, ""), deadline)
