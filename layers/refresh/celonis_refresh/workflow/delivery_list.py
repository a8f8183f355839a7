"""Lists what became of the webhook events of a source, newest first.

The events of a source are in several partitions of the index ``by_source``. A page reads each of them once
and merges them by time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from celonis_refresh.runs.deliveries import SHARDS, source_shard
from celonis_refresh.runs.table import Table, from_item, to_item
from celonis_refresh.timing import Clock
from celonis_refresh.workflow.listing import ListPart, merge_parts, position_of

INDEX = "by_source"
RUN_FIELDS = ("pipeline", "run_id", "status")


class DeliveryList(Struct, frozen=True):
    """Reads the index of events."""

    table: Table
    clock: Clock

    def page(self, source: str, limit: int, before: str | None) -> dict[str, Any]:
        """Return ``{"deliveries": [...], "before": ...}``: events before the position ``before``.

        A page may have fewer events than ``limit``, or none, because events that have expired are omitted.
        """
        parts = [self._part(source_shard(source, number), limit + 1, before) for number in range(SHARDS)]
        items, position = merge_parts(parts, limit)
        return {"deliveries": [_shown(item) for item in items], "before": position}

    def _part(self, shard: str, limit: int, before: str | None) -> ListPart:
        condition, values = "#shard = :shard", {"shard": shard, "now": int(self.clock())}
        names = {"#shard": "source_shard", "#expires": "expires"}
        if before is not None:
            condition += " AND #position < :before"
            values["before"], names["#position"] = before, "position"
        request = {
            "IndexName": INDEX,
            "KeyConditionExpression": condition,
            "FilterExpression": "#expires >= :now",
            "ScanIndexForward": False,
            "Limit": limit,
            "ExpressionAttributeValues": {f":{name}": value for name, value in to_item(values).items()},
            "ExpressionAttributeNames": names,
        }
        items, last = self.table.query(request)
        return ListPart(items, None if last is None else str(from_item(last)["position"]))


def _shown(item: Mapping[str, Any]) -> dict[str, Any]:
    runs = [{"pipeline": name, **run} for name, run in item["runs"].items()]
    return {
        "source": item["source"],
        "delivery": item.get("delivery"),
        "received_at": position_of(item).split(" ", 1)[0],
        "result": item["result"],
        "reason": item.get("reason"),
        "runs": [{name: run[name] for name in RUN_FIELDS} for run in runs],
        "errors": item.get("errors", []),
    }
