"""The last executions that our runs started of a data job or a data model, kept beside its lease.

They are never taken for a later run's own, and an observation that lacks the newest of them is known to be
stale. The item is written in the transaction that frees the lease, so that the next holder always finds it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from celonis_refresh.runs import keys
from celonis_refresh.runs.table import Action, Table

MAX_EARLIER = 10
"""Executions kept per job or model: more than can begin within one ``settle``."""
MAX_OPERANDS = 90
"""Ids that one condition compares: DynamoDB takes 100 at most."""


class Earlier(Struct, frozen=True):
    """``ids``: all ids known of our last executions, newest first.

    ``newest``: ids of which a fresh observation shows one: those of our newest execution, or of what polls
    have shown after it; ``started``: the start date of ours by Celonis; ``visible_by``: epoch seconds from
    which every reading shows it. ``shows_running``: a poll has shown the target running, so running
    executions do show.
    """

    ids: tuple[str, ...] = ()
    newest: tuple[str, ...] = ()
    started: int | None = None
    visible_by: float = 0.0
    shows_running: bool = False

    @staticmethod
    def from_item(item: Mapping[str, Any] | None) -> Earlier:
        if not item:
            return Earlier()
        newest = tuple(found for found in (item.get("id"), item.get("other_id")) if found)
        return Earlier(
            ids=tuple(item["ids"]),
            newest=newest,
            started=item.get("started"),
            visible_by=float(item["visible_by"]),
            shows_running=bool(item.get("shows_running")),
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
        """With one more execution of ours; ``others``: ids of executions that polls have shown beside it.

        One of these has to be shown instead, where there are any: they began later.
        """
        newest = tuple(sorted(ids)[:2])
        kept = [*newest, *(found for found in self.ids if found not in newest)][:MAX_EARLIER]
        last = tuple(sorted(others)[-2:])
        return Earlier(
            ids=tuple(kept),
            newest=last or newest,
            started=None if last else started,
            visible_by=visible_by,
            shows_running=self.shows_running or shows_running,
        )

    def seen_busy(self, visible_by: float) -> Earlier:
        """After a poll of a run that started nothing has shown an execution of another user."""
        return replace(self, newest=(), started=None, visible_by=max(visible_by, self.visible_by))

    def is_shown_by(self, ids: Collection[str], newest_start: int | None, now: float) -> bool:
        """Whether an observation with these ids and this newest start date shows our last execution."""
        if self.visible_by <= now or any(found in ids for found in self.newest):
            return True
        return self.started is not None and newest_start is not None and self.started <= newest_start

    def write(self, table: Table, target: str, replaces: Earlier | None = None) -> Action:
        """The action that stores this, to go into the transaction that frees the lease of ``target``.

        ``replaces``: what has to be stored until then, for a run that does not hold the lease.
        """
        id_, other, *_ = (*self.newest, None, None)
        condition, values = ("", None) if replaces is None else _is_stored(replaces)
        return table.put(
            {
                "pk": keys.earlier(target),
                "ids": list(self.ids),
                "id": id_,
                "other_id": other,
                "started": self.started,
                "visible_by": self.visible_by,
                "shows_running": self.shows_running,
            },
            condition,
            values,
        )


def _is_stored(earlier: Earlier) -> tuple[str, dict[str, Any] | None]:
    """The condition that nothing else has been stored, and its values."""
    if earlier == Earlier():
        return "attribute_not_exists(pk)", None
    return "#ids = :ids AND #visible_by = :visible_by", {
        "ids": list(earlier.ids),
        "visible_by": earlier.visible_by,
    }


def check_shown(
    table: Table, target: str, ids: Collection[str], newest_start: int | None, now: float
) -> Action:
    """The condition of :meth:`Earlier.is_shown_by` as an action, for a write that has not read the item."""
    values: dict[str, Any] = {"now": now}
    parts = ["attribute_not_exists(pk)", "#visible_by <= :now"]
    some = sorted(ids)[:MAX_OPERANDS]
    if some:
        named = {f"id{number}": found for number, found in enumerate(some)}
        operands = ", ".join(f":{name}" for name in named)
        parts += [f"#id IN ({operands})", f"#other_id IN ({operands})"]
        values |= named
    if newest_start is not None:
        parts.append("#started <= :newest_start")
        values["newest_start"] = newest_start
    return table.check(keys.earlier(target), " OR ".join(parts), values)
