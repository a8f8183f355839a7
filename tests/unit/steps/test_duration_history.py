"""Durations of past runs: written once, read once, and errors are ignored."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from botocore.exceptions import ClientError

from celonis_refresh.runs.table import from_item, to_item
from celonis_refresh.steps.polling.durations import KEPT_DAYS, DurationHistory, took
from celonis_refresh.steps.start import start_claimed
from celonis_refresh.timing import Deadline
from tests.fakes.celonis import FakeTarget, ShownFields
from tests.fakes.dynamodb import client_error
from tests.fakes.service import JOB, MODEL, ServiceHarness, job_definition, load_definition
from tests.unit.workflow.webhook_harness import WebhookHarness

JOB_KEY = f"durations#job#{JOB}#FULL"
LOAD_KEY = f"durations#model#{MODEL}#complete"
DAY = 86_400


def learned(service: ServiceHarness, key: str = JOB_KEY) -> dict[str, Any]:
    item = service.dynamodb.items.get(key)
    return from_item(item) if item else {}


def run_job(service: ServiceHarness, number: int, **fields: Any) -> str:
    """One run of the job from its start to its end."""
    run_id, definition = f"run-{number}", job_definition(settle=2, **fields)
    service.open(definition, run_id, pipeline=run_id)
    return service.run_step("job-0", run_id)


def known_job(service: ServiceHarness, **fields: Any) -> FakeTarget:
    target = service.job(**fields)
    target.add_past_start(ago=1_000_000.0)
    return target


def test_what_a_job_took_is_learned_as_celonis_dates_it() -> None:
    service = ServiceHarness()
    target = known_job(service, seconds=1800.0)
    assert [run_job(service, 1), run_job(service, 2)] == ["SUCCEEDED", "SUCCEEDED"]
    found = learned(service)
    assert found["successes"] == [1800.0, 1800.0]
    assert (found["failures"], found["failure_rate"], found["rev"]) == ([], 0, 2)
    assert len(target.mine) == 2


@pytest.mark.parametrize("seconds", [15.0, 60.0])
@pytest.mark.parametrize("dates", [True, False])
def test_durations_are_learned_from_webhook_runs_and_manual_executions_alike(
    seconds: float, *, dates: bool
) -> None:
    by_hand = ServiceHarness()
    known_job(by_hand, seconds=seconds, shows=ShownFields(dates=dates))
    assert run_job(by_hand, 1, poll={"floor": 1, "ceiling": 1}) == "SUCCEEDED"
    harness = WebhookHarness(definitions={"otc": job_definition(settle=2, poll={"floor": 1, "ceiling": 1})})
    known_job(harness.service, seconds=seconds, shows=ShownFields(dates=dates))
    assert harness.deliver().status == 202
    assert harness.service.run_step("job-0", "otc-1") == "SUCCEEDED"
    (expected,), (reported,) = (learned(service)["successes"] for service in (by_hand, harness.service))
    assert reported == pytest.approx(expected, abs=2.5)  # what the webhook's start may have taken


def test_the_second_run_polls_less_than_the_first_and_detects_the_end_sooner() -> None:
    service = ServiceHarness()
    target = known_job(service, seconds=3600.0)
    late = []
    for number in range(6):
        run_job(service, number)
        late.append(service.clock.now - target.mine[-1].ended_at)
    polls = [int(str(service.state("job-0", f"run-{number}")["polls"])) for number in range(6)]
    assert polls[1] < polls[0]
    assert polls[5] < polls[0] / 2
    assert late[5] < 120.0


def test_a_load_is_learned_by_its_kind() -> None:
    service = ServiceHarness()
    service.model(seconds=600.0).add_past_start(ago=1_000_000.0)
    service.open(load_definition(settle=2))
    assert service.run_step("load-0") == "SUCCEEDED"
    assert learned(service, LOAD_KEY)["successes"] == [600.0]


@pytest.mark.parametrize(("outcome", "lists"), [("FAIL", ([], [300.0])), ("CANCEL", None), ("SKIPPED", None)])
def test_failures_are_learned_as_such_and_what_people_did_is_not(outcome: str, lists: object) -> None:
    service = ServiceHarness()
    known_job(service, seconds=300.0, outcome=outcome)
    run_job(service, 1)
    found = learned(service)
    assert (found["successes"], found["failures"]) == lists if lists else found == {}


def test_time_in_a_queue_is_not_the_jobs() -> None:
    service = ServiceHarness()
    target = known_job(service, seconds=900.0, queue=5_000.0)
    assert run_job(service, 1) == "SUCCEEDED"
    (successes,) = learned(service)["successes"]
    assert 900.0 <= successes <= 900.0 + 600.0  # its dates lie within what was seen of it
    polls = int(str(service.state("job-0", "run-1")["polls"]))
    assert polls < 80
    assert target.mine[0].queue == 5_000.0


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("calls", range(8))
def test_a_check_that_is_repeated_after_any_crash_records_one_duration_at_most(
    calls: int, moment: Literal["before", "after"]
) -> None:
    service = ServiceHarness()
    known_job(service, seconds=30.0)
    service.open(job_definition(settle=2), "run-1", pipeline="run-1")
    progress = service.start("job-0", "run-1")
    started = service.clock.now
    while service.clock.now + progress["wait"] < started + 30.0:
        progress = service.check("job-0", service.wait(progress) and "run-1")
    service.wait(progress)
    service.crash([(calls, moment)])
    assert service.run_step("job-0", "run-1") == "SUCCEEDED"
    service.crash([])
    assert service.check("job-0", "run-1") == {"status": "SUCCEEDED", "wait": 0}
    assert learned(service).get("successes", []) in ([], [30.0])


@pytest.mark.parametrize("just_claimed", [False, True])
def test_durations_are_read_once_for_a_step(just_claimed: bool) -> None:
    service = ServiceHarness()
    known_job(service, seconds=600.0)
    read: list[str] = []
    service.dynamodb.before = lambda operation, request: read.extend(
        [request["Key"]["pk"]["S"]] if operation == "GetItem" else []
    )
    run = service.open(job_definition(settle=2), "run-1", pipeline="run-1")
    if just_claimed:
        start_claimed(service.context, run, "job-0", service.deadline(), {"loads": {}})
        assert read.count(JOB_KEY) == 0
    assert service.run_step("job-0", "run-1") == "SUCCEEDED"
    assert read.count(JOB_KEY) == 1
    assert int(str(service.state("job-0", "run-1")["polls"])) > 5


def test_the_table_out_of_order_ends_no_run() -> None:
    service = ServiceHarness()
    known_job(service, seconds=60.0)

    def fail(operation: str, request: dict[str, Any]) -> None:
        if request.get("Key", {}).get("pk", {}).get("S") == JOB_KEY:
            raise client_error("ThrottlingException", operation)

    service.dynamodb.before = fail
    assert run_job(service, 1) == "SUCCEEDED"
    assert learned(service) == {}


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
    service = ServiceHarness()
    known_job(service, seconds=60.0)
    service.dynamodb.items[JOB_KEY] = to_item({"pk": JOB_KEY, **item})
    assert run_job(service, 1) == "SUCCEEDED"


def history_of(service: ServiceHarness) -> DurationHistory:
    return DurationHistory(service.table, service.clock)


def deadline(service: ServiceHarness) -> Deadline:
    return Deadline.after(10.0, service.clock)


def test_cold_durations_expire_and_are_not_known_any_more() -> None:
    service = ServiceHarness()
    history_of(service).learn(JOB_KEY, {"rev": 0}, 60.0, "SUCCESS", deadline(service))
    assert learned(service)["expires"] == int(service.clock.now) + KEPT_DAYS * DAY
    service.clock.sleep(KEPT_DAYS * DAY + 1.0)
    known = history_of(service).read(JOB_KEY)
    assert known == {"rev": 1}
    history_of(service).learn(JOB_KEY, known, 70.0, "SUCCESS", deadline(service))
    assert learned(service)["successes"] == [70.0]


def test_who_read_before_another_run_wrote_loses_a_duration_and_nothing_else() -> None:
    service = ServiceHarness()
    known = history_of(service).read(JOB_KEY)
    assert known == {"rev": 0}
    history_of(service).learn(JOB_KEY, known, 60.0, "SUCCESS", deadline(service))
    history_of(service).learn(JOB_KEY, known, 61.0, "SUCCESS", deadline(service))
    assert learned(service)["successes"] == [60.0]


def test_a_permission_that_is_missing_is_seen() -> None:
    service = ServiceHarness()

    def deny(operation: str, request: dict[str, Any]) -> None:
        raise client_error("AccessDeniedException", operation)

    service.dynamodb.before = deny
    with pytest.raises(ClientError):
        history_of(service).learn(JOB_KEY, {"rev": 0}, 60.0, "SUCCESS", deadline(service))


@pytest.mark.parametrize(
    ("dated", "seconds"), [(None, 50.0), (55.0, 55.0), (10.0, 40.0), (-3.0, 40.0), (900.0, 60.0)]
)
def test_dates_are_used_within_the_observed_interval(dated: float | None, seconds: float) -> None:
    assert took(dated, 40.0, 60.0) == seconds
