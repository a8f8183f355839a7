"""Transactions whose cost does not grow with the table: moto copies the whole table for every action.

All conditions are checked first, then everything is written. If a write fails, the earlier items are
restored. Requests to a table are serialized.
"""

from __future__ import annotations

from typing import Any

from moto.dynamodb import responses
from moto.dynamodb.comparisons import get_filter_expression
from moto.dynamodb.exceptions import (
    ConditionalCheckFailed,
    MockValidationException,
    MultipleTransactionsException,
    TooManyTransactionsException,
    TransactionCanceledException,
)
from moto.dynamodb.models import DynamoDBBackend

MAX_ACTIONS = 100
OF_MOTO = DynamoDBBackend.transact_write_items

_Refusal = tuple[str, str, dict[str, Any] | None] | tuple[None, None, None]
_HOLDS: _Refusal = (None, None, None)


def use_cheap_transactions() -> None:
    """Replace moto's function by :func:`transact_write_items`, and raise the limit of TransactGetItems."""
    DynamoDBBackend.transact_write_items = transact_write_items  # type: ignore[method-assign]
    responses.TRANSACTION_MAX_ITEMS = MAX_ACTIONS


def transact_write_items(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    """Write all items or none, with a cancellation reason per action."""
    if len(transact_items) > MAX_ACTIONS:
        raise TooManyTransactionsException
    actions = [_Action(self, kind, body) for item in transact_items for kind, body in item.items()]
    if len({(action.table, str(sorted(action.key.items()))) for action in actions}) < len(actions):
        raise MultipleTransactionsException
    refusals = [action.refusal() for action in actions]
    if any(code is not None for code, _, _ in refusals):
        raise TransactionCanceledException(refusals)
    for number, action in enumerate(actions):
        try:
            action.write()
        except Exception as error:
            for written in actions[: number + 1]:
                written.undo()
            if isinstance(error, MockValidationException):
                raise
            refusals[number] = (type(error).__name__, str(error), None)
            raise TransactionCanceledException(refusals) from error


class _Action:
    """One action, and the item before it."""

    def __init__(self, backend: DynamoDBBackend, kind: str, body: dict[str, Any]) -> None:
        self._backend, self._kind, self._body = backend, kind, body
        self.table: str = body["TableName"]
        self.key: dict[str, Any] = body.get("Key") or self._key_of(body["Item"])
        self._current = backend.get_item(self.table, self.key)
        self._before = self._current.to_json()["Attributes"] if self._current else None

    def _key_of(self, item: dict[str, Any]) -> dict[str, Any]:
        table = self._backend.get_table(self.table)
        names = (table.hash_key_attr, table.range_key_attr)
        return {name: item[name] for name in names if name is not None}

    def refusal(self) -> _Refusal:
        condition = self._body.get("ConditionExpression")
        if condition is None:
            return _HOLDS
        names, values = (self._body.get(f"ExpressionAttribute{part}") for part in ("Names", "Values"))
        if get_filter_expression(condition, names, values).expr(self._current):
            return _HOLDS
        shown = self._body.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        return (
            "ConditionalCheckFailed",
            str(ConditionalCheckFailed().message),
            self._before if shown else None,
        )

    def write(self) -> None:
        if self._kind == "Put":
            self._backend.put_item(self.table, self._body["Item"])
        elif self._kind == "Delete":
            self._backend.delete_item(self.table, self.key)
        elif self._kind == "Update":
            self._backend.update_item(
                self.table,
                self.key,
                update_expression=self._body["UpdateExpression"],
                expression_attribute_names=self._body.get("ExpressionAttributeNames", {}),
                expression_attribute_values=self._body.get("ExpressionAttributeValues", {}),
            )

    def undo(self) -> None:
        if self._before is None:
            self._backend.delete_item(self.table, self.key)
        else:
            self._backend.put_item(self.table, self._before)
