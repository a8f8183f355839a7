"""Records from JSON of uncertain shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.celonis.records import (
    MAX_ID,
    MAX_STATUS,
    MAX_TEXT,
    Job,
    JobExecution,
    JobStatus,
    Load,
    LoadStatus,
    ModelTable,
    ShapeError,
    StartAnswer,
    read_date,
    read_error_messages,
    read_executions,
    read_failed_tasks,
    read_job,
    read_job_start,
    read_load,
    read_load_start,
    read_tables,
)

FIELDS = (
    *("id", "name", "status", "currentExecutionId", "executionItems", "executionId", "jobId", "startDate"),
    *("endDate", "mode", "dataLoadId", "loadStatus", "loadType", "message", "alias", "taskId", "logMessages"),
    *("level", "logMessage"),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(FIELDS),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=15,
)
PARSERS: list[Callable[[Any], object]] = [
    lambda data: read_job(data, "asked"),
    read_executions,
    read_tables,
    read_load,
    read_failed_tasks,
    read_error_messages,
    read_job_start,
    read_load_start,
]


@pytest.mark.parametrize("parse", PARSERS)
@given(data=json_values)
def test_any_json_is_read_or_is_of_an_unexpected_shape(parse: Callable[[Any], object], data: object) -> None:
    try:
        parse(data)
    except ShapeError as error:
        text = str(error)
        assert text


@given(json_values)
def test_any_date_is_a_whole_number_of_milliseconds_or_none(value: object) -> None:
    moment = read_date(value)
    assert moment is None or type(moment) is int


def test_a_job_is_read_with_the_fields_that_matter() -> None:
    data = {
        "id": "j",
        "name": "Extract",
        "dataPoolId": "p",
        "dataSourceId": None,
        "timeStamp": 1,
        "status": "RUNNING",
        "currentExecutionId": "e",
        "latestExecutionItemId": "i",
        "dagBasedExecutionEnabled": True,
        "new": {"a": [1]},
    }
    assert read_job(data, "j") == Job("j", "Extract", "RUNNING", "e", "i")


def test_a_job_that_never_ran_has_no_status() -> None:
    job = read_job({"id": "j", "status": None}, "j")
    assert (job.status, job.is_known, job.is_active, job.is_terminal) == (None, False, False, False)


@pytest.mark.parametrize("found", ["j", "J"])
def test_a_job_has_the_requested_id_in_either_case(found: str) -> None:
    assert read_job({"id": found, "status": "SUCCESS"}, "j").id == found


@pytest.mark.parametrize("fields", [{}, {"id": None}, {"id": ""}, {"id": "another"}])
def test_a_record_without_the_requested_id_is_no_job(fields: dict[str, object]) -> None:
    with pytest.raises(ShapeError, match="has no id, or another one"):
        read_job({"status": "SUCCESS", **fields}, "j")


@pytest.mark.parametrize("fields", [{}, {"name": "Extract"}, {"latestExecutionItemId": "i"}])
def test_a_record_without_status_and_current_execution_is_no_job(fields: dict[str, object]) -> None:
    with pytest.raises(ShapeError, match="neither status nor currentExecutionId"):
        read_job({"id": "j", **fields}, "j")


@pytest.mark.parametrize("fields", [{"status": None}, {"currentExecutionId": None}])
def test_a_status_or_a_current_execution_that_is_null_is_still_a_job(fields: dict[str, object]) -> None:
    assert read_job({"id": "j", **fields}, "j") == Job("j")


@pytest.mark.parametrize("data", [{}, {"title": "x"}, [], "RUNNING", None, 3])
def test_what_has_neither_id_nor_status_is_no_job(data: object) -> None:
    with pytest.raises(ShapeError):
        read_job(data, "j")


@pytest.mark.parametrize("status", [["RUNNING"], {"a": 1}, 3, True])
def test_a_status_that_is_no_text_is_an_unexpected_shape(status: object) -> None:
    with pytest.raises(ShapeError, match="status is no text"):
        read_job({"id": "j", "status": status}, "j")


def test_an_id_that_is_a_number_becomes_text() -> None:
    assert read_job({"id": 42, "currentExecutionId": 7}, "42") == Job("42", current_execution_id="7")


@pytest.mark.parametrize("value", [[], {}, True])
def test_an_id_that_is_neither_text_nor_number_is_an_unexpected_shape(value: object) -> None:
    with pytest.raises(ShapeError, match="currentExecutionId is no id"):
        read_job({"id": "j", "currentExecutionId": value}, "j")


@pytest.mark.parametrize(
    ("status", "running", "terminal"),
    [
        (JobStatus.QUEUED, True, False),
        (JobStatus.RUNNING, True, False),
        (JobStatus.SUCCESS, False, True),
        (JobStatus.CANCEL, False, True),
        (JobStatus.FAIL, False, True),
        (JobStatus.SKIPPED, False, True),
    ],
)
def test_each_status_of_a_job_is_running_or_terminal(
    status: JobStatus, running: bool, terminal: bool
) -> None:
    for record in (Job("j", status=status.value), JobExecution("e", status=status.value)):
        assert (record.is_known, record.is_active, record.is_terminal) == (True, running, terminal)


@pytest.mark.parametrize(
    ("status", "running"),
    [
        (LoadStatus.RUNNING, True),
        (LoadStatus.LOST_CONNECTION, True),
        (LoadStatus.CANCELLING, True),
        (LoadStatus.SUCCESS, False),
        (LoadStatus.WARNING, False),
        (LoadStatus.ERROR, False),
        (LoadStatus.CANCELED, False),
    ],
)
def test_each_status_of_a_load_is_running_or_terminal(status: LoadStatus, running: bool) -> None:
    load = Load(status=status.value)
    assert (load.is_known, load.is_active, load.is_terminal) == (True, running, not running)


@pytest.mark.parametrize("status", ["PAUSED", "success", "", "SUCCESS ", "CANCELED"])
def test_a_status_that_no_list_has_is_kept_as_it_is_and_is_nothing(status: str) -> None:
    job = read_job({"id": "j", "status": status}, "j")
    assert job.status == status
    assert (job.is_known, job.is_active, job.is_terminal) == (False, False, False)


def test_a_load_is_read_with_the_names_of_the_load_record() -> None:
    data = {
        "dataLoadId": "l",
        "dataModelId": "m",
        "startDate": 1_700_000_000_000,
        "endDate": "2023-11-14T22:15:00Z",
        "loadStatus": "WARNING",
        "loadType": "PARTIAL",
        "message": "3 rows dropped",
        "dataPoolVersion": None,
    }
    expected = Load("l", "WARNING", "PARTIAL", 1_700_000_000_000, 1_700_000_100_000, "3 rows dropped")
    assert read_load(data) == expected
    assert expected.kind == "PARTIAL"


def test_a_load_is_read_under_shorter_names_too() -> None:
    assert read_load({"id": "l", "status": "RUNNING", "type": "COMPLETE"}) == Load(
        "l", status="RUNNING", kind="COMPLETE"
    )


@pytest.mark.parametrize("field", ["dataLoadId", "loadId", "id", "loadStatus", "startDate"])
def test_one_field_of_a_load_makes_a_load(field: str) -> None:
    assert read_load({field: "2026-01-01"}) is not None


@pytest.mark.parametrize(
    "envelope", [{"status": "ERROR", "message": "x"}, {"status": 500}, {"type": "about:blank", "status": "X"}]
)
def test_an_error_envelope_is_no_load(envelope: dict[str, object]) -> None:
    with pytest.raises(ShapeError):
        read_load(envelope)


@pytest.mark.parametrize("data", [None, {}])
def test_nothing_in_the_answer_means_never_loaded(data: object) -> None:
    assert read_load(data) is None


@pytest.mark.parametrize("data", [{"lastLoad": {"id": "l"}}, {"title": "x", "message": "y"}, [], "x"])
def test_what_has_neither_id_nor_status_nor_start_is_no_load(data: object) -> None:
    with pytest.raises(ShapeError):
        read_load(data)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_700_000_000_000, 1_700_000_000_000),
        (1_700_000_000_000.9, 1_700_000_000_000),
        ("1700000000000", 1_700_000_000_000),
        ("-5", -5),
        ("2023-11-14T22:13:20", 1_700_000_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000_000),
        ("2023-11-14T22:13:20.500+0000", 1_700_000_000_500),
        (" 2023-11-14 22:13:20 ", 1_700_000_000_000),
        ("yesterday", None),
        ("", None),
        (None, None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**40, None),
        ("9" * 5000, None),
        ([2023, 11, 14], None),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000),
    ],
)
def test_a_date_is_epoch_milliseconds_or_iso_8601(value: object, expected: int | None) -> None:
    assert read_date(value) == expected


def test_executions_keep_their_order_and_leave_out_nulls() -> None:
    newer = {
        "executionId": "e2",
        "jobId": "j",
        "status": "RUNNING",
        "startDate": 2,
        "mode": "DELTA",
        "id": "x",
    }
    data = {"executionItems": [newer, None, {"executionId": "e1"}], "numOfPages": 1}
    expected = [JobExecution("e2", "j", "RUNNING", 2, None, "DELTA"), JobExecution("e1")]
    assert read_executions(data) == expected
    assert read_executions(data["executionItems"]) == expected


@pytest.mark.parametrize("data", [{"executionItems": []}, []])
def test_a_job_without_executions_has_an_empty_list(data: object) -> None:
    assert read_executions(data) == []


@pytest.mark.parametrize("data", [{}, {"executionItems": None}, {"status": 500, "message": "x"}])
def test_an_object_without_the_list_is_no_empty_list(data: object) -> None:
    with pytest.raises(ShapeError, match="executionItems is missing"):
        read_executions(data)


@pytest.mark.parametrize("data", [[{"id": "item"}], [{"executionId": ""}], [7], {"executionItems": {}}, None])
def test_an_execution_without_a_usable_id_is_an_unexpected_shape(data: object) -> None:
    with pytest.raises(ShapeError):
        read_executions(data)


def test_a_table_is_known_by_its_alias_or_else_by_its_name() -> None:
    data = [
        {"id": "1", "name": "VBAK", "alias": "Orders", "aliasOrName": "Orders", "dataSourceId": "s"},
        {"id": "2", "name": "VBAP", "alias": None},
        {"id": "3", "name": "LIPS", "alias": "Deliveries"},
    ]
    assert read_tables(data) == [
        ModelTable("1", "VBAK", "Orders", "Orders"),
        ModelTable("2", "VBAP", None, "VBAP"),
        ModelTable("3", "LIPS", "Deliveries", "Deliveries"),
    ]


def test_only_failed_tasks_are_read() -> None:
    data = [
        {"taskId": "t1", "name": "Extract VBAK", "status": "SUCCESS"},
        {"taskId": "t2", "name": "Extract VBAP", "status": "FAIL"},
        {"taskId": "t3", "status": "FAIL"},
        {"name": "without an id", "status": "FAIL"},
        {"taskId": "t4", "status": "CANCEL"},
    ]
    assert read_failed_tasks({"executionItems": data}) == [("t2", "Extract VBAP"), ("t3", "t3")]
    assert read_failed_tasks(data) == [("t2", "Extract VBAP"), ("t3", "t3")]


def test_the_reason_is_what_the_log_says_at_level_error_and_not_its_first_line() -> None:
    lines = [
        {"level": "INFO", "logMessage": "Starting"},
        {"level": "ERROR", "logMessage": "Table VBAP does not exist"},
        {"level": "WARN", "logMessage": "Slow"},
        {"level": "ERROR", "logMessage": "Table VBAP does not exist"},
        {"level": "ERROR", "logMessage": None},
        {"level": "FATAL", "logMessage": "Given up"},
    ]
    expected = ["Table VBAP does not exist", "Given up"]
    assert read_error_messages({"logMessages": lines}) == expected


@pytest.mark.parametrize("line", [{"level": ["ERROR"]}, {"level": {}}, {"level": "ERROR", "logMessage": 1}])
def test_a_line_of_a_log_that_is_no_text_is_an_unexpected_shape(line: object) -> None:
    with pytest.raises(ShapeError, match="is no text"):
        read_error_messages({"logMessages": [line]})


@pytest.mark.parametrize("name", ["executionId", "currentExecutionId"])
def test_the_answer_to_a_start_may_name_the_execution(name: str) -> None:
    assert read_job_start({name: "e"}) == StartAnswer("e")
    assert read_load_start({name: "e"}) == StartAnswer(None)


@pytest.mark.parametrize("name", ["dataLoadId", "loadId"])
def test_the_answer_to_a_load_may_name_the_load(name: str) -> None:
    assert read_load_start({name: "l"}) == StartAnswer("l")
    assert read_job_start({name: "l"}) == StartAnswer(None)


@pytest.mark.parametrize(
    "data", [None, {}, [], "e", 7, {"id": "e"}, {"executionId": ["e"]}, {"executionId": None}]
)
def test_any_other_answer_to_a_start_shows_no_id(data: object) -> None:
    assert read_job_start(data) == StartAnswer(None)


LONG_ID = "e" * (MAX_ID + 1)
ODD_ID = "é" * MAX_ID


@pytest.mark.parametrize("found", [LONG_ID, ODD_ID, "\ud800" * 100])
def test_an_id_that_is_too_long_to_be_stored_is_replaced_by_the_same_digest_everywhere(found: str) -> None:
    (execution,) = read_executions([{"executionId": found}])
    job = read_job({"id": "j", "currentExecutionId": found, "latestExecutionItemId": found}, "j")
    load = read_load({"dataLoadId": found})
    assert load is not None
    start = read_job_start({"executionId": found})
    ids = {execution.execution_id, job.current_execution_id, job.latest_execution_item_id, load.load_id}
    assert ids == {start.execution_id}
    (kept,) = ids
    assert kept is not None
    assert kept.startswith("sha256:")
    assert len(kept.encode()) <= MAX_ID


def test_two_long_ids_that_differ_stay_different() -> None:
    one, other = read_executions([{"executionId": LONG_ID}, {"executionId": LONG_ID + "e"}])
    assert one.execution_id != other.execution_id


@pytest.mark.parametrize("found", ["e" * MAX_ID, "671d3bdc-9feb-45ff-b367-7b47470d4680"])
def test_an_id_that_fits_stays_as_it_is(found: str) -> None:
    assert read_job_start({"executionId": found}).execution_id == found


def test_the_id_of_a_table_is_never_replaced_since_it_is_sent_back() -> None:
    assert read_tables([{"id": LONG_ID}])[0].id == LONG_ID


def test_a_job_with_a_long_id_is_still_the_requested_one() -> None:
    assert read_job({"id": LONG_ID, "status": "RUNNING"}, LONG_ID).id == LONG_ID


def test_long_texts_are_cut() -> None:
    load = read_load({"dataLoadId": "l", "loadStatus": "S" * 5000, "message": "m" * 5000})
    assert load is not None
    assert load.status == "S" * (MAX_STATUS - 1) + "…"
    assert load.message == "m" * (MAX_TEXT - 1) + "…"
    assert not load.is_known
