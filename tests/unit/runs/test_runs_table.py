"""Conditional writes, and retries under contention until the deadline."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ParamValidationError,
    ReadTimeoutError,
)

from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.table import (
    FIRST_PAUSE,
    MAX_PAUSE,
    TRANSIENT_CODES,
    ConditionFailed,
    Contended,
    Table,
)
from celonis_refresh.timing import Deadline
from tests.fakes.clock import START, FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, canceled, client_error, table_of
from tests.unit.runs.compared_clients import ComparedClients


def failing(*errors: Exception) -> FakeDynamoDB:
    """A client whose next requests fail with these errors, in order, before they have an effect."""
    waiting = list(errors)

    def before(operation: str, request: dict[str, Any]) -> None:
        if waiting:
            raise waiting.pop(0)

    return FakeDynamoDB(before=before)


def test_an_item_that_is_not_there_is_none(table: Table) -> None:
    assert table.get("run#x") is None


def test_an_item_is_read_as_it_is_now(table: Table, client: ComparedClients, deadline: Deadline) -> None:
    table.transact([table.put({"pk": "a", "n": 1, "deep": {"x": [None, True, 0.5]}})], deadline)
    assert table.get("a") == {"pk": "a", "n": 1, "deep": {"x": [None, True, 0.5]}}
    assert client.requests[-1]["ConsistentRead"] is True


def test_a_transaction_writes_all(table: Table, deadline: Deadline) -> None:
    actions = [table.put({"pk": key, "n": 1}, "attribute_not_exists(pk)") for key in "abc"]
    table.transact(actions, deadline)
    assert [table.get(key) for key in "abc"] == [{"pk": key, "n": 1} for key in "abc"]


def test_a_transaction_writes_nothing_where_one_condition_does_not_hold(
    table: Table, deadline: Deadline
) -> None:
    table.transact([table.put({"pk": "b", "n": 1})], deadline)
    actions = [
        table.put({"pk": "a"}, "attribute_not_exists(pk)"),
        table.change("b", "SET #n = :two", "#n = :two", {"two": 2}),
        table.check("c", "attribute_exists(pk)"),
    ]
    with pytest.raises(ConditionFailed) as caught:
        table.transact(actions, deadline)
    assert caught.value.items == (None, {"pk": "b", "n": 1}, {})
    assert [table.get(key) for key in "abc"] == [None, {"pk": "b", "n": 1}, None]


def test_a_single_update_shows_what_was_there(table: Table, deadline: Deadline) -> None:
    table.transact([table.put({"pk": "a", "n": 1})], deadline)
    with pytest.raises(ConditionFailed) as caught:
        table.update(table.change("a", "SET #n = :two", "#n = :two", {"two": 2}), deadline)
    assert caught.value.items == ({"pk": "a", "n": 1},)
    table.update(table.change("a", "SET #n = :two", "#n = :one", {"one": 1, "two": 2}), deadline)
    assert table.get("a") == {"pk": "a", "n": 2}


def test_a_single_delete_is_conditional_too(table: Table, deadline: Deadline) -> None:
    table.transact([table.put({"pk": "a", "n": 1})], deadline)
    with pytest.raises(ConditionFailed) as caught:
        table.delete(table.remove("a", "#n = :two", {"two": 2}), deadline)
    assert caught.value.items == ({"pk": "a", "n": 1},)
    table.delete(table.remove("a", "#n = :one", {"one": 1}), deadline)
    assert table.get("a") is None


def test_a_condition_on_an_item_that_is_not_there_finds_nothing(table: Table, deadline: Deadline) -> None:
    with pytest.raises(ConditionFailed) as caught:
        table.delete(table.remove("a", "#n = :two", {"two": 2}), deadline)
    assert caught.value.items == ({},)


def test_an_attribute_may_stand_under_another_name(table: Table, deadline: Deadline) -> None:
    table.transact([table.put({"pk": "a", "steps": {}})], deadline)
    change = table.change("a", "SET #steps.#step = :x", "attribute_exists(pk)", {"x": 1}, {"step": "job-0"})
    assert change["Update"]["ExpressionAttributeNames"] == {"#step": "job-0", "#steps": "steps"}
    table.update(change, deadline)
    assert table.get("a") == {"pk": "a", "steps": {"job-0": 1}}


def test_a_write_without_a_condition_sends_none(table: Table) -> None:
    assert table.put({"pk": "a"}) == {"Put": {"TableName": table.name, "Item": {"pk": {"S": "a"}}}}


OPERATIONS = ["transact", "update", "delete"]


def write(table: Table, operation: str, deadline: Deadline) -> None:
    """One write that would hold, by each way there is."""
    if operation == "transact":
        table.transact([table.put({"pk": "a", "n": 1})], deadline)
    elif operation == "update":
        table.update(table.change("a", "SET #n = :n", "", {"n": 1}), deadline)
    else:
        table.delete(table.remove("a", ""), deadline)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("code", sorted(TRANSIENT_CODES))
def test_what_passes_is_tried_again(operation: str, code: str, clock: FakeClock, deadline: Deadline) -> None:
    fake = failing(*[client_error(code, "x")] * 3)
    write(table_of(fake, clock), operation, deadline)
    assert len(fake.calls) == 4
    assert ("a" in fake.items) is (operation != "delete")
    assert START < clock.now < deadline.at


def broken(code: str, status: int) -> ClientError:
    """An error of DynamoDB's own."""
    return client_error(code, "x", ResponseMetadata={"HTTPStatusCode": status})


BROKEN = [("InternalServerError", 500), ("ServiceUnavailable", 503), ("InternalFailure", 500), ("504", 504)]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("code", "status"), BROKEN)
def test_an_error_of_the_server_is_tried_again(
    operation: str, code: str, status: int, clock: FakeClock, deadline: Deadline
) -> None:
    fake = failing(*[broken(code, status)] * 3)
    write(table_of(fake, clock), operation, deadline)
    assert len(fake.calls) == 4
    assert ("a" in fake.items) is (operation != "delete")


@pytest.mark.parametrize("operation", ["get", "query"])
@pytest.mark.parametrize(("code", "status"), BROKEN)
def test_an_error_of_the_server_at_a_read_is_reported_as_busy(
    operation: str, code: str, status: int, clock: FakeClock, deadline: Deadline
) -> None:
    with pytest.raises(TableBusy, match=code):
        ask(table_of(failing(broken(code, status)), clock), operation, deadline)


def test_a_transaction_that_was_written_under_an_error_is_not_refused_when_it_is_repeated(
    clock: FakeClock, deadline: Deadline
) -> None:
    tokens: list[str] = []
    errors = [broken("InternalServerError", 500), broken("ServiceUnavailable", 503)]

    def after(operation: str, request: dict[str, Any]) -> None:
        tokens.extend([request["ClientRequestToken"]] if operation == "TransactWriteItems" else [])
        if errors:
            raise errors.pop(0)

    table = table_of(FakeDynamoDB(after=after), clock)
    table.transact([table.put({"pk": "a", "n": 1}, "attribute_not_exists(pk)")], deadline)
    assert len(tokens) == 3
    assert len(set(tokens)) == 1
    assert len(tokens[0]) <= 36
    with pytest.raises(ConditionFailed):
        table.transact([table.put({"pk": "a", "n": 1}, "attribute_not_exists(pk)")], deadline)


def test_a_write_that_is_rejected_on_its_retry_is_marked_as_retried(
    clock: FakeClock, deadline: Deadline
) -> None:
    """Its own first attempt may be the conflict: only its caller knows."""
    errors = [broken("InternalServerError", 500)]

    def after(operation: str, request: dict[str, Any]) -> None:
        if errors:
            raise errors.pop()

    table = table_of(FakeDynamoDB(after=after), clock)
    change = table.change("a", "SET #n = :n", "attribute_not_exists(pk)", {"n": 1})
    with pytest.raises(ConditionFailed) as caught:
        table.update(change, deadline)
    assert (caught.value.items, caught.value.retried) == (({"pk": "a", "n": 1},), True)
    with pytest.raises(ConditionFailed) as caught:
        table.update(change, deadline)
    assert not caught.value.retried


@pytest.mark.parametrize("attempts", [0, 1])
def test_what_botocore_sent_again_counts_as_well(attempts: int, clock: FakeClock, deadline: Deadline) -> None:
    reported = {"ResponseMetadata": {"RetryAttempts": attempts, "HTTPStatusCode": 400}}
    table = table_of(failing(client_error("ConditionalCheckFailedException", "x", **reported)), clock)
    with pytest.raises(ConditionFailed) as caught:
        write(table, "update", deadline)
    assert caught.value.retried is (attempts > 0)


def test_every_transaction_has_a_token_of_its_own(
    table: Table, client: ComparedClients, deadline: Deadline
) -> None:
    for number in range(3):
        table.transact([table.put({"pk": "a", "n": number})], deadline)
    assert len({request["ClientRequestToken"] for request in client.requests}) == 3
    assert table.get("a") == {"pk": "a", "n": 2}


@pytest.mark.parametrize(
    "reasons",
    [("TransactionConflict",), ("None", "TransactionConflict", "None"), ("ThrottlingError", "None")],
)
def test_a_transaction_that_met_another_is_tried_again(
    reasons: tuple[str, ...], clock: FakeClock, deadline: Deadline
) -> None:
    fake = failing(canceled(*reasons))
    write(table_of(fake, clock), "transact", deadline)
    assert "a" in fake.items


@pytest.mark.parametrize("operation", OPERATIONS)
def test_past_the_deadline_it_is_reported_with_the_reason_and_nothing_is_written(
    operation: str, clock: FakeClock, deadline: Deadline
) -> None:
    fake = failing(*[client_error("ThrottlingException", "x")] * 10_000)
    with pytest.raises(TableBusy, match=r"in time \(ThrottlingException\)\. Try again\.") as caught:
        write(table_of(fake, clock), operation, deadline)
    assert caught.value.reason == "ThrottlingException"
    assert fake.items == {}
    assert deadline.at - MAX_PAUSE <= clock.now < deadline.at
    assert len(fake.calls) > 5.0 / MAX_PAUSE


def test_a_write_is_tried_once_also_where_no_time_is_left(clock: FakeClock) -> None:
    fake = FakeDynamoDB()
    write(table_of(fake, clock), "transact", Deadline.after(0.0, clock))
    assert "a" in fake.items


def test_pauses_grow_and_are_drawn_anew_each_time(clock: FakeClock) -> None:
    slept: list[float] = []
    table = table_of(failing(*[canceled("TransactionConflict")] * 60), clock)
    quick = Table(table.client, table.name, table.random, slept.append)
    write(quick, "transact", Deadline.after(1e9, clock))
    limits = [min(FIRST_PAUSE * 2**number, MAX_PAUSE) for number in range(60)]
    assert all(0 <= pause <= limit for pause, limit in zip(slept, limits, strict=True))
    assert len(set(slept)) == 60
    assert max(slept) > FIRST_PAUSE * 8


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "code", ["ValidationException", "AccessDeniedException", "ResourceNotFoundException"]
)
def test_what_does_not_pass_is_raised_as_it_is(
    operation: str, code: str, clock: FakeClock, deadline: Deadline
) -> None:
    fake = failing(client_error(code, "x"))
    with pytest.raises(ClientError, match=code):
        write(table_of(fake, clock), operation, deadline)
    assert len(fake.calls) == 1


@pytest.mark.parametrize(
    "reasons",
    [("ValidationError",), ("TransactionConflict", "ItemCollectionSizeLimitExceeded"), ("None",), ()],
)
def test_a_permanently_cancelled_transaction_is_raised_unchanged(
    reasons: tuple[str, ...], clock: FakeClock, deadline: Deadline
) -> None:
    with pytest.raises(ClientError, match="TransactionCanceledException"):
        write(table_of(failing(canceled(*reasons)), clock), "transact", deadline)


def test_a_condition_counts_more_than_a_conflict_beside_it(clock: FakeClock, deadline: Deadline) -> None:
    reasons = [
        {"Code": "TransactionConflict"},
        {"Code": "ConditionalCheckFailed", "Item": {"pk": {"S": "b"}}},
    ]
    error = client_error("TransactionCanceledException", "x", CancellationReasons=reasons)
    table = table_of(failing(error), clock)
    with pytest.raises(ConditionFailed) as caught:
        table.transact([table.put({"pk": key}, "attribute_not_exists(pk)") for key in "ab"], deadline)
    assert caught.value.items == (None, {"pk": "b"})
    assert caught.value.conflict == "TransactionConflict"


def conflict(retries: int) -> ClientError:
    """The response to the last of several attempts of botocore."""
    reasons = [{"Code": "TransactionConflict"}]
    metadata = {"HTTPStatusCode": 400, "RetryAttempts": retries}
    code = "TransactionCanceledException"
    return client_error(code, "x", CancellationReasons=reasons, ResponseMetadata=metadata)


def test_a_first_conflict_is_left_to_the_caller(clock: FakeClock, deadline: Deadline) -> None:
    fake = failing(conflict(retries=0))
    table = table_of(fake, clock)
    with pytest.raises(Contended, match="TransactionConflict"):
        table.transact_uncontended([table.put({"pk": "a"})], deadline)
    assert len(fake.calls) == 1


def test_a_conflict_after_an_attempt_without_a_response_is_repeated_with_the_same_token(
    clock: FakeClock, deadline: Deadline
) -> None:
    """The attempt whose response was lost may be the one that it conflicts with."""
    tokens: list[str] = []
    errors = [conflict(retries=1)]

    def before(operation: str, request: dict[str, Any]) -> None:
        tokens.extend([request["ClientRequestToken"]] if operation == "TransactWriteItems" else [])
        if errors:
            raise errors.pop()

    table = table_of(FakeDynamoDB(before=before), clock)
    table.transact_uncontended([table.put({"pk": "a"}, "attribute_not_exists(pk)")], deadline)
    assert tokens == [tokens[0]] * 2
    assert table.get("a") == {"pk": "a"}


URL = "https://dynamodb.eu-central-1.amazonaws.com"
SILENCE = [
    ReadTimeoutError(endpoint_url=URL),
    ConnectTimeoutError(endpoint_url=URL),
    EndpointConnectionError(endpoint_url=URL),
]


@pytest.mark.parametrize("operation", [*OPERATIONS, "get", "query"])
@pytest.mark.parametrize("error", SILENCE, ids=lambda error: type(error).__name__)
def test_no_answer_is_reported_at_once(
    operation: str, error: Exception, clock: FakeClock, deadline: Deadline
) -> None:
    fake = failing(error)
    with pytest.raises(TableBusy, match=type(error).__name__) as caught:
        ask(table_of(fake, clock), operation, deadline)
    assert len(fake.calls) == 1
    assert ("accept the change" in caught.value.message) is (operation in OPERATIONS)


@pytest.mark.parametrize("error", SILENCE, ids=lambda error: type(error).__name__)
def test_a_read_of_many_items_without_an_answer_speaks_of_no_change(
    error: Exception, clock: FakeClock, deadline: Deadline
) -> None:
    with pytest.raises(TableBusy) as caught:
        table_of(failing(error), clock).get_all(["a", "b"], deadline)
    assert caught.value.message.startswith("The table did not answer in time")


def ask(table: Table, operation: str, deadline: Deadline) -> None:
    if operation == "get":
        table.get("a")
    elif operation == "query":
        list(table.pages({}))
    else:
        write(table, operation, deadline)


@pytest.mark.parametrize("operation", ["get", "query"])
def test_a_read_that_is_throttled_is_reported_as_busy(
    operation: str, clock: FakeClock, deadline: Deadline
) -> None:
    fake = failing(client_error("ProvisionedThroughputExceededException", "x"))
    with pytest.raises(TableBusy, match="ProvisionedThroughputExceededException"):
        ask(table_of(fake, clock), operation, deadline)


@pytest.mark.parametrize("operation", ["get", "query"])
@pytest.mark.parametrize(
    "error", [client_error("AccessDeniedException", "x"), ParamValidationError(report="")]
)
def test_a_permanent_read_error_is_raised_unchanged(
    operation: str, error: Exception, clock: FakeClock, deadline: Deadline
) -> None:
    with pytest.raises(type(error)):
        ask(table_of(failing(error), clock), operation, deadline)


class PagedClient:
    """Answers a query with one page after the other; the tests above hold the other calls against moto."""

    def __init__(self, *pages: list[dict[str, Any]]) -> None:
        self.pages, self.starts = list(pages), list[Any]()

    def query(self, **request: Any) -> dict[str, Any]:
        self.starts.append(request.get("ExclusiveStartKey"))
        more = {"LastEvaluatedKey": {"pk": {"N": str(len(self.pages))}}} if len(self.pages) > 1 else {}
        return {"Items": self.pages.pop(0), **more}


def test_pages_continue_after_the_previous_one_even_if_it_was_empty() -> None:
    client: Any = PagedClient([{"pk": {"S": "a"}}], [], [{"pk": {"S": "b"}}])
    assert list(Table(client, "runs").pages({})) == [[{"pk": "a"}], [], [{"pk": "b"}]]
    assert client.starts == [None, {"pk": {"N": "3"}}, {"pk": {"N": "2"}}]


def test_pages_are_read_one_by_one() -> None:
    client: Any = PagedClient([{"pk": {"S": "a"}}], [{"pk": {"S": "b"}}])
    next(Table(client, "runs").pages({}))
    assert len(client.starts) == 1
