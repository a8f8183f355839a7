"""A run's record stays below DynamoDB's 400 KB: what cannot fit is refused, everything else can be closed."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.celonis.records import ModelTable, TaskFailure
from celonis_refresh.pipelines.definition import MAX_STEPS, Definition, Mode, read_definition
from celonis_refresh.pipelines.options import (
    MAX_REASONS,
    MAX_WARNING_LENGTH,
    MAX_WARNINGS,
    Reason,
    RunOptions,
)
from celonis_refresh.runs.claims import Claim
from celonis_refresh.runs.records import (
    END_BYTES,
    MAX_ITEM,
    MAX_OUTCOME,
    Run,
    RunStatus,
    RunTooLarge,
    item_size,
    new_record,
    room_for_opening,
)
from celonis_refresh.runs.table import job_lease, run_key
from celonis_refresh.workflow.close import RunCloser
from celonis_refresh.workflow.listing import shown
from celonis_refresh.workflow.open import ExecutionContext, Opened, RunOpener
from tests.fakes.celonis import FakeTarget
from tests.fakes.service import POOL, RUN, job_definition
from tests.fakes.wiring import make_run_closer
from tests.unit.runs.test_runs_sizes import largest
from tests.unit.steps.outgoing import SLOT, holder
from tests.unit.workflow.webhook_harness import WebhookHarness, source_of

JOBS = [f"job-{number:02}".ljust(36, "j") for number in range(MAX_STEPS)]
MODELS = [f"model-{number:02}".ljust(36, "m") for number in range(MAX_STEPS)]
LONG, OFTEN = 100, 60
CAUSE = "The execution failed: " + "ü" * 16_000


def tables_of(model: str, number: int, length: int) -> list[ModelTable]:
    """``number`` tables with ids like those of Celonis and names of this length."""
    names = [f"{model[:8]}-table-{each:03}".ljust(length, "n") for each in range(number)]
    return [ModelTable(f"{model[:8]}-{each:03}".ljust(36, "t"), name) for each, name in enumerate(names)]


def greatest(harness: WebhookHarness, tables: int, length: int, **fields: Any) -> Definition:
    """A pipeline with the maximum number of jobs and loads, each with ``tables`` tables."""
    for model in MODELS:
        harness.service.celonis.model_tables[model] = tables_of(model, tables, length)
        loads_fail(harness.service.model(model, seconds=5.0)).add_past_start(6000.0)
    for job in JOBS:
        target = harness.service.job(job, seconds=5.0, outcome=fields.get("outcome", "FAIL"))
        for ago in range(OFTEN):
            target.add_past_start(6000.0 + 100 * ago)
    fields.pop("outcome", None)
    names = {model: [one.name for one in harness.service.celonis.model_tables[model]] for model in MODELS}
    partial = [{"data_model": model, "kind": "partial", "tables": names[model]} for model in MODELS]
    loads = [{"data_model": model} for model in MODELS] if fields.pop("as_requested", False) else partial
    document = {"data_pool": POOL, "jobs": [[{"job": job} for job in JOBS]], "loads": loads, **fields}
    return read_definition("The definition", Definition, document)


def loads_fail(target: FakeTarget) -> FakeTarget:
    target.outcome = "FAIL"
    return target


def opens(harness: WebhookHarness) -> Opened:
    opener = RunOpener(harness.service.context, harness.acceptor, harness.tables, harness.service.clock)
    harness.executions.start(RUN)
    return opener.open({"pipeline": "otc"}, ExecutionContext(f"arn:{RUN}", RUN), harness.service.deadline())


def closing_of(harness: WebhookHarness, reported: list[str]) -> RunCloser:
    def notify(subject: str, text: str, facts: dict[str, Any]) -> None:
        reported.append(text)

    return make_run_closer(harness.service, harness.executions, notify, lambda _: False)


def closes(harness: WebhookHarness, error: str = "JobFailed", cause: str = CAUSE) -> list[str]:
    """The execution fails, and its run is closed; the notifications."""
    reported: list[str] = []
    harness.executions.end(RUN, "FAILED", error, cause)
    closing_of(harness, reported).close(f"arn:{RUN}", harness.service.deadline(300.0))
    return reported


def is_closed(harness: WebhookHarness) -> bool:
    slot = harness.service.table.get(SLOT) or {}
    return harness.service.records.get(RUN).status is RunStatus.FAILED and "run_id" not in slot


@pytest.mark.parametrize("outcome", ["FAIL", "SUCCESS"])
def test_the_greatest_pipeline_with_200_tables_of_long_names_runs_and_is_closed(outcome: str) -> None:
    harness = WebhookHarness()
    service = harness.service
    harness.definitions["otc"] = greatest(harness, tables=10, length=256, outcome=outcome)
    service.celonis.failed_task_messages = (  # type: ignore[method-assign]
        lambda *_, **__: [TaskFailure("Extract", "no space left. " * LONG)] * 9
    )
    opened = opens(harness)
    assert (len(opened["jobs"]), len(opened["loads"])) == (MAX_STEPS, MAX_STEPS)
    for job in opened["jobs"]:
        assert service.run_step(job["step"]) == ("JobFailed" if outcome == "FAIL" else "SUCCEEDED")
    for load in opened["loads"]:  # none starts after a job that failed
        assert service.run_step(load["step"]) == ("JobFailed" if outcome == "FAIL" else "LoadFailed")
    record = service.dynamodb.document(run_key(RUN))
    assert item_size(record) < MAX_ITEM - END_BYTES
    assert len(closes(harness)) == 1
    assert is_closed(harness)
    assert all(holder(service, job_lease(job)) is None for job in JOBS)


def test_a_run_that_fits_when_it_opens_can_be_closed_with_the_largest_steps() -> None:
    """The base takes all the room there is, and every step all that it may."""
    harness = WebhookHarness()
    service = harness.service
    harness.definitions["otc"] = greatest(harness, tables=10, length=256)
    opened = opens(harness)
    steps = [each["step"] for each in [*opened["jobs"], *opened["loads"]]]
    run = service.records.get(RUN)
    room = room_for_opening(steps) - item_size({**run.item, "steps": {}})
    assert room > 0
    run = service.records.set_facts(run, {"filler": "x" * (room - len("filler"))}, service.deadline())
    for step in steps:
        run = service.records.save_step(run, step, {**largest(step), "held": True}, service.deadline())
    reported = closes(harness)
    assert is_closed(harness)
    assert len(reported) == 1
    closed = service.records.get(RUN)
    assert len(str(closed.item["outcome"]).encode()) <= MAX_OUTCOME
    assert item_size(closed.item) <= MAX_ITEM


def test_the_warnings_of_a_run_leave_room_for_its_end() -> None:
    unknown = [f"{number:02x}".ljust(256, "ü") for number in range(100)]
    definition = job_definition(loads=[{"data_model": MODELS[0]}])
    wanted = RunOptions(
        tables=frozenset(unknown),
        mode=Mode.FULL,
        merged=True,
        warnings=tuple(f"{number}".ljust(MAX_WARNING_LENGTH, "\U0001f6d1") for number in range(MAX_WARNINGS)),
    )
    harness = WebhookHarness()
    harness.service.celonis.model_tables[MODELS[0]] = [ModelTable("t-1", "ORDERS")]
    run = Run(new_record("otc-1", "otc", wanted, "at", definition))
    warnings = harness.tables.resolved(run, harness.service.deadline())["warnings"]
    assert len(warnings) == MAX_WARNINGS + 1
    assert item_size({"warnings": warnings}) + MAX_OUTCOME <= END_BYTES - 2048


def test_what_cannot_fit_is_refused_when_the_run_opens_and_the_run_is_closed() -> None:
    harness = WebhookHarness()
    harness.definitions["otc"] = greatest(harness, tables=10, length=10)
    for model in MODELS:  # the names are aliases that no definition has to repeat
        harness.service.celonis.model_tables[model] = [
            ModelTable(table.id, table.name, alias_or_name=f"{table.name} ".ljust(2000, "a"))
            for table in tables_of(model, 10, 10)
        ]
    with pytest.raises(RunTooLarge) as caught:
        opens(harness)
    error = caught.value
    assert (error.run_id, error.size > error.limit) == (RUN, True)
    assert f"{error.size} bytes" in str(error)
    assert "Nothing was started." in error.hint
    assert harness.service.records.get(RUN).loads is None
    reported = closes(harness, error.name, str(error))
    assert is_closed(harness)
    assert (len(reported), "Name fewer tables" in reported[0]) == (1, True)


@pytest.mark.parametrize("merged", [True, False])
def test_tables_that_cannot_fit_do_not_fail_the_other_triggers_of_a_run(*, merged: bool) -> None:
    harness = WebhookHarness()
    definition = greatest(harness, tables=100, length=20, as_requested=True)
    for model in MODELS:
        harness.service.celonis.model_tables[model] = [
            ModelTable(f"{model[:8]}-{each:03}".ljust(36, "t"), "x", alias_or_name="y" * 200)
            for each in range(100)
        ]
    wanted = RunOptions(tables=frozenset("x"), as_defined=False, merged=merged)
    run = Run(new_record("otc-1", "otc", wanted, "at", definition))
    if not merged:
        with pytest.raises(RunTooLarge):
            harness.tables.resolved(run, harness.service.deadline())
        return
    facts = harness.tables.resolved(run, harness.service.deadline())
    assert facts["loads"] == {f"load-{number}": {"kind": "complete", "tables": {}} for number in range(20)}
    assert ["all tables are loaded" in text for text in facts["warnings"]] == [True]


def test_what_cannot_fit_is_not_started_by_a_webhook_either() -> None:
    harness = WebhookHarness()
    harness.definitions["otc"] = greatest(harness, tables=100, length=20, as_requested=True)
    for model in MODELS:
        harness.service.celonis.model_tables[model] = [
            ModelTable(f"{model[:8]}-{each:03}".ljust(36, "t"), "x", alias_or_name="y" * 200)
            for each in range(100)
        ]
    assert harness.deliver(source=source_of({"pipeline": "otc", "tables": ["x"]})).status == 202
    assert "execute_job" not in harness.service.celonis.names()
    assert harness.executions.start_requests == ["otc-1"]


def test_the_greatest_options_becomes_a_record_and_waits_in_a_slot() -> None:
    harness = WebhookHarness()
    service = harness.service
    definition = greatest(harness, tables=1, length=10)
    reasons = [Reason(f"{at}", "t" * 1000, "b" * 1000, "ü" * 256) for at in range(MAX_REASONS)]
    tables = frozenset(f"{number:02x}".ljust(256, "ü") for number in range(128))
    options = RunOptions(as_defined=False, tables=tables, united=True, reasons=tuple(reasons))
    for number in range(2):
        claim = Claim("otc", options, f"otc-{number}", f"follow-{number}", definition, JOBS[0])
        service.claims.accept([claim], [], service.deadline())
    assert service.records.get("otc-0").options == options
    assert (service.table.get(SLOT) or {})["pending"]["options"] == options.to_json()


def test_the_tables_of_a_load_are_stored_once_and_shown_with_its_step() -> None:
    harness = WebhookHarness()
    service = harness.service
    harness.definitions["otc"] = greatest(harness, tables=2, length=20, outcome="SUCCESS")
    for job in opens(harness)["jobs"]:
        service.run_step(job["step"])
    service.run_step("load-0")
    run = service.records.get(RUN)
    names = sorted(str(table.name) for table in service.celonis.model_tables[MODELS[0]])
    assert "tables" not in run.steps["load-0"]
    document = shown(run)
    assert document["steps"]["load-0"]["tables"] == names
    assert sorted(document["loads"]["load-0"]["tables"].values()) == names
