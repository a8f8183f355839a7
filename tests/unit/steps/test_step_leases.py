"""Steps that need what other runs use: what they hold while they wait, and who is served next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest

from celonis_refresh.celonis.errors import CelonisError
from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.earlier import Earlier
from celonis_refresh.runs.errors import StepMoved
from celonis_refresh.runs.table import job_lease
from celonis_refresh.workflow.open import ExecutionContext, RunOpener
from tests.fakes.celonis import Lags, denied, throttled, unavailable
from tests.fakes.leases import take
from tests.fakes.service import JOB, MODEL, RUN, Crashed, ServiceHarness, job_definition, load_definition
from tests.properties.lease_simulation import LeasePipeline, LeaseScenario, simulate
from tests.unit.steps.outgoing import JOB_LEASE, MODEL_LEASE, RECORD, Outgoing, SentWrite, holder, starts
from tests.unit.workflow.webhook_harness import WebhookHarness

OTHER, OTHER_JOB, OTHER_MODEL = "other-1", "job-b", "model-b"
GIVEN_BACK = SentWrite("TransactWriteItems", (RECORD, JOB_LEASE))
HOUR = 3600.0


def ready() -> ServiceHarness:
    """Two jobs and two models, all of which ran before."""
    service = ServiceHarness()
    for job in (JOB, OTHER_JOB):
        service.job(job).add_past_start(6000.0)
    for model in (MODEL, OTHER_MODEL):
        service.model(model).add_past_start(6000.0)
    return service


def opened(definition: Definition | None = None) -> ServiceHarness:
    service = ready()
    service.open(definition or job_definition())
    return service


def held(service: ServiceHarness, run_id: str = RUN) -> set[str]:
    leases = service.dynamodb.documents("lease#")
    return {item["pk"] for item in leases if item.get("run_id") == run_id}


def queue(service: ServiceHarness, lease: str = JOB_LEASE) -> list[str]:
    """The runs that are queued for a lease, the next one first."""
    places = service.dynamodb.document(lease).get("queue", {})
    return sorted(places, key=lambda run_id: (not places[run_id]["priority"], places[run_id]["since"]))


def inner(*models: str, jobs: tuple[str, ...] = (JOB,), side_by_side: bool = False) -> Definition:
    """Jobs, one of which loads these models."""
    steps: list[Any] = [{"job": job} for job in jobs]
    loads = [{"data_model": model, "started_by": "job"} for model in models or (MODEL,)]
    return job_definition(jobs=[steps] if side_by_side else steps, loads=loads)


# ---------------------------------------------------------------- no two runs wait for each other


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("begins_at", [0.0, 30.0, 61.0])
def test_a_run_that_has_a_model_and_waits_for_a_job_and_one_that_needs_both_come_to_their_end(
    begins_at: float, seed: int
) -> None:
    """A runs job-a, then job-b, which loads model-a; B runs job-b with model-a."""
    pipelines = {
        "A": LeasePipeline(((JOB,), (OTHER_JOB,))),
        "B": LeasePipeline(((OTHER_JOB,),), begins_at=begins_at),
    }
    result, _ = simulate(LeaseScenario(pipelines, {OTHER_JOB: (MODEL,)}, seed=seed))
    assert result.errors() == {"A-0": "", "B-0": ""}
    assert all(ended.at - ended.began < HOUR for ended in result.ended)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("starters", [{}, {JOB: (MODEL, OTHER_MODEL), OTHER_JOB: (MODEL, OTHER_MODEL)}])
def test_two_runs_that_load_two_models_in_opposite_order_come_to_their_end(
    starters: dict[str, tuple[str, ...]], seed: int
) -> None:
    models = (MODEL, OTHER_MODEL)
    pipelines = {
        "A": LeasePipeline(((JOB,),) if starters else (), models),
        "B": LeasePipeline(((OTHER_JOB,),) if starters else (), models, reverse=True),
    }
    result, _ = simulate(LeaseScenario(pipelines, starters, seed=seed, pause_share=0.5))
    assert result.errors() == {"A-0": "", "B-0": ""}
    assert all(ended.at - ended.began < HOUR for ended in result.ended)


def test_a_run_goes_before_one_that_waits_for_what_it_keeps() -> None:
    """B is queued for job-b and waits for model-a, which A has until job-b is done."""
    service = ready()
    service.open(inner(jobs=(JOB, OTHER_JOB)))
    assert service.run_step("job-0") == "SUCCEEDED"
    service.open(inner(jobs=(OTHER_JOB,)), OTHER, "other")
    service.wait(service.start("job-0", OTHER))
    assert (held(service, OTHER), queue(service, job_lease(OTHER_JOB))) == (set(), [OTHER])
    assert queue(service, MODEL_LEASE) == [OTHER]
    assert service.start("job-1")["status"] == "RUNNING"


def test_a_run_does_not_begin_to_keep_a_model_while_another_is_queued_for_its_later_job() -> None:
    service = ready()
    service.open(job_definition(jobs=[{"job": OTHER_JOB}]), OTHER, "other")
    service.open(job_definition(jobs=[{"job": OTHER_JOB}]), "third-1", "third")
    service.start("job-0", OTHER)
    service.wait(service.start("job-0", "third-1"))
    service.open(inner(jobs=(JOB, OTHER_JOB)))
    assert service.start("job-0")["status"] == "WAITING"
    assert (held(service), queue(service), queue(service, MODEL_LEASE)) == (set(), [RUN], [RUN])


# ---------------------------------------------------------------- what waits holds nothing


def running(service: ServiceHarness, kind: str) -> None:
    target = service.celonis.jobs[JOB] if kind == "job" else service.celonis.models[MODEL]
    target.add_past_start(5.0, seconds=600.0)


def failing(call: str, *faults: Any) -> Callable[[ServiceHarness], None]:
    return lambda service: service.celonis.faults.update({call: list(faults)})


def not_shown(service: ServiceHarness) -> None:
    """Our last execution is not shown yet."""
    earlier = Earlier().followed_by(["exec-x"], None, service.clock.now + 60.0, shows_running=True)
    service.open(job_definition(), OTHER, "other")
    take(service.leases, OTHER, JOB_LEASE, service.deadline())
    service.leases.free(OTHER, JOB_LEASE, service.deadline(), earlier)


WAITS = {
    "the job runs": lambda service: running(service, "job"),
    "the model is loaded": lambda service: running(service, "model"),
    "the poll of the model fails": failing("last_load", unavailable()),
    "the poll of the job fails": failing("job", unavailable()),
    "the poll is throttled": failing("job", throttled(30.0)),
    "the list fails": failing("executions", unavailable()),
    "the start is throttled": failing("execute_job", "throttled"),
    "the start is refused": failing("execute_job", "refused"),
    "the start never leaves": failing("execute_job", "unsent"),
    "the end of the last execution is not shown": not_shown,
}


@pytest.mark.parametrize("reason", WAITS)
def test_a_step_that_waits_for_celonis_holds_nothing_and_has_no_baseline_of_a_model(reason: str) -> None:
    service = opened(inner())
    WAITS[reason](service)
    assert service.start("job-0")["status"] == "WAITING"
    assert held(service) == set()
    assert "baseline" not in service.state("load-0")
    other = "third-1"
    service.open(load_definition(), other, "third")
    service.start("load-0", other)
    assert holder(service, MODEL_LEASE) in (None, other)


@pytest.mark.parametrize("reason", WAITS)
def test_a_webhook_whose_start_has_to_wait_leaves_no_lease(reason: str) -> None:
    harness = WebhookHarness(service=ready(), definitions={"otc": inner()})
    WAITS[reason](harness.service)
    assert harness.deliver().status == 202
    assert held(harness.service) == set()
    assert "baseline" not in harness.service.state("load-0")
    assert harness.executions.start_requests == [RUN]


@pytest.mark.parametrize("fault", [RuntimeError("odd"), unavailable()], ids=["odd", "unavailable"])
def test_a_webhook_that_cannot_ask_for_tables_leaves_no_lease(fault: Exception) -> None:
    loads = [{"data_model": MODEL, "kind": "partial", "tables": ["ORDERS"]}]
    harness = WebhookHarness(service=ready(), definitions={"otc": job_definition(loads=loads)})
    harness.service.celonis.faults["tables"] = [fault]
    assert harness.deliver().status == 202
    assert (held(harness.service), starts(harness.service)) == (set(), [])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_webhook_whose_start_may_have_been_sent_keeps_the_lease(when: Literal["before", "after"]) -> None:
    harness = WebhookHarness(service=ready())
    calls = [0]

    def fails(name: str, moment: str) -> None:
        if (name, moment) == ("execute_job", when):
            calls[0] += 1
            raise RuntimeError("odd")

    harness.service.celonis.hook = fails
    assert harness.deliver().status == 202
    assert (calls, held(harness.service)) == ([1], {JOB_LEASE})


def test_a_run_that_waits_for_its_tables_gives_its_lease_back() -> None:
    """A webhook claimed it; opening the run asks Celonis, which does not answer."""
    loads = [{"data_model": MODEL, "kind": "partial", "tables": ["ORDERS"]}]
    harness = WebhookHarness(service=ready(), definitions={"otc": job_definition(loads=loads)})
    harness.deliver(seconds=0.7)  # no time is left to start the job
    assert held(harness.service) == {JOB_LEASE}
    harness.service.celonis.faults["tables"] = [unavailable(), unavailable()]
    opener = RunOpener(harness.service.context, harness.acceptor, harness.tables, harness.service.clock)
    for _ in range(2):
        opened = opener.open({"run_id": RUN}, ExecutionContext(f"arn:{RUN}", RUN), harness.service.deadline())
        assert (opened["status"], held(harness.service)) == ("waiting", set())


def test_a_step_whose_start_may_have_been_sent_keeps_its_leases() -> None:
    service = opened(inner())
    service.celonis.faults["execute_job"] = ["after"]
    assert service.start("job-0")["status"] == "RUNNING"
    assert held(service) == {JOB_LEASE, MODEL_LEASE}
    service.celonis.faults["job"] = [unavailable()]
    service.check("job-0")
    assert held(service) == {JOB_LEASE, MODEL_LEASE}


def test_a_model_is_kept_from_the_start_of_the_first_job_to_the_end_of_its_load() -> None:
    service = opened(inner(jobs=(JOB, OTHER_JOB)))
    assert service.run_step("job-0") == "SUCCEEDED"
    assert held(service) == {MODEL_LEASE}
    baseline = service.state("load-0")["baseline"]
    service.celonis.jobs[OTHER_JOB].add_past_start(5.0, seconds=60.0)
    service.wait(service.start("job-1"))
    assert (held(service), service.state("load-0")["baseline"]) == ({MODEL_LEASE}, baseline)
    assert service.run_step("job-1") == "SUCCEEDED"
    target = service.celonis.models[MODEL]
    target.add_past_start(0.0, seconds=10.0)
    assert service.run_step("load-0") == "SUCCEEDED"
    assert held(service) == set()


def test_what_was_loaded_while_the_lease_was_given_back_is_in_the_baseline() -> None:
    service = opened(inner())
    service.celonis.faults["execute_job"] = ["throttled"]
    service.wait(service.start("job-0"))
    between = service.celonis.models[MODEL].add_past_start(5.0, seconds=1.0)
    assert service.start("job-0")["status"] == "RUNNING"
    baseline = service.state("load-0")["baseline"]
    assert isinstance(baseline, dict)
    assert between.id in baseline["ids"]


def test_a_step_that_fails_before_its_start_frees_all_that_it_needed() -> None:
    service = opened(inner())
    service.celonis.faults["job"] = [denied(), denied()]
    service.wait(service.start("job-0"))
    with pytest.raises(CelonisError):
        service.start("job-0")
    assert held(service) == set()


def test_a_timeout_in_a_queue_removes_the_queue_position() -> None:
    service = opened(job_definition(jobs=[{"job": JOB, "timeout": 60}]))
    service.open(job_definition(), OTHER, "other")
    service.celonis.jobs[JOB].seconds = 600.0
    service.start("job-0", OTHER)
    service.wait(service.start("job-0"))
    assert queue(service) == [RUN]
    assert service.run_step("job-0") == "JobTimedOut"
    assert (queue(service), holder(service)) == ([], OTHER)


# ---------------------------------------------------------------- the order of the queue


def test_of_two_runs_that_wait_the_one_that_came_first_is_served_first() -> None:
    service = opened()
    for number in (2, 3):
        service.open(job_definition(), f"run-{number}", f"pipeline-{number}")
    service.start("job-0")
    for number in (2, 3):
        service.clock.sleep(1.0)
        assert service.start("job-0", f"run-{number}")["status"] == "WAITING"
    assert queue(service) == ["run-2", "run-3"]
    assert service.run_step("job-0") == "SUCCEEDED"
    assert service.start("job-0", "run-3")["status"] == "WAITING"
    assert (holder(service), queue(service)) == (None, ["run-2", "run-3"])
    assert service.start("job-0", "run-2")["status"] == "RUNNING"


def test_a_webhook_does_not_pass_a_run_that_waits() -> None:
    harness = WebhookHarness(service=ready())
    service = harness.service
    for number in (2, 3):
        service.open(job_definition(), f"run-{number}", f"pipeline-{number}")
    service.start("job-0", "run-2")
    service.wait(service.start("job-0", "run-3"))
    assert service.run_step("job-0", "run-2") == "SUCCEEDED"
    assert harness.deliver().status == 202
    assert (holder(service), len(starts(service))) == (None, 1)
    assert service.start("job-0", "run-3")["status"] == "RUNNING"


def test_a_step_that_waits_for_another_run_renews_its_place_now_and_then() -> None:
    service = opened()
    service.open(job_definition(), OTHER, "other")
    service.celonis.jobs[JOB].seconds = 3 * HOUR
    service.start("job-0", OTHER)
    began, lease_renewals, polls = service.clock.now, 0, 0
    while service.clock.now - began < 2 * HOUR:
        before = service.dynamodb.document(JOB_LEASE).get("queue", {}).get(RUN, {}).get("until", 0.0)
        progress = service.start("job-0")
        place = service.dynamodb.document(JOB_LEASE)["queue"][RUN]
        polls, lease_renewals = polls + 1, lease_renewals + (place["until"] > before)
        assert place["since"] == pytest.approx(began, abs=1.0)
        service.wait(progress)
        assert place["until"] > service.clock.now + 60.0
    assert 2 <= lease_renewals < 0.7 * polls


def test_a_step_that_waits_until_its_last_execution_shows_keeps_its_place() -> None:
    service = opened()
    not_shown(service)
    service.wait(service.start("job-0"))
    assert queue(service) == [RUN]
    service.open(job_definition(), "third-1", "third")
    assert service.start("job-0", "third-1")["status"] == "WAITING"
    service.clock.sleep(60.0)
    assert service.start("job-0", "third-1")["status"] == "WAITING"
    assert service.start("job-0")["status"] == "RUNNING"
    assert queue(service) == ["third-1"]


def test_a_step_that_found_its_job_busy_leaves_the_lease_queue() -> None:
    service = opened()
    running(service, "job")
    service.wait(service.start("job-0"))
    assert "queued_at" not in service.state("job-0")
    assert queue(service) == []


def test_while_celonis_does_not_answer_a_step_takes_no_lease() -> None:
    """A mistyped base URL keeps no other run from the job, not even for the time of a request."""
    service = opened()
    service.celonis.faults["job"] = [unavailable()] * 4
    service.wait(service.start("job-0"))
    out = Outgoing(service)
    for _ in range(3):
        service.wait(service.start("job-0"))
    assert out.calls == ["job"] * 3
    assert out.writes == [GIVEN_BACK] * 3  # the record, and the check that nothing is held
    assert service.start("job-0")["status"] == "RUNNING"


def test_what_the_poll_without_a_lease_shows_running_has_to_be_shown_as_ended_before_a_start() -> None:
    """The next poll may be older."""
    service = opened()
    service.celonis.faults["execute_job"] = ["unsent"]
    service.wait(service.start("job-0"))
    running(service, "job")
    service.celonis.jobs[JOB].lags = Lags((0.0, 0.0, 40.0, 40.0))
    assert service.start("job-0")["status"] == "WAITING"
    assert service.state("job-0")["waiting_for"] == "Celonis to show what ended a moment ago"
    assert starts(service) == []


def seen_running(service: ServiceHarness) -> None:
    """A run has seen another user's execution, gave the lease back, and readings are old from then on."""
    service.open(job_definition(), OTHER, "other")
    service.celonis.jobs[JOB].add_past_start(5.0, seconds=65.0)
    assert service.start("job-0", OTHER)["status"] == "WAITING"
    assert held(service, OTHER) == set()
    service.celonis.jobs[JOB].lags = Lags((30.0,))


def test_no_run_starts_on_a_poll_that_is_older_than_what_a_waiting_run_has_seen() -> None:
    service = opened()
    seen_running(service)
    assert service.start("job-0")["status"] == "WAITING"
    assert service.state("job-0")["waiting_for"] == "Celonis to show what ended a moment ago"
    assert (starts(service), held(service)) == ([], set())
    began = service.clock.now
    assert service.run_step("job-0") == "SUCCEEDED"
    (start,) = service.celonis.jobs[JOB].mine
    assert 60.0 <= start.at - began < 120.0  # once a poll shows its end


def test_a_webhook_does_not_start_on_a_poll_that_is_older_than_what_a_waiting_run_has_seen() -> None:
    harness = WebhookHarness(service=ready())
    seen_running(harness.service)
    assert harness.deliver().status == 202
    assert (starts(harness.service), held(harness.service)) == ([], set())


def test_a_run_does_not_wait_for_what_it_has_seen_itself_longer_than_until_a_poll_shows_the_end() -> None:
    service = opened()
    seen_running(service)
    service.celonis.jobs[JOB].lags = Lags((0.0,))
    began = service.clock.now
    assert service.run_step("job-0", OTHER) == "SUCCEEDED"
    (start,) = service.celonis.jobs[JOB].mine
    assert 60.0 <= start.at - began < 90.0


@pytest.mark.parametrize("seed", range(5))
def test_a_mistyped_base_url_blocks_no_other_pipeline(seed: int) -> None:
    pipelines = {
        "mistyped": LeasePipeline(((JOB,),), (MODEL,), connects=False),
        "healthy": LeasePipeline(((JOB,),), (MODEL,), begins_at=600.0, runs=5),
    }
    result, _ = simulate(LeaseScenario(pipelines, seed=seed))
    errors = result.errors()
    assert errors.pop("mistyped-0") == "JobTimedOut"
    assert set(errors.values()) == {""}
    assert all(ended.at - ended.began < 600.0 for ended in result.ended if ended.pipeline == "healthy")


# ---------------------------------------------------------------- jobs side by side that load a model


def side_by_side() -> ServiceHarness:
    return opened(inner(jobs=(JOB, OTHER_JOB), side_by_side=True))


def test_a_job_that_gives_back_leaves_the_model_to_its_sibling_that_was_started() -> None:
    service = side_by_side()
    running(service, "job")
    assert service.start("job-1")["status"] == "RUNNING"
    assert service.start("job-0")["status"] == "WAITING"
    assert held(service) == {job_lease(OTHER_JOB), MODEL_LEASE}
    assert "baseline" in service.state("load-0")


@pytest.mark.parametrize("call", ["last_load", "executions"])
def test_a_job_that_gives_the_model_back_stops_the_start_of_its_sibling(call: str) -> None:
    """The sibling's baseline of the model is worth nothing once the lease was free."""
    service = side_by_side()
    service.celonis.faults["execute_job"] = ["throttled"]

    def interleave(name: str, when: str) -> None:
        if (name, when) == (call, "before"):
            service.celonis.hook = lambda *_: None
            assert service.start("job-0")["status"] == "WAITING"

    service.celonis.hook = interleave
    with pytest.raises(StepMoved):
        service.start("job-1")
    assert [name for _, name, _ in starts(service)] == [JOB]
    assert service.start("job-1")["status"] == "RUNNING"
    assert held(service) == {job_lease(OTHER_JOB), MODEL_LEASE}
    assert "baseline" in service.state("load-0")


def test_a_job_does_not_release_the_model_of_a_sibling_that_starts_concurrently() -> None:
    service = side_by_side()
    running(service, "job")

    def interleave(name: str, when: str) -> None:
        if (name, when) == ("job", "before"):
            service.celonis.hook = lambda *_: None
            assert service.start("job-1")["status"] == "RUNNING"

    service.celonis.hook = interleave
    with pytest.raises(StepMoved):
        service.start("job-0")
    assert MODEL_LEASE in held(service)
    assert service.start("job-0")["status"] == "WAITING"
    assert held(service) == {job_lease(OTHER_JOB), MODEL_LEASE}


# ---------------------------------------------------------------- a crash at each call

Moment = Literal["before", "after"]
SCENARIOS: dict[str, Callable[[ServiceHarness], None]] = {
    "nothing is in the way": lambda service: None,
    "the job is in use": lambda service: _use(service, job_definition(), "job-0"),
    "the model is in use": lambda service: _use(service, load_definition(), "load-0"),
    **WAITS,
}


def _use(service: ServiceHarness, definition: Definition, step: str) -> None:
    service.open(definition, OTHER, "other")
    service.start(step, OTHER)


def calls_of(scenario: str, act: Callable[[ServiceHarness], object]) -> int:
    service = opened(inner())
    SCENARIOS[scenario](service)
    calls = [0]
    service.dynamodb.before = lambda *_: calls.__setitem__(0, calls[0] + 1)
    service.celonis.hook = lambda name, when: calls.__setitem__(0, calls[0] + (when == "before"))
    act(service)
    return calls[0]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_start_that_dies_at_any_call_holds_nothing_once_its_retry_waits(
    scenario: str, moment: Moment
) -> None:
    for call in range(calls_of(scenario, lambda service: service.start("job-0"))):
        service = opened(inner())
        SCENARIOS[scenario](service)
        service.crash([(call, moment)])
        try:
            service.start("job-0")
        except Crashed:
            service.crash([])
            progress = service.start("job-0")
        else:
            continue  # after a poll of Celonis it does not die
        sent = progress["status"] == "RUNNING"
        assert held(service) == ({JOB_LEASE, MODEL_LEASE} if sent else set()), (scenario, call)
        assert sent is ("baseline" in service.state("load-0"))
        assert len(service.celonis.jobs[JOB].mine) <= 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_step_whose_end_dies_at_any_call_has_freed_its_lease_after_its_retry(moment: Moment) -> None:
    def running_job() -> ServiceHarness:
        service = opened()
        service.start("job-0")
        service.clock.sleep(600.0)
        return service

    died = 0
    for call in range(10):
        service = running_job()
        service.crash([(call, moment)])
        try:
            service.check("job-0")
        except Crashed:
            died += 1
            service.crash([])
            assert service.check("job-0")["status"] == "SUCCEEDED"
        service.crash([])
        assert holder(service) is None, call
    assert died > 2


def test_a_retry_that_fails_permanently_keeps_no_facts_of_the_previous_attempt() -> None:
    service = opened(inner())
    service.crash([(2, "after")])
    with pytest.raises(Crashed):
        service.start("job-0")
    assert held(service) == {JOB_LEASE, MODEL_LEASE}
    service.crash([])
    service.celonis.faults["last_load"] = [denied(), denied()]
    service.wait(service.start("job-0"))
    with pytest.raises(RefreshError):
        service.start("job-0")
    assert held(service) == set()
