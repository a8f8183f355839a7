"""What people ask of runs: what is accepted, what is started, what they are told."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.passage.requesting import Requests, read_cancel, read_json
from celonis_refresh.pipelines.errors import InvalidTrigger, UnknownPipeline
from celonis_refresh.runs.errors import PipelineSkips, RunNotFound, TableBusy
from celonis_refresh.runs.listing import Listing
from tests.fakes.bench import job_definition
from tests.fakes.dynamodb import canceled
from tests.unit.passage.entrance import Entrance


def api(entrance: Entrance) -> Requests:
    bench = entrance.bench
    return Requests(entrance.accepting, entrance.executions, bench.records, Listing(bench.table))


def start(entrance: Entrance, body: object, key: str | None = None) -> dict[str, Any]:
    return api(entrance).start(body, "arn:aws:iam::1:user/ada", key, entrance.bench.deadline())


def refused(body: object) -> list[str]:
    """The fields that a start is refused for."""
    with pytest.raises(InvalidTrigger) as caught:
        start(Entrance(), body)
    return [problem.field for problem in caught.value.problems]


def test_a_start_is_claimed_and_its_execution_started() -> None:
    entrance = Entrance()
    (run,) = start(entrance, {"pipeline": "otc", "mode": "DELTA", "reason": "month end"})["runs"]
    assert (run["pipeline"], run["status"]) == ("otc", "started")
    assert entrance.executions.asked == [run["run_id"]]
    wish = entrance.bench.records.get(run["run_id"]).wish
    assert (wish.mode, wish.reasons[0].by, wish.reasons[0].text) == (
        "DELTA",
        "arn:aws:iam::1:user/ada",
        "month end",
    )


def test_a_start_while_a_run_is_under_way_joins_and_starts_nothing() -> None:
    entrance = Entrance()
    start(entrance, {"pipeline": "otc"})
    (joined,) = start(entrance, {"pipeline": "otc"})["runs"]
    assert joined["status"] == "joined"
    assert joined["run_id"] not in entrance.executions.asked


def test_the_same_idempotency_key_gets_the_same_run() -> None:
    entrance = Entrance()
    first = start(entrance, {"pipeline": "otc"}, "key-1")
    again = start(entrance, {"pipeline": "otc"}, "key-1")
    assert again == {**first, "duplicate": True}
    assert entrance.executions.asked == [first["runs"][0]["run_id"]] * 2
    assert len(list(entrance.bench.dynamodb.documents("run#"))) == 1


def test_a_pipeline_that_skips_says_so() -> None:
    entrance = Entrance(definitions={"otc": job_definition(when_running="skip")})
    start(entrance, {"pipeline": "otc"})
    with pytest.raises(PipelineSkips):
        start(entrance, {"pipeline": "otc"})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "pipeline"),
        ({"pipeline": 7}, "pipeline"),
        ({"pipeline": "otc", "mode": "SOME"}, "mode"),
        ({"pipeline": "otc", "tables": []}, "tables"),
        ({"pipeline": "otc", "reason": "x" * 257}, "reason"),
        ({"pipeline": "otc", "token": "s3cret"}, "token"),
        (["otc"], "(the whole document)"),
        (None, "(the whole document)"),
    ],
)
def test_a_body_that_makes_no_sense_names_the_field(body: object, field: str) -> None:
    assert refused(body) == [field]


def test_a_pipeline_that_is_not_defined_starts_nothing() -> None:
    entrance = Entrance()
    with pytest.raises(UnknownPipeline):
        start(entrance, {"pipeline": "other"})
    assert not entrance.bench.dynamodb.items


def test_a_table_that_stays_busy_has_written_nothing() -> None:
    entrance = Entrance()

    def contended(operation: str, request: dict[str, Any]) -> None:
        raise canceled(*["TransactionConflict"] * len(request["TransactItems"]))

    entrance.bench.dynamodb.before = contended
    with pytest.raises(TableBusy):
        start(entrance, {"pipeline": "otc"}, "key-1")
    assert not entrance.bench.dynamodb.items
    assert not entrance.executions.asked


def test_an_execution_that_does_not_start_is_left_to_reconcile() -> None:
    entrance = Entrance()

    def fails(name: str, when: str) -> None:
        raise OSError("no connection")

    entrance.executions.hook = fails
    (run,) = start(entrance, {"pipeline": "otc"})["runs"]
    assert run["status"] == "started"
    assert entrance.bench.records.get(run["run_id"]).status == "OPENING"


def test_a_run_is_shown_without_what_the_table_keeps_for_itself() -> None:
    entrance = Entrance()
    (run,) = start(entrance, {"pipeline": "otc"})["runs"]
    shown = api(entrance).show(run["run_id"])
    assert (shown["run_id"], shown["status"]) == (run["run_id"], "OPENING")
    assert shown["definition"]["jobs"] == [{"job": "job-a"}]
    assert not {"pk", "position", "expires"} & set(shown)


@pytest.mark.parametrize("run_id", ["never-was", "x" * 5000])
def test_a_run_that_never_was_is_not_found(run_id: str) -> None:
    with pytest.raises(RunNotFound):
        api(Entrance()).show(run_id)


def test_runs_are_listed_newest_first_and_page_by_page() -> None:
    entrance = Entrance(definitions={name: job_definition() for name in ("a", "b", "c")})
    ids = []
    for name in ("a", "b", "c"):
        ids.append(start(entrance, {"pipeline": name})["runs"][0]["run_id"])
        entrance.bench.clock.sleep(1.0)
    first = api(entrance).list({"limit": "2"})
    assert [run["run_id"] for run in first["runs"]] == [ids[2], ids[1]]
    rest = api(entrance).list({"limit": "2", "before": first["before"]})
    assert ([run["run_id"] for run in rest["runs"]], rest["before"]) == ([ids[0]], None)
    assert [run["run_id"] for run in api(entrance).list({"pipeline": "b"})["runs"]] == [ids[1]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"status": "s3cret"}, "status"),
        ({"x": "1"}, "x"),
    ],
)
def test_a_query_that_makes_no_sense_names_the_field_and_repeats_no_value(
    query: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidTrigger) as caught:
        api(Entrance()).list(query)
    assert [problem.field for problem in caught.value.problems] == [field]
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", '{"a": NaN', "[" * 100_000, None])
def test_a_body_that_is_no_json_is_refused(text: str | None) -> None:
    with pytest.raises(InvalidTrigger):
        read_json(text)


def test_a_cancellation_keeps_what_waits_unless_it_says_otherwise() -> None:
    assert read_cancel(None).drop_pending is False
    assert read_cancel('{"drop_pending": true}').drop_pending is True
    with pytest.raises(InvalidTrigger):
        read_cancel('{"drop_pending": "yes"}')
