"""DynamoDB transactions as in DynamoDB: applied one at a time, and sometimes cancelled by a conflict."""

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from local.aws.gateway.calls import AwsCall
from local.aws.gateway.errors import error_response
from local.aws.gateway.gateway import Next
from local.aws.http_server import HttpRequest, HttpResponse
from local.aws.settings import TransactionSettings

_Item = tuple[str, str]


class Transactions:
    """A layer of the gateway.

    Requests to a table are serialized, because moto checks and applies a transaction without a lock. A share
    of the transactions that concurrently use an item that one of them writes is cancelled with
    TransactionConflict. A transaction that is repeated with its token, because its response was lost or late,
    gets the same response once there is one, and TransactionInProgressException until then.
    """

    def __init__(self, settings: TransactionSettings, chance: random.Random, keys: "TableKeys") -> None:
        self._settings = settings
        self._chance = chance
        self._keys = keys
        self._table_lock = threading.RLock()
        self._in_progress_lock = threading.Lock()
        self._in_progress: dict[_Item, int] = {}
        self._tokens_in_progress: set[str] = set()
        self._answered: dict[str, HttpResponse] = {}
        self.conflicts = 0

    def __call__(self, call: AwsCall, _request: HttpRequest, proceed: Next) -> HttpResponse:
        if call.service != "dynamodb":
            return proceed()
        items = [self._keys.item_of(entry) for entry in call.parameters.get("TransactItems", [])]
        if call.operation == "TransactGetItems" and any(met := self._met(items)) and self._strikes():
            return _cancelled(call, met)
        if call.operation != "TransactWriteItems":
            with self._table_lock:
                return proceed()
        token = str(call.parameters.get("ClientRequestToken", ""))
        with self._reserved(token) as is_first:
            if not is_first:
                return _still_in_progress(call)
            answer = self._answered.get(token) or self._written(call, items, proceed)
            if token and answer.status == 200:
                self._answered[token] = answer
            return answer

    def _written(self, call: AwsCall, items: list[_Item], proceed: Next) -> HttpResponse:
        with self._entered(items) as met:
            if any(met) and self._strikes():
                return _cancelled(call, met)
            time.sleep(self._settings.seconds)
            with self._table_lock:
                return proceed()

    @contextmanager
    def _reserved(self, token: str) -> Iterator[bool]:
        """Yield whether no transaction with the token is in progress."""
        with self._in_progress_lock:
            is_first = token not in self._tokens_in_progress
            self._tokens_in_progress |= {token} if token else set()
        try:
            yield is_first
        finally:
            if is_first:
                self._tokens_in_progress.discard(token)

    def _met(self, items: list[_Item]) -> list[bool]:
        """Return the items of the running write transactions that conflict."""
        with self._in_progress_lock:
            return [self._in_progress.get(item, 0) > 0 for item in items]

    @contextmanager
    def _entered(self, items: list[_Item]) -> Iterator[list[bool]]:
        with self._in_progress_lock:
            met = [self._in_progress.get(item, 0) > 0 for item in items]
            for item in items:
                self._in_progress[item] = self._in_progress.get(item, 0) + 1
        try:
            yield met
        finally:
            with self._in_progress_lock:
                for item in items:
                    self._in_progress[item] -= 1
                    if not self._in_progress[item]:
                        del self._in_progress[item]

    def _strikes(self) -> bool:
        with self._in_progress_lock:
            strikes = self._chance.random() < self._settings.conflict_ratio
            self.conflicts += strikes
            return strikes


class TableKeys:
    """The key attributes of tables. `describe`: DescribeTable as the administrator."""

    def __init__(self, describe: Any) -> None:
        self._describe = describe
        self._names: dict[str, list[str]] = {}

    def item_of(self, entry: dict[str, Any]) -> _Item:
        """Return table and key of an entry of TransactItems, which has the key or the whole item."""
        ((_, request),) = entry.items()
        table = str(request["TableName"])
        attributes = request.get("Key")
        if attributes is None:
            attributes = {name: request["Item"].get(name) for name in self._key_names(table)}
        return table, json.dumps(attributes, sort_keys=True)

    def _key_names(self, table: str) -> list[str]:
        if table not in self._names:
            schema = self._describe(TableName=table)["Table"]["KeySchema"]
            self._names[table] = [key["AttributeName"] for key in schema]
        return self._names[table]


def _still_in_progress(call: AwsCall) -> HttpResponse:
    text = "The transaction with the given request token is already in progress."
    return error_response(call, "TransactionInProgressException", text)


def _cancelled(call: AwsCall, met: list[bool]) -> HttpResponse:
    codes = ["TransactionConflict" if hit else "None" for hit in met]
    reasons = [
        {"Code": code, "Message": "Transaction is ongoing for the item"} if code != "None" else {"Code": code}
        for code in codes
    ]
    text = (
        f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(codes)}]"
    )
    code = "TransactionCanceledException"
    return error_response(call, code, text, CancellationReasons=reasons)
