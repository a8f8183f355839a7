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
from tests.properties.lease_world import Pipeline, World, play
from tests.unit.steps.outgoing import JOB_LEASE, MODEL_LEASE, RECORD, Outgoing, Write, holder, starts
from tests.unit.workflow.webhook_harness import WebhookHarness

OTHER, OTHER_JOB, OTHER_MODEL = "other-1", "job-b", "model-b"
GIVEN_BACK = Write("TransactWriteItems", (RECORD, JOB_LEASE))
HOUR = 3600.0


def ready() -> ServiceHarness:
    """Two jobs and two models, all of which ran before."""
    bench = ServiceHarness()
    for job in (JOB, OTHER_JOB):
        bench.job(job).before(6000.0)
    for model in (MODEL, OTHER_MODEL):
        bench.model(model).before(6000.0)
    return bench


def opened(definition: Definition | None = None) -> ServiceHarness:
    bench = ready()
    bench.open(definition or job_definition())
    return bench


def held(bench: ServiceHarness, run_id: str = RUN) -> set[str]:
    leases = bench.dynamodb.documents("lease#")
    return {item["pk"] for item in leases if item.get("run_id") == run_id}


def queue(bench: ServiceHarness, lease: str = JOB_LEASE) -> list[str]:
    """The runs that are queued for a lease, the next one first."""
    places = bench.dynamodb.document(lease).get("queue", {})
    return sorted(places, key=lambda run_id: (not places[run_id]["keeps"], places[run_id]["since"]))


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
    pipelines = {"A": Pipeline(((JOB,), (OTHER_JOB,))), "B": Pipeline(((OTHER_JOB,),), begins_at=begins_at)}
    played, _ = play(World(pipelines, {OTHER_JOB: (MODEL,)}, seed=seed))
    assert played.errors() == {"A-0": "", "B-0": ""}
    assert all(ended.at - ended.began < HOUR for ended in played.ended)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("starters", [{}, {JOB: (MODEL, OTHER_MODEL), OTHER_JOB: (MODEL, OTHER_MODEL)}])
def test_two_runs_that_load_two_models_in_opposite_order_come_to_their_end(
    starters: dict[str, tuple[str, ...]], seed: int
) -> None:
    models = (MODEL, OTHER_MODEL)
    pipelines = {
        "A": Pipeline(((JOB,),) if starters else (), models),
        "B": Pipeline(((OTHER_JOB,),) if starters else (), models, reverse=True),
    }
    played, _ = play(World(pipelines, starters, seed=seed, pause_share=0.5))
    assert played.errors() == {"A-0": "", "B-0": ""}
    assert all(ended.at - ended.began < HOUR for ended in played.ended)


def test_a_run_goes_before_one_that_waits_for_what_it_keeps() -> None:
    """B is queued for job-b and waits for model-a, which A has until job-b is done."""
    bench = ready()
    bench.open(inner(jobs=(JOB, OTHER_JOB)))
    assert bench.go("job-0") == "SUCCEEDED"
    bench.open(inner(jobs=(OTHER_JOB,)), OTHER, "other")
    bench.wait(bench.start("job-0", OTHER))
    assert (held(bench, OTHER), queue(bench, job_lease(OTHER_JOB))) == (set(), [OTHER])
    assert queue(bench, MODEL_LEASE) == [OTHER]
    assert bench.start("job-1")["status"] == "RUNNING"


def test_a_run_does_not_begin_to_keep_a_model_while_another_is_queued_for_its_later_job() -> None:
    bench = ready()
    bench.open(job_definition(jobs=[{"job": OTHER_JOB}]), OTHER, "other")
    bench.open(job_definition(jobs=[{"job": OTHER_JOB}]), "third-1", "third")
    bench.start("job-0", OTHER)
    bench.wait(bench.start("job-0", "third-1"))
    bench.open(inner(jobs=(JOB, OTHER_JOB)))
    assert bench.start("job-0")["status"] == "WAITING"
    assert (held(bench), queue(bench), queue(bench, MODEL_LEASE)) == (set(), [RUN], [RUN])


# ---------------------------------------------------------------- what waits holds nothing


def running(bench: ServiceHarness, kind: str) -> None:
    lane = bench.celonis.jobs[JOB] if kind == "job" else bench.celonis.models[MODEL]
    lane.before(5.0, seconds=600.0)


def failing(call: str, *faults: Any) -> Callable[[ServiceHarness], None]:
    return lambda bench: bench.celonis.faults.update({call: list(faults)})


def not_shown(bench: ServiceHarness) -> None:
    """Our last execution is not shown yet."""
    earlier = Earlier().followed_by(["exec-x"], None, bench.clock.now + 60.0, shows_running=True)
    bench.open(job_definition(), OTHER, "other")
    take(bench.leases, OTHER, JOB_LEASE, bench.deadline())
    bench.leases.free(OTHER, JOB_LEASE, bench.deadline(), earlier)


WAITS = {
    "the job runs": lambda bench: running(bench, "job"),
    "the model is loaded": lambda bench: running(bench, "model"),
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
    bench = opened(inner())
    WAITS[reason](bench)
    assert bench.start("job-0")["status"] == "WAITING"
    assert held(bench) == set()
    assert "baseline" not in bench.state("load-0")
    other = "third-1"
    bench.open(load_definition(), other, "third")
    bench.start("load-0", other)
    assert holder(bench, MODEL_LEASE) in (None, other)


@pytest.mark.parametrize("reason", WAITS)
def test_a_webhook_whose_start_has_to_wait_leaves_no_lease(reason: str) -> None:
    door = WebhookHarness(bench=ready(), definitions={"otc": inner()})
    WAITS[reason](door.bench)
    assert door.deliver().status == 202
    assert held(door.bench) == set()
    assert "baseline" not in door.bench.state("load-0")
    assert door.executions.asked == [RUN]


@pytest.mark.parametrize("fault", [RuntimeError("odd"), unavailable()], ids=["odd", "unavailable"])
def test_a_webhook_that_cannot_ask_for_tables_leaves_no_lease(fault: Exception) -> None:
    loads = [{"data_model": MODEL, "kind": "partial", "tables": ["ORDERS"]}]
    door = WebhookHarness(bench=ready(), definitions={"otc": job_definition(loads=loads)})
    door.bench.celonis.faults["tables"] = [fault]
    assert door.deliver().status == 202
    assert (held(door.bench), starts(door.bench)) == (set(), [])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_webhook_whose_start_may_have_been_sent_keeps_the_lease(when: Literal["before", "after"]) -> None:
    door = WebhookHarness(bench=ready())
    calls = [0]

    def fails(name: str, moment: str) -> None:
        if (name, moment) == ("execute_job", when):
            calls[0] += 1
            raise RuntimeError("odd")

    door.bench.celonis.hook = fails
    assert door.deliver().status == 202
    assert (calls, held(door.bench)) == ([1], {JOB_LEASE})


def test_a_run_that_waits_for_its_tables_gives_its_lease_back() -> None:
    """A webhook claimed it; opening the run asks Celonis, which does not answer."""
    loads = [{"data_model": MODEL, "kind": "partial", "tables": ["ORDERS"]}]
    door = WebhookHarness(bench=ready(), definitions={"otc": job_definition(loads=loads)})
    door.deliver(seconds=0.7)  # no time is left to start the job
    assert held(door.bench) == {JOB_LEASE}
    door.bench.celonis.faults["tables"] = [unavailable(), unavailable()]
    opening = RunOpener(door.bench.context, door.accepting, door.tables, door.bench.clock)
    for _ in range(2):
        opened = opening.open({"run_id": RUN}, ExecutionContext(f"arn:{RUN}", RUN), door.bench.deadline())
        assert (opened["status"], held(door.bench)) == ("waiting", set())


def test_a_step_whose_start_may_have_been_sent_keeps_its_leases() -> None:
    bench = opened(inner())
    bench.celonis.faults["execute_job"] = ["after"]
    assert bench.start("job-0")["status"] == "RUNNING"
    assert held(bench) == {JOB_LEASE, MODEL_LEASE}
    bench.celonis.faults["job"] = [unavailable()]
    bench.check("job-0")
    assert held(bench) == {JOB_LEASE, MODEL_LEASE}


def test_a_model_is_kept_from_the_start_of_the_first_job_to_the_end_of_its_load() -> None:
    bench = opened(inner(jobs=(JOB, OTHER_JOB)))
    assert bench.go("job-0") == "SUCCEEDED"
    assert held(bench) == {MODEL_LEASE}
    baseline = bench.state("load-0")["baseline"]
    bench.celonis.jobs[OTHER_JOB].before(5.0, seconds=60.0)
    bench.wait(bench.start("job-1"))
    assert (held(bench), bench.state("load-0")["baseline"]) == ({MODEL_LEASE}, baseline)
    assert bench.go("job-1") == "SUCCEEDED"
    lane = bench.celonis.models[MODEL]
    lane.before(0.0, seconds=10.0)
    assert bench.go("load-0") == "SUCCEEDED"
    assert held(bench) == set()


def test_what_was_loaded_while_the_lease_was_given_back_is_in_the_baseline() -> None:
    bench = opened(inner())
    bench.celonis.faults["execute_job"] = ["throttled"]
    bench.wait(bench.start("job-0"))
    between = bench.celonis.models[MODEL].before(5.0, seconds=1.0)
    assert bench.start("job-0")["status"] == "RUNNING"
    baseline = bench.state("load-0")["baseline"]
    assert isinstance(baseline, dict)
    assert between.id in baseline["ids"]


def test_a_step_that_fails_before_its_start_frees_all_that_it_needed() -> None:
    bench = opened(inner())
    bench.celonis.faults["job"] = [denied(), denied()]
    bench.wait(bench.start("job-0"))
    with pytest.raises(CelonisError):
        bench.start("job-0")
    assert held(bench) == set()


def test_a_time_out_in_a_queue_ends_with_the_place() -> None:
    bench = opened(job_definition(jobs=[{"job": JOB, "timeout": 60}]))
    bench.open(job_definition(), OTHER, "other")
    bench.celonis.jobs[JOB].seconds = 600.0
    bench.start("job-0", OTHER)
    bench.wait(bench.start("job-0"))
    assert queue(bench) == [RUN]
    assert bench.go("job-0") == "JobTimedOut"
    assert (queue(bench), holder(bench)) == ([], OTHER)


# ---------------------------------------------------------------- who is served next


def test_of_two_runs_that_wait_the_one_that_came_first_is_served_first() -> None:
    bench = opened()
    for number in (2, 3):
        bench.open(job_definition(), f"run-{number}", f"pipeline-{number}")
    bench.start("job-0")
    for number in (2, 3):
        bench.clock.sleep(1.0)
        assert bench.start("job-0", f"run-{number}")["status"] == "WAITING"
    assert queue(bench) == ["run-2", "run-3"]
    assert bench.go("job-0") == "SUCCEEDED"
    assert bench.start("job-0", "run-3")["status"] == "WAITING"
    assert (holder(bench), queue(bench)) == (None, ["run-2", "run-3"])
    assert bench.start("job-0", "run-2")["status"] == "RUNNING"


def test_a_webhook_does_not_pass_a_run_that_waits() -> None:
    door = WebhookHarness(bench=ready())
    bench = door.bench
    for number in (2, 3):
        bench.open(job_definition(), f"run-{number}", f"pipeline-{number}")
    bench.start("job-0", "run-2")
    bench.wait(bench.start("job-0", "run-3"))
    assert bench.go("job-0", "run-2") == "SUCCEEDED"
    assert door.deliver().status == 202
    assert (holder(bench), len(starts(bench))) == (None, 1)
    assert bench.start("job-0", "run-3")["status"] == "RUNNING"


def test_a_step_that_waits_for_another_run_renews_its_place_now_and_then() -> None:
    bench = opened()
    bench.open(job_definition(), OTHER, "other")
    bench.celonis.jobs[JOB].seconds = 3 * HOUR
    bench.start("job-0", OTHER)
    began, renewals, polls = bench.clock.now, 0, 0
    while bench.clock.now - began < 2 * HOUR:
        before = bench.dynamodb.document(JOB_LEASE).get("queue", {}).get(RUN, {}).get("until", 0.0)
        progress = bench.start("job-0")
        place = bench.dynamodb.document(JOB_LEASE)["queue"][RUN]
        polls, renewals = polls + 1, renewals + (place["until"] > before)
        assert place["since"] == pytest.approx(began, abs=1.0)
        bench.wait(progress)
        assert place["until"] > bench.clock.now + 60.0
    assert 2 <= renewals < 0.7 * polls


def test_a_step_that_waits_until_its_last_execution_shows_keeps_its_place() -> None:
    bench = opened()
    not_shown(bench)
    bench.wait(bench.start("job-0"))
    assert queue(bench) == [RUN]
    bench.open(job_definition(), "third-1", "third")
    assert bench.start("job-0", "third-1")["status"] == "WAITING"
    bench.clock.sleep(60.0)
    assert bench.start("job-0", "third-1")["status"] == "WAITING"
    assert bench.start("job-0")["status"] == "RUNNING"
    assert queue(bench) == ["third-1"]


def test_a_step_that_found_celonis_busy_goes_behind_those_that_wait() -> None:
    bench = opened()
    running(bench, "job")
    bench.wait(bench.start("job-0"))
    assert "queued_at" not in bench.state("job-0")
    assert queue(bench) == []


def test_while_celonis_does_not_answer_a_step_takes_no_lease() -> None:
    """A mistyped base URL keeps no other run from the job, not even for the time of a request."""
    bench = opened()
    bench.celonis.faults["job"] = [unavailable()] * 4
    bench.wait(bench.start("job-0"))
    out = Outgoing(bench)
    for _ in range(3):
        bench.wait(bench.start("job-0"))
    assert out.calls == ["job"] * 3
    assert out.writes == [GIVEN_BACK] * 3  # the record, and the check that nothing is held
    assert bench.start("job-0")["status"] == "RUNNING"


def test_what_the_poll_without_a_lease_shows_running_has_to_be_shown_as_ended_before_a_start() -> None:
    """The next poll may be older."""
    bench = opened()
    bench.celonis.faults["execute_job"] = ["unsent"]
    bench.wait(bench.start("job-0"))
    running(bench, "job")
    bench.celonis.jobs[JOB].lags = Lags((0.0, 0.0, 40.0, 40.0))
    assert bench.start("job-0")["status"] == "WAITING"
    assert bench.state("job-0")["waiting_for"] == "Celonis to show what ended a moment ago"
    assert starts(bench) == []


def seen_running(bench: ServiceHarness) -> None:
    """A run has seen another user's execution, gave the lease back, and readings are old from then on."""
    bench.open(job_definition(), OTHER, "other")
    bench.celonis.jobs[JOB].before(5.0, seconds=65.0)
    assert bench.start("job-0", OTHER)["status"] == "WAITING"
    assert held(bench, OTHER) == set()
    bench.celonis.jobs[JOB].lags = Lags((30.0,))


def test_no_run_starts_on_a_poll_that_is_older_than_what_a_waiting_run_has_seen() -> None:
    bench = opened()
    seen_running(bench)
    assert bench.start("job-0")["status"] == "WAITING"
    assert bench.state("job-0")["waiting_for"] == "Celonis to show what ended a moment ago"
    assert (starts(bench), held(bench)) == ([], set())
    began = bench.clock.now
    assert bench.go("job-0") == "SUCCEEDED"
    (start,) = bench.celonis.jobs[JOB].mine
    assert 60.0 <= start.at - began < 120.0  # once a poll shows its end


def test_a_webhook_does_not_start_on_a_poll_that_is_older_than_what_a_waiting_run_has_seen() -> None:
    door = WebhookHarness(bench=ready())
    seen_running(door.bench)
    assert door.deliver().status == 202
    assert (starts(door.bench), held(door.bench)) == ([], set())


def test_a_run_does_not_wait_for_what_it_has_seen_itself_longer_than_until_a_poll_shows_the_end() -> None:
    bench = opened()
    seen_running(bench)
    bench.celonis.jobs[JOB].lags = Lags((0.0,))
    began = bench.clock.now
    assert bench.go("job-0", OTHER) == "SUCCEEDED"
    (start,) = bench.celonis.jobs[JOB].mine
    assert 60.0 <= start.at - began < 90.0


@pytest.mark.parametrize("seed", range(5))
def test_a_mistyped_base_url_blocks_no_other_pipeline(seed: int) -> None:
    pipelines = {
        "mistyped": Pipeline(((JOB,),), (MODEL,), connects=False),
        "healthy": Pipeline(((JOB,),), (MODEL,), begins_at=600.0, runs=5),
    }
    played, _ = play(World(pipelines, seed=seed))
    errors = played.errors()
    assert errors.pop("mistyped-0") == "JobTimedOut"
    assert set(errors.values()) == {""}
    assert all(ended.at - ended.began < 600.0 for ended in played.ended if ended.pipeline == "healthy")


# ---------------------------------------------------------------- jobs side by side that load a model


def side_by_side() -> ServiceHarness:
    return opened(inner(jobs=(JOB, OTHER_JOB), side_by_side=True))


def test_a_job_that_gives_back_leaves_the_model_to_its_sibling_that_was_started() -> None:
    bench = side_by_side()
    running(bench, "job")
    assert bench.start("job-1")["status"] == "RUNNING"
    assert bench.start("job-0")["status"] == "WAITING"
    assert held(bench) == {job_lease(OTHER_JOB), MODEL_LEASE}
    assert "baseline" in bench.state("load-0")


@pytest.mark.parametrize("call", ["last_load", "executions"])
def test_a_job_that_gives_the_model_back_stops_the_start_of_its_sibling(call: str) -> None:
    """The sibling's baseline of the model is worth nothing once the lease was free."""
    bench = side_by_side()
    bench.celonis.faults["execute_job"] = ["throttled"]

    def meanwhile(name: str, when: str) -> None:
        if (name, when) == (call, "before"):
            bench.celonis.hook = lambda *_: None
            assert bench.start("job-0")["status"] == "WAITING"

    bench.celonis.hook = meanwhile
    with pytest.raises(StepMoved):
        bench.start("job-1")
    assert [target for _, target, _ in starts(bench)] == [JOB]
    assert bench.start("job-1")["status"] == "RUNNING"
    assert held(bench) == {job_lease(OTHER_JOB), MODEL_LEASE}
    assert "baseline" in bench.state("load-0")


def test_a_job_does_not_give_back_the_model_of_a_sibling_that_is_started_meanwhile() -> None:
    bench = side_by_side()
    running(bench, "job")

    def meanwhile(name: str, when: str) -> None:
        if (name, when) == ("job", "before"):
            bench.celonis.hook = lambda *_: None
            assert bench.start("job-1")["status"] == "RUNNING"

    bench.celonis.hook = meanwhile
    with pytest.raises(StepMoved):
        bench.start("job-0")
    assert MODEL_LEASE in held(bench)
    assert bench.start("job-0")["status"] == "WAITING"
    assert held(bench) == {job_lease(OTHER_JOB), MODEL_LEASE}


# ---------------------------------------------------------------- a crash at each call

Moment = Literal["before", "after"]
SCENES: dict[str, Callable[[ServiceHarness], None]] = {
    "nothing is in the way": lambda bench: None,
    "the job is in use": lambda bench: _use(bench, job_definition(), "job-0"),
    "the model is in use": lambda bench: _use(bench, load_definition(), "load-0"),
    **WAITS,
}


def _use(bench: ServiceHarness, definition: Definition, step: str) -> None:
    bench.open(definition, OTHER, "other")
    bench.start(step, OTHER)


def calls_of(scenario: str, act: Callable[[ServiceHarness], object]) -> int:
    bench = opened(inner())
    SCENES[scenario](bench)
    calls = [0]
    bench.dynamodb.before = lambda *_: calls.__setitem__(0, calls[0] + 1)
    bench.celonis.hook = lambda name, when: calls.__setitem__(0, calls[0] + (when == "before"))
    act(bench)
    return calls[0]


@pytest.mark.parametrize("scenario", SCENES)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_start_that_dies_at_any_call_holds_nothing_once_its_retry_waits(
    scenario: str, moment: Moment
) -> None:
    for call in range(calls_of(scenario, lambda bench: bench.start("job-0"))):
        bench = opened(inner())
        SCENES[scenario](bench)
        bench.crash([(call, moment)])
        try:
            bench.start("job-0")
        except Crashed:
            bench.crash([])
            progress = bench.start("job-0")
        else:
            continue  # after a question to Celonis it does not die
        sent = progress["status"] == "RUNNING"
        assert held(bench) == ({JOB_LEASE, MODEL_LEASE} if sent else set()), (scenario, call)
        assert sent is ("baseline" in bench.state("load-0"))
        assert len(bench.celonis.jobs[JOB].mine) <= 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_step_whose_end_dies_at_any_call_has_freed_its_lease_after_its_retry(moment: Moment) -> None:
    def running_job() -> ServiceHarness:
        bench = opened()
        bench.start("job-0")
        bench.clock.sleep(600.0)
        return bench

    died = 0
    for call in range(10):
        bench = running_job()
        bench.crash([(call, moment)])
        try:
            bench.check("job-0")
        except Crashed:
            died += 1
            bench.crash([])
            assert bench.check("job-0")["status"] == "SUCCEEDED"
        bench.crash([])
        assert holder(bench) is None, call
    assert died > 2


def test_a_retry_that_fails_for_good_leaves_nothing_of_the_attempt_before_it() -> None:
    bench = opened(inner())
    bench.crash([(2, "after")])
    with pytest.raises(Crashed):
        bench.start("job-0")
    assert held(bench) == {JOB_LEASE, MODEL_LEASE}
    bench.crash([])
    bench.celonis.faults["last_load"] = [denied(), denied()]
    bench.wait(bench.start("job-0"))
    with pytest.raises(RefreshError):
        bench.start("job-0")
    assert held(bench) == set()
