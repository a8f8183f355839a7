"""OpenRun: what the input of an execution leads to, asked once or twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from celonis_refresh import wiring
from celonis_refresh.celonis.errors import CelonisError
from celonis_refresh.celonis.records import ModelTable
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.errors import InvalidDefinition, InvalidTrigger, UnknownPipeline
from celonis_refresh.pipelines.plan import UnknownTable
from celonis_refresh.runs.errors import PipelineBusy, PipelinePaused, RunClosed, RunNotFound
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.runs.slots import release
from celonis_refresh.steps.errors import StepFailed
from celonis_refresh.steps.target import ModelTables
from celonis_refresh.workflow.open import ExecutionContext, Opened, RunOpener
from tests.fakes.celonis import denied, throttled, unavailable
from tests.fakes.service import JOB, MODEL, POOL, RUN, job_definition
from tests.unit.steps.outgoing import SLOT
from tests.unit.workflow.webhook_harness import WebhookHarness

INLINE = {"name": "adhoc", "data_pool": POOL, "jobs": [{"job": JOB}], "loads": [{"data_model": MODEL}]}
PARTIAL = [{"data_model": MODEL, "kind": "partial", "tables": ["ORDERS"]}]
TIMEOUT = 6 * 3600


def opener(harness: WebhookHarness) -> RunOpener:
    return RunOpener(harness.service.context, harness.acceptor, harness.tables, harness.service.clock)


def opens(harness: WebhookHarness, document: object, name: str = RUN) -> Opened:
    """The output of OpenRun for an execution of this name and input."""
    return opener(harness).open(
        document, ExecutionContext(id=f"arn:{name}", name=name), harness.service.deadline()
    )


def joined(run_id: str) -> Opened:
    return {"status": "joined", "run_id": run_id, "jobs": [], "loads": [], "wait": 0}


def test_an_execution_by_name_becomes_the_run_of_that_name() -> None:
    harness = WebhookHarness()
    harness.definitions["otc"] = job_definition(jobs=[JOB_A, [JOB_B, JOB_C]], loads=[{"data_model": MODEL}])
    assert opens(harness, {"pipeline": "otc", "mode": "DELTA", "reason": "nightly"}) == {
        "status": "opened",
        "run_id": RUN,
        "jobs": [
            {"step": "job-0", "timeout": TIMEOUT, "stage": 0},
            {"step": "job-1", "timeout": TIMEOUT, "stage": 1},
            {"step": "job-2", "timeout": TIMEOUT, "stage": 1},
        ],
        "loads": [{"step": "load-0", "timeout": TIMEOUT}],
        "wait": 0,
    }
    run = harness.service.records.get(RUN)
    assert (run.status, run.item["execution_arn"]) == (RunStatus.RUNNING, f"arn:{RUN}")
    assert run.plan.jobs[0].mode == "DELTA"
    assert run.options.reasons[0].text == "nightly"
    assert run.loads == {"load-0": {"kind": "complete", "tables": {}}}
    assert "started_at" in run.item


JOB_A, JOB_B, JOB_C = ({"job": name} for name in (JOB, "job-b", "job-c"))


def test_an_inline_definition_becomes_a_run_of_its_own_name() -> None:
    harness = WebhookHarness()
    assert opens(harness, {"pipeline": INLINE}, "adhoc-1")["status"] == "opened"
    run = harness.service.records.get("adhoc-1")
    assert (run.pipeline, run.definition.data_pool_id) == ("adhoc", POOL)


def test_an_inline_definition_under_the_name_of_a_paused_pipeline_is_refused() -> None:
    harness = WebhookHarness()
    harness.definitions["adhoc"] = job_definition(paused=True)
    with pytest.raises(PipelinePaused):
        opens(harness, {"pipeline": INLINE}, "adhoc-1")
    assert harness.service.dynamodb.items == {}
    harness.definitions["adhoc"] = job_definition()
    assert opens(harness, {"pipeline": INLINE}, "adhoc-1")["status"] == "opened"
    harness.definitions["adhoc"] = job_definition(paused=True)
    assert opens(harness, {"pipeline": INLINE}, "adhoc-1")["status"] == "opened"


def test_an_inline_definition_may_have_the_name_of_a_pipeline_that_is_not_valid() -> None:
    harness = WebhookHarness()

    def invalid(name: str) -> Definition:
        raise InvalidDefinition(name, [])

    harness.acceptor = replace(harness.acceptor, definition=invalid)
    assert opens(harness, {"pipeline": INLINE}, "adhoc-1")["status"] == "opened"


def test_a_run_that_has_a_record_is_opened_by_its_id() -> None:
    harness = WebhookHarness()
    harness.service.job().add_past_start(600.0)
    harness.deliver()
    reported = opens(harness, {"run_id": "otc-1"}, "otc-1")
    assert reported["status"] == "opened"
    assert harness.service.records.get("otc-1").status is RunStatus.RUNNING
    assert harness.service.state("job-0", "otc-1")["posts"] == 1


@pytest.mark.parametrize("document", [{"pipeline": "otc"}, {"pipeline": INLINE}], ids=["name", "inline"])
def test_asked_twice_it_gives_the_same_answer(document: Mapping[str, Any]) -> None:
    harness = WebhookHarness()
    first = opens(harness, document)
    started = harness.service.records.get(RUN).item["started_at"]
    harness.service.clock.sleep(30.0)
    assert opens(harness, document) == first
    assert harness.service.records.get(RUN).item["started_at"] == started


def test_an_execution_that_finds_a_run_running_joins_the_pending_run() -> None:
    harness = WebhookHarness()
    harness.definitions["otc"] = job_definition(loads=[{"data_model": MODEL}])
    opens(harness, {"pipeline": "otc"}, "first")
    reported = opens(harness, {"pipeline": "otc", "tables": ["ORDERS"]}, "second")
    pending = (harness.service.table.get(SLOT) or {})["pending"]
    assert reported == joined(pending["run_id"])
    assert pending["options"]["tables"] == ["ORDERS"]
    assert opens(harness, {"pipeline": "otc", "tables": ["ORDERS"]}, "second") == reported
    assert harness.service.records.find("second") is None


def test_an_execution_is_skipped_where_the_pipeline_skips_while_it_runs() -> None:
    harness = WebhookHarness()
    harness.definitions["otc"] = job_definition(when_running="skip")
    opens(harness, {"pipeline": "otc"}, "first")
    reported = opens(harness, {"pipeline": "otc"}, "second")
    assert (reported["status"], reported["run_id"]) == ("skipped", "first")


def test_a_schedule_that_fires_twice_for_one_date_makes_one_run() -> None:
    harness = WebhookHarness()
    document = {"pipeline": "otc", "delivery": "2026-01-01T00:00:00Z"}
    opens(harness, document, "first")
    assert opens(harness, document, "second") == joined("first")
    assert "pending" not in (harness.service.table.get(SLOT) or {})


def test_an_inline_definition_cannot_join() -> None:
    harness = WebhookHarness()
    opens(harness, {"pipeline": INLINE}, "first")
    with pytest.raises(PipelineBusy) as caught:
        opens(harness, {"pipeline": INLINE}, "second")
    assert caught.value.run_id == "first"
    assert "pending" not in (harness.service.table.get("slot#adhoc") or {})


def test_an_inline_definition_that_is_paused_starts_nothing() -> None:
    with pytest.raises(PipelinePaused):
        opens(WebhookHarness(), {"pipeline": {**INLINE, "paused": True}})


def test_a_run_that_waited_opens_with_the_definition_of_today() -> None:
    harness = WebhookHarness()
    opens(harness, {"pipeline": "otc"}, "first")
    follower = opens(harness, {"pipeline": "otc", "mode": "DELTA"}, "second")["run_id"]
    _end_and_pass_on(harness, "first")
    assert not harness.service.records.get(follower).has_definition
    harness.definitions["otc"] = job_definition(jobs=[JOB_B])
    assert opens(harness, {"run_id": follower}, follower)["status"] == "opened"
    (job,) = harness.service.records.get(follower).plan.jobs
    assert (job.job, job.mode) == ("job-b", "DELTA")


def test_a_slow_opening_never_replaces_the_definition_that_another_one_wrote() -> None:
    """The function timed out after it had read the definition, and the state machine tried it again."""
    harness = WebhookHarness()
    opens(harness, {"pipeline": "otc"}, "first")
    follower = opens(harness, {"pipeline": "otc"}, "second")["run_id"]
    _end_and_pass_on(harness, "first")
    table = harness.service.dynamodb
    seen: list[Opened] = []

    def overtaken(operation: str, request: dict[str, Any]) -> None:
        if operation == "UpdateItem" and not seen:
            seen.append(joined(follower))
            harness.definitions["otc"] = job_definition(jobs=[JOB_B, JOB_C])
            seen.append(opens(harness, {"run_id": follower}, follower))

    table.before = overtaken
    slow = opens(harness, {"run_id": follower}, follower)
    assert slow == seen[1]
    assert len(slow["jobs"]) == 2
    assert [job.job for job in harness.service.records.get(follower).plan.jobs] == ["job-b", "job-c"]


def test_a_slow_opening_never_replaces_the_tables_that_another_one_resolved() -> None:
    harness = WebhookHarness()
    harness.definitions["otc"] = job_definition(loads=PARTIAL)
    tables = harness.service.celonis.model_tables
    tables[MODEL] = [ModelTable("t-1", "ORDERS")]
    overtaken: list[str] = []

    def hook(name: str, when: str) -> None:
        if name == "tables" and when == "before" and not overtaken:
            overtaken.append(name)
            opens(harness, {"pipeline": "otc"})
            tables[MODEL] = [ModelTable("t-2", "ORDERS")]

    harness.service.celonis.hook = hook
    opens(harness, {"pipeline": "otc"})
    loads = harness.service.records.get(RUN).loads
    assert loads == {"load-0": {"kind": "partial", "tables": {"t-1": "ORDERS"}}}


# ------------------------------------------------------- the response to a start that the trigger sent


def delivered(**celonis: Any) -> WebhookHarness:
    """A run that a webhook started, with its job."""
    harness = WebhookHarness()
    harness.service.job().add_past_start(600.0)
    for name, value in celonis.items():
        setattr(harness.service.celonis, name, value)
    harness.deliver()
    return harness


def answered(harness: WebhookHarness, **changed: Any) -> dict[str, Any]:
    """The input of the execution."""
    return {"run_id": RUN, "answer": {**harness.executions.answers[RUN], **changed}}


def test_the_answer_to_a_start_in_the_input_is_written_when_the_run_is_opened() -> None:
    harness = delivered(answers_id=True)
    answer = harness.executions.answers[RUN]
    assert opens(harness, answered(harness))["status"] == "opened"
    run = harness.service.records.get(RUN)
    assert run.status is RunStatus.RUNNING
    written = {"answered": True, **{name: answer[name] for name in ("sent_by", "answered_id", "answered_by")}}
    assert {name: run.steps["job-0"].get(name) for name in written} == written
    assert harness.service.run_step("job-0") == "SUCCEEDED"


def test_the_answer_costs_no_write_of_its_own() -> None:
    harness = delivered()
    harness.service.dynamodb.calls.clear()
    opens(harness, answered(harness))
    assert harness.service.dynamodb.calls == ["GetItem", "UpdateItem"]


def test_an_answer_without_id_and_date_is_written_as_an_answer() -> None:
    harness = delivered(dated=False)
    assert set(answered(harness)["answer"]) == {"step", "posts", "sent_by"}
    opens(harness, answered(harness))
    state = harness.service.state("job-0")
    assert state["answered"] is True
    assert not {"answered_id", "answered_by"} & state.keys()


def test_the_answer_is_written_once() -> None:
    harness = delivered()
    opens(harness, answered(harness))
    harness.service.clock.sleep(5.0)
    harness.service.check("job-0")
    before = harness.service.state("job-0")
    opens(harness, answered(harness, sent_by=1.0, answered_by=1))
    assert harness.service.state("job-0") == before


@pytest.mark.parametrize("changed", [{"posts": 2}, {"step": "job-1"}, {"step": "load-0"}])
def test_an_answer_to_another_start_is_not_written(changed: dict[str, object]) -> None:
    harness = delivered()
    before = harness.service.state("job-0")
    assert opens(harness, answered(harness, **changed))["status"] == "opened"
    assert harness.service.state("job-0") == before
    assert harness.service.records.get(RUN).status is RunStatus.RUNNING


def test_an_answer_is_not_written_to_a_step_that_has_ended() -> None:
    harness = delivered()
    run = harness.service.records.get(RUN)
    ended = {**run.steps["job-0"], "outcome": "FAILED", "ended_at": "2026-01-01T00:00:00.000Z"}
    harness.service.records.save_step(run, "job-0", ended, harness.service.deadline())
    before = harness.service.state("job-0")
    opens(harness, answered(harness))
    assert harness.service.state("job-0") == before


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"step": ""}, "answer.step"),
        ({"sent_by": "now"}, "answer.sent_by"),
        ({"answered_id": "x" * 257}, "answer.answered_id"),
        ({"answered_by": 1.5}, "answer.answered_by"),
        ({"answered": True}, "answer.answered"),
    ],
)
def test_an_answer_that_makes_no_sense_names_its_field(changed: dict[str, object], field: str) -> None:
    harness = delivered()
    with pytest.raises(InvalidTrigger) as caught:
        opens(harness, answered(harness, **changed))
    assert [problem.field for problem in caught.value.problems] == [field]
    assert harness.service.records.get(RUN).status is RunStatus.OPENING


def _end_and_pass_on(harness: WebhookHarness, run_id: str) -> None:
    slot = harness.service.table.get(SLOT) or {}
    at = "2026-01-01T00:10:00.000Z"
    harness.service.table.transact(
        release(harness.service.table, "otc", slot, run_id, at, paused=False), harness.service.deadline()
    )


def test_a_definition_that_changes_while_a_run_is_running_changes_nothing_in_it() -> None:
    harness = WebhookHarness()
    opens(harness, {"pipeline": "otc"})
    harness.definitions["otc"] = job_definition(jobs=[JOB_B])
    assert opens(harness, {"run_id": RUN})["jobs"] == [{"step": "job-0", "timeout": TIMEOUT, "stage": 0}]
    assert harness.service.records.get(RUN).plan.jobs[0].job == JOB


def test_tables_are_resolved_once_and_kept_in_the_record() -> None:
    harness = WebhookHarness()
    harness.definitions["otc"] = job_definition(loads=PARTIAL)
    harness.service.celonis.model_tables[MODEL] = [ModelTable("t-1", "ORDERS")]
    for _ in range(2):
        opens(harness, {"pipeline": "otc"})
    assert harness.service.celonis.names() == ["tables"]
    assert harness.service.celonis.timeouts[0] <= 57.0
    loads = harness.service.records.get(RUN).loads
    assert loads == {"load-0": {"kind": "partial", "tables": {"t-1": "ORDERS"}}}


def test_a_table_that_is_not_there_starts_nothing_and_names_those_that_are() -> None:
    harness = WebhookHarness()
    harness.definitions["otc"] = job_definition(loads=PARTIAL)
    harness.service.celonis.model_tables[MODEL] = [ModelTable("t-1", "INVOICES")]
    with pytest.raises(UnknownTable) as caught:
        opens(harness, {"pipeline": "otc"})
    assert caught.value.tables == ("ORDERS",)
    assert "INVOICES" in str(caught.value)
    assert harness.service.celonis.names() == ["tables"]


def merged_with_unknown(harness: WebhookHarness, *good: str) -> str:
    """The id of a follow-up run of three triggers, one of which names a table that is not there."""
    harness.definitions["otc"] = job_definition(loads=[{"data_model": MODEL}])
    harness.service.celonis.model_tables[MODEL] = [ModelTable("t-1", "ORDERS")]
    opens(harness, {"pipeline": "otc"}, "first")
    opens(harness, {"pipeline": "otc", "tables": ["NO_SUCH"]}, "second")
    for number, table in enumerate(good):
        opens(harness, {"pipeline": "otc", "tables": [table]}, f"good-{number}")
    follow_up = str((harness.service.table.get(SLOT) or {})["pending"]["run_id"])
    _end_and_pass_on(harness, "first")
    return follow_up


def test_an_unknown_table_of_one_trigger_does_not_fail_the_run_of_the_others() -> None:
    harness = WebhookHarness()
    run_id = merged_with_unknown(harness, "ORDERS", "t-1")
    for _ in range(2):
        assert opens(harness, {"run_id": run_id}, run_id)["status"] == "opened"
    run = harness.service.records.get(run_id)
    assert run.loads == {"load-0": {"kind": "partial", "tables": {"t-1": "ORDERS"}}}
    assert len(run.warnings) == 1
    assert "NO_SUCH" in run.warnings[0]


def test_an_unknown_table_of_the_only_trigger_fails_the_run_that_follows() -> None:
    harness = WebhookHarness()
    run_id = merged_with_unknown(harness)
    with pytest.raises(UnknownTable):
        opens(harness, {"run_id": run_id}, run_id)
    assert "warnings" not in harness.service.records.get(run_id).item


def test_options_that_a_changed_definition_has_no_use_for_are_named_in_the_record() -> None:
    harness = WebhookHarness(definitions={"otc": job_definition(loads=[{"data_model": MODEL}])})
    opens(harness, {"pipeline": "otc"}, "first")
    opens(harness, {"pipeline": "otc", "mode": "FULL", "tables": "all"}, "second")
    run_id = str((harness.service.table.get(SLOT) or {})["pending"]["run_id"])
    _end_and_pass_on(harness, "first")
    harness.definitions["otc"] = job_definition(
        jobs=[{"job": JOB}], loads=[{"data_model": MODEL, "started_by": "job"}]
    )
    assert opens(harness, {"run_id": run_id}, run_id)["status"] == "opened"
    assert [text.split(":")[0] for text in harness.service.records.get(run_id).warnings] == [
        "A trigger set tables, which is not used"
    ]


def test_an_error_while_reading_tables_ends_the_run() -> None:
    harness = WebhookHarness()
    harness.definitions["otc"] = job_definition(loads=PARTIAL)
    harness.service.celonis.faults["tables"] = [denied()]
    with pytest.raises(CelonisError) as caught:
        opens(harness, {"pipeline": "otc"})
    assert caught.value.name == "PermissionDenied"


def names_tables(**fields: object) -> WebhookHarness:
    """A pipeline that needs the tables from Celonis before it starts anything."""
    harness = WebhookHarness()
    harness.service.job().add_past_start(6000.0)
    harness.service.model().add_past_start(6000.0)
    harness.service.celonis.model_tables[MODEL] = [ModelTable("t-1", "ORDERS")]
    harness.definitions["otc"] = job_definition(loads=PARTIAL, **fields)
    return harness


@pytest.mark.parametrize("error", [unavailable(), throttled(900.0)], ids=lambda error: error.name)
def test_while_tables_cannot_be_read_the_run_waits_and_records_the_reason(
    error: CelonisError,
) -> None:
    harness = names_tables()
    harness.service.celonis.faults["tables"] = [error]
    answer = opens(harness, {"pipeline": "otc"})
    assert (answer["status"], answer["run_id"], answer["jobs"], answer["loads"]) == ("waiting", RUN, [], [])
    assert answer["wait"] >= getattr(error, "retry_after", 1)
    run = harness.service.records.get(RUN)
    assert (run.status, run.loads) == (RunStatus.RUNNING, None)
    assert run.steps["job-0"]["last_error"] == error.message
    harness.service.clock.sleep(answer["wait"])
    assert opens(harness, {"pipeline": "otc"})["status"] == "opened"
    assert harness.service.run_step("job-0") == harness.service.run_step("load-0") == "SUCCEEDED"
    assert "last_error" not in harness.service.state("job-0")


def opens_in_time(harness: WebhookHarness, document: object, name: str = RUN) -> tuple[Opened, float]:
    """Calls OpenRun as the state machine does; returns its last output, and the seconds until then."""
    began = harness.service.clock.now
    while (answer := opens(harness, document, name))["status"] == "waiting":
        harness.service.clock.sleep(answer["wait"])
    return answer, harness.service.clock.now - began


def test_an_outage_of_celonis_of_hours_is_waited_out_before_the_first_step() -> None:
    harness = names_tables()
    until = harness.service.clock.now + 5 * 3600

    def down(name: str, when: str) -> None:
        if name == "tables" and when == "before" and harness.service.clock.now < until:
            raise unavailable()

    harness.service.celonis.hook = down
    answer, seconds = opens_in_time(harness, {"pipeline": "otc"})
    assert (answer["status"], seconds >= 5 * 3600) == ("opened", True)


@pytest.mark.parametrize("jobs", [[{"job": JOB, "timeout": 1800}], []], ids=["a job first", "a load only"])
def test_opening_ends_at_the_timeout_of_the_first_step(jobs: list[object]) -> None:
    harness = names_tables(jobs=jobs)
    load = {**PARTIAL[0], "timeout": 9000 if jobs else 1800}
    harness.definitions["otc"] = job_definition(jobs=jobs, loads=[load])
    harness.service.celonis.faults["tables"] = [unavailable() for _ in range(500)]
    began = harness.service.clock.now
    with pytest.raises(StepFailed, match="No usable answer") as caught:
        opens_in_time(harness, {"pipeline": "otc"})
    assert caught.value.name == ("JobTimedOut" if jobs else "LoadTimedOut")
    assert 1800 <= harness.service.clock.now - began < 1900
    assert set(harness.service.celonis.names()) <= {"tables"}, "nothing is started"


def test_the_wait_for_tables_counts_for_the_timeout_of_the_first_step() -> None:
    harness = names_tables()
    harness.service.celonis.faults["tables"] = [unavailable()]
    began = harness.service.clock.now
    opens_in_time(harness, {"pipeline": "otc"})
    harness.service.start("job-0")
    assert harness.service.state("job-0")["began"] == began + 0.05


def test_tables_are_read_again_only_after_their_cache_expired() -> None:
    harness = WebhookHarness()
    harness.service.celonis.model_tables[MODEL] = [ModelTable("t-1", "ORDERS")]
    harness.definitions["otc"] = job_definition(loads=PARTIAL)
    opens(harness, {"pipeline": "otc"})
    tables = ModelTables(lambda _: harness.service.celonis.client, harness.service.clock, 300.0)
    run = harness.service.records.get(RUN)
    for wait in (0.0, 299.0, 2.0, -86_400.0):  # the last if the clock is set back
        harness.service.clock.sleep(wait)
        tables.resolved(run, harness.service.deadline())
    assert harness.service.celonis.names() == ["tables"] * 4


class MalformedInput(NamedTuple):
    document: object
    field: str


MALFORMED = [
    MalformedInput({}, "pipeline"),
    MalformedInput({"pipeline": 7}, "pipeline"),
    MalformedInput({"pipeline": "otc", "modes": "FULL"}, "modes"),
    MalformedInput({"pipeline": "otc", "reason": "x" * 257}, "reason"),
    MalformedInput({"pipeline": "otc", "mode": "ALL"}, "mode"),
    MalformedInput({"pipeline": "otc", "tables": []}, "tables"),
    MalformedInput({"run_id": ""}, "run_id"),
    MalformedInput({"run_id": RUN, "mode": "FULL"}, "mode"),
    MalformedInput({"run_id": "another"}, "run_id"),
    MalformedInput([], "(the whole document)"),
    MalformedInput("otc", "(the whole document)"),
]


@pytest.mark.parametrize("case", MALFORMED, ids=str)
def test_an_input_that_makes_no_sense_names_its_field_and_claims_nothing(case: MalformedInput) -> None:
    harness = WebhookHarness()
    with pytest.raises(InvalidTrigger) as caught:
        opens(harness, case.document)
    assert [problem.field for problem in caught.value.problems] == [case.field]
    assert harness.service.dynamodb.items == {}


def test_an_inline_definition_that_makes_no_sense_names_its_field_and_claims_nothing() -> None:
    harness = WebhookHarness()
    with pytest.raises(InvalidDefinition) as caught:
        opens(harness, {"pipeline": {"name": "adhoc", "data_pool": POOL, "jobs": [{"jobs": JOB}]}})
    assert {problem.field for problem in caught.value.problems} == {"jobs.0.job", "jobs.0.jobs"}
    assert harness.service.dynamodb.items == {}


def test_a_pipeline_that_is_not_defined_is_named() -> None:
    with pytest.raises(UnknownPipeline, match="nowhere"):
        opens(WebhookHarness(), {"pipeline": "nowhere"})


def test_a_run_without_a_record_is_not_opened() -> None:
    with pytest.raises(RunNotFound):
        opens(WebhookHarness(), {"run_id": RUN})


def test_an_execution_redriven_after_its_run_was_closed_is_refused() -> None:
    harness = WebhookHarness()
    opens(harness, {"pipeline": "otc"})
    run = harness.service.records.get(RUN)
    harness.service.records.set_facts(run, {"status": RunStatus.FAILED}, harness.service.deadline())
    with pytest.raises(RunClosed):
        opens(harness, {"pipeline": "otc"})


class _StackConnections:
    """The connections of a stack, all of one team."""

    def get(self, name: str) -> Any:
        class NamedConnection(NamedTuple):
            name: str
            host: str

        return NamedConnection(name, "team.eu-1.celonis.cloud")


def test_page_addresses_of_another_host_than_the_connections_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wiring, "connections", _StackConnections)
    pool = "https://other.eu-1.celonis.cloud/integration/ui/pools/3c5a1b2e-0000-4000-8000-000000000001"
    harness = WebhookHarness()
    harness.tables = ModelTables(wiring.client_for, harness.service.clock)
    harness.definitions["otc"] = job_definition(data_pool=pool, loads=PARTIAL)
    with pytest.raises(InvalidDefinition) as caught:
        opens(harness, {"pipeline": "otc"})
    assert [problem.field for problem in caught.value.problems] == ["data_pool"]
    assert harness.service.celonis.sent == []
