"""A task that runs when its execution is stopped continues: nothing that it starts is left unnoticed."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import pytest

from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.errors import RunClosed
from celonis_refresh.runs.records import RunStatus
from tests.fakes.celonis import FakeTarget
from tests.fakes.leases import take
from tests.fakes.service import JOB, MODEL, RUN, Crashed, job_definition, load_definition
from tests.unit.steps.outgoing import JOB_LEASE, MODEL_LEASE, cancels, holder
from tests.unit.workflow.close_harness import CloseHarness

FOREVER = 1e9
OTHER = "job-b"
OTHER_LEASE = f"lease#job#{OTHER}"
MOMENTS = 24


def leaving(definition: Definition) -> CloseHarness:
    harness = CloseHarness(definition)
    harness.service.job(OTHER).add_past_start(6000.0)
    for target in [*harness.service.celonis.jobs.values(), *harness.service.celonis.models.values()]:
        target.seconds = FOREVER
    return harness


def group(**fields: object) -> CloseHarness:
    """Two jobs side by side, the first of them running."""
    harness = leaving(job_definition(jobs=[[{"job": JOB}, {"job": OTHER}]], **fields))
    harness.service.start("job-0")
    harness.service.clock.sleep(5.0)
    harness.service.check("job-0")
    return harness


class StepInBetween:
    """Starts a step in the middle of something: at its ``moment``-th call to the table or to Celonis."""

    def __init__(self, harness: CloseHarness, step: str, moment: int) -> None:
        self.harness, self.step, self.left = harness, step, moment
        self.refused: bool | None = None
        self.listen()

    def listen(self) -> None:
        self.harness.service.dynamodb.before = lambda *_: self.count()
        self.harness.service.celonis.hook = lambda _, when: self.count() if when == "before" else None

    def quiet(self) -> None:
        self.harness.service.dynamodb.before = lambda *_: None
        self.harness.service.celonis.hook = lambda *_: None

    def count(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.quiet()
            self.refused = False
            try:
                self.harness.service.start(self.step)
            except RunClosed:
                self.refused = True


def is_accounted_for(harness: CloseHarness, target: FakeTarget, lease: str) -> bool:
    """Whether nothing of ours runs on, unless the lease is held and the record tells of it."""
    runs_on = [start for start in target.mine if start.ended_at == start.at + FOREVER]
    return not runs_on or (holder(harness.service, lease) == RUN and "keeps running" in harness.outcome())


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_second_job_that_starts_at_any_moment_of_the_closing_is_cancelled_or_refused(moment: int) -> None:
    harness = group()
    harness.executions.end(RUN, "ABORTED")
    second = StepInBetween(harness, "job-1", moment)
    harness.close()
    target = harness.service.celonis.jobs[OTHER]
    assert [start.result for start in target.mine] == ([] if second.refused in (True, None) else ["CANCEL"])
    assert cancels(harness.service)[0] == JOB
    assert harness.service.records.get(RUN).status is RunStatus.ABORTED
    assert (holder(harness.service, JOB_LEASE), holder(harness.service, OTHER_LEASE)) == (None, None)


@pytest.mark.parametrize("moment", range(8))
@pytest.mark.parametrize(
    ("definition", "step", "lease"),
    [(job_definition(), "job-0", JOB_LEASE), (load_definition(), "load-0", MODEL_LEASE)],
    ids=["job", "load"],
)
def test_a_step_that_starts_between_reading_and_closing_the_record_is_accounted_for(
    definition: Definition, step: str, lease: str, moment: int
) -> None:
    harness = leaving(definition)
    harness.executions.end(RUN, "TIMED_OUT")
    only = StepInBetween(harness, step, moment)
    harness.close()
    only.quiet()
    service = harness.service
    target = service.celonis.jobs[JOB] if step == "job-0" else service.celonis.models[MODEL]
    assert len(target.mine) == (only.refused is False)
    assert is_accounted_for(harness, target, lease)
    assert holder(service, lease) in ((None,) if step == "job-0" or not target.mine else (RUN,))


@pytest.mark.parametrize("call", ["job", "executions", "execute_job"])
def test_a_start_in_its_poll_is_refused_while_another_job_is_cancelled(call: str) -> None:
    """The closing takes place in the middle of the start, not the other way round."""
    harness = group()
    service = harness.service
    harness.executions.end(RUN, "ABORTED")
    posted = call == "execute_job"

    def closes(name: str, when: str) -> None:
        if name == call and when == "before":
            service.celonis.hook = lambda *_: None
            harness.close()

    service.celonis.hook = closes
    with contextlib.suppress(RunClosed):
        service.start("job-1")
    assert len(service.celonis.jobs[OTHER].mine) == posted
    # A start that outlasts the whole closing is not seen by it: its lease stays held.
    assert holder(service, OTHER_LEASE) == (RUN if posted else None)


@pytest.mark.parametrize("dated", [True, False])
def test_a_start_that_was_noted_just_before_and_arrives_later_is_cancelled_or_its_lease_held(
    dated: bool,
) -> None:
    """Its answer is lost: it is proven by its date, else after ``settle``, when the closing is over."""
    harness = group(settle=120)
    harness.service.celonis.dated = dated
    service, target = harness.service, harness.service.celonis.jobs[OTHER]

    def frozen(name: str, when: str) -> None:
        if name == "execute_job":
            raise Crashed

    service.celonis.hook = frozen
    with pytest.raises(Crashed):
        service.start("job-1")

    def arrives(name: str, when: str) -> None:
        if name == "job" and cancels(service) and not target.mine:
            target.post(service.clock.now, "FULL")

    service.celonis.hook = arrives
    harness.end("ABORTED")
    assert len(target.mine) == 1
    if dated:
        assert target.mine[0].result == "CANCEL"
        assert holder(service, OTHER_LEASE) is None
    else:
        assert holder(service, OTHER_LEASE) == RUN
        assert (
            "Data job job-b was not cancelled: it is not proven that our execution is running."
            in harness.outcome()
        )


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_close_that_crashed_after_its_mark_is_finished_and_no_step_starts(
    moment: Literal["before", "after"],
) -> None:
    harness = group()
    service = harness.service
    harness.executions.end(RUN, "ABORTED")

    def dies(operation: str, request: dict[str, Any]) -> None:
        if operation == "UpdateItem":
            raise Crashed

    setattr(service.dynamodb, moment, dies)
    with pytest.raises(Crashed):
        harness.close()
    setattr(service.dynamodb, moment, lambda *_: None)
    marked = service.records.get(RUN)
    assert (marked.is_open, marked.is_closing) == (True, moment == "after")
    if moment == "after":
        for task, step in ((service.start, "job-1"), (service.check, "job-0")):
            with pytest.raises(RunClosed, match="is being closed"):
                task(step)
        assert service.celonis.jobs[OTHER].mine == []
    harness.close()
    assert service.records.get(RUN).status is RunStatus.ABORTED
    assert [start.result for start in service.celonis.jobs[JOB].mine] == ["CANCEL"]


def test_a_run_that_is_being_closed_keeps_its_leases_and_its_slot_until_it_has_ended() -> None:
    harness = group()
    service = harness.service
    service.records.begin_closing(service.records.get(RUN), "2026-01-01T00:00:00.000Z", service.deadline())
    again = service.records.begin_closing(
        service.records.get(RUN), "2027-01-01T00:00:00.000Z", service.deadline()
    )
    assert again.item["closing"] == "2026-01-01T00:00:00.000Z"
    service.open(job_definition(), "other-1", "other")
    assert take(service.leases, "other-1", JOB_LEASE, service.deadline()) is False
    with pytest.raises(RunClosed):
        take(service.leases, RUN, OTHER_LEASE, service.deadline())
    with pytest.raises(RunClosed):
        service.records.set_facts(service.records.get(RUN), {"loads": {}}, service.deadline())


def test_a_success_is_closed_without_a_mark() -> None:
    harness = CloseHarness()
    assert harness.service.run_step("job-0") == "SUCCEEDED"
    assert "closing" not in harness.end("SUCCEEDED").item
