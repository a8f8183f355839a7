"""The DynamoDB table: keys of its items, consistent reads and conditional writes.

A transaction that conflicted with another (``TransactionConflict``) or was throttled wrote nothing and is
repeated, with jitter, until the deadline. After a 5xx it may have been written; the repeated transaction has
the same token, so that it is applied once.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection
from msgspec import Struct, field

from celonis_refresh.pipelines.definition import canonical_id
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.timing import Deadline

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


MAX_RUN_ID = 80
"""Maximum characters of a run id, which is also the name of an execution."""


def make_run_id(pipeline: str, at: datetime, token: str) -> str:
    """Return ``order-to-cash-20260101T040000Z-0c0ffee0``. ``at``: UTC; ``token``: eight hex digits."""
    return f"{pipeline}-{at:%Y%m%dT%H%M%SZ}-{token}"


def pipeline_of(run_id: str) -> str:
    """Return the pipeline in a run id of ours; for any other id, a text that matches no slot."""
    return run_id.rsplit("-", 2)[0]


MAX_READABLE = 200
"""Maximum bytes of a delivery id; a longer one is replaced by its digest, because a key has at most 2,048
bytes and the item of a batch has many of them."""


def slot_key(pipeline: str) -> str:
    return f"slot#{pipeline}"


def run_key(run_id: str) -> str:
    return f"run#{run_id}"


def pipeline_key(pipeline: str) -> str:
    """Return the key of the last success of a pipeline and of its freshness."""
    return f"pipeline#{pipeline}"


WAITING = "WAITING"
LEASED = "LEASED"
"""The index status of leases, and of slots with a pending run and no current run."""


def refusal_key(execution: str) -> str:
    """Return the key of an execution that never became a run, with the notifications that were promised."""
    return f"refused#{execution}"


def refusal_cause_key(cause: str) -> str:
    """Return the key of a cause of refused executions, with the time of its last notification."""
    return f"refusal-cause#{cause}"


REPORTED = "REPORTED"
"""The index status of unusable configuration of which a notification was promised."""


def report_key(name: str) -> str:
    """Return the key of a report of unusable configuration."""
    return f"report#{name}"


def job_lease(job: str) -> str:
    return f"lease#job#{canonical_id(job)}"


def model_lease(data_model: str) -> str:
    return f"lease#model#{canonical_id(data_model)}"


def earlier_key(lease: str) -> str:
    """Return the key of our last executions of a lease's job or model."""
    return f"earlier#{lease.removeprefix('lease#')}"


def job_durations(job: str, mode: str) -> str:
    return f"durations#job#{canonical_id(job)}#{mode}"


def model_durations(data_model: str, kind: str) -> str:
    return f"durations#model#{canonical_id(data_model)}#{kind}"


def rate_limit_key(connection: str) -> str:
    """Return the key of the rate limit of a connection."""
    return f"rate-limit#{connection}"


def delivery_key(origin: str, delivery_id: str) -> str:
    """Return the key of a delivery by ``origin``: ``execution`` or ``retry``.

    Webhooks, the API and schedules have their own functions. Ids of different origins never collide.
    """
    written = delivery_id.encode()
    if len(written) > MAX_READABLE:
        delivery_id = "sha256:" + hashlib.sha256(written).hexdigest()
    return f"delivery#{origin}#{delivery_id}"


def webhook_key(source: str, delivery_id: str) -> str:
    """Return the key of a webhook's delivery; a source may have the name of another origin."""
    return delivery_key(f"source:{source}", delivery_id)


def batch_key(run_id: str) -> str:
    """Return the key of a batch: accepted deliveries without items of their own.

    ``run_id``: an id made for one of its claims, used or not.
    """
    return f"batch#{run_id}"


def request_key(caller: str, pipeline: str, mode: object, tables: object, idempotency_key: str) -> str:
    """Return the key of an API request: its caller, its options and its idempotency key.

    ``caller``: the role or the user, not the session.
    """
    return delivery_key("api", json.dumps([caller, pipeline, mode, tables, idempotency_key]))


def occurrence_key(pipeline: str, delivery_id: str) -> str:
    """Return the key of the delivery in an execution's input, such as an occurrence of a schedule."""
    return delivery_key("schedule", json.dumps([pipeline, delivery_id]))


def signed_key(source: str, digest: str) -> str:
    """Return a second key of a webhook's delivery, by the digest of the signed body."""
    return f"signed#source:{source}#{digest}"


def callback_key(run_id: str, digest: str) -> str:
    """Return the key of a callback of a run, by the digest of its address."""
    return f"callback#{run_id}#{digest}"


def configuration_key(source: str) -> str:
    """Return the key of the copy of a source and its pipelines."""
    return f"configuration#source#{source}"


SOURCE_NAMES = "configuration#sources"
"""Key of the list of all sources."""


def secret_version_key(name: str) -> str:
    """Return the key of the version of a webhook's secret that was read last."""
    return f"configuration#secret#{name}"


Item = dict[str, Any]
"""An item with attribute values: ``{"pk": {"S": "…"}}``."""


def to_attribute(value: Any) -> dict[str, Any]:
    """Return a JSON value as an attribute value."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": str(value)}
        case int() | float():
            return {"N": repr(value)}
        case list() | tuple():
            return {"L": [to_attribute(entry) for entry in value]}
        case Mapping():
            return {"M": {str(key): to_attribute(entry) for key, entry in value.items()}}
    raise TypeError(f"{type(value).__name__} has no attribute value")


def from_attribute(attribute: Mapping[str, Any]) -> Any:
    """Return an attribute value as a JSON value; whole numbers become ``int``."""
    ((kind, value),) = attribute.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return float(value) if any(char in value for char in ".eE") else int(value)
        case "L":
            return [from_attribute(entry) for entry in value]
        case "M":
            return {key: from_attribute(entry) for key, entry in value.items()}
        case "S" | "BOOL":
            return value
    raise TypeError(f"attribute type {kind} is not used in this table")


def as_read(value: Any) -> Any:
    """Return a JSON value as it is read after it was written."""
    return from_attribute(to_attribute(value))


def to_item(document: Mapping[str, Any]) -> Item:
    return {key: to_attribute(value) for key, value in document.items()}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: from_attribute(value) for key, value in item.items()}


A = TypeVar("A")

MAX_ACTIONS = 100
"""Items in one transaction of DynamoDB, to write or to read."""
Action = dict[str, Any]
"""One action of ``TransactWriteItems``."""

Values = Mapping[str, Any]
"""JSON values by name, without the colon of expressions."""

TRANSIENT_CODES = frozenset(
    {
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
        "ThrottlingError",
        "ThrottlingException",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
    }
)
"""Error codes and cancellation reasons after which nothing was written and the write can be repeated."""
SERVER_ERROR = 500
"""HTTP statuses from this one on: the write can be repeated and may have been applied."""

NO_ANSWER = (NoConnection, HTTPClientError)
"""Errors of botocore after its last attempt without a response."""
CONDITION_FAILED = "ConditionalCheckFailed"
CONTENDED = TRANSIENT_CODES - {"TransactionInProgressException"}
"""Those of these codes that report other requests for the same items or the same partition."""
NAMED = re.compile(r"#(\w+)")
FIRST_PAUSE, MAX_PAUSE = 0.01, 0.2


class ConditionFailed(Exception):
    """A condition did not hold.

    ``items``: per action, the item that was there, empty if it does not exist; None if the condition held.
    ``retried``: the write was sent more than once, so that its own first try may have failed the condition;
    never for a transaction, which has a token. ``conflict``: the code of another action that met other
    requests, if any; whether its condition holds is unknown, and ``found`` has None for it.
    """

    def __init__(
        self,
        items: Sequence[dict[str, Any] | None],
        *,
        retried: bool = False,
        conflict: str | None = None,
    ) -> None:
        self.items = tuple(items)
        self.retried = retried
        self.conflict = conflict
        super().__init__("a condition of the write did not hold")


class Contended(Exception):
    """Nothing was written, because of other requests for the same items. ``reason``: the code for it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Transient(Struct, frozen=True):
    """An error after which a request can be repeated.

    ``retried``: botocore had sent the request before, so an earlier attempt may still be applied.
    """

    code: str
    retried: bool


class Backoff(Struct):
    """Pauses between the attempts of a request: random, with an upper bound that doubles."""

    random: Random
    sleep: Callable[[float], None]
    longest: float = FIRST_PAUSE

    def pause(self, deadline: Deadline, reason: str) -> None:
        """Raises ``TableBusy`` if the deadline is earlier."""
        wait = self.random.uniform(0, self.longest)
        if wait >= deadline.left():
            raise TableBusy(reason)
        self.sleep(wait)
        self.longest = min(self.longest * 2, MAX_PAUSE)


def _new_token() -> str:
    return str(uuid4())


class Table(Struct, frozen=True):
    """One table. ``client``: a DynamoDB client whose timeouts fit into the function's."""

    client: DynamoDBClient
    name: str
    random: Random = field(default_factory=Random)
    sleep: Callable[[float], None] = time.sleep
    new_token: Callable[[], str] = _new_token

    def get(self, pk: str) -> dict[str, Any] | None:
        """Return the current item (a consistent read), or None. Raises ``TableBusy``."""
        key = {"pk": {"S": pk}}
        answer = _read(self.client.get_item, TableName=self.name, Key=key, ConsistentRead=True)
        item = answer.get("Item")
        return from_item(item) if item else None

    def get_all(self, pks: Sequence[str], deadline: Deadline) -> dict[str, dict[str, Any]]:
        """Return existing items by key, with one request per 100 keys. Raises ``TableBusy``.

        The items of one request are read at the same time, and not before those of earlier requests.
        """
        items_by_key: dict[str, dict[str, Any]] = {}
        for first in range(0, len(pks), MAX_ACTIONS):
            part = pks[first : first + MAX_ACTIONS]
            gets = [{"Get": {"TableName": self.name, "Key": {"pk": {"S": pk}}}} for pk in part]
            try:
                answer = self._answered(self.client.transact_get_items, {"TransactItems": gets}, deadline)
            except TableBusy as error:
                raise TableBusy(error.reason, is_read=True) from None
            items = (response.get("Item") for response in answer["Responses"])
            items_by_key |= {pk: from_item(item) for pk, item in zip(part, items, strict=True) if item}
        return items_by_key

    def transact(self, actions: Sequence[Action], deadline: Deadline) -> None:
        """Write all or nothing. Raises ``ConditionFailed`` or, after the deadline, ``TableBusy``."""
        request = {"TransactItems": list(actions), "ClientRequestToken": self.new_token()}
        self._repeat(lambda: _once(self.client.transact_write_items, request, len(actions)), deadline)

    def transact_uncontended(self, actions: Sequence[Action], deadline: Deadline) -> None:
        """Like :meth:`transact`, but raises ``Contended`` instead of a repetition because of other requests.

        A request that may have been written is repeated until that is known: it could conflict with itself.
        """
        request = {"TransactItems": list(actions), "ClientRequestToken": self.new_token()}
        is_first = True

        def attempt() -> Transient | None:
            nonlocal is_first
            error = _once(self.client.transact_write_items, request, len(actions))
            if is_first and error and error.code in CONTENDED and not error.retried:
                raise Contended(error.code)
            is_first = False
            return error

        self._repeat(attempt, deadline)

    def backoff(self) -> Backoff:
        return Backoff(self.random, self.sleep)

    def update(self, action: Action, deadline: Deadline) -> None:
        """Run one ``Update`` action. Raises as :meth:`transact` does."""
        self._repeat(lambda: _once(self.client.update_item, action["Update"]), deadline)

    def changed(self, action: Action, deadline: Deadline) -> dict[str, Any]:
        """As :meth:`update`; return the item after it."""
        request = {**action["Update"], "ReturnValues": "ALL_NEW"}
        return from_item(self._answered(self.client.update_item, request, deadline)["Attributes"])

    def delete(self, action: Action, deadline: Deadline) -> None:
        """Run one ``Delete`` action. Raises as :meth:`transact` does."""
        self._repeat(lambda: _once(self.client.delete_item, action["Delete"]), deadline)

    def pages(self, request: Mapping[str, Any]) -> Iterator[list[dict[str, Any]]]:
        """The pages of a query, as JSON items. Raises ``TableBusy``."""
        last: Mapping[str, Any] | None = None
        while True:
            items, last = self.query(request, last)
            yield items
            if last is None:
                return

    def query(
        self, request: Mapping[str, Any], after: Mapping[str, Any] | None = None
    ) -> tuple[list[dict[str, Any]], Mapping[str, Any] | None]:
        """One page of a query, as JSON items, and the key of the last item read, or None on the last page.

        ``after``: that key of the page before. Raises ``TableBusy``.
        """
        start = {"ExclusiveStartKey": after} if after else {}
        answer = _read(self.client.query, TableName=self.name, **request, **start)
        return [from_item(item) for item in answer["Items"]], answer.get("LastEvaluatedKey") or None

    def _answered(self, call: Callable[..., Any], request: Mapping[str, Any], deadline: Deadline) -> Any:
        """Return the response to a request, repeated as in :meth:`_repeat`."""
        answers: list[Any] = []
        self._repeat(lambda: _once(lambda **sent: answers.append(call(**sent)), request), deadline)
        return answers[-1]

    def _repeat(self, attempt: Callable[[], Transient | None], deadline: Deadline) -> None:
        backoff = self.backoff()
        try:
            while error := attempt():
                backoff.pause(deadline, error.code)
        except ConditionFailed as refused:
            refused.retried |= backoff.longest > FIRST_PAUSE
            raise

    def put(self, item: Mapping[str, Any], condition: str = "", values: Values | None = None) -> Action:
        """Return a ``Put`` action; ``values`` are the ``:names`` of the condition."""
        return {"Put": self._action({"Item": to_item(item)}, condition, values)}

    def change(
        self,
        pk: str,
        expression: str,
        condition: str,
        values: Values | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Action:
        """Return an ``Update`` action. ``#attribute`` is its own name unless ``names`` has another."""
        body = {"Key": {"pk": {"S": pk}}, "UpdateExpression": expression}
        return {"Update": self._action(body, condition, values, names)}

    def set(self, pk: str, facts: Mapping[str, Any], condition: str, values: Values | None = None) -> Action:
        """Return an ``Update`` action that sets ``facts``, which the condition can use as values."""
        sets = ", ".join(f"#{name} = :{name}" for name in facts)
        return self.change(pk, f"SET {sets}", condition, {**facts, **(values or {})})

    def remove(self, pk: str, condition: str, values: Values | None = None) -> Action:
        """Return a ``Delete`` action."""
        return {"Delete": self._action({"Key": {"pk": {"S": pk}}}, condition, values)}

    def check(
        self,
        pk: str,
        condition: str,
        values: Values | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Action:
        """Return a ``ConditionCheck`` action; ``names`` as in :meth:`change`."""
        return {"ConditionCheck": self._action({"Key": {"pk": {"S": pk}}}, condition, values, names)}

    def _action(
        self,
        body: Action,
        condition: str,
        values: Values | None,
        names: Mapping[str, str] | None = None,
    ) -> Action:
        body["TableName"] = self.name
        if condition:
            body["ConditionExpression"] = condition
            body["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if values:
            body["ExpressionAttributeValues"] = {
                f":{key}": to_attribute(value) for key, value in values.items()
            }
        placeholders = set(NAMED.findall(condition + body.get("UpdateExpression", "")))
        if placeholders:
            body["ExpressionAttributeNames"] = {
                f"#{name}": (names or {}).get(name, name) for name in sorted(placeholders)
            }
        return body


def _read(call: Callable[..., A], **request: Any) -> A:
    """Return the response to a read, which botocore has repeated."""
    try:
        return call(**request)
    except ClientError as error:
        raise TableBusy(_transient(error, 0).code, is_read=True) from None
    except NO_ANSWER as error:
        raise TableBusy(type(error).__name__, is_read=True) from None


def _once(call: Callable[..., Any], request: Mapping[str, Any], actions: int = 1) -> Transient | None:
    """Return None after the write, or a transient error."""
    try:
        call(**request)
    except ClientError as error:
        return _transient(error, actions)
    except NO_ANSWER as error:
        raise TableBusy(type(error).__name__) from None
    return None


def _transient(error: ClientError, actions: int) -> Transient:
    """Return a transient error; raise ``ConditionFailed``, or any other error as it is."""
    code = str(error.response["Error"]["Code"])
    metadata: Mapping[str, Any] = error.response.get("ResponseMetadata", {})
    retried = int(metadata.get("RetryAttempts", 0)) > 0
    if code in TRANSIENT_CODES or int(metadata.get("HTTPStatusCode", 0)) >= SERVER_ERROR:
        return Transient(code, retried)
    if code == "ConditionalCheckFailedException":
        raise ConditionFailed([from_item(error.response.get("Item", {}))], retried=retried) from None
    if code != "TransactionCanceledException":
        raise error
    reasons: list[dict[str, Any]] = list(error.response.get("CancellationReasons", []))
    codes = [str(reason.get("Code", "None")) for reason in reasons]
    transient = [code for code in codes if code in TRANSIENT_CODES]
    if CONDITION_FAILED in codes and len(codes) == actions:
        raise ConditionFailed(
            [_item_of(reason) for reason in reasons], conflict=transient[0] if transient else None
        )
    if transient and set(codes) <= TRANSIENT_CODES | {"None"}:
        return Transient(transient[0], retried)
    raise error


def _item_of(reason: Mapping[str, Any]) -> dict[str, Any] | None:
    if reason.get("Code") != CONDITION_FAILED:
        return None
    return from_item(reason.get("Item") or {})
