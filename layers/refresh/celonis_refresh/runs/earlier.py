"""Our last executions of each data job and data model, stored beside its lease.

They never count as a later run's own, and an observation without the newest of them is stale. The item
is written in the transaction that frees the lease, so the next holder always reads it.

A waiting run has no lease. What its polls have shown running is stored here as well, so that no other run
starts on an older observation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.table import Action, ConditionFailed, Table, earlier_key
from celonis_refresh.timing import Clock, Deadline

MAX_ROUNDS = 50
"""Attempts to change an item that other runs change at the same time."""

MAX_EARLIER = 10
"""Executions stored per job or model: more than can begin within one ``settle``."""
MAX_OPERANDS = 90
"""Ids in one condition; DynamoDB accepts at most 100."""


class Busy(Struct, frozen=True):
    """An execution of another user that polls of a waiting run have shown.

    ``until``: epoch seconds from which every poll shows it; ``rows``: ids shown as running, empty if
    incomplete.
    """

    until: float
    rows: tuple[str, ...] = ()

    def is_shown_by(self, ended_rows: Collection[str], now: float) -> bool:
        """Return whether an observation with these ended rows is at least as new."""
        return self.until <= now or (bool(self.rows) and set(self.rows) <= set(ended_rows))


class Earlier(Struct, frozen=True):
    """Our last executions of a job or model.

    ``ids``: all their ids, newest first. ``newest``: ids of which a fresh observation shows one: of our
    newest execution, or of executions that polls have shown after it. ``started``: the start date of ours by
    Celonis. ``visible_by``: epoch seconds from which every poll shows it. ``shows_running``: a poll has shown
    the target running, so running executions are visible. ``busy``: by run, what its polls have shown while
    it waited. ``run_id``: the run that started our newest execution.
    """

    ids: tuple[str, ...] = ()
    newest: tuple[str, ...] = ()
    started: int | None = None
    visible_by: float = 0.0
    shows_running: bool = False
    busy: Mapping[str, Busy] = {}
    run_id: str | None = None

    @staticmethod
    def from_item(item: Mapping[str, Any] | None) -> Earlier:
        if not item:
            return Earlier()
        newest = tuple(id_ for id_ in (item.get("id"), item.get("other_id")) if id_)
        return Earlier(
            ids=tuple(item["ids"]),
            newest=newest,
            started=item.get("started"),
            visible_by=float(item["visible_by"]),
            shows_running=bool(item.get("shows_running")),
            busy={
                run_id: Busy(entry["until"], tuple(entry["rows"]))
                for run_id, entry in item.get("busy", {}).items()
            },
            run_id=item.get("run_id"),
        )

    def followed_by(
        self,
        ids: Collection[str],
        started: int | None,
        visible_by: float,
        *,
        shows_running: bool,
        others: Collection[str] = (),
    ) -> Earlier:
        """Return this with one more execution of ours; ``others``: ids shown beside it.

        If there are ``others``, one of these must be shown instead, because they began later.
        """
        newest = tuple(sorted(ids)[:2])
        kept = [*newest, *(id_ for id_ in self.ids if id_ not in newest)][:MAX_EARLIER]
        last = tuple(sorted(others)[-2:])
        return Earlier(
            ids=tuple(kept),
            newest=last or newest,
            started=None if last else started,
            visible_by=visible_by,
            shows_running=self.shows_running or shows_running,
            busy=self.busy,
        )

    def with_busy(self, run_id: str, busy: Busy, now: float) -> Earlier:
        """Return this with what a poll of a waiting run has shown; expired entries are removed."""
        counting = {other: entry for other, entry in self.busy.items() if entry.until > now}
        return replace(self, busy={**counting, run_id: busy})

    def shows_end_of_busy(self, run_id: str, ended_rows: Collection[str], now: float) -> bool:
        """Return whether an observation with these ended rows is at least as new as other runs' polls.

        ``run_id``: the current run, "" if its own polls count as well.
        """
        others = [entry for other, entry in self.busy.items() if other != run_id]
        return all(entry.is_shown_by(ended_rows, now) for entry in others)

    def is_shown_by(self, ids: Collection[str], newest_start: int | None, now: float) -> bool:
        """Return whether an observation with these ids and newest start shows our last execution."""
        if self.visible_by <= now or any(id_ in ids for id_ in self.newest):
            return True
        return self.started is not None and newest_start is not None and self.started <= newest_start

    def check(self, table: Table, target: str) -> Action:
        """Return the condition that this is still stored, for a transaction."""
        return table.check(earlier_key(target), *_is_stored(self))

    def write(self, table: Table, target: str, replaces: Earlier | None = None) -> Action:
        """Return the action that stores this, for the transaction that frees the lease of ``target``.

        ``replaces``: what must be stored until then, for a run that does not have the lease.
        """
        id_, other, *_ = (*self.newest, None, None)
        condition, values = ("", None) if replaces is None else _is_stored(replaces)
        return table.put(
            {
                "pk": earlier_key(target),
                "ids": list(self.ids),
                "id": id_,
                "other_id": other,
                "started": self.started,
                "visible_by": self.visible_by,
                "shows_running": self.shows_running,
                "run_id": self.run_id,
                "busy": _to_json(self.busy),
                "busy_until": max((entry.until for entry in self.busy.values()), default=0.0),
            },
            condition,
            values,
        )


def _is_stored(earlier: Earlier) -> tuple[str, dict[str, Any] | None]:
    """Return the condition that nothing else is stored, and its values."""
    if earlier == Earlier():
        return "attribute_not_exists(pk)", None
    values = {"ids": earlier.ids, "visible_by": earlier.visible_by, "busy": _to_json(earlier.busy)}
    return " AND ".join(f"#{name} = :{name}" for name in values), values


def _to_json(busy: Mapping[str, Busy]) -> dict[str, Any]:
    return {run_id: {"until": entry.until, "rows": entry.rows} for run_id, entry in busy.items()}


def check_shown(
    table: Table, target: str, ids: Collection[str], newest_start: int | None, now: float
) -> Action:
    """Return the condition of :meth:`Earlier.is_shown_by` for a write without a read.

    It also fails while polls of other runs have shown an execution that not every poll shows yet.
    """
    values: dict[str, Any] = {"now": now}
    parts = ["attribute_not_exists(pk)", "#visible_by <= :now"]
    some = sorted(ids)[:MAX_OPERANDS]
    if some:
        named = {f"id{number}": id_ for number, id_ in enumerate(some)}
        operands = ", ".join(f":{name}" for name in named)
        parts += [f"#id IN ({operands})", f"#other_id IN ({operands})"]
        values |= named
    if newest_start is not None:
        parts.append("#started <= :newest_start")
        values["newest_start"] = newest_start
    condition = f"(attribute_not_exists(#busy_until) OR #busy_until <= :now) AND ({' OR '.join(parts)})"
    return table.check(earlier_key(target), condition, values)


def read_earlier(table: Table, lease: str) -> Earlier:
    """Return our last executions of the lease's job or model. Raises ``TableBusy``."""
    return Earlier.from_item(table.get(earlier_key(lease)))


def note_busy(table: Table, run_id: str, lease: str, busy: Busy, clock: Clock, deadline: Deadline) -> None:
    """Store what a poll of a waiting run has shown, for the other runs.

    Needs no lease; concurrent writes of other runs are kept. Raises ``TableBusy``.
    """
    for _ in range(MAX_ROUNDS):
        before = read_earlier(table, lease)
        after = before.with_busy(run_id, busy, clock())
        with contextlib.suppress(ConditionFailed):  # it has changed since it was read
            table.transact([after.write(table, lease, replaces=before)], deadline)
            return
    raise TableBusy("the last executions kept changing")
