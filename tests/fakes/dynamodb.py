"""DynamoDB's low-level client in memory: the operations that the table uses, with conditions and errors.

``tests/unit/runs/test_fake_dynamodb.py`` compares it with moto, request by request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from celonis_refresh.runs.table import Table, from_item
from tests.fakes.clock import FakeClock
from tests.fakes.expressions import InvalidExpression, Item, holds, partition_value, updated
from tests.fakes.limits import (
    MAX_HASH_KEY,
    MAX_RANGE_KEY,
    LimitExceeded,
    check_actions,
    check_item,
    check_request,
    check_transaction,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "runs"
SUMMARY = ("run_id", "created_at", "ended_at", "outcome", "error", "expires")
INDEXES = {
    "by_pipeline": (
        "pipeline",
        ("status", *SUMMARY),
    ),
    "by_status": ("status", ("pipeline", *SUMMARY)),
    "by_source": (
        "source_shard",
        ("source", "delivery", "result", "reason", "errors", "runs", "expires"),
    ),
}
"""The indexes of the template's table: partition key and projection. All sort by ``position``."""

INDEX_KEYS = {"position": MAX_RANGE_KEY, **{name: MAX_HASH_KEY for name, _ in INDEXES.values()}}
"""The keys of the indexes, and how many bytes they may have."""

PAGE = 3
"""Items on a page of a query that names no limit: few, so that pages follow each other."""

MAX_ITEMS = 100
"""Items in one transaction."""

Hook = Callable[[str, dict[str, Any]], None]


def client_error(code: str, operation: str, **more: Any) -> ClientError:
    """The error that botocore raises for an answer with this code."""
    return ClientError({"Error": {"Code": code, "Message": code}, **more}, operation)


def canceled(*codes: str) -> ClientError:
    """A transaction that was cancelled for reasons other than its conditions."""
    reasons = [{"Code": code} for code in codes]
    return client_error("TransactionCanceledException", "TransactWriteItems", CancellationReasons=reasons)


def _quiet(operation: str, request: dict[str, Any]) -> None:
    """Do nothing."""


@dataclass
class FakeDynamoDB:
    """One table. Items are never changed in place, so that they can be handed out.

    ``before`` and ``after`` are called around the effect of every request, and may raise. ``calls``: the
    requested operations, in order.
    """

    items: dict[str, Item] = field(default_factory=dict)
    before: Hook = _quiet
    after: Hook = _quiet
    calls: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    lock: AbstractContextManager[Any] = field(default_factory=nullcontext)

    def interleave(self, operation: str, act: Callable[[], object], key: str = "") -> None:
        """``action`` runs right before the next request of ``operation`` (for the item of ``key``), once."""
        quiet = self.before

        def before(called: str, request: dict[str, Any]) -> None:
            if called == operation and (not key or request["Key"] == {"pk": {"S": key}}):
                self.before = quiet
                act()

        self.before = before

    def lose_answer(self, operation: str) -> None:
        """The next response to ``operation`` is lost; the operation has taken effect."""
        quiet = self.after

        def after(called: str, request: dict[str, Any]) -> None:
            if called == operation:
                self.after = quiet
                raise client_error("InternalServerError", operation, ResponseMetadata={"HTTPStatusCode": 500})

        self.after = after

    def get_item(self, **request: Any) -> dict[str, Any]:
        return self._call("GetItem", request, self._get)

    def transact_get_items(self, **request: Any) -> dict[str, Any]:
        return self._call("TransactGetItems", request, self._get_all)

    def update_item(self, **request: Any) -> dict[str, Any]:
        return self._call("UpdateItem", request, lambda one: self._single({"Update": one}))

    def delete_item(self, **request: Any) -> dict[str, Any]:
        return self._call("DeleteItem", request, lambda one: self._single({"Delete": one}))

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        return self._call("TransactWriteItems", request, self._transact)

    def query(self, **request: Any) -> dict[str, Any]:
        return self._call("Query", request, self._query)

    def _call(
        self, operation: str, request: dict[str, Any], act: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> dict[str, Any]:
        with self.lock:
            self.calls.append(operation)
            self.before(operation, request)
            try:
                answer = act(request)
            except (InvalidExpression, LimitExceeded) as error:
                raise client_error("ValidationException", operation, Why=str(error)) from None
            self.after(operation, request)
            return answer

    def _get(self, request: dict[str, Any]) -> dict[str, Any]:
        check_request(request)
        item = self.items.get(request["Key"]["pk"]["S"])
        return {"Item": item} if item is not None else {}

    def _get_all(self, request: dict[str, Any]) -> dict[str, Any]:
        keys = [entry["Get"]["Key"]["pk"]["S"] for entry in request["TransactItems"]]
        if not 0 < len(keys) <= MAX_ITEMS or len(set(keys)) < len(keys):
            raise client_error("ValidationException", "TransactGetItems")
        return {"Responses": [{"Item": self.items[key]} if key in self.items else {} for key in keys]}

    def _single(self, action: dict[str, Any]) -> dict[str, Any]:
        ((_, body),) = action.items()
        check_request(body)
        refusal = self.refusal(action)
        if refusal is not None:
            (kind,) = action
            raise client_error("ConditionalCheckFailedException", f"{kind}Item", **refusal)
        self._write({_key(action): self._after(action)})
        return {"Attributes": self.items[_key(action)]} if body.get("ReturnValues") == "ALL_NEW" else {}

    def _transact(self, request: dict[str, Any]) -> dict[str, Any]:
        token = request.get("ClientRequestToken")
        if token in self.tokens:
            return {}
        actions = request["TransactItems"]
        keys = [_key(action) for action in actions]
        if not 0 < len(keys) <= MAX_ITEMS or len(set(keys)) < len(keys):
            raise client_error("ValidationException", "TransactWriteItems")
        check_actions(actions)
        refusals = [self.refusal(action) for action in actions]
        if any(refusal is not None for refusal in refusals):
            reasons = [
                {"Code": "None"} if refusal is None else {"Code": "ConditionalCheckFailed", **refusal}
                for refusal in refusals
            ]
            raise client_error(
                "TransactionCanceledException", "TransactWriteItems", CancellationReasons=reasons
            )
        after = {key: self._after(action) for key, action in zip(keys, actions, strict=True)}
        check_transaction(item for item in after.values() if item is not None)
        self._write(after)
        if token:
            self.tokens.add(token)
        return {}

    def refusal(self, action: dict[str, Any]) -> dict[str, Any] | None:
        """Return None if the condition holds; otherwise the existing item, if the action requests it."""
        ((_, body),) = action.items()
        item = self.items.get(_key(action))
        condition = body.get("ConditionExpression")
        names = body.get("ExpressionAttributeNames", {})
        if not condition or holds(condition, item, names, body.get("ExpressionAttributeValues", {})):
            return None
        wanted = body.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and item is not None
        return {"Item": item} if wanted else {}

    def _after(self, action: dict[str, Any]) -> Item | None:
        """The item after the action, None if there is none."""
        ((kind, body),) = action.items()
        key = _key(action)
        if kind == "Put":
            item: Item = body["Item"]
            return item
        if kind != "Update":
            return None if kind == "Delete" else self.items.get(key)
        names, values = body.get("ExpressionAttributeNames", {}), body.get("ExpressionAttributeValues", {})
        return updated(body["UpdateExpression"], self.items.get(key, {"pk": {"S": key}}), names, values)

    def _write(self, after: dict[str, Item | None]) -> None:
        """Writes all of these items, or none where one exceeds a limit. None deletes."""
        for item in after.values():
            if item is not None:
                check_item(item, INDEX_KEYS)
        for key, item in after.items():
            if item is None:
                self.items.pop(key, None)
            else:
                self.items[key] = item

    def _query(self, request: dict[str, Any]) -> dict[str, Any]:
        check_request(request)
        hash_key, projected = INDEXES[request["IndexName"]]
        names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
        condition, forward = request["KeyConditionExpression"], request["ScanIndexForward"]
        wanted_key = partition_value(condition, hash_key, names, values)
        keyed = (item for item in self.items.values() if item.get(hash_key) == wanted_key)
        found = [item for item in keyed if "position" in item and holds(condition, item, names, values)]
        found.sort(key=_place, reverse=not forward)
        if start := request.get("ExclusiveStartKey"):
            after = _place(start)
            found = [item for item in found if (_place(item) > after if forward else _place(item) < after)]
        page = found[: request.get("Limit", PAGE)]
        more = {"LastEvaluatedKey": _index_key(page[-1], hash_key)} if len(page) < len(found) else {}
        kept = {"pk", hash_key, "position", *projected}
        wanted = request.get("FilterExpression")
        in_index = [{name: value for name, value in item.items() if name in kept} for item in page]
        items = [item for item in in_index if not wanted or holds(wanted, item, names, values)]
        return {"Items": items, **more}

    def document(self, key: str) -> dict[str, Any]:
        """One item as JSON values, empty if there is none; hooks are not called."""
        return from_item(self.items.get(key, {}))

    def documents(self, prefix: str) -> Iterator[dict[str, Any]]:
        """The items whose key has this prefix, as JSON values."""
        return (from_item(item) for key, item in sorted(self.items.items()) if key.startswith(prefix))


def _key(action: dict[str, Any]) -> str:
    ((kind, body),) = action.items()
    key = body["Item"] if kind == "Put" else body["Key"]
    return str(key["pk"]["S"])


def _place(item: Item) -> tuple[str, str]:
    return str(item["position"]["S"]), str(item["pk"]["S"])


def _index_key(item: Item, hash_key: str) -> Item:
    return {name: item[name] for name in ("pk", hash_key, "position")}


def table_of(client: FakeDynamoDB, clock: FakeClock, seed: int = 1) -> Table:
    """The table over this client; its pauses move the clock."""
    return Table(cast("DynamoDBClient", client), TABLE, Random(seed), clock.sleep)  # noqa: S311
