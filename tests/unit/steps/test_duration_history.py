"""What runs teach: how long it took, written once, read once, and never worth a failure."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from botocore.exceptions import ClientError

from celonis_refresh.runs.table import from_item, to_item
from celonis_refresh.steps.polling.durations import KEPT_DAYS, DurationHistory, took
from celonis_refresh.steps.start import start_claimed
from celonis_refresh.timing import Deadline
from tests.fakes.celonis import Lane, Shows
from tests.fakes.dynamodb import client_error
from tests.fakes.service import JOB, MODEL, ServiceHarness, job_definition, load_definition
from tests.unit.workflow.webhook_harness import WebhookHarness

JOB_KEY = f"durations#job#{JOB}#FULL"
LOAD_KEY = f"durations#model#{MODEL}#complete"
DAY = 86_400


def learned(bench: ServiceHarness, key: str = JOB_KEY) -> dict[str, Any]:
    item = bench.dynamodb.items.get(key)
    return from_item(item) if item else {}


def run_job(bench: ServiceHarness, number: int, **fields: Any) -> str:
    """One run of the job from its start to its end."""
    run_id, definition = f"run-{number}", job_definition(settle=2, **fields)
    bench.open(definition, run_id, pipeline=run_id)
    return bench.go("job-0", run_id)


def known_job(bench: ServiceHarness, **fields: Any) -> Lane:
    lane = bench.job(**fields)
    lane.before(ago=1_000_000.0)
    return lane


def test_what_a_job_took_is_learned_as_celonis_dates_it() -> None:
    bench = ServiceHarness()
    lane = known_job(bench, seconds=1800.0)
    assert [run_job(bench, 1), run_job(bench, 2)] == ["SUCCEEDED", "SUCCEEDED"]
    found = learned(bench)
    assert found["successes"] == [1800.0, 1800.0]
    assert (found["failures"], found["failure_rate"], found["rev"]) == ([], 0, 2)
    assert len(lane.mine) == 2


@pytest.mark.parametrize("seconds", [15.0, 60.0])
@pytest.mark.parametrize("dates", [True, False])
def test_what_a_webhook_started_teaches_what_an_execution_by_hand_teaches(
    seconds: float, *, dates: bool
) -> None:
    by_hand = ServiceHarness()
    known_job(by_hand, seconds=seconds, shows=Shows(dates=dates))
    assert run_job(by_hand, 1, poll={"floor": 1, "ceiling": 1}) == "SUCCEEDED"
    door = WebhookHarness(definitions={"otc": job_definition(settle=2, poll={"floor": 1, "ceiling": 1})})
    known_job(door.bench, seconds=seconds, shows=Shows(dates=dates))
    assert door.deliver().status == 202
    assert door.bench.go("job-0", "otc-1") == "SUCCEEDED"
    (expected,), (reported,) = (learned(bench)["successes"] for bench in (by_hand, door.bench))
    assert reported == pytest.approx(expected, abs=2.5)  # what the webhook's start may have taken


def test_the_second_run_asks_fewer_times_than_the_first_and_sees_the_end_sooner() -> None:
    bench = ServiceHarness()
    lane = known_job(bench, seconds=3600.0)
    late = []
    for number in range(6):
        run_job(bench, number)
        late.append(bench.clock.now - lane.mine[-1].ended_at)
    polls = [int(str(bench.state("job-0", f"run-{number}")["polls"])) for number in range(6)]
    assert polls[1] < polls[0]
    assert polls[5] < polls[0] / 2
    assert late[5] < 120.0


def test_a_load_is_learned_by_its_kind() -> None:
    bench = ServiceHarness()
    bench.model(seconds=600.0).before(ago=1_000_000.0)
    bench.open(load_definition(settle=2))
    assert bench.go("load-0") == "SUCCEEDED"
    assert learned(bench, LOAD_KEY)["successes"] == [600.0]


@pytest.mark.parametrize(("outcome", "lists"), [("FAIL", ([], [300.0])), ("CANCEL", None), ("SKIPPED", None)])
def test_failures_are_learned_as_such_and_what_people_did_is_not(outcome: str, lists: object) -> None:
    bench = ServiceHarness()
    known_job(bench, seconds=300.0, outcome=outcome)
    run_job(bench, 1)
    found = learned(bench)
    assert (found["successes"], found["failures"]) == lists if lists else found == {}


def test_time_in_a_queue_is_not_the_jobs() -> None:
    bench = ServiceHarness()
    lane = known_job(bench, seconds=900.0, queue=5_000.0)
    assert run_job(bench, 1) == "SUCCEEDED"
    (successes,) = learned(bench)["successes"]
    assert 900.0 <= successes <= 900.0 + 600.0  # its dates lie within what was seen of it
    polls = int(str(bench.state("job-0", "run-1")["polls"]))
    assert polls < 80
    assert lane.mine[0].queue == 5_000.0


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("calls", range(8))
def test_a_check_that_is_repeated_after_any_crash_learns_once_at_most(
    calls: int, moment: Literal["before", "after"]
) -> None:
    bench = ServiceHarness()
    known_job(bench, seconds=30.0)
    bench.open(job_definition(settle=2), "run-1", pipeline="run-1")
    progress = bench.start("job-0", "run-1")
    started = bench.clock.now
    while bench.clock.now + progress["wait"] < started + 30.0:
        progress = bench.check("job-0", bench.wait(progress) and "run-1")
    bench.wait(progress)
    bench.crash([(calls, moment)])
    assert bench.go("job-0", "run-1") == "SUCCEEDED"
    bench.crash([])
    assert bench.check("job-0", "run-1") == {"status": "SUCCEEDED", "wait": 0}
    assert learned(bench).get("successes", []) in ([], [30.0])


@pytest.mark.parametrize("just_claimed", [False, True])
def test_durations_are_read_once_for_a_step(just_claimed: bool) -> None:
    bench = ServiceHarness()
    known_job(bench, seconds=600.0)
    read: list[str] = []
    bench.dynamodb.before = lambda operation, request: read.extend(
        [request["Key"]["pk"]["S"]] if operation == "GetItem" else []
    )
    run = bench.open(job_definition(settle=2), "run-1", pipeline="run-1")
    if just_claimed:
        start_claimed(bench.context, run, "job-0", bench.deadline(), {"loads": {}})
        assert read.count(JOB_KEY) == 0
    assert bench.go("job-0", "run-1") == "SUCCEEDED"
    assert read.count(JOB_KEY) == 1
    assert int(str(bench.state("job-0", "run-1")["polls"])) > 5


def test_the_table_out_of_order_ends_no_run() -> None:
    bench = ServiceHarness()
    known_job(bench, seconds=60.0)

    def fail(operation: str, request: dict[str, Any]) -> None:
        if request.get("Key", {}).get("pk", {}).get("S") == JOB_KEY:
            raise client_error("ThrottlingException", operation)

    bench.dynamodb.before = fail
    assert run_job(bench, 1) == "SUCCEEDED"
    assert learned(bench) == {}


@pytest.mark.parametrize(
    "item",
    [
        {"rev": 3, "expires": 9e9, "successes": ["soon"]},
        {"rev": 3, "expires": 9e9, "successes": 5},
        {"rev": "x"},
        {"rev": 3, "expires": 9e9, "successes": [10], "failure_rate": "often"},
    ],
)
def test_an_item_that_makes_no_sense_ends_no_run(item: dict[str, Any]) -> None:
    bench = ServiceHarness()
    known_job(bench, seconds=60.0)
    bench.dynamodb.items[JOB_KEY] = to_item({"pk": JOB_KEY, **item})
    assert run_job(bench, 1) == "SUCCEEDED"


def learning(bench: ServiceHarness) -> DurationHistory:
    return DurationHistory(bench.table, bench.clock)


def deadline(bench: ServiceHarness) -> Deadline:
    return Deadline.after(10.0, bench.clock)


def test_cold_durations_expire_and_are_not_known_any_more() -> None:
    bench = ServiceHarness()
    learning(bench).learn(JOB_KEY, {"rev": 0}, 60.0, "SUCCESS", deadline(bench))
    assert learned(bench)["expires"] == int(bench.clock.now) + KEPT_DAYS * DAY
    bench.clock.sleep(KEPT_DAYS * DAY + 1.0)
    known = learning(bench).known(JOB_KEY)
    assert known == {"rev": 1}
    learning(bench).learn(JOB_KEY, known, 70.0, "SUCCESS", deadline(bench))
    assert learned(bench)["successes"] == [70.0]


def test_who_read_before_somebody_wrote_loses_a_duration_and_nothing_else() -> None:
    bench = ServiceHarness()
    known = learning(bench).known(JOB_KEY)
    assert known == {"rev": 0}
    learning(bench).learn(JOB_KEY, known, 60.0, "SUCCESS", deadline(bench))
    learning(bench).learn(JOB_KEY, known, 61.0, "SUCCESS", deadline(bench))
    assert learned(bench)["successes"] == [60.0]


def test_a_permission_that_is_missing_is_seen() -> None:
    bench = ServiceHarness()

    def deny(operation: str, request: dict[str, Any]) -> None:
        raise client_error("AccessDeniedException", operation)

    bench.dynamodb.before = deny
    with pytest.raises(ClientError):
        learning(bench).learn(JOB_KEY, {"rev": 0}, 60.0, "SUCCESS", deadline(bench))


@pytest.mark.parametrize(
    ("dated", "seconds"), [(None, 50.0), (55.0, 55.0), (10.0, 40.0), (-3.0, 40.0), (900.0, 60.0)]
)
def test_dates_are_believed_within_what_was_seen(dated: float | None, seconds: float) -> None:
    assert took(dated, 40.0, 60.0) == seconds
